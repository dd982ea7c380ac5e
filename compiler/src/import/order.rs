//! The nodes that matter, in an order in which they can run.

use std::collections::{HashMap, HashSet};

use razorc_proto::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::versions::{NEWEST, OLDEST};
use crate::error::ImportError;

/// A node's name, or that of its first output where it has none.
pub fn label(node: &NodeProto) -> String {
    let outputs = node.output.iter().map(String::as_str);
    let mut names = std::iter::once(node.name()).chain(outputs).filter(|it| !it.is_empty());
    names.next().unwrap_or("(unnamed)").to_string()
}

/// The version of the operator set; refuses what razorc cannot read at all.
pub fn opset(model: &ModelProto) -> Result<i64, ImportError> {
    if model.graph.as_ref().is_some_and(|it| !it.sparse_initializer.is_empty()) {
        return Err(ImportError::Sparse);
    }
    let ours = model.opset_import.iter().filter(|it| matches!(it.domain(), "" | "ai.onnx"));
    let opset = ours.map(|it| it.version()).max().unwrap_or(1);
    if (OLDEST..=NEWEST).contains(&opset) { Ok(opset) } else { Err(ImportError::Opset(opset)) }
}

/// The output that is trained: the first one.
pub fn output_name(graph: &GraphProto) -> Result<&str, ImportError> {
    graph.output.first().map(|it| it.name()).ok_or(ImportError::NoOutput)
}

/// What is imported: the output; or the model's own loss, and the first output beside it.
pub fn roots<'a>(graph: &'a GraphProto, loss: &'a str) -> Result<Vec<&'a str>, ImportError> {
    if loss.is_empty() {
        return Ok(vec![output_name(graph)?]);
    }
    let beside = graph.output.iter().map(|it| it.name()).find(|it| *it != loss);
    Ok(std::iter::once(loss).chain(beside).collect())
}

/// Nodes that the outputs depend on, each after those that it reads; otherwise in the file's order.
pub fn live_nodes<'a>(graph: &'a GraphProto, outputs: &[&str]) -> Result<Vec<&'a NodeProto>, ImportError> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|it| !it.is_empty()) {
            if makers.insert(output, at).is_some() {
                return Err(ImportError::MadeTwice(output.clone()));
            }
        }
    }
    let given: HashSet<&str> =
        graph.input.iter().map(|it| it.name()).chain(graph.initializer.iter().map(TensorProto::name)).collect();
    if let Some(twice) = given.iter().find(|it| makers.contains_key(**it)) {
        return Err(ImportError::MadeTwice(twice.to_string()));
    }
    // Depth first, without recursion: a file can nest as deeply as it likes.
    if let Some(output) = outputs.iter().find(|it| !makers.contains_key(*it) && !given.contains(*it)) {
        return Err(ImportError::UndefinedOutput(output.to_string()));
    }
    let mut order = vec![];
    let mut state = vec![Visit::New; graph.node.len()];
    let mut stack: Vec<usize> = outputs.iter().rev().filter_map(|it| makers.get(it).copied()).collect();
    while let Some(&at) = stack.last() {
        let node = &graph.node[at];
        if state[at] != Visit::New {
            stack.pop();
            if state[at] == Visit::Open {
                state[at] = Visit::Done;
                order.push(at);
            }
            continue;
        }
        state[at] = Visit::Open;
        for input in node.input.iter().filter(|it| !it.is_empty()) {
            match makers.get(input.as_str()) {
                Some(&maker) if state[maker] == Visit::New => stack.push(maker),
                Some(&maker) if state[maker] == Visit::Open => return Err(ImportError::Cycle(input.clone())),
                Some(_) => {}
                None if given.contains(input.as_str()) => {}
                None => return Err(ImportError::Undefined { node: label(node), value: input.clone() }),
            }
        }
    }
    Ok(by_file(graph, &order, &makers))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

/// Keeps the file's order where that is one in which the nodes can run.
fn by_file<'a>(graph: &'a GraphProto, order: &[usize], makers: &HashMap<&str, usize>) -> Vec<&'a NodeProto> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    let reads_before =
        |at: &usize| graph.node[*at].input.iter().all(|it| makers.get(it.as_str()).is_none_or(|m| m < at));
    let order = if sorted.iter().all(reads_before) { &sorted[..] } else { order };
    order.iter().map(|&at| &graph.node[at]).collect()
}
