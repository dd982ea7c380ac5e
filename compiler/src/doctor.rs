//! What would become of a model, node by node, whether it can be trained or not.
//!
//! Everything here follows from the op table and from what import, differentiation and the planner say.

use std::collections::{BTreeMap, BTreeSet};

use razorc_proto::Model;
use razorc_proto::program::Memory;

use crate::compile::{Graphs, graphs, plans, prepared};
use crate::error::ImportError;
use crate::graph::{Graph, Phase};
use crate::import::{Note, Notes, import_noting, label, moving, operator_refusal};
use crate::ops::Gradient;
use crate::options::{BatchNorm, Options, Scope};

/// What was found out about a model.
pub struct Diagnosis {
    /// Version of the operator set; 0 where it could not be found out.
    pub opset: i64,
    /// Nodes, in the order in which they run.
    pub nodes: Vec<Finding>,
    /// Weights that are trained, and their elements.
    pub trained: BTreeMap<String, u64>,
    /// What stands in the way apart from single nodes.
    pub problems: Vec<String>,
    /// The plans of the trainer, if it saved everything whole and as it is; none where there can be none.
    pub memory: Option<(Memory, Memory)>,
}

/// What was found out about a node.
pub struct Finding {
    /// Name of the node, or of its first output where it has none.
    pub node: String,
    /// ONNX operator.
    pub operator: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, and what can be done about it; empty where there is nothing to say.
    pub reason: String,
    /// Weights that it reads.
    pub weights: Vec<String>,
}

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It has weights, and they are trained.
    Trained,
    /// It has weights, and they are not trained.
    Frozen,
    /// It has no weights, and gradients go through it.
    Passes,
    /// No gradient goes through it.
    NoGradient,
    /// Its results are known when compiling.
    Constant,
    /// The output does not depend on it.
    Unused,
    /// It comes behind a node that is not supported.
    Behind,
    /// It cannot be trained at all.
    Unsupported,
}

impl Verdict {
    /// Every verdict in the order in which they are shown, with its word for machines and its heading for people.
    pub const WORDS: &'static [(Verdict, &'static str, &'static str)] = &[
        (Verdict::Unsupported, "unsupported", "not supported"),
        (Verdict::Behind, "behind", "not looked at, behind those"),
        (Verdict::Trained, "trained", "trained"),
        (Verdict::Frozen, "frozen", "frozen"),
        (Verdict::Passes, "passes", "without weights, gradients go through"),
        (Verdict::NoGradient, "no_gradient", "without gradient"),
        (Verdict::Constant, "constant", "known when compiling"),
        (Verdict::Unused, "unused", "left out, the output does not depend on it"),
    ];

    /// The verdict's word for machines.
    pub fn word(self) -> &'static str {
        Verdict::WORDS.iter().find(|it| it.0 == self).map_or("", |it| it.1)
    }
}

impl Diagnosis {
    /// Whether the model can be trained as it is.
    pub fn is_trainable(&self) -> bool {
        self.problems.is_empty() && self.nodes.iter().all(|it| it.verdict != Verdict::Unsupported)
    }
}

/// Looks at a model without compiling it. Finds everything that is wrong at once.
pub fn examine(model: &Model, given: &Options) -> Diagnosis {
    let mut problems = vec![];
    let mut notes = Notes::default();
    let prepared = prepared(model, given).map(|(it, options)| (it.model, options));
    let (prepared, options) = prepared.unwrap_or_else(|error| {
        // Without a fresh head, at least the rest can be looked at.
        problems.push(error.to_string());
        (model.clone(), Options { head_only: false, classes: 0, head_at: String::new(), ..given.clone() })
    });
    match import_noting(&prepared, &options, &mut notes) {
        Ok(_) | Err(ImportError::Unsupported(_)) => {}
        Err(error) => problems.push(error.to_string()),
    }
    let refused = notes.nodes.iter().any(|it| it.refused.is_some());
    let compiled = match problems.is_empty() && !refused {
        true => graphs(model, given).map_err(|e| problems.push(e.to_string())).ok(),
        false => None,
    };
    let trained = compiled.as_ref().map(|it| updated(&it.train)).unwrap_or_default();
    let mut nodes: Vec<Finding> = match notes.nodes.is_empty() {
        true => by_operators(&prepared),
        false => notes.nodes.iter().map(|it| finding(it, compiled.as_ref(), &trained, &options)).collect(),
    };
    nodes.extend(notes.unused.iter().map(|it| Finding {
        node: String::new(),
        operator: it.clone(),
        verdict: Verdict::Unused,
        reason: String::new(),
        weights: vec![],
    }));
    let memory = compiled.as_ref().map(plans);
    Diagnosis { opset: notes.opset, nodes, trained, problems, memory }
}

