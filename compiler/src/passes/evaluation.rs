//! The forward phase with evaluation semantics.

use crate::graph::{Graph, Phase, Value};

/// Turns dropout into nothing. Batch normalization is by running statistics until `batch_statistics` says otherwise.
pub fn run(graph: &mut Graph) {
    let dropouts: Vec<_> = graph.phase(Phase::Forward).filter(|it| graph.node(*it).op.name == "dropout").collect();
    for dropout in dropouts {
        let (x, y) = (graph.operands(dropout)[0], graph.results(dropout)[0]);
        graph.redirect(y, x, |_, _| true);
        graph.remove(dropout);
    }
}

/// What takes the place of `value` once dropout does nothing.
pub fn result(graph: &Graph, mut value: Value) -> Value {
    while graph.node(value.node).op.name == "dropout" {
        value = graph.operands(value.node)[0];
    }
    value
}
