//! Truths, integers, and changes of the element type.

use super::node::{At, Refused, refuse};
use super::weights::{Source, Weight};
use crate::attrs::Attrs;
use crate::types::{DType, Type};

/// Cast and CastLike between floats, integers and truths. All integers are i64 and all floats f32 here.
pub fn cast(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let Type::Dense { dtype: to @ (DType::F32 | DType::I64 | DType::Bool), .. } = *at.output_type(0)? else {
        return refuse(format!("makes {}; only f32, i64 and bool are supported", at.output_type(0)?));
    };
    if at.dtype(x) == Some(to) {
        at.finish(x);
        return Ok(());
    }
    at.make("cast", &[x], Attrs::new().with("to", to.to_string().as_str()))?;
    Ok(())
}

/// Equal.
pub fn equal(at: &mut At<'_, '_>) -> Result<(), Refused> {
    of_two(at, "equal")
}

/// Less.
pub fn less(at: &mut At<'_, '_>) -> Result<(), Refused> {
    of_two(at, "less")
}

/// LessOrEqual.
pub fn less_or_equal(at: &mut At<'_, '_>) -> Result<(), Refused> {
    of_two(at, "less_or_equal")
}

/// Greater.
pub fn greater(at: &mut At<'_, '_>) -> Result<(), Refused> {
    of_two(at, "greater")
}

/// GreaterOrEqual.
pub fn greater_or_equal(at: &mut At<'_, '_>) -> Result<(), Refused> {
    of_two(at, "greater_or_equal")
}

/// And.
pub fn and(at: &mut At<'_, '_>) -> Result<(), Refused> {
    of_two(at, "and")
}

/// Or.
pub fn or(at: &mut At<'_, '_>) -> Result<(), Refused> {
    of_two(at, "or")
}

/// Xor.
pub fn xor(at: &mut At<'_, '_>) -> Result<(), Refused> {
    of_two(at, "xor")
}

/// Not.
pub fn not(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input_of(0, DType::Bool)?;
    at.make("not", &[x], Attrs::new())?;
    Ok(())
}

/// IsNaN: only what is not a number differs from itself.
pub fn is_nan(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let equal = at.emit("equal", &[x, x], Attrs::new(), "number")?;
    at.make("not", &[equal], Attrs::new())?;
    Ok(())
}

/// IsInf: equal to one of the infinities that are asked for.
pub fn is_inf(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let number = |value| Weight { dims: vec![], source: Source::Values(vec![value]), initializer: None };
    let below = at.declare("below", number(f32::NEG_INFINITY));
    let above = at.declare("above", number(f32::INFINITY));
    match (at.int("detect_negative", 1) != 0, at.int("detect_positive", 1) != 0) {
        (true, true) => {
            let is_below = at.emit("equal", &[x, below], Attrs::new(), "is_below")?;
            let is_above = at.emit("equal", &[x, above], Attrs::new(), "is_above")?;
            at.make("or", &[is_below, is_above], Attrs::new())?;
        }
        (true, false) => drop(at.make("equal", &[x, below], Attrs::new())?),
        (false, true) => drop(at.make("equal", &[x, above], Attrs::new())?),
        (false, false) => drop(at.make("less", &[x, below], Attrs::new())?),
    }
    Ok(())
}

/// Where.
pub fn choose(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (condition, a, b) = (at.input_of(0, DType::Bool)?, at.any(1)?, at.any(2)?);
    at.make("where", &[condition, a, b], Attrs::new())?;
    Ok(())
}

/// Mod: of floats by the sign of the dividend.
pub fn remainder(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (a, b, fmod) = (at.any(0)?, at.any(1)?, at.int("fmod", 0));
    match at.dtype(a) {
        Some(DType::F32) if fmod == 0 => refuse("of floats needs fmod=1"),
        Some(DType::F32) => at.make("fmod", &[a, b], Attrs::new()).map(drop),
        _ => at.make("mod", &[a, b], Attrs::new().with("fmod", i64::from(fmod != 0))).map(drop),
    }
}

/// Max (`greater`) or Min (`less`) of integers.
pub fn integer_extreme(at: &mut At<'_, '_>, ahead: &str) -> Result<(), Refused> {
    let mut best = at.input_of(0, DType::I64)?;
    for slot in 1..at.inputs() {
        let other = at.input_of(slot, DType::I64)?;
        let is_ahead = at.emit(ahead, &[best, other], Attrs::new(), "is_ahead")?;
        best = at.emit("where", &[is_ahead, best, other], Attrs::new(), "best")?;
    }
    at.finish(best);
    Ok(())
}

/// Abs of integers.
pub fn integer_abs(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input_of(0, DType::I64)?;
    let number = |it| Weight { dims: vec![], source: Source::Integers(vec![it]), initializer: None };
    let (zero, minus_one) = (at.declare("zero", number(0)), at.declare("minus_one", number(-1)));
    let is_negative = at.emit("less", &[x, zero], Attrs::new(), "is_negative")?;
    let negative = at.emit("mul", &[x, minus_one], Attrs::new(), "negative")?;
    at.make("where", &[is_negative, negative, x], Attrs::new()).map(drop)
}

/// Sign of integers.
pub fn integer_sign(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input_of(0, DType::I64)?;
    let zero = at.declare("zero", Weight { dims: vec![], source: Source::Integers(vec![0]), initializer: None });
    let to = || Attrs::new().with("to", "i64");
    let is_positive = at.emit("greater", &[x, zero], Attrs::new(), "is_positive")?;
    let is_negative = at.emit("less", &[x, zero], Attrs::new(), "is_negative")?;
    let above = at.emit("cast", &[is_positive], to(), "above")?;
    let below = at.emit("cast", &[is_negative], to(), "below")?;
    at.make("sub", &[above, below], Attrs::new()).map(drop)
}

/// Neg of integers.
pub fn integer_neg(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input_of(0, DType::I64)?;
    let minus_one =
        at.declare("minus_one", Weight { dims: vec![], source: Source::Integers(vec![-1]), initializer: None });
    at.make("mul", &[x, minus_one], Attrs::new())?;
    Ok(())
}

fn of_two(at: &mut At<'_, '_>, op: &str) -> Result<(), Refused> {
    let (a, b) = (at.any(0)?, at.any(1)?);
    at.make(op, &[a, b], Attrs::new())?;
    Ok(())
}