/// Weights that a whole step updates, and their elements.
fn updated(train: &Graph) -> BTreeMap<String, u64> {
    let written: BTreeSet<_> = train.phase(Phase::Update).flat_map(|it| train.writes(it)).collect();
    let params = train.declared("param").into_iter().filter(|it| written.contains(it));
    params.map(|it| (train.name(it).to_string(), train.ty(it).elements())).collect()
}

fn finding(note: &Note, compiled: Option<&Graphs>, trained: &BTreeMap<String, u64>, options: &Options) -> Finding {
    let of_role = |role: &str| note.reads.iter().any(|it| it.1 == role);
    let stops = note.ops.iter().find(|it| matches!(it.gradient, Gradient::Stops));
    let is_trained = |it: &&(String, &str)| it.1 == "param" && (compiled.is_none() || trained.contains_key(&it.0));
    let (verdict, reason) = if let Some(reason) = &note.refused {
        (Verdict::Unsupported, reason.clone())
    } else if note.behind {
        (Verdict::Behind, String::new())
    } else if note.constant {
        (Verdict::Constant, String::new())
    } else if note.reads.iter().any(|it| is_trained(&it)) {
        (Verdict::Trained, String::new())
    } else if of_role("param") && options.scope != Scope::All {
        (Verdict::Frozen, format!("`--method {}` trains others", options.scope))
    } else if of_role("param") {
        (Verdict::Frozen, "no gradient reaches its weights".into())
    } else if let Some(stops) = stops {
        (Verdict::NoGradient, format!("`{}` has no gradient, so nothing before it learns through it", stops.name))
    } else if !note.reads.is_empty() {
        (Verdict::Frozen, frozen(note, options))
    } else {
        (Verdict::Passes, String::new())
    };
    let mut weights: Vec<String> = match verdict {
        Verdict::Trained => note.reads.iter().filter(is_trained).map(|it| it.0.clone()).collect(),
        _ => note.reads.iter().map(|it| it.0.clone()).collect(),
    };
    weights.sort();
    weights.dedup();
    Finding { node: note.node.clone(), operator: note.operator.clone(), verdict, reason, weights }
}

/// Why weights that are there are not trained.
fn frozen(note: &Note, options: &Options) -> String {
    let is_norm = note.operator == "BatchNormalization";
    if let Some(what) = note.holds {
        return what.into();
    }
    match is_norm && options.batch_norm == BatchNorm::Frozen {
        true => "`--batch-norm affine` trains scale and bias".into(),
        false if options.head_only => "`--head-only` trains the fresh classifier alone".into(),
        false if !options.train.is_empty() || !options.freeze.is_empty() => {
            "`--train` and `--freeze` say what is trained; literals never are".into()
        }
        false => "reads literals only".into(),
    }
}

/// Without shapes, all that can be told is which operators are known.
fn by_operators(model: &Model) -> Vec<Finding> {
    let moving = moving(model.graph());
    let findings = model.graph().node.iter().map(|node| {
        // What only shapes go into is folded, so it needs no rule.
        let computes = node.input.iter().any(|it| moving.contains(it)) && !matches!(node.op_type(), "Shape" | "Size");
        let refusal = operator_refusal(node).filter(|_| computes);
        let verdict = if refusal.is_some() { Verdict::Unsupported } else { Verdict::Behind };
        let reason = refusal.unwrap_or_default();
        Finding { node: label(node), operator: node.op_type().to_string(), verdict, reason, weights: vec![] }
    });
    findings.collect()
}
