//! Small edits of an ONNX graph.

use std::collections::HashSet;

use razorc_proto::onnx::tensor_shape_proto::Dimension;
use razorc_proto::onnx::type_proto::Value as TypeValue;
use razorc_proto::onnx::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

use crate::import::{subgraphs, subgraphs_mut, values_read};

/// Position of the node that makes `value`.
pub fn maker(graph: &GraphProto, value: &str) -> Option<usize> {
    graph.node.iter().position(|it| it.output.iter().any(|output| output == value))
}

/// How many nodes and outputs read `value`, each slot counted.
pub fn readers(graph: &GraphProto, value: &str) -> usize {
    let slots = graph.node.iter().flat_map(values_read).filter(|it| *it == value).count();
    slots + graph.output.iter().filter(|it| it.name() == value).count()
}

/// The initializer of this name.
pub fn initializer<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|it| it.name() == name)
}

/// The initializers of a graph and of all branches within it.
pub fn initializers(graph: &GraphProto) -> Vec<&TensorProto> {
    let inner = graph.node.iter().flat_map(subgraphs).flat_map(initializers);
    graph.initializer.iter().chain(inner).collect()
}

/// Does something to the initializers of a graph and of all branches within it, the graph's own first.
pub fn change_initializers<E>(
    graph: &mut GraphProto,
    change: &mut impl FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    graph.initializer.iter_mut().try_for_each(&mut *change)?;
    graph.node.iter_mut().flat_map(subgraphs_mut).try_for_each(|it| change_initializers(it, change))
}

/// Removes `value` and what makes it, as far as nothing else reads that.
pub fn drop_unread(graph: &mut GraphProto, value: &str) {
    let mut candidates = vec![value.to_string()];
    while let Some(value) = candidates.pop() {
        if 0 < readers(graph, &value) {
            continue;
        }
        let was = graph.initializer.len();
        graph.initializer.retain(|it| it.name() != value);
        if graph.initializer.len() < was {
            graph.input.retain(|it| it.name() != value);
        }
        if let Some(at) = maker(graph, &value)
            && graph.node[at].output.iter().all(|it| it.is_empty() || readers(graph, it) == 0)
        {
            candidates.extend(values_read(&graph.node.remove(at)).into_iter().map(String::from));
        }
        graph.value_info.retain(|it| it.name() != value);
    }
}

/// A name that nothing in the graph has: `name` itself, or a numbered one.
pub fn free_name(graph: &GraphProto, name: &str) -> String {
    let initializers = graph.initializer.iter().map(TensorProto::name);
    let values = graph.node.iter().flat_map(|it| it.output.iter().map(String::as_str).chain(values_read(it)));
    let ends = graph.input.iter().chain(&graph.output).map(ValueInfoProto::name);
    let taken: HashSet<&str> = initializers.chain(values).chain(ends).collect();
    let mut names = std::iter::once(name.to_string()).chain((1..).map(|n| format!("{name}.{n}")));
    names.find(|it| !taken.contains(it.as_str())).unwrap_or_default()
}

/// Axes of an input or output, if it is a tensor of known rank.
pub fn axes_mut(info: &mut ValueInfoProto) -> Option<&mut Vec<Dimension>> {
    match info.r#type.as_mut()?.value.as_mut()? {
        TypeValue::TensorType(tensor) => Some(&mut tensor.shape.as_mut()?.dim),
        _ => None,
    }
}

/// A node of the default operator set.
pub fn node(op: &str, name: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(name.into()),
        input: inputs.iter().map(|it| it.to_string()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}
