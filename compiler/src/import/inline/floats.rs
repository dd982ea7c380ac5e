//! Floats of other widths: everything is computed in f32, and weights go back into the file in their own type.
//!
//! A 64-bit float that only shapes come of stays: its last bits can decide a size.

use std::borrow::Cow;
use std::collections::HashSet;

use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::type_proto::Value as TypeValue;
use razorc_proto::onnx::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use razorc_proto::{Model, TensorData, set_f32};

use super::scope::values_read;
use crate::import::probe::{is_float, is_literal, real_inputs};

/// Makes inputs, casts and constants f32. Initializers keep their types: whoever reads them takes them for f32.
pub fn widen(model: &mut Cow<'_, Model>) {
    if !present(model.graph()) {
        return;
    }
    let graph = model.to_mut().graph_mut();
    let moving = moving(graph);
    for input in &mut graph.input {
        if let Some(TypeValue::TensorType(tensor)) = input.r#type.as_mut().and_then(|it| it.value.as_mut())
            && is_other(tensor.elem_type())
        {
            tensor.elem_type = Some(DataType::Float.into());
        }
    }
    let read_by_moving: HashSet<String> = graph
        .node
        .iter()
        .filter(|node| node.output.iter().any(|it| moving.contains(it)))
        .flat_map(|node| node.input.iter().cloned())
        .collect();
    for node in &mut graph.node {
        let moves = node.input.iter().any(|it| moving.contains(it));
        let is_read = node.output.iter().any(|it| read_by_moving.contains(it));
        match node.op_type() {
            "Cast" if moves || !is_double(node) => cast(node),
            "Constant" | "ConstantOfShape" if is_read || !is_double(node) => constant(node),
            _ => {}
        }
    }
}

/// Whether a number of an element type is that of a float, but not of f32.
fn is_other(data_type: i32) -> bool {
    use DataType::{Bfloat16, Double, Float16};
    [Double, Float16, Bfloat16].iter().any(|&it| it as i32 == data_type)
}

fn present(graph: &GraphProto) -> bool {
    let inputs = graph.input.iter().filter_map(|it| match it.r#type.as_ref()?.value.as_ref()? {
        TypeValue::TensorType(tensor) => Some(tensor.elem_type()),
        _ => None,
    });
    let weights = graph.initializer.iter().map(TensorProto::data_type);
    let attributes = graph.node.iter().flat_map(|node| node.attribute.iter().map(move |it| (node.op_type(), it)));
    let made = attributes.filter_map(|(op, it)| match (&it.t, op) {
        (Some(tensor), _) => Some(tensor.data_type()),
        (None, "Cast") if it.name() == "to" => i32::try_from(it.i()).ok(),
        _ => None,
    });
    inputs.chain(weights).chain(made).any(is_other)
}

/// Values that inputs or weights go into, other than by their shapes; the nodes may be in any order.
pub fn moving(graph: &GraphProto) -> HashSet<String> {
    let weights = graph.initializer.iter().filter(|it| is_float(it) && !is_literal(it)).map(TensorProto::name);
    let inputs = real_inputs(graph).into_iter().map(ValueInfoProto::name);
    let mut moving: HashSet<String> = weights.chain(inputs).map(String::from).collect();
    loop {
        let before = moving.len();
        for node in graph.node.iter().filter(|it| !matches!(it.op_type(), "Shape" | "Size")) {
            if values_read(node).iter().any(|it| moving.contains(*it)) {
                moving.extend(node.output.iter().filter(|it| !it.is_empty()).cloned());
            }
        }
        if moving.len() == before {
            return moving;
        }
    }
}

/// Whether a node makes doubles by an attribute.
fn is_double(node: &NodeProto) -> bool {
    let double = DataType::Double as i32;
    node.attribute.iter().any(|it| match (&it.t, it.name()) {
        (Some(tensor), _) => tensor.data_type() == double,
        (None, "to") => it.i() == i64::from(double),
        _ => false,
    })
}

fn cast(node: &mut NodeProto) {
    for attribute in node.attribute.iter_mut().filter(|it| it.name() == "to") {
        if i32::try_from(attribute.i()).is_ok_and(is_other) {
            attribute.i = Some(DataType::Float as i64);
        }
    }
}

fn constant(node: &mut NodeProto) {
    for tensor in node.attribute.iter_mut().filter_map(|it| it.t.as_mut()).filter(|it| is_other(it.data_type())) {
        if let Ok(values) = TensorData::decode(tensor, None).and_then(|it| it.to_f32()) {
            let mut wide = TensorProto { data_type: Some(DataType::Float.into()), ..tensor.clone() };
            if set_f32(&mut wide, &values).is_ok() {
                *tensor = wide;
            }
        }
    }
}
