//! Sums and means.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;

/// ReduceMean: axes by attribute before opset 18.
pub fn reduce_mean(at: &mut At<'_, '_>) -> Result<(), Refused> {
    reduce(at, "reduce_mean", 18)
}

/// ReduceSum: axes by attribute before opset 13.
pub fn reduce_sum(at: &mut At<'_, '_>) -> Result<(), Refused> {
    reduce(at, "reduce_sum", 13)
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
    let x = at.input(0)?;
    let rank = at.dims(x).len();
    let axes = at.list("axes", 1, since)?.unwrap_or_default();
    if axes.is_empty() && at.int("noop_with_empty_axes", 0) != 0 {
        at.finish(x);
        return Ok(());
    }
    let mut axes: Vec<i64> = match axes.is_empty() {
        true => (0..rank as i64).collect(),
        false => axes.iter().map(|&it| Ok(at.axis(it, rank)? as i64)).collect::<Result<_, Refused>>()?,
    };
    axes.sort_unstable();
    axes.dedup();
    at.make(op, &[x], Attrs::new().with("axes", axes).with("keepdims", at.int("keepdims", 1)))?;
    Ok(())
}
