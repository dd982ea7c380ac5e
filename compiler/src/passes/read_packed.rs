//! Lets gradients read saved tensors as they are saved.
//!
//! A packed copy that is expanded in front of its reader is a dense tensor for a while, the largest one of the backward
//! phase. Where the reader's row takes the packed form, which its shape rule says, it reads that instead: kernels expand
//! a tile at a time, or go through the kept elements alone.

use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Lower};

/// Takes expanded copies away from all readers that can do without.
pub fn run(graph: &mut Graph) {
    let nodes: Vec<NodeId> = graph.phase(Phase::Backward).filter(|it| expands(graph, *it)).collect();
    for node in nodes {
        let (packed, dense) = (graph.operands(node)[0], Value { node, result: 0 });
        pass_on(graph, dense, packed);
        remove_unread(graph, node);
    }
}

/// Whether a node makes a dense tensor of a packed one.
fn expands(graph: &Graph, node: NodeId) -> bool {
    let makes_dense = graph.results(node).first().is_some_and(|it| graph.ty(*it).is_f32());
    ops::family(graph.node(node).op) == "packing"
        && makes_dense
        && graph.operands(node).first().is_some_and(|it| graph.operands(node).len() == 1 && graph.ty(*it).is_packed())
}

/// Makes readers of a dense tensor, views looked through, read the packed one.
fn pass_on(graph: &mut Graph, dense: Value, packed: Value) {
    for (reader, _) in graph.readers(dense) {
        if graph.node(reader).op.lower == Lower::View {
            view(graph, reader, packed);
            continue;
        }
        let operands: Vec<Value> =
            graph.operands(reader).into_iter().map(|it| if it == dense { packed } else { it }).collect();
        let takes = |graph: &Graph| {
            let types: Vec<_> = operands.iter().map(|it| graph.ty(*it).clone()).collect();
            let made: Vec<_> = graph.results(reader).into_iter().map(|it| graph.ty(it).clone()).collect();
            (graph.node(reader).op.shape)(&types, &graph.node(reader).attrs).is_ok_and(|it| it == made)
        };
        if takes(graph) {
            graph.set_operands(reader, &operands);
        }
    }
}

/// Makes readers of a view of the dense tensor read the same view of the packed one, if there is such a view.
fn view(graph: &mut Graph, node: NodeId, packed: Value) {
    let (op, attrs) = (graph.node(node).op, graph.node(node).attrs.clone());
    let dense = Value { node, result: 0 };
    let name = format!("{}.packed", graph.name(dense));
    let Ok(seen) = graph.add(Phase::Backward, op, &[packed], attrs, &name) else { return };
    graph.move_before(seen, node);
    pass_on(graph, dense, Value { node: seen, result: 0 });
    remove_unread(graph, seen);
    remove_unread(graph, node);
}

fn remove_unread(graph: &mut Graph, node: NodeId) {
    if graph.results(node).into_iter().all(|it| graph.readers(it).is_empty()) {
        graph.remove(node);
    }
}
