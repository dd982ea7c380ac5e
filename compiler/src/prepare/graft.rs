//! Cuts a model at a value and puts a fresh classifier there.

use std::collections::HashSet;

use razorc_proto::Model;
use razorc_proto::onnx::attribute_proto::AttributeType;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::{AttributeProto, GraphProto, ValueInfoProto};

use super::{Fresh, edit};
use crate::error::PrepareError;
use crate::import::{output_name, real_inputs, shapes, typed, values_read};

/// Keeps what `value` depends on and classifies that: mean over space where it has any, then Gemm.
pub fn graft(model: &mut Model, value: &str, classes: u64, fresh: &mut Fresh) -> Result<(), PrepareError> {
    if edit::maker(model.graph(), value).is_none() {
        return Err(PrepareError::NoSuchValue(value.into()));
    }
    let shapes = shapes(model)?;
    let ty = shapes.ty(value).filter(|it| it.is_f32() && 2 <= it.rank());
    let Some(dims) = ty.map(|it| it.dims().to_vec()) else {
        let found = shapes.ty(value).map_or("of unknown type".into(), |it| it.to_string());
        return Err(PrepareError::HeadShape { value: value.into(), found });
    };
    let features = dims[1];
    let old_output = output_name(model.graph())?.to_string();
    let graph = model.graph_mut();
    keep_only(graph, value);

    let mut input = value.to_string();
    let mut chain = |graph: &mut GraphProto, op: &str, step: &str| {
        let output = edit::free_name(graph, &format!("razorc.head.{step}"));
        graph.node.push(edit::node(op, &format!("razorc.head.{op}"), &[&input], &output));
        input = output;
    };
    if 2 < dims.len() {
        chain(graph, "GlobalAveragePool", "mean");
        chain(graph, "Flatten", "features");
    }
    let weight = edit::free_name(graph, "razorc.head.weight");
    let bias = edit::free_name(graph, "razorc.head.bias");
    graph.initializer.push(fresh.weight(&weight, &[classes, features], features)?);
    graph.initializer.push(fresh.bias(&bias, &[classes])?);
    let output = edit::free_name(graph, &old_output);
    let mut gemm = edit::node("Gemm", "razorc.head.Gemm", &[&input, &weight, &bias], &output);
    gemm.attribute.push(AttributeProto {
        name: Some("transB".into()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(1),
        ..AttributeProto::default()
    });
    graph.node.push(gemm);
    graph.output = vec![scores(graph, &output, classes)];
    Ok(())
}

/// Removes everything that `value` does not depend on.
fn keep_only(graph: &mut GraphProto, value: &str) {
    let mut needed: HashSet<String> = HashSet::from([value.to_string()]);
    loop {
        let before = needed.len();
        for node in graph.node.iter().rev() {
            if node.output.iter().any(|it| needed.contains(it)) {
                needed.extend(values_read(node).into_iter().map(String::from));
            }
        }
        if needed.len() == before {
            break;
        }
    }
    let dead: HashSet<String> =
        graph.initializer.iter().map(|it| it.name().to_string()).filter(|it| !needed.contains(it)).collect();
    graph.node.retain(|it| it.output.iter().any(|it| needed.contains(it)));
    graph.initializer.retain(|it| !dead.contains(it.name()));
    graph.input.retain(|it| !dead.contains(it.name()));
    graph.value_info.retain(|it| needed.contains(it.name()));
    graph.output.clear();
}

fn scores(graph: &GraphProto, name: &str, classes: u64) -> ValueInfoProto {
    let batch = real_inputs(graph).first().and_then(|it| edit::axes_mut(&mut (*it).clone())?.first().cloned());
    let mut scores = typed(name, DataType::Float.into(), &[0, classes as i64]);
    if let Some(axes) = edit::axes_mut(&mut scores) {
        axes[0] = batch.unwrap_or_default();
    }
    scores
}
