//! Which values have bytes of their own, and from which step to which.

use std::collections::{BTreeMap, HashMap};

use super::arena::Buffer;
use super::{Place, arena_bytes};
use crate::graph::{Graph, NodeId, Value};

/// Lifetimes `[first, end)` of all that is not resident, and the place of every value that something reads.
///
/// Inputs live from step 0, as they are filled before it; `kept` values to one step past the last. Operands and results
/// of an instruction live at once, so it never overwrites what it reads.
pub fn lifetimes(graph: &Graph, steps: &[NodeId], kept: &[Value]) -> (Vec<(Value, Buffer)>, BTreeMap<Value, Place>) {
    let mut ends: HashMap<Value, usize> = HashMap::new();
    for (step, &node) in steps.iter().enumerate() {
        for operand in graph.operands(node) {
            ends.insert(graph.root(operand), step + 1);
        }
    }
    ends.extend(kept.iter().map(|it| (graph.root(*it), steps.len() + 1)));

    let inputs = graph.declared("input").into_iter().map(|it| (it, 0, ends.get(&it).copied().unwrap_or(1)));
    let made = steps.iter().enumerate().flat_map(|(step, node)| {
        graph.results(*node).into_iter().filter_map(|it| Some((it, step, *ends.get(&it)?))).collect::<Vec<_>>()
    });
    let lives = inputs.chain(made).map(|(value, first, end)| {
        (value, Buffer { bytes: arena_bytes(graph.ty(value)), first: first as u32, end: end as u32 })
    });
    let lives: Vec<(Value, Buffer)> = lives.collect();
    let places = places(graph, &lives);
    (lives, places)
}

fn places(graph: &Graph, lives: &[(Value, Buffer)]) -> BTreeMap<Value, Place> {
    let storages: HashMap<Value, usize> = lives.iter().enumerate().map(|(idx, it)| (it.0, idx)).collect();
    let values = graph.order().iter().flat_map(|it| graph.results(*it));
    let place = |value: Value| {
        let root = graph.root(value);
        match storages.get(&root) {
            Some(&idx) => Some((value, Place::Storage(idx))),
            None => graph.is_declared(root).then_some((value, Place::Resident(root))),
        }
    };
    values.filter_map(place).collect()
}
