//! The cotangent of a tensor that is read slice by slice is the slices' cotangents side by side.
//!
//! Differentiation pads each of them with zeros to the whole and adds them up: three tensors as large as queries, keys
//! and values together, where one is enough.

use super::pattern::is_inner;
use crate::attrs::Attrs;
use crate::graph::{Graph, Phase, Value};
use crate::ops;

/// Turns sums of `unslice` that cover a tensor without gap or overlap into `concat`; what is idle then is dead code.
pub fn run(graph: &mut Graph) {
    for node in graph.phase(Phase::Backward).rev().collect::<Vec<_>>() {
        let Some(&sum) = graph.results(node).first() else { continue };
        let Some((axis, parts)) = joined(graph, sum) else { continue };
        graph
            .rewrite(node, ops::get("concat"), &parts, Attrs::new().with("axis", axis as i64))
            .unwrap_or_else(|e| panic!("slices that cover a tensor do not join: {e}"));
    }
}

/// What a sum is the concatenation of, and along which axis.
fn joined(graph: &Graph, sum: Value) -> Option<(usize, Vec<Value>)> {
    let parts = parts(graph, sum)?;
    let dims = graph.ty(sum).dims();
    let axis = (0..dims.len()).find(|&axis| graph.ty(parts[0].0).dims()[axis] != dims[axis])?;
    let mut at_axis: Vec<(u64, Value)> = vec![];
    for (part, starts) in parts {
        let part_dims = graph.ty(part).dims();
        let whole = |other: usize| starts[other] == 0 && part_dims[other] == dims[other];
        if !(0..dims.len()).filter(|&it| it != axis).all(whole) {
            return None;
        }
        at_axis.push((starts[axis] as u64, part));
    }
    at_axis.sort_unstable();
    let mut end = 0;
    for &(start, part) in &at_axis {
        if start != end {
            return None;
        }
        end += graph.ty(part).dims()[axis];
    }
    (end == dims[axis]).then(|| (axis, at_axis.into_iter().map(|it| it.1).collect()))
}

/// What is padded in the terms of a sum, and where it starts; none unless all terms are such, and read nowhere else.
fn parts(graph: &Graph, sum: Value) -> Option<Vec<(Value, Vec<i64>)>> {
    let mut parts = vec![];
    let mut open = vec![sum];
    while let Some(value) = open.pop() {
        let node = graph.node(value.node);
        if value != sum && !is_inner(graph, value) || node.phase != Phase::Backward {
            return None;
        }
        let starts = node.attrs.ints("starts");
        match node.op.name {
            "add" => open.extend(graph.operands(value.node)),
            "unslice" if value != sum && node.attrs.ints("steps").iter().all(|&it| it == 1) => {
                let part = graph.operands(value.node)[0];
                let rank = graph.ty(part).rank();
                if graph.ty(value) != graph.ty(sum) || rank != graph.ty(sum).rank() || rank != starts.len() {
                    return None;
                }
                parts.push((part, starts.to_vec()));
            }
            _ => return None,
        }
    }
    Some(parts)
}
