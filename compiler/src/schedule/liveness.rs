//! Which values have bytes of their own, and from which step to which.

use std::collections::{BTreeMap, HashMap};

use super::arena::Buffer;
use super::{Place, arena_bytes};
use crate::graph::{Graph, NodeId, Value};
use crate::types::{DType, Type};

/// Lifetimes `[first, end)` of all that is not resident, and the place of every value that something reads.
///
/// Inputs live from step 0, as they are filled before it; `kept` values to one step past the last. Operands and results
/// of an instruction live at once, so it never overwrites what it reads, but for a result that takes over the bytes of
/// an operand: of one that its op says it may reuse, and that nobody reads afterwards.
pub fn lifetimes(graph: &Graph, steps: &[NodeId], kept: &[Value]) -> (Vec<(Value, Buffer)>, BTreeMap<Value, Place>) {
    let mut storages = Storages { graph, ends: ends(graph, steps, kept), lives: vec![], of: HashMap::new() };
    for input in graph.declared("input") {
        let end = storages.ends.get(&input).copied().unwrap_or(1);
        storages.open(input, 0, end);
    }
    for (step, &node) in steps.iter().enumerate() {
        let taken = storages.taken(step, node);
        for result in graph.results(node) {
            let Some(&end) = storages.ends.get(&result) else { continue };
            match taken.filter(|_| result.result == 0) {
                Some(storage) => storages.hand_over(storage, result, end),
                None => storages.open(result, step, end),
            }
        }
    }
    let places = places(graph, &storages.of);
    (storages.lives, places)
}

/// One step past the last one that reads a value or a view of it.
fn ends(graph: &Graph, steps: &[NodeId], kept: &[Value]) -> HashMap<Value, usize> {
    let mut ends: HashMap<Value, usize> = HashMap::new();
    for (step, &node) in steps.iter().enumerate() {
        for operand in graph.operands(node) {
            ends.insert(graph.root(operand), step + 1);
        }
    }
    ends.extend(kept.iter().map(|it| (graph.root(*it), steps.len() + 1)));
    ends
}

struct Storages<'a> {
    graph: &'a Graph,
    ends: HashMap<Value, usize>,
    /// What each storage is made for first.
    lives: Vec<(Value, Buffer)>,
    /// Of everything that is no view.
    of: HashMap<Value, usize>,
}

impl Storages<'_> {
    fn open(&mut self, value: Value, first: usize, end: usize) {
        self.of.insert(value, self.lives.len());
        let bytes = arena_bytes(self.graph.ty(value));
        self.lives.push((value, Buffer { bytes, first: first as u32, end: end as u32 }));
    }

    fn hand_over(&mut self, storage: usize, to: Value, end: usize) {
        self.of.insert(to, storage);
        self.lives[storage].1.end = end as u32;
    }

    /// The storage that a node's first result takes over: of those that would be free after it, the one that is there for
    /// the shortest time, as short lives are easier to place.
    fn taken(&self, step: usize, node: NodeId) -> Option<usize> {
        let graph = self.graph;
        let floats = |value: Value| match graph.ty(value) {
            Type::Dense { dtype: DType::F32, .. } => Some(graph.ty(value).elements()),
            _ => None,
        };
        let result = floats(*graph.results(node).first()?)?;
        let operands = graph.operands(node);
        let storage = |slot: usize| self.of.get(&graph.root(operands[slot])).copied();
        let slots = graph.node(node).op.reuses.iter().copied().filter(|&slot| slot < operands.len());
        let free = slots.filter(|&slot| {
            let alone = (0..operands.len()).all(|it| it == slot || storage(it) != storage(slot));
            let last = storage(slot).is_some_and(|it| self.lives[it].1.end as usize == step + 1);
            alone && last && floats(operands[slot]) == Some(result)
        });
        free.filter_map(storage).max_by_key(|&it| self.lives[it].1.first)
    }
}

fn places(graph: &Graph, storages: &HashMap<Value, usize>) -> BTreeMap<Value, Place> {
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
