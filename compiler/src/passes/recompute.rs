//! Computes again in the backward phase what attention reads, instead of saving it.
//!
//! Queries, keys and values are projections of one tensor, a third of their size, which the projections' weight gradients
//! save anyway. So the backward phase projects it once more: a forward pass of these layers buys two thirds of the bytes,
//! and the tensor need not be exact (`round_saves` keeps 8 bits of each element), though it must not be pruned.
//!
//! What is computed again is found from the reader backwards: through moves and elementwise ops, and through one layer
//! on each way. It ends at weights, which are there, and at what is saved for it.

use std::collections::{BTreeSet, HashMap};

use super::back_razor::readers;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Estimate, Lower};
use crate::options::{Razor, Sparsity};

/// Families of ops that cost less time than saving their results costs memory.
const CHEAP: [&str; 2] = ["layout", "elementwise"];
/// Most nodes that are computed again for one reader.
const LONGEST: usize = 64;

/// What a node of the backward phase reads, and what it takes to compute it again.
struct Chain {
    reader: NodeId,
    /// Saved values that need not be saved any more.
    targets: BTreeSet<Value>,
    /// Forward nodes, in order.
    nodes: Vec<NodeId>,
}

/// Replaces saved tensors by chains of nodes in the backward phase where that takes less memory.
pub fn run(graph: &mut Graph, razor: &Razor) {
    if !razor.recompute || razor.reference || razor.sparsity == Sparsity::default() {
        return;
    }
    let readers: Vec<NodeId> = graph.phase(Phase::Backward).collect();
    for chain in readers.into_iter().filter_map(|it| chain(graph, it)).collect::<Vec<_>>() {
        compute_again(graph, &chain);
    }
}

/// The chain that makes what a node may read rounded, if it is worth it.
fn chain(graph: &Graph, reader: NodeId) -> Option<Chain> {
    // What an elementwise op reads is cheaper to keep in a few bits than to make again by a layer.
    if CHEAP.contains(&ops::family(graph.node(reader).op)) {
        return None;
    }
    let rounded = |slot: &usize| graph.node(reader).op.estimate(*slot) == Some(Estimate::Rounded);
    let operands = graph.operands(reader);
    let read = (0..operands.len()).filter(rounded).map(|slot| graph.root(operands[slot]));
    let is_free = |it: &Value| graph.node(it.node).phase == Phase::Forward && read_by(graph, *it, reader);
    let targets: BTreeSet<Value> = read.filter(is_free).collect();

    let (mut nodes, mut leaves) = (BTreeSet::new(), BTreeSet::new());
    let mut todo: Vec<(Value, bool)> = targets.iter().map(|it| (*it, false)).collect();
    while let Some((value, behind_layer)) = todo.pop() {
        let node = value.node;
        let layer = graph.node(node).op.weight.is_some();
        if graph.is_declared(value) && graph.node(node).op.name != "input" || nodes.contains(&node) {
            continue;
        }
        let cheap = CHEAP.contains(&ops::family(graph.node(node).op));
        if graph.node(node).phase != Phase::Forward || behind_layer || !layer && !cheap {
            leaves.insert(value);
            continue;
        }
        nodes.insert(node);
        todo.extend(graph.operands(node).into_iter().map(|it| (it, layer)));
    }
    let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
    nodes.sort_by_key(|it| graph.position(*it));
    let tolerant = |leaf: &Value| {
        let readers = graph.readers(*leaf).into_iter().filter(|it| nodes.contains(&it.0));
        readers.into_iter().all(|(it, slot)| graph.node(it).op.estimate(slot).is_some())
    };
    let bytes = |values: &BTreeSet<Value>| values.iter().map(|it| graph.ty(graph.root(*it)).bytes()).sum::<u64>();
    // What is saved for the chain grows from a pruned copy to a rounded one, and time is worth something too.
    let pays = 3 * bytes(&leaves) <= 2 * bytes(&targets);
    let worth = !targets.is_empty() && nodes.len() <= LONGEST && leaves.iter().all(tolerant) && pays;
    worth.then_some(Chain { reader, targets, nodes })
}

/// Whether the backward phase reads a value, views seen through, for this one node.
fn read_by(graph: &Graph, value: Value, reader: NodeId) -> bool {
    let mut readers = readers(graph, value, Phase::Backward).into_iter();
    readers.all(|(it, _)| it == reader || graph.node(it).op.lower == Lower::View)
}

fn compute_again(graph: &mut Graph, chain: &Chain) {
    let mut again: HashMap<Value, Value> = HashMap::new();
    for &node in &chain.nodes {
        run_again(graph, node, &mut again);
    }
    let copies: BTreeSet<NodeId> = again.values().map(|it| it.node).collect();
    let mut first = chain.reader;
    for &target in &chain.targets {
        let backward = |graph: &Graph, it: NodeId| graph.node(it).phase == Phase::Backward && !copies.contains(&it);
        let readers = graph.readers(target).into_iter().map(|it| it.0).filter(|it| backward(graph, *it));
        first = readers.chain([first]).min_by_key(|it| graph.position(*it)).unwrap_or(first);
        graph.redirect(target, again[&target], backward);
    }
    let mut copies: Vec<NodeId> = copies.into_iter().collect();
    copies.sort_by_key(|it| graph.position(*it));
    copies.into_iter().for_each(|it| graph.move_before(it, first));
}

/// Adds a node's twin to the backward phase, which reads of its operands those that were made again, and notes its results
/// among them.
pub(super) fn run_again(graph: &mut Graph, node: NodeId, again: &mut HashMap<Value, Value>) -> NodeId {
    let operands: Vec<Value> =
        graph.operands(node).into_iter().map(|it| again.get(&it).copied().unwrap_or(it)).collect();
    let (op, attrs) = (graph.node(node).op, graph.node(node).attrs.clone());
    let name = format!("{}.again", graph.name(Value { node, result: 0 }));
    let twin = graph
        .add(Phase::Backward, op, &operands, attrs, &name)
        .unwrap_or_else(|e| panic!("{name} is computed as before: {e}"));
    again.extend(graph.results(node).into_iter().zip(graph.results(twin)));
    twin
}
