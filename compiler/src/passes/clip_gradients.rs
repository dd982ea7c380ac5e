//! Clips gradients by their norm, as PyTorch's `clip_grad_norm_` does: one factor for all of them, or one for each weight.
//!
//! The factor is an operand of the update, so a gradient is never written again. With one factor for all, every gradient is
//! in memory until the last one is there; with one for each, an update still comes as soon as its gradient is complete. Where
//! a step runs on one part of its batch after the other, gradients of the whole batch are there after the last part in any
//! case.

use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops;
use crate::options::{Clip, ClipScope};

/// Gives every update the factor of its gradient.
pub fn run(graph: &mut Graph, clip: Clip) {
    let updates: Vec<NodeId> = graph.phase(Phase::Update).filter(|it| clipped(graph, *it).is_some()).collect();
    let all = |graph: &Graph| updates.iter().map(|it| graph.operands(*it)).collect::<Vec<_>>();
    match clip.scope {
        ClipScope::PerWeight => {
            for (&update, operands) in updates.iter().zip(all(graph)) {
                let norm = norm(graph, &operands);
                let name = format!("{}.clip", graph.name(operands[0]));
                let scale = scale(graph, &[norm], clip, &name);
                rewrite(graph, update, scale);
            }
        }
        ClipScope::Global => {
            let norms: Vec<Value> = all(graph).iter().map(|it| norm(graph, it)).collect();
            if !norms.is_empty() {
                let scale = scale(graph, &norms, clip, "clip");
                updates.iter().for_each(|it| rewrite(graph, *it, scale));
            }
        }
    }
}

/// The op of an update whose gradient is clipped.
fn clipped(graph: &Graph, update: NodeId) -> Option<&'static str> {
    match graph.node(update).op.name {
        "sgd" => Some("sgd_clipped"),
        "adam" => Some("adam_clipped"),
        "adamw" => Some("adamw_clipped"),
        _ => None,
    }
}

/// Of the gradient among an update's operands.
fn norm(graph: &mut Graph, operands: &[Value]) -> Value {
    let name = format!("{}.norm", graph.name(operands[0]));
    add(graph, "gradient_norm", &operands[1..2], Attrs::new(), &name)
}

fn scale(graph: &mut Graph, norms: &[Value], clip: Clip, name: &str) -> Value {
    add(graph, "clip_scale", norms, Attrs::new().with("norm", clip.norm), name)
}

/// Moves the update behind its factor.
fn rewrite(graph: &mut Graph, update: NodeId, scale: Value) {
    let Some(op) = clipped(graph, update) else { return };
    let (operands, attrs) = ([graph.operands(update), vec![scale]].concat(), graph.node(update).attrs.clone());
    let name = graph.name(operands[0]).to_string();
    graph.remove(update);
    add_node(graph, op, &operands, attrs, &name);
}

fn add(graph: &mut Graph, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> Value {
    Value { node: add_node(graph, op, operands, attrs, name), result: 0 }
}

fn add_node(graph: &mut Graph, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> NodeId {
    graph
        .add(Phase::Update, ops::get(op), operands, attrs, name)
        .unwrap_or_else(|e| panic!("{op} clips a gradient for {name}: {e}"))
}
