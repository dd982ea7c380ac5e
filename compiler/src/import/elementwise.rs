//! Arithmetic.

use super::logic::integer_neg;
use super::node::{At, Refused};
use crate::attrs::Attrs;
use crate::types::DType;

/// Add.
pub fn add(at: &mut At<'_, '_>) -> Result<(), Refused> {
    binary(at, "add")
}

/// Sub.
pub fn sub(at: &mut At<'_, '_>) -> Result<(), Refused> {
    binary(at, "sub")
}

/// Mul.
pub fn mul(at: &mut At<'_, '_>) -> Result<(), Refused> {
    binary(at, "mul")
}

/// Div.
pub fn div(at: &mut At<'_, '_>) -> Result<(), Refused> {
    binary(at, "div")
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
    let mut sum = at.input(0)?;
    for slot in 1..at.inputs() {
        let term = at.input(slot)?;
        if slot + 1 == at.inputs() {
            at.make("add", &[sum, term], Attrs::new())?;
            return Ok(());
        }
        sum = at.emit("add", &[sum, term], Attrs::new(), "sum")?;
    }
    at.finish(sum);
    Ok(())
}

fn binary(at: &mut At<'_, '_>, op: &str) -> Result<(), Refused> {
    let (a, b) = (at.any(0)?, at.any(1)?);
    at.make(op, &[a, b], Attrs::new())?;
    Ok(())
}
