//! Sums and means.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;
use crate::graph::Value;

/// ReduceMean: axes by attribute before opset 18.
pub fn reduce_mean(at: &mut At<'_, '_>) -> Result<(), Refused> {
    reduce(at, "reduce_mean", 18)
}

/// ReduceSum: axes by attribute before opset 13.
pub fn reduce_sum(at: &mut At<'_, '_>) -> Result<(), Refused> {
    reduce(at, "reduce_sum", 13)
}

/// ReduceMax: axes by attribute before opset 18.
pub fn reduce_max(at: &mut At<'_, '_>) -> Result<(), Refused> {
    reduce(at, "reduce_max", 18)
}

/// ReduceMin: axes by attribute before opset 18.
pub fn reduce_min(at: &mut At<'_, '_>) -> Result<(), Refused> {
    reduce(at, "reduce_min", 18)
}

/// ReduceProd: axes by attribute before opset 18.
pub fn reduce_prod(at: &mut At<'_, '_>) -> Result<(), Refused> {
    reduce(at, "reduce_prod", 18)
}

/// ReduceSumSquare: axes by attribute before opset 18.
pub fn reduce_sum_square(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let squares = at.emit("mul", &[x, x], Attrs::new(), "squares")?;
    match axes(at, x, 18)? {
        Some(axes) => {
            let attrs = Attrs::new().with("axes", axes).with("keepdims", at.int("keepdims", 1));
            at.make("reduce_sum", &[squares], attrs).map(drop)
        }
        None => {
            at.finish(squares);
            Ok(())
        }
    }
}

/// GlobalAveragePool.
pub fn global_average_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let rank = at.dims(x).len() as i64;
    if rank < 3 {
        return refuse(format!("of an input with {rank} axes is not supported"));
    }
    at.make("reduce_mean", &[x], Attrs::new().with("axes", (2..rank).collect::<Vec<_>>()).with("keepdims", 1))?;
    Ok(())
}

fn reduce(at: &mut At<'_, '_>, op: &str, since: i64) -> Result<(), Refused> {
    let x = at.any(0)?;
    match axes(at, x, since)? {
        Some(axes) => {
            let attrs = Attrs::new().with("axes", axes).with("keepdims", at.int("keepdims", 1));
            at.make(op, &[x], attrs).map(drop)
        }
        None => {
            at.finish(x);
            Ok(())
        }
    }
}

/// The axes to reduce, from the first to the last: all where none are named; none where that means to do nothing.
pub(super) fn axes(at: &mut At<'_, '_>, x: Value, since: i64) -> Result<Option<Vec<i64>>, Refused> {
    let rank = at.dims(x).len();
    let axes = at.list("axes", 1, since)?.unwrap_or_default();
    if axes.is_empty() && at.int("noop_with_empty_axes", 0) != 0 {
        return Ok(None);
    }
    let mut axes: Vec<i64> = match axes.is_empty() {
        true => (0..rank as i64).collect(),
        false => axes.iter().map(|&it| Ok(at.axis(it, rank)? as i64)).collect::<Result<_, Refused>>()?,
    };
    axes.sort_unstable();
    axes.dedup();
    Ok(Some(axes))
}
