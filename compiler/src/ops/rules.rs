//! Pieces that shape rules share.

use crate::attrs::Attrs;
use crate::types::{DType, Type};

/// Why an op's operands do not fit it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);

/// A shape error with this text.
pub fn fail<T>(message: impl Into<String>) -> Result<T, ShapeError> {
    Err(ShapeError(message.into()))
}

/// Checks the number of operands.
pub fn arity(operands: &[Type], least: usize, most: usize) -> Result<(), ShapeError> {
    if operands.len() < least || most < operands.len() {
        return fail(format!("takes {least} to {most} operands, has {}", operands.len()));
    }
    Ok(())
}

/// Checks that every operand in `slots` is dense f32.
pub fn floats(operands: &[Type], slots: &[usize]) -> Result<(), ShapeError> {
    for &slot in slots {
        if !operands.get(slot).is_some_and(Type::is_f32) {
            return fail(format!("operand {slot} must be dense f32"));
        }
    }
    Ok(())
}

/// Checks the number of operands, all dense f32.
pub fn all_floats(operands: &[Type], least: usize, most: usize) -> Result<(), ShapeError> {
    arity(operands, least, most)?;
    let slots: Vec<usize> = (0..operands.len()).collect();
    floats(operands, &slots)
}

/// The operands' types, the one in `slot` as if it were not packed: the op reads its elements however they are saved, as
/// long as no sample ends within a part of so many elements.
pub fn unpacked(operands: &[Type], slot: usize, part: impl Fn(&[u64]) -> u64) -> Vec<Type> {
    let mut types = rounded(operands, slot);
    if let Some(ty) = types.get_mut(slot)
        && let Type::TopK { dims, samples, .. } = ty
    {
        let part = part(dims);
        if part != 0 && *samples != 0 && (dims.iter().product::<u64>() / *samples).is_multiple_of(part) {
            *ty = Type::f32(dims);
        }
    }
    types
}

/// The operands' types, the one in `slot` as if it were not rounded.
pub fn rounded(operands: &[Type], slot: usize) -> Vec<Type> {
    let mut types = operands.to_vec();
    if let Some(ty) = types.get_mut(slot)
        && let Type::Quant { dims, .. } = ty
    {
        *ty = Type::f32(dims);
    }
    types
}

/// Checks the number of operands, all dense and of one element type; returns it.
pub fn alike(operands: &[Type], least: usize, most: usize) -> Result<DType, ShapeError> {
    arity(operands, least, most)?;
    let Some(Type::Dense { dtype, .. }) = operands.first() else {
        return fail("needs dense operands");
    };
    let same = |it: &Type| matches!(it, Type::Dense { dtype: other, .. } if other == dtype);
    match operands.iter().position(|it| !same(it)) {
        Some(slot) => fail(format!("operand {slot} must be dense {dtype} as operand 0 is")),
        None => Ok(*dtype),
    }
}

/// Checks that an operand is a bit mask of these dims.
pub fn mask(operand: &Type, dims: &[u64]) -> Result<(), ShapeError> {
    match operand {
        Type::Bits { dims: found } if found == dims => Ok(()),
        _ => fail(format!("the mask must be bits{dims:?}, not {operand}")),
    }
}

/// Checks that an operand has these dims.
pub fn dims(operand: &Type, expected: &[u64], what: &str) -> Result<(), ShapeError> {
    if operand.dims() != expected {
        return fail(format!("{what} must be {expected:?}, not {:?}", operand.dims()));
    }
    Ok(())
}

/// One f32 operand and one result of its type.
pub fn same(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 1, 1)?;
    Ok(vec![operands[0].clone()])
}

/// Two f32 operands of one shape; the result has it too.
pub fn same_pair(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 2)?;
    dims(&operands[1], operands[0].dims(), "operand 1")?;
    Ok(vec![operands[0].clone()])
}

/// One f32 operand; a result of its type and a bit mask.
pub fn with_mask(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 1, 1)?;
    Ok(vec![operands[0].clone(), Type::bits(operands[0].dims())])
}

/// An f32 result with the dims of attribute `shape`.
pub fn shaped(attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    Ok(vec![Type::f32(&sizes(attrs, "shape")?)])
}

/// A list attribute as sizes.
pub fn sizes(attrs: &Attrs, name: &str) -> Result<Vec<u64>, ShapeError> {
    let size = |&d: &i64| u64::try_from(d).ok().filter(|&it| it < 1 << 31);
    let sizes: Option<Vec<u64>> = attrs.ints(name).iter().map(size).collect();
    sizes.map_or_else(|| fail(format!("{name} must be from 0 to 2^31")), Ok)
}

/// numpy broadcasting of two shapes.
pub fn broadcast(a: &[u64], b: &[u64]) -> Result<Vec<u64>, ShapeError> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[u64], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |it| dims[it]);
    (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => fail(format!("{a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// Whether an operand is a dense i64 tensor.
pub fn is_i64(operand: &Type) -> bool {
    matches!(operand, Type::Dense { dtype: DType::I64, .. })
}

/// The result that `made` tells from the first `count` operands; one more of its type is added to it.
pub fn added(
    operands: &[Type],
    count: usize,
    made: impl Fn(&[Type]) -> Result<Vec<Type>, ShapeError>,
) -> Result<Vec<Type>, ShapeError> {
    let (made, onto) = made_onto(operands, count, made)?;
    match onto {
        Some(onto) if *onto != made[0] => fail(format!("{onto} cannot be added to {}", made[0])),
        _ => Ok(made),
    }
}

/// Results of a sum that `made` tells from its `count` operands. With one more operand, of the result's type, there are
/// none: the sum is added onto that.
pub fn sum(
    operands: &[Type],
    count: usize,
    made: impl Fn(&[Type]) -> Result<Vec<Type>, ShapeError>,
) -> Result<Vec<Type>, ShapeError> {
    match made_onto(operands, count, made)? {
        (made, None) => Ok(made),
        (made, Some(onto)) if made == [onto.clone()] => Ok(vec![]),
        (made, Some(onto)) => fail(format!("{onto} cannot take in what is {}", made[0])),
    }
}

/// What `made` tells from the first `count` operands, and the one behind them, if there is one.
fn made_onto(
    operands: &[Type],
    count: usize,
    made: impl Fn(&[Type]) -> Result<Vec<Type>, ShapeError>,
) -> Result<(Vec<Type>, Option<&Type>), ShapeError> {
    arity(operands, count, count + 1)?;
    let (operands, onto) = operands.split_at(count);
    Ok((made(operands)?, onto.first()))
}
