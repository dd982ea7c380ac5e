//! Edits of a model before import. They are a pure function of the model, so export does them again.

pub(crate) mod edit;
mod graft;
mod head;
mod untie;

use std::collections::HashSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::{GraphProto, TensorProto, ValueInfoProto};
use razorc_proto::program::Preparation;

use crate::error::PrepareError;
use crate::import::typed;

/// A model that is ready for import, and what it did not have before.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The edited model.
    pub model: Model,
    /// Names of the fresh head's initializers; empty where the model keeps its own head.
    pub head: Vec<String>,
}

/// Gives weights that share one initializer their own ones, and the model a fresh head if one is asked for.
pub fn prepare(model: &Model, preparation: &Preparation) -> Result<Prepared, PrepareError> {
    prepare_some(model, preparation, |_, _| true)
}

/// As `prepare`, but a weight that shares an initializer gets its own only where `wanted` says so of their two names.
pub(crate) fn prepare_some(
    original: &Model,
    preparation: &Preparation,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Prepared, PrepareError> {
    let mut model = original.clone();
    untie::untie(model.graph_mut(), &wanted);
    untie::split(&mut model, original.graph(), preparation.untie_shared, &wanted);
    let mut fresh = Fresh::new(preparation);
    match (preparation.classes, preparation.head_at.as_str()) {
        (0, "") => {}
        (0, value) => return Err(PrepareError::NoClasses(value.into())),
        (classes, "") => head::replace(&mut model, classes, &mut fresh)?,
        (classes, value) => graft::graft(&mut model, value, classes, &mut fresh)?,
    }
    declare(model.proto().ir_version(), model.graph_mut(), original.graph());
    Ok(Prepared { model, head: fresh.names })
}

/// Before version 4 of the format, every initializer is also an input; so new ones must be.
fn declare(ir_version: i64, graph: &mut GraphProto, original: &GraphProto) {
    if 4 <= ir_version {
        return;
    }
    let declared: HashSet<&str> = graph.input.iter().map(ValueInfoProto::name).collect();
    let old: HashSet<&str> = original.initializer.iter().map(TensorProto::name).collect();
    let was_declared: HashSet<&str> = original.input.iter().map(ValueInfoProto::name).collect();
    let missing = graph.initializer.iter().filter(|it| {
        let name = it.name();
        !declared.contains(name) && (!old.contains(name) || was_declared.contains(name))
    });
    let inputs: Vec<ValueInfoProto> = missing.map(|it| typed(it.name(), it.data_type(), &it.dims)).collect();
    graph.input.extend(inputs);
}

/// Makes the tensors of a fresh head, from the preparation's seed alone.
struct Fresh {
    random: ChaCha8Rng,
    names: Vec<String>,
}

impl Fresh {
    fn new(preparation: &Preparation) -> Fresh {
        Fresh { random: ChaCha8Rng::seed_from_u64(preparation.seed), names: vec![] }
    }

    /// Uniform within `1/√features`, as the field initializes classifiers.
    fn weight(&mut self, name: &str, dims: &[u64], features: u64) -> Result<TensorProto, PrepareError> {
        let elements = elements(dims)?;
        let bound = 1.0 / (features.max(1) as f32).sqrt();
        let mut draw = || (self.random.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
        let values: Vec<f32> = (0..elements).map(|_| draw() * bound).collect();
        Ok(self.tensor(name, dims, &values))
    }

    fn bias(&mut self, name: &str, dims: &[u64]) -> Result<TensorProto, PrepareError> {
        let zeros = vec![0.0; elements(dims)? as usize];
        Ok(self.tensor(name, dims, &zeros))
    }

    fn tensor(&mut self, name: &str, dims: &[u64], values: &[f32]) -> TensorProto {
        self.names.push(name.to_string());
        let bytes: Vec<u8> = values.iter().flat_map(|it| it.to_le_bytes()).collect();
        TensorProto {
            name: Some(name.to_string()),
            dims: dims.iter().map(|&it| it as i64).collect(),
            data_type: Some(DataType::Float.into()),
            raw_data: Some(bytes.into()),
            ..TensorProto::default()
        }
    }
}

/// Elements of a fresh tensor, which has to fit an ONNX file.
fn elements(dims: &[u64]) -> Result<u64, PrepareError> {
    const MOST: u64 = 1 << 29;
    let product = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    product.filter(|&it| it <= MOST).ok_or_else(|| PrepareError::TooLarge { dims: dims.to_vec() })
}
