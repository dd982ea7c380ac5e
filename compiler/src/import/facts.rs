//! What tract knows of a model: types of values, and what folds to a constant. Nothing else here sees tract.

mod attention;

use std::collections::HashMap;
use std::sync::Arc;

use razorc_proto::Model;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

use super::guard::{guard, panic_text, quietly};
use super::shapes;
use crate::error::ImportError;
use crate::types::{DType, Type};

/// Types and constants of a model's values, by their names in the model.
#[derive(Default)]
pub struct Facts {
    values: HashMap<String, Fact>,
    /// The first thing that did not add up, if anything did not.
    pub fault: Option<String>,
}

struct Fact {
    ty: Type,
    constant: Option<Arc<Tensor>>,
}

impl Facts {
    /// Type of a value; none where it could not be found out.
    pub fn ty(&self, value: &str) -> Option<&Type> {
        self.values.get(value).map(|it| &it.ty)
    }

    /// Whether a value is known before the model runs.
    pub fn is_constant(&self, value: &str) -> bool {
        self.values.get(value).is_some_and(|it| it.constant.is_some())
    }

    /// Elements of an integer (or bool) constant.
    pub fn ints(&self, value: &str) -> Option<Vec<i64>> {
        let fact = self.values.get(value)?;
        match fact.ty {
            Type::Dense { dtype: DType::I64 | DType::U8 | DType::Bool, .. } => elements(fact),
            _ => None,
        }
    }

    /// Elements of a float constant.
    pub fn floats(&self, value: &str) -> Option<Vec<f32>> {
        let fact = self.values.get(value)?;
        match fact.ty {
            Type::Dense { dtype: DType::F32 | DType::F16, .. } => elements(fact),
            _ => None,
        }
    }
}

fn elements<T: tract_onnx::prelude::Datum + Copy>(fact: &Fact) -> Option<Vec<T>> {
    let cast = fact.constant.as_ref()?.cast_to::<T>().ok()?;
    Some(cast.try_as_plain_ram().ok()?.as_slice::<T>().ok()?.to_vec())
}

/// Analyses a probe: a model whose inputs have fixed sizes and whose weights are inputs.
pub fn analyse(probe: &Model) -> Result<Facts, ImportError> {
    // Reading a tensor that makes no sense may panic.
    match quietly(|| solve(probe)) {
        Ok(Ok(facts)) => Ok(facts),
        Ok(Err(e)) => Ok(Facts { fault: Some(format!("{e:#}")), ..Facts::default() }),
        Err(panic) => Err(ImportError::Analysis { model: probe.graph().name().into(), reason: panic_text(&*panic) }),
    }
}

fn solve(probe: &Model) -> TractResult<Facts> {
    let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
    onnx.op_register.insert("BatchNormalization", |_, node| {
        let outputs = node.output.iter().filter(|it| !it.is_empty()).count();
        Ok((expand(BatchNorm { outputs }), vec![]))
    });
    shapes::register(&mut onnx);
    onnx.op_register.insert("Attention", |_, node| Ok((expand(attention::Attention::new(node)?), vec![])));
    let probe = onnx.proto_model_for_read(&mut &*probe.encode())?;
    let parsed = onnx.parse(&probe, None)?;
    ensure!(parsed.unresolved_inputs.is_empty(), "inputs {:?} are not defined", parsed.unresolved_inputs);
    let mut model = parsed.model;
    guard(&mut model);
    let fault = model.analyse(true).err().map(|e| e.root_cause().to_string());
    let mut values = HashMap::new();
    for (name, outlet) in parsed.outlets_by_name {
        let fact = model.outlet_fact(outlet)?;
        let dtype = fact.datum_type.concretize().and_then(dtype_of);
        let shape = fact.shape.as_concrete_finite()?;
        let dims = shape.and_then(|it| checked_dims(it.iter().map(|&d| d as u64)));
        if let (Some(dtype), Some(dims)) = (dtype, dims) {
            values.insert(name, Fact { ty: Type::dense(dtype, &dims), constant: fact.value.concretize() });
        }
    }
    Ok(Facts { values, fault })
}

/// These sizes, if a tensor of them can exist: its bytes can be counted.
pub fn checked_dims(dims: impl Iterator<Item = u64>) -> Option<Vec<u64>> {
    const MOST: u64 = 1 << 40;
    let dims: Vec<u64> = dims.collect();
    let product = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim.max(1)));
    product.filter(|&it| it <= MOST).map(|_| dims)
}

/// The graph computes in f32 and i64: a model's doubles and 32-bit integers become those.
fn dtype_of(ty: DatumType) -> Option<DType> {
    Some(match ty {
        DatumType::F32 | DatumType::F64 => DType::F32,
        DatumType::F16 => DType::F16,
        DatumType::I64 | DatumType::I32 | DatumType::TDim => DType::I64,
        DatumType::U8 => DType::U8,
        DatumType::Bool => DType::Bool,
        _ => return None,
    })
}

/// tract refuses a BatchNormalization that also makes statistics; for types alone, any number of outputs is fine.
#[derive(Debug, Clone)]
struct BatchNorm {
    outputs: usize,
}

impl Expansion for BatchNorm {
    fn name(&self) -> StaticName {
        "BatchNormalization".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for (at, output) in outputs.iter().enumerate() {
            let like = if at == 0 { 0 } else { 3 };
            ensure!(like < inputs.len(), "BatchNormalization needs 5 inputs");
            solver.equals(&output.datum_type, &inputs[like].datum_type)?;
            solver.equals(&output.shape, &inputs[like].shape)?;
        }
        Ok(())
    }

    fn wire(&self, _: &str, _: &mut TypedModel, _: &[OutletId]) -> TractResult<TVec<OutletId>> {
        bail!("is for analysis only")
    }
}
