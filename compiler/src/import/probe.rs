//! A model small enough to analyse: without the weights, with every size of every input fixed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use razorc_proto::onnx::attribute_proto::AttributeType;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::tensor_shape_proto::Dimension;
use razorc_proto::onnx::tensor_shape_proto::dimension::Value as Size;
use razorc_proto::onnx::type_proto::{Tensor, Value as TypeValue};
use razorc_proto::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
use razorc_proto::{Model, TensorData, set_f32};

use super::facts::checked_dims;
use super::inline::subgraphs;
use crate::error::ImportError;

/// Float initializers with more elements are weights for sure; tract need not see them.
const SMALL: u64 = 64;

/// What fixes the sizes that a model leaves open.
pub struct Sizes<'a> {
    /// First axis of every input; none keeps what the model says, or 1.
    pub batch: Option<u64>,
    /// Sizes by the names that the model gives them.
    pub bind: &'a BTreeMap<String, u64>,
    /// Axis sizes of inputs by name; the first one gives way to `batch`.
    pub input_shapes: &'a BTreeMap<String, Vec<u64>>,
    /// For axes that nothing else fixes; none makes them an error.
    pub other: Option<u64>,
}

/// A model without weights, and what was bent to get it.
pub struct Probe {
    /// Ready to analyse.
    pub model: Model,
    /// The batch that the model was exported with, if another one is asked for.
    pub baked: Option<u64>,
}

/// Makes the probe of a model.
pub fn probe(model: &Model, sizes: &Sizes<'_>) -> Result<Probe, ImportError> {
    let graph = model.graph();
    let (mut inputs, baked) = fix_inputs(graph, sizes)?;
    let mut initializers = vec![];
    for tensor in &graph.initializer {
        let dims = weight_dims(tensor)?;
        // Plans are made for weights that are not there, too.
        let large = || SMALL < dims.iter().product() || is_missing(tensor, model.folder());
        if is_float(tensor) && !dims.is_empty() && large() {
            inputs.push(input(tensor.name(), DataType::Float.into(), &dims));
        } else if is_float(tensor) && tensor.data_type() != DataType::Float as i32 {
            initializers.push(widened(tensor, model.folder())?);
        } else if tensor.external_data.is_empty() {
            initializers.push(tensor.clone());
        } else {
            let bytes = TensorData::decode(tensor, model.folder())?.bytes;
            initializers.push(TensorProto {
                name: tensor.name.clone(),
                dims: tensor.dims.clone(),
                data_type: tensor.data_type,
                raw_data: Some(bytes),
                ..TensorProto::default()
            });
        }
    }
    let mut small = GraphProto {
        name: graph.name.clone(),
        node: graph.node.iter().map(with_fill).collect(),
        initializer: initializers,
        input: inputs,
        ..GraphProto::default()
    };
    if let (Some(baked), Some(batch)) = (baked, sizes.batch) {
        patch_shapes(&mut small, &data_values(graph), baked as i64, batch as i64);
    }
    let whole = model.proto();
    let proto = ModelProto {
        ir_version: whole.ir_version,
        opset_import: whole.opset_import.clone(),
        graph: Some(small),
        ..ModelProto::default()
    };
    Ok(Probe { model: model.with_proto(proto), baked })
}

/// Whether a tensor's bytes lie in another file, which cannot be read.
fn is_missing(tensor: &TensorProto, folder: Option<&Path>) -> bool {
    !tensor.external_data.is_empty() && TensorData::decode(tensor, folder).is_err()
}

/// The f32 tensor that stands for one of another width.
fn widened(tensor: &TensorProto, folder: Option<&Path>) -> Result<TensorProto, ImportError> {
    let values = TensorData::decode(tensor, folder)?.to_f32()?;
    let mut wide = TensorProto { data_type: Some(DataType::Float.into()), ..tensor.clone() };
    set_f32(&mut wide, &values)?;
    Ok(wide)
}

/// tract fills with f64 what a ConstantOfShape without a value means to fill with f32.
fn with_fill(node: &NodeProto) -> NodeProto {
    if subgraphs(node).next().is_some() {
        // What is inside of loops and branches cannot be imported, so it need not be analysed.
        let (input, output) = (node.input.clone(), node.output.clone());
        return NodeProto { op_type: Some("Opaque".into()), input, output, ..NodeProto::default() };
    }
    let mut node = node.clone();
    if node.op_type() == "ConstantOfShape" && node.attribute.is_empty() {
        let zero = TensorProto {
            dims: vec![1],
            data_type: Some(DataType::Float.into()),
            raw_data: Some(vec![0; 4].into()),
            ..TensorProto::default()
        };
        node.attribute.push(AttributeProto {
            name: Some("value".into()),
            r#type: Some(AttributeType::Tensor.into()),
            t: Some(zero),
            ..AttributeProto::default()
        });
    }
    node
}

