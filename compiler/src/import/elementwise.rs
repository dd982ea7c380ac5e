//! Arithmetic.

use super::logic::integer_neg;
use super::node::{At, Refused};
use crate::attrs::Attrs;
use crate::types::DType;

/// Add.
pub fn add(at: &mut At<'_, '_>) -> Result<(), Refused> {
    match (at.literal(0), at.literal(1)) {
        (_, Some(offset)) => with_number(at, 0, "shift", "offset", offset),
        (Some(offset), None) => with_number(at, 1, "shift", "offset", offset),
        _ => binary(at, "add"),
    }
}

/// Sub.
pub fn sub(at: &mut At<'_, '_>) -> Result<(), Refused> {
    match (at.literal(0), at.literal(1)) {
        (_, Some(offset)) => with_number(at, 0, "shift", "offset", -offset),
        (Some(offset), None) => {
            let x = at.input(1)?;
            let negative = at.emit("scale", &[x], Attrs::new().with("factor", -1.0), "negative")?;
            at.make("shift", &[negative], Attrs::new().with("offset", offset))?;
            Ok(())
        }
        _ => binary(at, "sub"),
    }
}

/// Mul.
pub fn mul(at: &mut At<'_, '_>) -> Result<(), Refused> {
    match (at.literal(0), at.literal(1)) {
        (_, Some(factor)) => with_number(at, 0, "scale", "factor", factor),
        (Some(factor), None) => with_number(at, 1, "scale", "factor", factor),
        _ => binary(at, "mul"),
    }
}

/// Div. A divisor whose reciprocal an f32 cannot hold stays one.
pub fn div(at: &mut At<'_, '_>) -> Result<(), Refused> {
    match (at.literal(0), at.literal(1)) {
        (_, Some(divisor)) if ((1.0 / divisor) as f32).is_normal() => {
            with_number(at, 0, "scale", "factor", 1.0 / divisor)
        }
        (Some(1.0), None) => with_function(at, 1, "reciprocal"),
        (Some(dividend), None) => {
            let x = at.input(1)?;
            let reciprocal = at.emit("reciprocal", &[x], Attrs::new(), "reciprocal")?;
            at.make("scale", &[reciprocal], Attrs::new().with("factor", dividend))?;
            Ok(())
        }
        _ => binary(at, "div"),
    }
}

/// Neg.
pub fn neg(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    if at.dtype(x) == Some(DType::I64) {
        return integer_neg(at);
    }
    at.make("scale", &[x], Attrs::new().with("factor", -1.0))?;
    Ok(())
}

/// Sum of any number of inputs, from the first to the last.
pub fn sum(at: &mut At<'_, '_>) -> Result<(), Refused> {
    at.fold("add")
}

/// Mean of any number of inputs.
pub fn mean(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let mut sum = at.input(0)?;
    for slot in 1..at.inputs() {
        let term = at.input(slot)?;
        sum = at.emit("add", &[sum, term], Attrs::new(), "sum")?;
    }
    at.make("scale", &[sum], Attrs::new().with("factor", 1.0 / at.inputs() as f64))?;
    Ok(())
}

/// An op between input `slot` and a number.
fn with_number(at: &mut At<'_, '_>, slot: usize, op: &str, attr: &str, number: f64) -> Result<(), Refused> {
    let x = at.input(slot)?;
    at.make(op, &[x], Attrs::new().with(attr, number))?;
    Ok(())
}

fn with_function(at: &mut At<'_, '_>, slot: usize, op: &str) -> Result<(), Refused> {
    let x = at.input(slot)?;
    at.make(op, &[x], Attrs::new())?;
    Ok(())
}

fn binary(at: &mut At<'_, '_>, op: &str) -> Result<(), Refused> {
    let (a, b) = (at.any(0)?, at.any(1)?);
    at.make(op, &[a, b], Attrs::new())?;
    Ok(())
}
