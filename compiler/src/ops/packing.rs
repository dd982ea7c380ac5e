//! Pruned copies of activations: what the Back Razor pass is made of.

use super::rules::{all_floats, arity, fail, floats, same};
use super::{OpDef, ShapeError};
use crate::attrs::{Attr, Attrs};
use crate::types::{DType, IndexForm, Type};

pub const OPS: &[OpDef] = &[
    // The `keep` largest magnitudes of each sample, ties to the lowest index. Values of i8 are rounded up or down at
    // random, by a seed and the number of the step, the second operand.
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
    // Its rule for what GELU reads.
    OpDef { reuses: &[0], ..OpDef::made("round_f16", &["hat"], same) },
    // The derivative of a smooth activation at x, as the nearest of a few levels.
    OpDef::made("slope_codes", &["codes"], |operands, attrs| {
        all_floats(operands, 1, 1)?;
        let bits = attrs.int_or("bits", 0);
        slope(attrs, bits)?;
        Ok(vec![Type::Codes { dims: operands[0].dims().to_vec(), bits: bits as u64 }])
    }),
    // dx = dy * level.
    OpDef {
        reuses: &[0],
        ..OpDef::made("scale_by_codes", &["dx"], |operands, attrs| {
            arity(operands, 2, 2)?;
            floats(operands, &[0])?;
            match &operands[1] {
                Type::Codes { dims, bits } if dims == operands[0].dims() => slope(attrs, *bits as i64)?,
                other => return fail(format!("the codes must be those of {}, not {other}", operands[0])),
            }
            Ok(vec![operands[0].clone()])
        })
    },
];

/// Checks that so many bits can hold the slopes of the function that the attributes name.
fn slope(attrs: &Attrs, bits: i64) -> Result<(), ShapeError> {
    if !(2..=4).contains(&bits) {
        return fail(format!("codes have 2 to 4 bits, not {bits}"));
    }
    match attrs.word("function") {
        Some("gelu" | "silu" | "mish" | "hard_swish" | "softplus" | "softsign") => Ok(()),
        // From 0 to the larger of 1 and alpha.
        Some("elu") if (0.0..=((1 << bits) - 1) as f64).contains(&attrs.float_or("alpha", 1.0)) => Ok(()),
        Some("elu") => fail(format!("{bits} bits cannot hold slopes up to {}", attrs.float_or("alpha", 1.0))),
        _ => fail("needs the function whose slopes the codes are"),
    }
}

fn compress(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    arity(operands, 1, 2)?;
    floats(operands, &[0])?;
    let dims = operands[0].dims().to_vec();
    let samples = u64::try_from(attrs.int_or("samples", 0)).unwrap_or(0);
    let keep = u64::try_from(attrs.int_or("keep", 0)).unwrap_or(0);
    let elements = operands[0].elements();
    if samples == 0 || !elements.is_multiple_of(samples) || elements / samples < keep {
        return fail(format!("cannot keep {keep} of each of {samples} samples of {dims:?}"));
    }
    let values = attrs.word("values").and_then(DType::from_word);
    let Some(values @ (DType::F32 | DType::F16 | DType::Bf16 | DType::I8)) = values else {
        return fail("values must be f32, f16, bf16 or i8");
    };
    match (values, attrs.get("seed"), operands.get(1)) {
        (DType::I8, Some(Attr::Int(_)), None) => {}
        (DType::I8, Some(Attr::Int(_)), Some(step)) if *step == Type::f32(&[]) => {}
        (DType::I8, ..) => return fail("i8 values need the seed of their rounding, and no operand but x and the step"),
        (_, None, None) => {}
        _ => return fail("only i8 values have a seed and a step"),
    }
    let form = attrs.word("form").unwrap_or(IndexForm::Bitmap.word());
    let Some(form) = IndexForm::from_word(form) else { return fail("the form must be bitmap or gaps") };
    Ok(vec![Type::TopK { dims, samples, keep, values, form }])
}
