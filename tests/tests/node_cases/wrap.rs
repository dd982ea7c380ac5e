//! A case as a model that razorc can compile.

use razorc_proto::Model;
use razorc_proto::onnx::attribute_proto::AttributeType;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::tensor_shape_proto::{Dimension, dimension};
use razorc_proto::onnx::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

use super::Data;

/// All that is trained.
pub const WEIGHT: &str = "razorc.zeros";

/// Which inputs become initializers: none, all that are no floats, and all but the first.
pub fn choices(data: &Data) -> Vec<Vec<bool>> {
    let inputs = data.inputs.len();
    let floats: Vec<bool> = data.inputs.iter().map(|it| it.data_type() == DataType::Float as i32).collect();
    let first = floats.iter().position(|it| *it).unwrap_or(0);
    let mut choices = vec![
        vec![false; inputs],
        floats.iter().map(|it| !it).collect(),
        (0..inputs).map(|it| it != first).collect::<Vec<bool>>(),
    ];
    choices.dedup();
    choices.retain(|it| it.iter().any(|constant| !constant));
    choices
}

/// The case with inputs that have a first axis of one, and with one of its outputs as one row.
pub fn wrapped(data: &Data, output: usize, constants: &[bool]) -> Model {
    let mut proto = data.model.proto().clone();
    let opset = proto.opset_import.iter_mut().find(|it| it.domain().is_empty());
    if let Some(opset) = opset {
        // What wraps the case is of these versions.
        opset.version = Some(opset.version().max(7));
    }
    let graph = proto.graph.as_mut().unwrap();
    let mut before = vec![];
    let infos = std::mem::take(&mut graph.input);
    for ((info, tensor), constant) in infos.into_iter().zip(&data.inputs).zip(constants) {
        let name = info.name().to_string();
        if *constant {
            graph.initializer.push(TensorProto { name: Some(name), ..tensor.clone() });
            continue;
        }
        let fed = fed(&name);
        let shape = format!("{fed}.shape");
        let dims: Vec<i64> = std::iter::once(1).chain(tensor.dims.iter().copied()).collect();
        graph.input.push(input(&fed, tensor.data_type(), &dims));
        graph.initializer.push(ints(&shape, &tensor.dims));
        before.push(node("Reshape", &[&fed, &shape], &name));
    }
    let made = graph.output[output].name().to_string();
    let values = &data.outputs[output];
    let elements: i64 = values.dims.iter().product();
    let mut after = vec![];
    let mut floats = made.clone();
    if values.data_type() != DataType::Float as i32 {
        floats = "razorc.floats".into();
        let to = AttributeProto {
            name: Some("to".into()),
            r#type: Some(AttributeType::Int.into()),
            i: Some(DataType::Float as i64),
            ..AttributeProto::default()
        };
        after.push(NodeProto { attribute: vec![to], ..node("Cast", &[&made], &floats) });
    }
    after.push(node("Reshape", &[&floats, "razorc.row"], "razorc.flat"));
    after.push(node("Add", &["razorc.flat", WEIGHT], "razorc.y"));
    graph.initializer.push(ints("razorc.row", &[1, elements]));
    graph.initializer.push(TensorProto {
        name: Some(WEIGHT.into()),
        dims: vec![elements],
        data_type: Some(DataType::Float.into()),
        raw_data: Some(vec![0; 4 * elements.max(0) as usize].into()),
        ..TensorProto::default()
    });
    graph.output = vec![input("razorc.y", DataType::Float.into(), &[1, elements])];
    graph.value_info.clear();
    wrap_nodes(graph, before, after);
    data.model.with_proto(proto)
}

/// The name of the input that is fed in place of one of the case's.
pub fn fed(name: &str) -> String {
    format!("{name}.fed")
}

fn wrap_nodes(graph: &mut GraphProto, before: Vec<NodeProto>, after: Vec<NodeProto>) {
    let nodes = std::mem::take(&mut graph.node);
    graph.node = before.into_iter().chain(nodes).chain(after).collect();
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("razorc.{op}")),
        op_type: Some(op.into()),
        input: inputs.iter().map(|it| it.to_string()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![values.len() as i64],
        data_type: Some(DataType::Int64.into()),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn input(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = |&size: &i64| Dimension { value: Some(dimension::Value::DimValue(size)), ..Dimension::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(elem_type), shape: Some(shape) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..ValueInfoProto::default() }
}