/// Inputs that are not initializers, by the model's order.
pub fn real_inputs(graph: &GraphProto) -> Vec<&ValueInfoProto> {
    let initializers: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    graph.input.iter().filter(|it| !initializers.contains(it.name())).collect()
}

/// Sizes of an initializer's axes, such as a tensor can have.
pub fn weight_dims(tensor: &TensorProto) -> Result<Vec<u64>, ImportError> {
    let dims: Option<Vec<u64>> = tensor.dims.iter().map(|&it| u64::try_from(it).ok()).collect();
    dims.and_then(|it| checked_dims(it.into_iter()))
        .ok_or_else(|| ImportError::WeightDims { name: tensor.name().into(), dims: tensor.dims.clone() })
}

/// Whether an initializer is a number that an exporter wrote rather than a weight: one without axes, or a single element
/// under a name that PyTorch's exporter makes up for constants, `val_N`.
pub fn is_literal(tensor: &TensorProto) -> bool {
    let numbered = |name: &str| name.strip_prefix("val_").is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()));
    tensor.dims.is_empty() || tensor.dims.iter().all(|&it| it == 1) && numbered(tensor.name())
}

/// Whether a tensor holds floats of any width.
pub fn is_float(tensor: &TensorProto) -> bool {
    use DataType::{Bfloat16, Double, Float, Float16};
    [Float, Double, Float16, Bfloat16].iter().any(|&it| it as i32 == tensor.data_type())
}

fn fix_inputs(graph: &GraphProto, sizes: &Sizes<'_>) -> Result<(Vec<ValueInfoProto>, Option<u64>), ImportError> {
    let inputs = real_inputs(graph);
    for name in sizes.input_shapes.keys() {
        if !inputs.iter().any(|it| it.name() == name) {
            let inputs = inputs.iter().map(|it| it.name().to_string()).collect();
            return Err(ImportError::NoSuchInput { name: name.clone(), inputs });
        }
    }
    let batch_names: HashSet<&str> = inputs.iter().filter_map(|it| dim_name(axes(it)?.first()?)).collect();
    let (mut fixed, mut baked, mut open, mut used) = (vec![], None, vec![], HashSet::new());
    for info in &inputs {
        let given = sizes.input_shapes.get(info.name());
        let declared = axes(info);
        let rank = match (declared, given) {
            (Some(declared), Some(given)) if declared.len() != given.len() => {
                let (name, axes) = (info.name().into(), declared.len());
                return Err(ImportError::InputRank { name, axes, given: given.clone() });
            }
            (Some(declared), _) => declared.len(),
            (None, Some(given)) => given.len(),
            (None, None) => {
                open.push(format!("all axes of input `{}` (`--input-shape {}=N,...`)", info.name(), info.name()));
                continue;
            }
        };
        let mut dims = vec![];
        for axis in 0..rank {
            let declared = declared.map(|it| &it[axis]);
            let name = declared.and_then(dim_name);
            let literal = declared.and_then(dim_size);
            let given = given.map(|it| it[axis]);
            if axis == 0 || name.is_some_and(|it| batch_names.contains(it)) {
                if let (0, Some(literal), Some(batch)) = (axis, literal, sizes.batch)
                    && literal != batch
                {
                    baked = Some(literal);
                }
                dims.push(sizes.batch.or(literal).or(given).unwrap_or(1));
                continue;
            }
            let bound = name.and_then(|it| sizes.bind.get_key_value(it));
            used.extend(bound.map(|it| it.0.as_str()));
            match given.or(bound.map(|it| *it.1)).or(literal).or(sizes.other) {
                Some(size) => dims.push(size),
                None => open.push(match name {
                    Some(name) => format!("`{name}`, axis {axis} of input `{}` (`--bind {name}=N`)", info.name()),
                    None => format!("axis {axis} of input `{0}` (`--input-shape {0}=N,...`)", info.name()),
                }),
            }
        }
        if dims.contains(&0) || checked_dims(dims.iter().copied()).is_none() {
            return Err(ImportError::InputDims { name: info.name().into(), dims });
        }
        fixed.push(input(info.name(), element_type(info), &dims));
    }
    if !open.is_empty() {
        return Err(ImportError::OpenSizes(open));
    }
    if let Some(name) = sizes.bind.keys().find(|it| !used.contains(it.as_str())) {
        return Err(match batch_names.contains(name.as_str()) {
            true => ImportError::BindsBatch { name: name.clone() },
            false => ImportError::NoSuchSize { name: name.clone(), open: names(&inputs, &batch_names) },
        });
    }
    Ok((fixed, baked))
}

