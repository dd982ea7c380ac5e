//! Freezes the weights that a method does not train.
//!
//! Biases alone are what TinyTL (NeurIPS 2020) fine-tunes, as their gradients read nothing that has to be saved. What a
//! weight is follows from where the forward phase reads it.

use std::collections::{BTreeMap, HashSet};

use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Lower};
use crate::options::Scope;

/// Why a method cannot choose its weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The model has none of them.
    #[error(
        "`--method {0}` leaves nothing to train: the model has no such weights; `--classes N` adds a fresh head, which is always trained"
    )]
    Nothing(Scope),
    /// There are fewer layers.
    #[error("`--method last:{asked}` asks for more layers than the {found} that have weights to train")]
    TooMany {
        /// Layers that were asked for.
        asked: u64,
        /// Layers that there are.
        found: usize,
    },
}

/// Freezes all that is not in the scope, apart from the weights of these names. The forward phase alone may be there yet.
pub fn run(graph: &mut Graph, scope: Scope, head: &[String]) -> Result<(), ScopeError> {
    let chosen: HashSet<Value> = match scope {
        Scope::All => return Ok(()),
        Scope::Biases => of_all(graph, is_bias),
        Scope::Norms => of_all(graph, |graph, node, slot| is_norm(graph, node) && 0 < slot),
        Scope::Last(layers) => last(graph, layers)?,
    };
    let params = graph.declared("param");
    let keeps = |it: &Value| chosen.contains(it) || head.iter().any(|name| name == graph.name(*it));
    let (kept, frozen): (Vec<Value>, Vec<Value>) = params.into_iter().partition(keeps);
    if kept.is_empty() {
        return Err(ScopeError::Nothing(scope));
    }
    frozen.into_iter().for_each(|it| graph.set_role(it.node, "frozen"));
    Ok(())
}

/// Trained weights of which every reader reads them so, views seen through.
fn of_all(graph: &Graph, reads: fn(&Graph, NodeId, usize) -> bool) -> HashSet<Value> {
    let all = |param: &Value| {
        let mut readers = vec![];
        let mut values = vec![*param];
        while let Some(value) = values.pop() {
            for (node, slot) in graph.readers(value) {
                match graph.node(node).op.lower {
                    Lower::View => values.push(Value { node, result: 0 }),
                    _ => readers.push((node, slot)),
                }
            }
        }
        !readers.is_empty() && readers.into_iter().all(|(node, slot)| reads(graph, node, slot))
    };
    graph.declared("param").into_iter().filter(all).collect()
}

/// Whether a node adds what it reads in a slot, one number for each channel or feature.
fn is_bias(graph: &Graph, node: NodeId, slot: usize) -> bool {
    let op = graph.node(node).op;
    let added = graph.operands(node)[slot];
    let vector = graph.ty(added).dims().iter().filter(|it| **it != 1).count() <= 1;
    match op.name {
        "add" | "sub" => vector,
        _ => slot == 2 && vector && (op.weight.is_some() || is_norm(graph, node)),
    }
}

fn is_norm(graph: &Graph, node: NodeId) -> bool {
    matches!(ops::family(graph.node(node).op), "norm" | "row_norm")
}

/// Trained weights that nothing reads before the first of so many last layers.
fn last(graph: &Graph, layers: u64) -> Result<HashSet<Value>, ScopeError> {
    let mut data: HashSet<Value> = graph.declared("input").into_iter().collect();
    // Weights that a value is made of alone, by transposing for example.
    let mut made_of: BTreeMap<Value, Vec<Value>> =
        graph.declared("param").into_iter().map(|it| (it, vec![it])).collect();
    let mut first_read: BTreeMap<Value, usize> = BTreeMap::new();
    let mut starts: BTreeMap<Value, usize> = BTreeMap::new();
    for node in graph.phase(Phase::Forward) {
        let (operands, at) = (graph.operands(node), graph.position(node));
        let weights = |it: &Value| made_of.get(it).cloned().unwrap_or_default();
        let mut read: Vec<Value> = operands.iter().flat_map(weights).collect();
        read.sort_unstable();
        read.dedup();
        if !operands.iter().any(|it| data.contains(it)) {
            made_of.extend(graph.results(node).into_iter().map(|it| (it, read.clone())));
            continue;
        }
        if let Some(slot) = graph.node(node).op.weight {
            // A weight that is read again, by the next step of a sequence, is no other layer.
            weights(&operands[slot]).into_iter().take(1).for_each(|it| _ = starts.entry(it).or_insert(at));
        }
        read.into_iter().for_each(|it| _ = first_read.entry(it).or_insert(at));
        data.extend(graph.results(node));
    }
    let mut starts: Vec<usize> = starts.into_values().collect();
    starts.sort_unstable();
    let found = starts.len();
    let many = || ScopeError::TooMany { asked: layers, found };
    let skipped = usize::try_from(layers).ok().and_then(|it| found.checked_sub(it)).ok_or_else(many)?;
    let Some(&start) = starts.get(skipped) else { return Ok(HashSet::new()) };
    Ok(first_read.into_iter().filter(|it| start <= it.1).map(|it| it.0).collect())
}
