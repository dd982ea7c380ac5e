//! Which values hold the samples of a batch one after another.
//!
//! A sample is a batch entry. Exporters flatten the batch into `[B·T, F]`, so the leading axis does not tell; but
//! row-major memory does: as long as the batch stays the outermost axis, sample `i` is the `i`-th equal part.

use std::collections::HashSet;

use crate::graph::{Graph, Phase, Value};
use crate::ops::Batch;
use crate::types::Type;

/// Values of the forward phase, inputs included, whose `batch` samples are equal, contiguous parts.
pub fn together(graph: &Graph, batch: u64) -> HashSet<Value> {
    let mut together = HashSet::new();
    for value in graph.declared("input") {
        if graph.ty(value).dims().first() == Some(&batch) {
            together.insert(value);
        }
    }
    for node in graph.phase(Phase::Forward) {
        let operands = graph.operands(node);
        let flags: Vec<bool> = operands.iter().map(|it| together.contains(it)).collect();
        let op = graph.node(node).op;
        let keeps = match op.batch {
            Batch::Loses => false,
            Batch::Keeps => flags.first() == Some(&true),
            Batch::When(rule) => {
                let types: Vec<Type> = operands.iter().map(|it| graph.ty(*it).clone()).collect();
                rule(&types, &graph.node(node).attrs, &flags)
            }
        };
        if let (true, Some(&first)) = (keeps && batch != 0, graph.results(node).first())
            && graph.ty(first).elements().is_multiple_of(batch)
        {
            together.insert(first);
        }
    }
    together
}
