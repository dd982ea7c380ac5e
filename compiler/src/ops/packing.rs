//! Pruned copies of activations: what the Back Razor pass is made of.

use razorc_proto::packed;

use super::rules::{all_floats, arity, fail, floats, same};
use super::{OpDef, ShapeError};
use crate::attrs::{Attr, Attrs};
use crate::types::{DType, IndexForm, Type};

pub const OPS: &[OpDef] = &[
    // The `keep` largest magnitudes of each sample, ties to the lowest index. Values of i8 are rounded up or down at
    // random, by a seed and the number of the step, the second operand. A mask behind these says by a number above zero
    // which rows of a sample count; the others are taken for zeros, unless none does.
    OpDef::made("compress", &["topk"], compress),
    // Zeros where nothing was kept.
    OpDef::made("decompress", &["hat"], |operands, _| {
        expanded(operands, "packed", |it| matches!(it, Type::TopK { .. }))
    }),
    // The nearest of the levels of its block for each element; with a seed one of the two beside it, at random.
    OpDef::made("quantize", &["quant"], quantize),
    OpDef::made("dequantize", &["hat"], |operands, _| {
        expanded(operands, "rounded", |it| matches!(it, Type::Quant { .. }))
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
    arity(operands, 1, 3)?;
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
    let count = if operands.get(1).is_some_and(|it| *it == Type::f32(&[])) { 2 } else { 1 };
    let (operands, mask) = operands.split_at(count);
    match mask {
        [] => {}
        [Type::Dense { dtype: DType::I64 | DType::Bool | DType::F32, dims }] if matches!(dims[..], [rows, count] if rows == samples && 0 < count && (elements / samples).is_multiple_of(count)) =>
            {}
        [other, ..] => {
            return fail(format!("the mask must be i64, bool or f32 of [{samples}, rows], whole ones, not {other}"));
        }
    }
    if seeded(operands, attrs)? != (values == DType::I8) {
        return fail("values of i8 need a seed for their rounding, and only they have one");
    }
    let form = attrs.word("form").unwrap_or(IndexForm::Bitmap.word());
    let Some(form) = IndexForm::from_word(form) else { return fail("the form must be bitmap or gaps") };
    Ok(vec![Type::TopK { dims, samples, keep, values, form }])
}

/// The dense tensor that an operand of this form is a copy of.
fn expanded(operands: &[Type], form: &str, has_form: fn(&Type) -> bool) -> Result<Vec<Type>, ShapeError> {
    arity(operands, 1, 1)?;
    match &operands[0] {
        it if has_form(it) => Ok(vec![Type::f32(it.dims())]),
        other => fail(format!("needs a {form} operand, not {other}")),
    }
}

fn quantize(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    arity(operands, 1, 2)?;
    floats(operands, &[0])?;
    seeded(operands, attrs)?;
    let size = |name| u64::try_from(attrs.int_or(name, 0)).unwrap_or(0);
    let (bits, block) = (size("bits"), size("block"));
    if !packed::can_quantize(bits, block) {
        return fail(format!("needs 2, 4 or 8 bits and blocks of a multiple of 16, not {bits} and {block}"));
    }
    Ok(vec![Type::Quant { dims: operands[0].dims().to_vec(), bits, block }])
}

/// Whether rounding is at random; only then the number of the step may be the second operand.
fn seeded(operands: &[Type], attrs: &Attrs) -> Result<bool, ShapeError> {
    let seeded = match attrs.get("seed") {
        None => false,
        Some(Attr::Int(_)) => true,
        Some(other) => return fail(format!("the seed must be a whole number, not {other}")),
    };
    match operands.get(1) {
        Some(step) if !seeded || *step != Type::f32(&[]) => fail(format!("the step cannot be {step} here")),
        _ => Ok(seeded),
    }
}
