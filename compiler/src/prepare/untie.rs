//! Exporters write equal weights once and read them through Identity, or from several nodes. Here each gets its own
//! initializer back.

use std::collections::{HashMap, HashSet};

use razorc_proto::onnx::{GraphProto, NodeProto, TensorProto};
use razorc_proto::{Model, TensorData};

use super::edit;
use crate::import::is_float;

/// Turns each `Identity(initializer)` into an initializer of the output's name, if `wanted` says so of output and source.
pub fn untie(graph: &mut GraphProto, wanted: impl Fn(&str, &str) -> bool) {
    let mut sources = vec![];
    while let Some((at, copy)) = next(graph, &wanted) {
        sources.push(graph.node[at].input[0].clone());
        graph.node.remove(at);
        graph.initializer.push(copy);
    }
    for source in sources {
        edit::drop_unread(graph, &source);
    }
}

fn next(graph: &GraphProto, wanted: &impl Fn(&str, &str) -> bool) -> Option<(usize, TensorProto)> {
    let is_output = |name: &str| graph.output.iter().any(|it| it.name() == name);
    let copies = graph.node.iter().enumerate().filter(|it| is_identity(it.1)).filter_map(|(at, node)| {
        let name = node.output.first().filter(|it| wanted(it, &node.input[0]) && !is_output(it))?;
        let source = graph.initializer.iter().find(|it| it.name() == node.input[0])?;
        let mut copy = source.clone();
        copy.name = Some(name.clone());
        (is_float(source) && !source.dims.is_empty()).then_some((at, copy))
    });
    copies.into_iter().next()
}

/// Gives every reading of an initializer but the first its own one, where sharing is an accident: normalization's
/// vectors of nothing but ones or zeros, which equal weights of a fresh layer are. With `all`, wherever one is shared.
///
/// Copies are named after their source and the number of the reading, whatever `wanted` says of the others; `original`
/// has the names that are taken.
pub fn split(model: &mut Model, original: &GraphProto, all: bool, wanted: impl Fn(&str, &str) -> bool) {
    let folder = model.folder().map(std::path::Path::to_path_buf);
    let graph = model.graph();
    let mut readings: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for (slot, name) in node.input.iter().enumerate() {
            readings.entry(name).or_default().push((at, slot));
        }
    }
    let taken: HashSet<&str> = names(original).chain(names(graph)).collect();
    let mut copies = vec![];
    for tensor in graph.initializer.iter().filter(|it| is_float(it) && !it.dims.is_empty()) {
        let Some(all_readings) = readings.get(tensor.name()).filter(|it| 1 < it.len()) else { continue };
        let apart = |it: &&(usize, usize)| all || is_norm(&graph.node[it.0], it.1);
        let mut own: Vec<(usize, usize)> = all_readings.iter().filter(apart).copied().collect();
        if own.len() == all_readings.len() {
            own.remove(0);
        }
        let constant = || {
            let values = TensorData::decode(tensor, folder.as_deref()).and_then(|it| it.to_f32()).unwrap_or_default();
            [0.0, 1.0].iter().any(|it| values.iter().all(|value| value == it)) && !values.is_empty()
        };
        if own.is_empty() || !(all || tensor.dims.len() == 1 && constant()) {
            continue;
        }
        for (number, reading) in own.into_iter().enumerate() {
            let mut name = format!("{}.{}", tensor.name(), number + 1);
            while taken.contains(name.as_str()) {
                name += ".own";
            }
            if wanted(&name, tensor.name()) {
                copies.push((reading, TensorProto { name: Some(name), ..tensor.clone() }));
            }
        }
    }
    let graph = model.graph_mut();
    for ((node, slot), copy) in copies {
        graph.node[node].input[slot] = copy.name().to_string();
        graph.initializer.push(copy);
    }
}

/// Whether a node normalizes and reads a vector of its own in this slot.
fn is_norm(node: &NodeProto, slot: usize) -> bool {
    let slots: &[usize] = match node.op_type() {
        "BatchNormalization" => &[1, 2, 3, 4],
        "LayerNormalization" | "InstanceNormalization" | "GroupNormalization" => &[1, 2],
        "RMSNormalization" => &[1],
        _ => &[],
    };
    slots.contains(&slot)
}

fn names(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let made = graph.node.iter().flat_map(|it| it.output.iter().map(String::as_str));
    made.chain(graph.initializer.iter().map(TensorProto::name)).chain(graph.input.iter().map(|it| it.name()))
}

fn is_identity(node: &NodeProto) -> bool {
    node.op_type() == "Identity" && node.domain().is_empty() && node.input.len() == 1 && node.output.len() == 1
}
