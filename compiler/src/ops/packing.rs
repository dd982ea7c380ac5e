//! Pruned copies of activations: what the Back Razor pass is made of.

use super::rules::{all_floats, arity, fail, same};
use super::{OpDef, ShapeError};
use crate::attrs::Attrs;
use crate::types::{DType, Type};

pub const OPS: &[OpDef] = &[
    // The `keep` largest magnitudes of each sample, ties to the lowest index.
    OpDef::made("compress", &["topk"], compress),
    // Zeros where nothing was kept.
    OpDef::made("decompress", &["hat"], |operands, _| {
        arity(operands, 1, 1)?;
        match &operands[0] {
            Type::TopK { dims, .. } => Ok(vec![Type::f32(dims)]),
            other => fail(format!("needs a packed operand, not {other}")),
        }
    }),
    // The published rule: everything at or above a threshold, so ties are all kept. Nothing is packed.
    OpDef::made("mask_topk", &["hat"], same),
];

fn compress(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 1, 1)?;
    let dims = operands[0].dims().to_vec();
    let samples = u64::try_from(attrs.int_or("samples", 0)).unwrap_or(0);
    let keep = u64::try_from(attrs.int_or("keep", 0)).unwrap_or(0);
    let elements = operands[0].elements();
    if samples == 0 || !elements.is_multiple_of(samples) || elements / samples < keep {
        return fail(format!("cannot keep {keep} of each of {samples} samples of {dims:?}"));
    }
    let values = attrs.word("values").and_then(DType::from_word);
    let Some(values @ (DType::F32 | DType::F16 | DType::Bf16)) = values else {
        return fail("values must be f32, f16 or bf16");
    };
    Ok(vec![Type::TopK { dims, samples, keep, values }])
}
