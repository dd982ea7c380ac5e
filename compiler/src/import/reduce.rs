//! Sums and means.

use super::node::{At, Refused, refuse};
use super::weights::{Source, Weight};
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
    over_axes(at, x, squares)
}

/// ReduceL1: axes by attribute before opset 18.
pub fn reduce_l1(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let sizes = at.emit("abs", &[x], Attrs::new(), "abs")?;
    over_axes(at, x, sizes)
}

/// ReduceL2: axes by attribute before opset 18. Where all is zero, so is the gradient.
pub fn reduce_l2(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let Some(attrs) = reduction(at, x)? else {
        return at.make("abs", &[x], Attrs::new()).map(drop);
    };
    let squares = at.emit("mul", &[x, x], Attrs::new(), "squares")?;
    let sum = at.emit("reduce_sum", &[squares], attrs, "sum")?;
    let number = |it| Weight { dims: vec![], source: Source::Values(vec![it]), initializer: None };
    let (zero, one) = (at.declare("zero", number(0.0)), at.declare("one", number(1.0)));
    let is_zero = at.emit("equal", &[sum, zero], Attrs::new(), "is_zero")?;
    let safe = at.emit("where", &[is_zero, one, sum], Attrs::new(), "safe")?;
    let root = at.emit("sqrt", &[safe], Attrs::new(), "root")?;
    at.make("where", &[is_zero, zero, root], Attrs::new()).map(drop)
}

/// ReduceLogSum: axes by attribute before opset 18.
pub fn reduce_log_sum(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let sum = match reduction(at, x)? {
        Some(attrs) => at.emit("reduce_sum", &[x], attrs, "sum")?,
        None => x,
    };
    at.make("log", &[sum], Attrs::new()).map(drop)
}

/// ReduceLogSumExp: axes by attribute before opset 18. The largest is taken out first; it is a constant to gradients.
pub fn reduce_log_sum_exp(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let Some(axes) = axes(at, x, 18)? else {
        at.finish(x);
        return Ok(());
    };
    let kept = Attrs::new().with("axes", axes).with("keepdims", 1);
    let max = at.emit("reduce_max", &[x], kept.clone(), "max")?;
    // An infinity is never subtracted from itself.
    let bounds = Attrs::new().with("min", f64::from(f32::MIN)).with("max", f64::from(f32::MAX));
    let bounded = at.emit("clip", &[max], bounds, "bounded")?;
    let constant = at.emit("cast", &[bounded], Attrs::new().with("to", "f32"), "constant")?;
    let rest = at.emit("sub", &[x, constant], Attrs::new(), "rest")?;
    let exp = at.emit("exp", &[rest], Attrs::new(), "exp")?;
    let sum = at.emit("reduce_sum", &[exp], kept, "sum")?;
    let log = at.emit("log", &[sum], Attrs::new(), "log")?;
    let all = at.emit("add", &[log, constant], Attrs::new(), "all")?;
    at.finish_reshaped(all)
}

/// The sum of what was made of `x`, by the axes that the node says.
fn over_axes(at: &mut At<'_, '_>, x: Value, mapped: Value) -> Result<(), Refused> {
    match reduction(at, x)? {
        Some(attrs) => at.make("reduce_sum", &[mapped], attrs).map(drop),
        None => {
            at.finish(mapped);
            Ok(())
        }
    }
}

/// Attributes of a reduction of `x`; none where nothing is to be done.
fn reduction(at: &mut At<'_, '_>, x: Value) -> Result<Option<Attrs>, Refused> {
    let axes = axes(at, x, 18)?;
    Ok(axes.map(|it| Attrs::new().with("axes", it).with("keepdims", at.int("keepdims", 1))))
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
