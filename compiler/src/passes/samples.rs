//! Which values hold the samples of a batch one after another.
//!
//! A sample is a batch entry. Exporters flatten the batch into `[B·T, F]`, so the leading axis does not tell; but
//! row-major memory does: as long as the batch stays the outermost axis, sample `i` is the `i`-th equal part. Others put
//! queries, keys and values before the batch, `[3, B, H, T, D]`, and take them apart again; so what is tracked is how
//! many elements of outer axes the batch lies within.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::Batch;
use crate::types::Type;

/// Values of the forward phase, inputs included, whose `batch` samples are equal, contiguous parts.
pub fn together(graph: &Graph, batch: u64) -> HashSet<Value> {
    let mut outer: HashMap<Value, u64> = HashMap::new();
    for value in graph.declared("input") {
        if graph.ty(value).dims().first() == Some(&batch) {
            outer.insert(value, 1);
        }
    }
    for node in graph.phase(Phase::Forward) {
        let Some(&first) = graph.results(node).first() else { continue };
        let fits = batch != 0 && graph.ty(first).elements().is_multiple_of(batch);
        if let Some(found) = follow(graph, node, batch, &outer).filter(|_| fits) {
            outer.insert(first, found);
        }
    }
    outer.into_iter().filter(|it| it.1 == 1).map(|it| it.0).collect()
}

/// Product of the axes before the batch in a node's first result.
fn follow(graph: &Graph, node: NodeId, batch: u64, outer: &HashMap<Value, u64>) -> Option<u64> {
    let operands = graph.operands(node);
    let found: Vec<Option<u64>> = operands.iter().map(|it| outer.get(it).copied()).collect();
    if batch == 1 {
        // One sample is the whole tensor, however its axes lie.
        return found.into_iter().flatten().next().map(|_| 1);
    }
    let types = || -> Vec<Type> { operands.iter().map(|it| graph.ty(*it).clone()).collect() };
    let attrs = &graph.node(node).attrs;
    match graph.node(node).op.batch {
        Batch::Loses => None,
        Batch::Keeps => found.first().copied().flatten(),
        Batch::Moves(rule) => {
            let types = types();
            let before = |dims: &[u64], axis: usize| dims[..axis].iter().product::<u64>();
            let (dims, inside) = (types.first()?.dims(), found.first().copied().flatten()?);
            let axis = (0..dims.len()).find(|&it| before(dims, it) == inside && dims[it].is_multiple_of(batch))?;
            let to = rule(&types, attrs, axis)?;
            Some(before(graph.ty(Value { node, result: 0 }).dims(), to))
        }
        Batch::When(rule) => {
            let together: Vec<bool> = found.iter().map(|it| *it == Some(1)).collect();
            rule(&types(), attrs, &together).then_some(1)
        }
    }
}