/// Names of sizes, the batch apart.
fn names(inputs: &[&ValueInfoProto], batch: &HashSet<&str>) -> Vec<String> {
    let dims = inputs.iter().filter_map(|it| axes(it)).flatten();
    let mut names: Vec<String> = dims.filter_map(dim_name).filter(|it| !batch.contains(it)).map(String::from).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn axes(info: &ValueInfoProto) -> Option<&[Dimension]> {
    match info.r#type.as_ref()?.value.as_ref()? {
        TypeValue::TensorType(tensor) => Some(&tensor.shape.as_ref()?.dim),
        _ => None,
    }
}

fn element_type(info: &ValueInfoProto) -> i32 {
    match info.r#type.as_ref().and_then(|it| it.value.as_ref()) {
        Some(TypeValue::TensorType(tensor)) => tensor.elem_type(),
        _ => 0,
    }
}

fn dim_name(dim: &Dimension) -> Option<&str> {
    match dim.value.as_ref()? {
        Size::DimParam(name) => Some(name).filter(|it| !it.is_empty()).map(String::as_str),
        Size::DimValue(_) => None,
    }
}

/// A literal size; exporters also write 0 or -1 for one that they do not know.
fn dim_size(dim: &Dimension) -> Option<u64> {
    match dim.value.as_ref()? {
        Size::DimValue(size) => u64::try_from(*size).ok().filter(|&it| it != 0),
        Size::DimParam(_) => None,
    }
}

fn input(name: &str, elem_type: i32, dims: &[u64]) -> ValueInfoProto {
    typed(name, elem_type, &dims.iter().map(|&it| it as i64).collect::<Vec<_>>())
}

/// An input of the model with fixed sizes.
pub fn typed(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = |&size: &i64| Dimension { value: Some(Size::DimValue(size)), ..Dimension::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = Tensor { elem_type: Some(elem_type), shape: Some(shape) };
    let ty = TypeProto { value: Some(TypeValue::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..ValueInfoProto::default() }
}

/// Values that depend on what the model is fed; the nodes may be in any order.
fn data_values(graph: &GraphProto) -> HashSet<String> {
    let mut found: HashSet<String> = real_inputs(graph).iter().map(|it| it.name().to_string()).collect();
    loop {
        let before = found.len();
        for node in &graph.node {
            if node.input.iter().any(|it| found.contains(it)) {
                found.extend(node.output.iter().filter(|it| !it.is_empty()).cloned());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Makes literal shapes that start with the baked batch start with the batch that is asked for.
fn patch_shapes(graph: &mut GraphProto, data: &HashSet<String>, baked: i64, batch: i64) {
    let from_attributes = graph.node.iter().filter(|it| it.op_type() == "Constant").filter_map(|node| {
        let tensor = node.attribute.iter().find(|it| it.name() == "value")?.t.as_ref()?;
        Some((node.output.first()?.clone(), tensor))
    });
    let constants: HashMap<String, Vec<i64>> = from_attributes
        .chain(graph.initializer.iter().map(|it| (it.name().to_string(), it)))
        .filter(|it| it.1.data_type() == DataType::Int64 as i32)
        .filter_map(|(name, tensor)| Some((name, TensorData::decode(tensor, None).ok()?.to_i64().ok()?)))
        .collect();
    let mut patched = vec![];
    for (at, node) in graph.node.iter_mut().enumerate() {
        let bends = match node.op_type() {
            "Reshape" => node.input.first().is_some_and(|it| data.contains(it)),
            "Expand" => true,
            _ => false,
        };
        let Some(shape) = node.input.get_mut(1).filter(|_| bends) else { continue };
        if let Some(literal) = constants.get(shape)
            && literal.first() == Some(&baked)
        {
            *shape = format!("{shape}.batch.{at}");
            let rest = literal[1..].iter().copied();
            patched.push(int_tensor(shape, std::iter::once(batch).chain(rest).collect()));
        }
    }
    graph.initializer.extend(patched);
}

/// An int64 initializer of rank 1.
pub fn int_tensor(name: &str, values: Vec<i64>) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|it| it.to_le_bytes()).collect();
    TensorProto {
        name: Some(name.into()),
        dims: vec![values.len() as i64],
        data_type: Some(DataType::Int64.into()),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    }
}
