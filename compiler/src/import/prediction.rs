//! Where the loss takes over, and what is left of the model then.

use std::collections::HashSet;

use super::Imported;
use crate::attrs::Attrs;
use crate::graph::{Graph, Phase, Value};
use crate::ops;
use crate::options::{Loss, Options, Task};

/// The value that the loss reads: without the activation that the loss brings along; for classes, `[N,C]`.
pub fn prediction(imported: &mut Imported, options: &Options) -> Value {
    let brought: &[&str] = match options.loss {
        Loss::CrossEntropy => &["softmax", "log_softmax"],
        Loss::BinaryCrossEntropy => &["sigmoid"],
        Loss::MeanSquaredError | Loss::MeanAbsoluteError | Loss::Huber => &[],
    };
    let task = options.kind();
    let graph = &mut imported.graph;
    let mut output = imported.output;
    while graph.node(output.node).op.name == "reshape" {
        match behind_ones(graph, output) {
            Some(inner) if brought.contains(&graph.node(inner.node).op.name) => output = inner,
            _ => break,
        }
    }
    if is_brought(graph, output, brought, task) {
        output = graph.operands(output.node)[0];
    }
    let dims = graph.ty(output).dims().to_vec();
    if task != Task::Classification || dims.len() < 3 || dims[2..].iter().any(|&it| it != 1) {
        return behind_batch(graph, output, options);
    }
    let (attrs, name) = (Attrs::new().with("shape", &dims[..2]), format!("{}.classes", graph.name(output)));
    match graph.add(Phase::Forward, ops::get("reshape"), &[output], attrs, &name) {
        Ok(node) => Value { node, result: 0 },
        Err(_) => output,
    }
}

/// Whether a value is made by an activation that the loss brings along; a softmax must go over the classes.
fn is_brought(graph: &Graph, output: Value, brought: &[&str], task: Task) -> bool {
    let node = graph.node(output.node);
    if !brought.contains(&node.op.name) {
        return false;
    }
    match task.class_axis(graph.ty(output).rank()) {
        Some(axis) if node.op.name != "sigmoid" => node.attrs.int_or("axis", -1) == axis as i64,
        _ => true,
    }
}

/// Scores of tokens that were flattened to `[B*T,C]` at the end are taken as they were, `[B,T,C]`.
fn behind_batch(graph: &Graph, output: Value, options: &Options) -> Value {
    let flat = graph.ty(output).dims();
    let by_token = matches!(options.kind(), Task::TokenClassification | Task::CausalLm | Task::MaskedLm);
    if !by_token || flat.len() != 2 || graph.node(output.node).op.name != "reshape" {
        return output;
    }
    let inner = graph.operands(output.node)[0];
    match *graph.ty(inner).dims() {
        [batch, _, classes] if batch == options.rows() && classes == flat[1] => inner,
        _ => output,
    }
}

/// What a reshape reads, if the reshape only adds or removes axes of one.
fn behind_ones(graph: &Graph, output: Value) -> Option<Value> {
    let inner = graph.operands(output.node)[0];
    let real = |value: Value| graph.ty(value).dims().iter().copied().filter(|&it| it != 1).collect::<Vec<_>>();
    Some(inner).filter(|&it| real(it) == real(output))
}

/// Removes nodes and declarations that the output does not need.
pub fn sweep(imported: &mut Imported) {
    let graph = &mut imported.graph;
    let mut needed: HashSet<Value> = imported.prediction.into_iter().chain([imported.output]).collect();
    for node in graph.order().iter().rev().copied().collect::<Vec<_>>() {
        let phase = graph.node(node).phase;
        if phase == Phase::Update || graph.results(node).iter().any(|it| needed.contains(it)) {
            needed.extend(graph.operands(node));
        } else if graph.node(node).op.name != "input" {
            let names: Vec<String> = graph.results(node).iter().map(|it| graph.name(*it).to_string()).collect();
            imported.weights.retain(|it, _| !names.contains(it));
            graph.remove(node);
        }
    }
}
