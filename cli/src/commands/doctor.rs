use std::path::PathBuf;

use clap::Args;
use razorc_compiler::doctor::{Diagnosis, Finding, Verdict, examine};
use razorc_proto::Model;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::options::CompileOptions;
use crate::report;

/// Say what of a model would be trained, what stands in the way, and what memory it would take
///
/// Exits with 0 if the model can be trained, with 1 if it cannot.
#[derive(Args)]
pub struct Doctor {
    /// The model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Print one JSON object, with every node
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: CompileOptions,
}

/// Names that are shown of one group's weights.
const SHOWN: usize = 3;

impl Doctor {
    pub fn run(&self) -> Result<()> {
        let options = self.options.parse()?;
        let diagnosis = examine(&Model::open(&self.model)?, &options);
        match self.json {
            true => report::say(to_json(&diagnosis)),
            false => report::say(text(&diagnosis, &self.options.method_label())),
        }
        match diagnosis.is_trainable() {
            true => Ok(()),
            false => Err(Failure::input(format!("{} cannot be trained as it is", self.model.display()))),
        }
    }
}

fn text(diagnosis: &Diagnosis, label: &str) -> String {
    let mut text = match diagnosis.opset {
        0 => format!("{} nodes", diagnosis.nodes.len()),
        opset => format!("{} nodes of opset {opset}", diagnosis.nodes.len()),
    };
    for (verdict, _, heading) in Verdict::WORDS {
        let nodes: Vec<&Finding> = diagnosis.nodes.iter().filter(|it| it.verdict == *verdict).collect();
        if nodes.is_empty() {
            continue;
        }
        text += &format!("\n\n{:>6}  {heading}", nodes.len());
        if *verdict == Verdict::Unsupported {
            nodes.iter().for_each(|it| text += &format!("\n        {}  {} {}", it.node, it.operator, it.reason));
            continue;
        }
        for group in groups(&nodes) {
            text += &format!("\n{:>6}  {:<22} {}", group.len(), group[0].operator, about(&group));
            text.truncate(text.trim_end().len());
        }
    }
    for problem in &diagnosis.problems {
        text += &format!("\n\nproblem: {problem}");
    }
    if diagnosis.nodes.iter().any(|it| it.verdict == Verdict::Unsupported) {
        text += "\n\n`--classes N --head-at VALUE` puts a fresh head before what is not supported and leaves that out";
    }
    if diagnosis.memory.is_some() {
        let elements: u64 = diagnosis.trained.values().sum();
        text += &format!("\n\n{elements} trained numbers in {} weights", diagnosis.trained.len());
    }
    if let Some((dense, packed)) = &diagnosis.memory {
        text += &format!("\n\n{}", report::comparison(dense, packed, label));
    }
    text
}

/// Nodes of one operator about which the same is to be said, in the order of the first of each.
fn groups<'a>(nodes: &[&'a Finding]) -> Vec<Vec<&'a Finding>> {
    let mut groups: Vec<Vec<&Finding>> = vec![];
    for node in nodes {
        let same = |it: &&mut Vec<&Finding>| it[0].operator == node.operator && it[0].reason == node.reason;
        match groups.iter_mut().find(same) {
            Some(group) => group.push(node),
            None => groups.push(vec![node]),
        }
    }
    groups
}

/// Why, or the names of the weights.
fn about(group: &[&Finding]) -> String {
    if !group[0].reason.is_empty() {
        return group[0].reason.clone();
    }
    let weights: Vec<&str> = group.iter().flat_map(|it| &it.weights).map(String::as_str).collect();
    match weights.len() {
        0 => String::new(),
        n if n <= SHOWN => weights.join(", "),
        n => format!("{}, ... ({n} weights)", weights[..SHOWN].join(", ")),
    }
}

fn to_json(diagnosis: &Diagnosis) -> Value {
    let count = |verdict: Verdict| diagnosis.nodes.iter().filter(|it| it.verdict == verdict).count();
    let totals = Verdict::WORDS.iter().map(|(verdict, word, _)| (word.to_string(), json!(count(*verdict))));
    let node = |it: &Finding| {
        json!({
            "node": it.node,
            "operator": it.operator,
            "verdict": it.verdict.word(),
            "reason": it.reason,
            "weights": it.weights,
        })
    };
    let memory = diagnosis
        .memory
        .as_ref()
        .map(|(dense, packed)| json!({ "dense": report::memory_json(dense), "packed": report::memory_json(packed) }));
    json!({
        "trainable": diagnosis.is_trainable(),
        "opset": diagnosis.opset,
        "totals": Value::Object(totals.collect()),
        "trained": diagnosis.trained,
        "problems": diagnosis.problems,
        "memory": memory,
        "nodes": diagnosis.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}
