//! Every rule that a training graph obeys.

use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Lower};
use crate::types::Type;

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {message}")]
pub struct Fault {
    /// The guilty node.
    pub node: NodeId,
    /// Its line in the text form.
    pub what: String,
    /// What is wrong.
    pub message: String,
}

/// All faults of a graph, not only the first.
pub fn verify(graph: &Graph) -> Vec<Fault> {
    let mut faults = vec![];
    for &node in graph.order() {
        if graph.node(node).phase == Phase::Declare {
            continue;
        }
        let mut messages = vec![];
        order(graph, node, &mut messages);
        parts(graph, node, &mut messages);
        types(graph, node, &mut messages);
        writes(graph, node, &mut messages);
        estimates(graph, node, &mut messages);
        let what = || crate::text::line(graph, node);
        faults.extend(messages.into_iter().map(|message| Fault { node, what: what(), message }));
    }
    faults
}

/// A node reads only what was made before it, in its own phase or an earlier one.
fn order(graph: &Graph, node: NodeId, messages: &mut Vec<String>) {
    for operand in graph.operands(node) {
        if graph.position(node) <= graph.position(operand.node) {
            messages.push(format!("%{} is read before it is made", graph.name(operand)));
        }
    }
}

/// What runs for the first part of a batch alone makes nothing, and updates, which run for the last one alone, read what
/// outlasts a part or what updates made.
fn parts(graph: &Graph, node: NodeId, messages: &mut Vec<String>) {
    let phase = graph.node(node).phase;
    let once = phase == Phase::Opening || phase == Phase::Update && graph.has_parts();
    if phase == Phase::Opening && !graph.results(node).is_empty() {
        messages.push("makes something for one part of the batch alone".into());
    }
    let lasts = |it: &Value| graph.is_declared(*it) || graph.node(it.node).phase == Phase::Update;
    if once && !graph.operands(node).iter().all(lasts) {
        messages.push("reads what belongs to one part of the batch".into());
    }
}

/// Result types are those of the op's shape rule.
fn types(graph: &Graph, node: NodeId, messages: &mut Vec<String>) {
    let operands: Vec<Type> = graph.operands(node).iter().map(|it| graph.ty(*it).clone()).collect();
    let found: Vec<Type> = graph.results(node).iter().map(|it| graph.ty(*it).clone()).collect();
    match (graph.node(node).op.shape)(&operands, &graph.node(node).attrs) {
        Err(error) => messages.push(error.to_string()),
        Ok(expected) if expected != found => {
            let expected: Vec<String> = expected.iter().map(Type::to_string).collect();
            messages.push(format!("the op makes {}", expected.join(", ")));
        }
        Ok(_) => {}
    }
}

/// Only updates write in place, and only to params, state and statistics. Gradients may be added onto state before that.
fn writes(graph: &Graph, node: NodeId, messages: &mut Vec<String>) {
    for written in graph.writes(node) {
        let role = graph.node(graph.root(written).node).op.name;
        if !["param", "state", "statistic"].contains(&role) {
            messages.push(format!("%{} may not be written", graph.name(written)));
        }
        let may = match graph.node(node).phase {
            Phase::Update => true,
            Phase::Opening | Phase::Backward => role == "state",
            Phase::Declare | Phase::Forward => false,
        };
        if !may {
            messages.push("writes in place outside the update phase".into());
        }
    }
}

/// An estimate feeds only operands that the op table says may be one.
fn estimates(graph: &Graph, node: NodeId, messages: &mut Vec<String>) {
    let op = graph.node(node).op;
    for (slot, operand) in graph.operands(node).into_iter().enumerate() {
        let allowed = op.lower == Lower::View || ops::family(op) == "packing" || op.estimate(slot).is_some();
        if is_estimate(graph, operand) && !allowed {
            messages.push(format!(
                "%{} is an estimate; operand {slot} of {} must be exact",
                graph.name(operand),
                op.name
            ));
        }
    }
}

fn is_estimate(graph: &Graph, value: Value) -> bool {
    let op = graph.node(graph.root(value).node).op.name;
    ["compress", "decompress", "quantize", "dequantize", "mask_topk"].contains(&op)
}
