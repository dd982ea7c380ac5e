//! Updates a table by the rows of its gradient: most rows of an embedding's are zero.
//!
//! Where the gradient of a weight is nothing but rows that are summed at indices, and the update is all that reads it,
//! the update reads rows and indices itself. The arithmetic stays the same: rows without gradient still decay.

use crate::graph::{Graph, NodeId, Phase};
use crate::ops;

/// Rewrites every update that it can.
pub fn run(graph: &mut Graph) {
    let updates: Vec<NodeId> = graph.phase(Phase::Update).collect();
    for update in updates {
        rewrite(graph, update);
    }
}

fn rewrite(graph: &mut Graph, update: NodeId) {
    let op = match graph.node(update).op.name {
        "sgd" => "sgd_rows",
        "adam" => "adam_rows",
        "adamw" => "adamw_rows",
        _ => return,
    };
    let operands = graph.operands(update);
    let gradient = operands[1];
    let sum = graph.node(gradient.node);
    if sum.op.name != "gather_grad" || sum.attrs.int_or("axis", 0) != 0 || graph.readers(gradient).len() != 1 {
        return;
    }
    let rows = graph.operands(gradient.node);
    // Of a table with fewer rows than there are indices, the gradient is smaller than what it is summed of.
    if graph.ty(gradient).dims()[0] <= graph.ty(rows[1]).elements() {
        return;
    }
    let attrs = graph.node(update).attrs.clone();
    let operands = [&operands[..1], &rows, &operands[2..]].concat();
    let name = graph.name(operands[0]).to_string();
    let by_rows = graph
        .add(Phase::Update, ops::get(op), &operands, attrs, &name)
        .unwrap_or_else(|e| panic!("the update of {name} by rows: {e}"));
    graph.move_before(by_rows, update);
    graph.remove(update);
    graph.remove(gradient.node);
}
