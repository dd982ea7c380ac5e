//! Exporters write equal weights once and read them through Identity. Here each gets its own initializer back.

use razorc_proto::onnx::{GraphProto, NodeProto, TensorProto};

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

fn is_identity(node: &NodeProto) -> bool {
    node.op_type() == "Identity" && node.domain().is_empty() && node.input.len() == 1 && node.output.len() == 1
}
