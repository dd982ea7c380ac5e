//! Computes cheap functions of saved tensors again in the backward phase, instead of saving both.
//!
//! A layer saves what it reads, and the activation or normalization before it often saves what *it* reads: the first is a
//! function of the second, element for element or row for row. So the second is enough. It must be there as it was: of a
//! tensor that was pruned or rounded nothing is computed again, which is why little is left to do where most is pruned.
//!
//! No step holds more bytes than before: what is computed again lives between its readers, where it lived anyway; what
//! it is computed from is read later still; and what lies between takes over bytes.

use std::collections::HashMap;

use super::back_razor::readers;
use super::recompute::run_again;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Lower};
use crate::options::Razor;

/// Families of ops that cost less time than saving their results costs memory.
const CHEAP: [&str; 7] = ["layout", "elementwise", "activation", "smooth", "math", "norm", "row_norm"];
/// Most ops between two saved tensors.
const LONGEST: usize = 4;
/// Bytes below which nothing is gained.
const LEAST: u64 = 1 << 12;

/// Replaces saved tensors by nodes of the backward phase that make them of other saved tensors.
pub fn run(graph: &mut Graph, razor: &Razor) {
    if !razor.recompute || razor.reference {
        return;
    }
    // The last one first: what it is made of may then be computed again itself.
    for saved in graph.saves().into_iter().rev() {
        if let Some(chain) = chain(graph, saved) {
            compute_again(graph, saved, &chain);
        }
    }
}

/// Nodes that make a saved tensor of others that the backward phase reads no earlier, in order.
fn chain(graph: &Graph, saved: Value) -> Option<Vec<NodeId>> {
    if saved.result != 0 || !graph.ty(saved).is_f32() || graph.ty(saved).bytes() < LEAST {
        return None;
    }
    let first = first_reader(graph, saved)?;
    let (mut nodes, mut next) = (vec![], Some(saved));
    while let Some(value) = next.take() {
        let node = value.node;
        let op = graph.node(node).op;
        let fits = graph.node(node).phase == Phase::Forward
            && CHEAP.contains(&ops::family(op))
            && (op.writes)(graph.operands(node).len()).is_empty();
        if !fits || nodes.len() == LONGEST {
            return None;
        }
        nodes.push(node);
        for (slot, operand) in graph.operands(node).into_iter().enumerate() {
            if is_there(graph, operand, first) {
                continue;
            }
            // Made in the bytes that its reader takes over.
            let within = graph.ty(operand).is_f32()
                && graph.ty(operand).bytes() == graph.ty(saved).bytes()
                && (op.reuses.contains(&slot) || op.lower == Lower::View);
            if !within || next.replace(operand).is_some() {
                return None;
            }
        }
    }
    nodes.reverse();
    Some(nodes)
}

/// The backward node before which a saved tensor must be there.
fn first_reader(graph: &Graph, saved: Value) -> Option<usize> {
    let readers = readers(graph, saved, Phase::Backward).into_iter();
    readers.map(|it| graph.position(it.0)).min()
}

/// Whether an operand is a weight, or whole in memory until the backward phase is at this position, whoever reads it here.
fn is_there(graph: &Graph, operand: Value, position: usize) -> bool {
    let root = graph.root(operand);
    if graph.is_declared(root) && graph.node(root.node).op.name != "input" {
        return true;
    }
    let later = |it: &(NodeId, usize)| {
        graph.node(it.0).phase == Phase::Backward
            && graph.node(it.0).op.lower != Lower::View
            && position <= graph.position(it.0)
    };
    readers(graph, root, Phase::Backward).iter().any(later)
}

fn compute_again(graph: &mut Graph, saved: Value, chain: &[NodeId]) {
    let backward = graph.readers(saved).into_iter().map(|it| it.0);
    let Some(first) = backward.into_iter().find(|it| graph.node(*it).phase == Phase::Backward) else { return };
    let mut again = HashMap::new();
    for &node in chain {
        let twin = run_again(graph, node, &mut again);
        graph.move_before(twin, first);
    }
    let is_reader = |graph: &Graph, it: NodeId| graph.node(it).phase == Phase::Backward;
    // Masks and statistics beside it come along, where nobody has read them yet.
    let at = graph.position(first);
    for old in graph.results(saved.node) {
        if old == saved || first_reader(graph, old).is_some_and(|it| at <= it) {
            graph.redirect(old, again[&old], is_reader);
        }
    }
}
