//! Replaces the weights of the model's final classifier by fresh ones for another number of classes.

use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::tensor_shape_proto::dimension::Value as Size;
use razorc_proto::onnx::{GraphProto, NodeProto, TensorProto};
use razorc_proto::{Model, TensorData};

use super::{Fresh, edit};
use crate::error::PrepareError;
use crate::import::{int_tensor, label, output_name, shapes};

/// Operators that may stand between a classifier and the output: they treat every class alike.
const TRANSPARENT: &[&str] = &[
    "Softmax",
    "LogSoftmax",
    "Sigmoid",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Dropout",
    "Relu",
    "GlobalAveragePool",
    "AveragePool",
    "ReduceMean",
    "Cast",
];

/// The node that tells classes apart, the slots of its weights, and what follows it.
struct Classifier {
    node: usize,
    /// The node that adds the bias, and its slot there.
    bias: Option<(usize, usize)>,
    /// Axis of the classes in the weight.
    axis: usize,
    /// Nodes from the output back to the classifier.
    after: Vec<usize>,
}

/// Gives the model's final Gemm, MatMul or 1x1 Conv fresh weights for `classes` classes.
pub fn replace(model: &mut Model, classes: u64, fresh: &mut Fresh) -> Result<(), PrepareError> {
    let output = output_name(model.graph())?.to_string();
    let classifier = find(model.graph(), &output)?;
    let weight = model.graph().node[classifier.node].input[1].clone();
    let dims = weight_dims(model, &weight, classifier.node)?;
    let old = dims[classifier.axis];
    let features = dims.iter().product::<u64>() / old.max(1);
    let fresh_dims = with_axis(&dims, classifier.axis, classes);

    let graph = model.graph_mut();
    put(graph, classifier.node, 1, "razorc.head.weight", |name| fresh.weight(name, &fresh_dims, features))?;
    if let Some((node, slot)) = classifier.bias {
        let bias = &graph.node[node].input[slot];
        let rank = edit::initializer(graph, bias).map_or(1, |it| it.dims.len().max(1));
        let dims = with_axis(&vec![1; rank], rank - 1, classes);
        put(graph, node, slot, "razorc.head.bias", |name| fresh.bias(name, &dims))?;
    }
    for &node in &classifier.after {
        let outputs = graph.node[node].output.clone();
        graph.value_info.retain(|it| !outputs.iter().any(|name| name == it.name()));
        if graph.node[node].op_type() == "Reshape" {
            reshape(graph, node, old, classes);
        }
    }
    let made = graph.node[classifier.node].output[0].clone();
    graph.value_info.retain(|it| it.name() != made);
    resize_output(graph, old, classes);
    // The old weights go last: positions of nodes change.
    edit::drop_unread(graph, &weight);
    Ok(())
}

fn find(graph: &GraphProto, output: &str) -> Result<Classifier, PrepareError> {
    let mut after = vec![];
    let mut value = output.to_string();
    loop {
        let Some(at) = edit::maker(graph, &value) else {
            return Err(head_error(&value, "value", "comes before any Gemm, MatMul or 1x1 Conv"));
        };
        let node = &graph.node[at];
        let refuse = |reason: &str| Err(head_error(&label(node), node.op_type(), reason));
        let has_weight = node.input.get(1).is_some_and(|it| is_weight(graph, it));
        let has = |name: &str| node.attribute.iter().find(|it| it.name() == name);
        match node.op_type() {
            "Gemm" | "Conv" | "MatMul" if !has_weight => return refuse("does not multiply by weights"),
            "Gemm" => {
                let axis = if has("transB").is_some_and(|it| it.i() != 0) { 0 } else { 1 };
                return Ok(Classifier { node: at, bias: bias(node).map(|slot| (at, slot)), axis, after });
            }
            "MatMul" => return Ok(Classifier { node: at, bias: None, axis: 1, after }),
            "Conv" if has("group").is_some_and(|it| it.i() != 1) => return refuse("has groups"),
            "Conv" if has("kernel_shape").is_some_and(|it| it.ints.iter().any(|&it| it != 1)) => {
                return refuse("is not 1x1");
            }
            "Conv" => return Ok(Classifier { node: at, bias: bias(node).map(|slot| (at, slot)), axis: 0, after }),
            "Add" => {
                let Some((product, slot)) = biased_product(graph, node) else {
                    return refuse("does not add a bias to a MatMul");
                };
                after.push(at);
                return Ok(Classifier { node: product, bias: Some((at, slot)), axis: 1, after });
            }
            op if TRANSPARENT.contains(&op) && !node.input.is_empty() => {
                after.push(at);
                value = node.input[0].clone();
            }
            _ => return refuse("stands between the output and any Gemm, MatMul or 1x1 Conv"),
        }
        if graph.node.len() < after.len() {
            return Err(head_error(&value, "value", "depends on itself"));
        }
    }
}

