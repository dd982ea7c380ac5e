//! Functions of one number or two.

use super::logic;
use super::node::{At, Refused};
use crate::attrs::Attrs;

/// Reciprocal.
pub fn reciprocal(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "reciprocal")
}

/// Exp.
pub fn exp(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "exp")
}

/// Log.
pub fn log(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "log")
}

/// Sqrt.
pub fn sqrt(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "sqrt")
}

/// Abs.
pub fn abs(at: &mut At<'_, '_>) -> Result<(), Refused> {
    if at.is_integer(0) {
        return logic::integer_abs(at);
    }
    unary(at, "abs")
}

/// Sign.
pub fn sign(at: &mut At<'_, '_>) -> Result<(), Refused> {
    if at.is_integer(0) {
        return logic::integer_sign(at);
    }
    unary(at, "sign")
}

/// Floor.
pub fn floor(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "floor")
}

/// Ceil.
pub fn ceil(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "ceil")
}

/// Round.
pub fn round(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "round")
}

/// Sin.
pub fn sin(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "sin")
}

/// Cos.
pub fn cos(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "cos")
}

/// Tan.
pub fn tan(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "tan")
}

/// Asin.
pub fn asin(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "asin")
}

/// Acos.
pub fn acos(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "acos")
}

/// Atan.
pub fn atan(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "atan")
}

/// Sinh.
pub fn sinh(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "sinh")
}

/// Cosh.
pub fn cosh(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "cosh")
}

/// Asinh.
pub fn asinh(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "asinh")
}

/// Acosh.
pub fn acosh(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "acosh")
}

/// Atanh.
pub fn atanh(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "atanh")
}

/// Erf.
pub fn erf(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "erf")
}

/// Pow; the exponent is often one number, which may be an integer.
pub fn pow(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let whole = match at.ints(1) {
        Ok(Some(list)) if list.len() == 1 => Some(list[0] as f64),
        _ => None,
    };
    match at.literal(1).or(whole) {
        Some(exponent) => {
            let x = at.input(0)?;
            at.make("power", &[x], Attrs::new().with("exponent", exponent))?;
        }
        None => {
            let (base, exponent) = (at.input(0)?, at.input(1)?);
            at.make("pow", &[base, exponent], Attrs::new())?;
        }
    }
    Ok(())
}

/// Max of any number of inputs. With a number it is a Clip, which saves a bit an element; its gradient is 0 at the bound.
pub fn max(at: &mut At<'_, '_>) -> Result<(), Refused> {
    if at.is_integer(0) {
        return logic::integer_extreme(at, "greater");
    }
    bounded(at, "max", |bound| [bound, f64::INFINITY])
}

/// Min of any number of inputs; with a number as Max.
pub fn min(at: &mut At<'_, '_>) -> Result<(), Refused> {
    if at.is_integer(0) {
        return logic::integer_extreme(at, "less");
    }
    bounded(at, "min", |bound| [f64::NEG_INFINITY, bound])
}

fn bounded(at: &mut At<'_, '_>, op: &str, bounds: fn(f64) -> [f64; 2]) -> Result<(), Refused> {
    let (slot, bound) = match (at.inputs(), at.literal(0), at.literal(1)) {
        (2, None, Some(bound)) => (0, bound),
        (2, Some(bound), None) => (1, bound),
        _ => return at.fold(op),
    };
    let (x, [min, max]) = (at.input(slot)?, bounds(bound));
    at.make("clip", &[x], Attrs::new().with("min", min).with("max", max))?;
    Ok(())
}

fn unary(at: &mut At<'_, '_>, op: &str) -> Result<(), Refused> {
    let x = at.input(0)?;
    at.make(op, &[x], Attrs::new())?;
    Ok(())
}
