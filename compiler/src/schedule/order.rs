//! Forward and backward run as the graph has them; updates run as soon as they may, or, where a step runs on one part of
//! a batch after the other, at its end.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::Lower;

/// Nodes that become instructions, in the order in which they run.
///
/// An update waits for what it reads and for every earlier reader of what it overwrites, through views too.
pub fn order(graph: &Graph) -> Vec<NodeId> {
    let instructions = graph.order().iter().copied().filter(|it| graph.node(*it).op.lower == Lower::Instruction);
    let instructions: Vec<NodeId> = instructions.collect();
    let has_parts = graph.has_parts();
    let is_update = |node: NodeId| graph.node(node).phase == Phase::Update && !has_parts;
    let mut waits = Waits::of(graph, &instructions, is_update);

    let free = instructions.iter().copied().filter(|&it| is_update(it) && waits.counts[&it] == 0);
    let mut ready: VecDeque<NodeId> = free.collect();
    let mut others = instructions.iter().copied().filter(|&it| !is_update(it));
    let mut steps = Vec::with_capacity(instructions.len());
    while let Some(node) = ready.pop_front().or_else(|| others.next()) {
        steps.push(node);
        ready.extend(waits.release(node));
    }
    assert_eq!(steps.len(), instructions.len(), "the updates of {} wait for each other", graph.name);
    steps
}

/// Which updates wait for a node, and for how many nodes each of them still waits.
struct Waits {
    updates: HashMap<NodeId, Vec<NodeId>>,
    counts: HashMap<NodeId, usize>,
}

impl Waits {
    fn of(graph: &Graph, instructions: &[NodeId], is_update: impl Fn(NodeId) -> bool) -> Waits {
        let mut waits = Waits { updates: HashMap::new(), counts: HashMap::new() };
        let mut readers: HashMap<Value, Vec<NodeId>> = HashMap::new();
        let mut writers: HashMap<Value, Vec<NodeId>> = HashMap::new();
        for &node in instructions {
            let reads: Vec<Value> = graph.operands(node).into_iter().map(|it| graph.root(it)).collect();
            let writes: Vec<Value> = graph.writes(node).into_iter().map(|it| graph.root(it)).collect();
            if is_update(node) {
                let makers = reads.iter().filter_map(|it| writers.get(it));
                let earlier = writes.iter().flat_map(|it| [readers.get(it), writers.get(it)]).flatten();
                let blockers: HashSet<NodeId> = makers.chain(earlier).flatten().copied().collect();
                waits.counts.insert(node, blockers.len());
                for blocker in blockers {
                    waits.updates.entry(blocker).or_default().push(node);
                }
            }
            for value in reads {
                readers.entry(value).or_default().push(node);
            }
            for value in writes.into_iter().chain(graph.results(node)) {
                writers.entry(value).or_default().push(node);
            }
        }
        waits
    }

    /// The updates that waited for `node` alone.
    fn release(&mut self, node: NodeId) -> Vec<NodeId> {
        let mut released = self.updates.remove(&node).unwrap_or_default();
        released.retain(|update| {
            let count = self.counts.entry(*update).or_default();
            *count -= 1;
            *count == 0
        });
        released
    }
}