fn bias(node: &NodeProto) -> Option<usize> {
    node.input.get(2).filter(|it| !it.is_empty()).map(|_| 2)
}

/// For an Add of a MatMul by weights and a bias: the MatMul, and the slot of the bias.
fn biased_product(graph: &GraphProto, add: &NodeProto) -> Option<(usize, usize)> {
    let [a, b] = add.input.as_slice() else { return None };
    [(a, b, 1), (b, a, 0)].into_iter().find_map(|(product, bias, slot)| {
        let at = edit::maker(graph, product)?;
        let node = &graph.node[at];
        let fits = node.op_type() == "MatMul" && is_weight(graph, node.input.get(1)?) && is_weight(graph, bias);
        fits.then_some((at, slot))
    })
}

/// Whether no input of the model goes into a value.
fn is_weight(graph: &GraphProto, value: &str) -> bool {
    let (mut todo, mut seen) = (vec![value], std::collections::HashSet::new());
    while let Some(value) = todo.pop() {
        if edit::initializer(graph, value).is_some() || !seen.insert(value) {
            continue;
        }
        match edit::maker(graph, value) {
            Some(at) => todo.extend(graph.node[at].input.iter().map(String::as_str).filter(|it| !it.is_empty())),
            None => return false,
        }
    }
    true
}

fn weight_dims(model: &Model, weight: &str, node: usize) -> Result<Vec<u64>, PrepareError> {
    let node = &model.graph().node[node];
    let dims = shapes(model)?.ty(weight).map(|it| it.dims().to_vec()).unwrap_or_default();
    let fits = match node.op_type() {
        "Conv" => 3 <= dims.len() && dims[2..].iter().all(|&it| it == 1),
        _ => dims.len() == 2,
    };
    let reason = format!("has weights with axes {dims:?}; only Gemm, MatMul and 1x1 Conv are replaced");
    if fits && !dims.contains(&0) { Ok(dims) } else { Err(head_error(&label(node), node.op_type(), &reason)) }
}

fn head_error(node: &str, op: &str, reason: &str) -> PrepareError {
    PrepareError::Head { node: node.into(), op: op.into(), reason: reason.into() }
}

fn with_axis(dims: &[u64], axis: usize, size: u64) -> Vec<u64> {
    dims.iter().enumerate().map(|(at, &dim)| if at == axis { size } else { dim }).collect()
}

/// Makes a node read a fresh tensor: in place of its initializer, or of a new name where others read that too.
fn put(
    graph: &mut GraphProto,
    node: usize,
    slot: usize,
    new_name: &str,
    tensor: impl FnOnce(&str) -> Result<TensorProto, PrepareError>,
) -> Result<(), PrepareError> {
    let old = graph.node[node].input[slot].clone();
    let own = edit::readers(graph, &old) == 1;
    if let Some(place) = graph.initializer.iter().position(|it| own && it.name() == old) {
        graph.initializer[place] = tensor(&old)?;
        graph.input.retain(|it| it.name() != old);
        return Ok(());
    }
    let name = edit::free_name(graph, new_name);
    graph.initializer.push(tensor(&name)?);
    graph.node[node].input[slot] = name;
    Ok(())
}

/// Makes a Reshape to a literal shape with `old` classes one with `classes`.
fn reshape(graph: &mut GraphProto, node: usize, old: u64, classes: u64) {
    let Some(name) = graph.node[node].input.get(1).cloned() else { return };
    let constant = edit::maker(graph, &name).and_then(|at| graph.node[at].attribute.first()?.t.clone());
    let literal = edit::initializer(graph, &name).cloned().or(constant);
    let literal = literal.filter(|it| it.data_type() == DataType::Int64 as i32);
    let Some(mut shape) = literal.and_then(|it| TensorData::decode(&it, None).ok()?.to_i64().ok()) else { return };
    let Some(entry) = shape.iter_mut().rev().find(|it| **it == old as i64) else { return };
    *entry = classes as i64;
    let fresh = edit::free_name(graph, "razorc.head.shape");
    graph.initializer.push(int_tensor(&fresh, shape));
    graph.node[node].input[1] = fresh;
}

fn resize_output(graph: &mut GraphProto, old: u64, classes: u64) {
    let Some(dims) = graph.output.first_mut().and_then(edit::axes_mut) else { return };
    if let Some(dim) = dims.get_mut(1)
        && dim.value == Some(Size::DimValue(old as i64))
    {
        dim.value = Some(Size::DimValue(classes as i64));
    }
}
