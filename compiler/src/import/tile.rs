//! Repeating, cutting triangles, and constants that are made by rule.

use super::node::{At, Refused, refuse};
use super::weights::{Source, Weight};
use crate::attrs::Attrs;
use crate::types::{DType, Type};

/// Elements of a constant that is made when compiling.
const MOST: i64 = 1 << 27;

/// Tile: each axis is repeated as an axis of its own before it.
pub fn tile(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let mut y = at.any(0)?;
    let repeats = at.ints(1)?.unwrap_or_default();
    let rank = at.dims(y).len();
    if repeats.len() != rank || repeats.iter().any(|it| !(1..1 << 31).contains(it)) {
        return refuse(format!(
            "with repeats {repeats:?} of {rank} axes is not supported; one of at least 1 for each is"
        ));
    }
    for axis in (0..rank).rev().filter(|&it| repeats[it] != 1) {
        let dims = at.dims(y);
        let (before, behind): (u64, u64) = (dims[..axis].iter().product(), dims[axis..].iter().product());
        let repeat = repeats[axis] as u64;
        let view = Attrs::new().with("shape", [before, 1, behind].as_slice());
        let parts = at.emit("reshape", &[y], view, &format!("axis{axis}"))?;
        let all = Attrs::new().with("shape", [before, repeat, behind].as_slice()).with("scale", 1.0);
        let repeated = at.emit("expand", &[parts], all, &format!("axis{axis}.all"))?;
        let mut dims = dims;
        dims[axis] = dims[axis].saturating_mul(repeat);
        y = at.emit("reshape", &[repeated], Attrs::new().with("shape", dims.as_slice()), &format!("tiled{axis}"))?;
    }
    at.finish(y);
    Ok(())
}

/// Trilu: k is known when compiling, and so is the mask.
pub fn trilu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let dims = at.dims(x);
    let &[.., rows, columns] = dims.as_slice() else {
        return refuse(format!("of an input with {} axes is not supported; 2 at least are needed", dims.len()));
    };
    let (upper, k) = (at.int("upper", 1) != 0, at.ints(1)?.and_then(|it| it.first().copied()).unwrap_or(0));
    if MOST < (rows as i64).saturating_mul(columns as i64) {
        return refuse(format!("of {rows} x {columns} elements is too large"));
    }
    let kept = |row: i64, column: i64| match upper {
        true => row.saturating_add(k) <= column,
        false => column <= row.saturating_add(k),
    };
    let mask = (0..rows as i64).flat_map(|row| (0..columns as i64).map(move |column| (row, column)));
    let mask = mask.map(|(row, column)| kept(row, column)).collect();
    let mask =
        at.declare("mask", Weight { dims: vec![rows, columns], source: Source::Truths(mask), initializer: None });
    let zero = match at.dtype(x) {
        Some(DType::Bool) => return at.make("and", &[x, mask], Attrs::new()).map(drop),
        Some(DType::I64) => Source::Integers(vec![0]),
        _ => Source::Values(vec![0.0]),
    };
    let zero = at.declare("zero", Weight { dims: vec![], source: zero, initializer: None });
    at.make("where", &[mask, x, zero], Attrs::new())?;
    Ok(())
}

/// Range that was too long to be folded with the rest.
pub fn range(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let fits = |n: f64| if n <= MOST as f64 { Ok(n.max(0.0) as i64) } else { refuse("makes too large a constant") };
    let source = match *at.output_type(0)? {
        Type::Dense { dtype: DType::F32, .. } => {
            let (Some(start), Some(limit), Some(delta)) = (at.scalar(0)?, at.scalar(1)?, at.scalar(2)?) else {
                return refuse("needs a start, a limit and a delta");
            };
            let n = fits(((limit - start) / delta).ceil())?;
            Source::Values((0..n).map(|it| (start + it as f64 * delta) as f32).collect())
        }
        _ => {
            let bounds = [at.ints(0)?, at.ints(1)?, at.ints(2)?].map(|it| it.and_then(|it| it.first().copied()));
            let [Some(start), Some(limit), Some(delta)] = bounds else {
                return refuse("needs a start, a limit and a delta");
            };
            let n = fits(((limit as f64 - start as f64) / delta as f64).ceil())?;
            Source::Integers((0..n).map(|it| start.wrapping_add(it.wrapping_mul(delta))).collect())
        }
    };
    let n = match &source {
        Source::Integers(values) => values.len(),
        Source::Values(values) => values.len(),
        _ => 0,
    };
    at.finish_constant(Weight { dims: vec![n as u64], source, initializer: None })
}

/// EyeLike.
pub fn eye_like(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (dims, k) = (at.output_dims(0)?, at.int("k", 0));
    let &[rows, columns] = dims.as_slice() else {
        return refuse(format!("of an input with {} axes is not supported; 2 are needed", dims.len()));
    };
    if MOST < (rows as i64).saturating_mul(columns as i64) {
        return refuse(format!("of {rows} x {columns} elements is too large"));
    }
    let cells = (0..rows as i64).flat_map(|row| (0..columns as i64).map(move |column| (row, column)));
    let on = cells.map(|(row, column)| row.saturating_add(k) == column);
    let source = match *at.output_type(0)? {
        Type::Dense { dtype: DType::F32, .. } => Source::Values(on.map(|it| f32::from(u8::from(it))).collect()),
        Type::Dense { dtype: DType::I64, .. } => Source::Integers(on.map(i64::from).collect()),
        Type::Dense { dtype: DType::Bool, .. } => Source::Truths(on.collect()),
        ref other => return refuse(format!("makes {other}; f32, i64 and bool are supported")),
    };
    at.finish_constant(Weight { dims, source, initializer: None })
}
