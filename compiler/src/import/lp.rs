//! LpPool and GlobalLpPool: roots of sums of powers.

use super::node::{At, Refused, refuse};
use super::pool::pool;
use crate::attrs::Attrs;
use crate::graph::Value;

/// LpPool: an average of powers, times their number. Padding counts: it is zeros.
pub fn lp_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (powers, p) = powers(at)?;
    let attrs = pool(at.node(), &at.dims(powers))?;
    let (kernel, strides) = (attrs.ints("kernel"), attrs.ints("strides"));
    let (begins, dilations) = (attrs.ints("pads"), attrs.ints("dilations"));
    let (x, y) = (at.dims(powers), at.output_dims(0)?);
    let (n, mut pads) = (kernel.len(), vec![0; 2 * x.len()]);
    for axis in 0..n {
        let reach = (kernel[axis] - 1) * dilations[axis] + 1;
        let end = (y[axis + 2] as i64 - 1) * strides[axis] + reach - x[axis + 2] as i64 - begins[axis];
        (pads[axis + 2], pads[axis + 2 + x.len()]) = (begins[axis], end.max(0));
    }
    let count = kernel.iter().product::<i64>();
    let attrs = attrs.clone().with("pads", vec![0; 2 * n]).with("ceil", 0).with("count_include_pad", 0);
    let padded = match pads.iter().any(|&it| it != 0) {
        true => at.emit("pad", &[powers], Attrs::new().with("pads", pads).with("value", 0.0), "padded")?,
        false => powers,
    };
    let mean = at.emit("avg_pool", &[padded], attrs, "mean")?;
    let sum = at.emit("scale", &[mean], Attrs::new().with("factor", count as f64), "sum")?;
    root(at, sum, p)
}

/// GlobalLpPool.
pub fn global_lp_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (powers, p) = powers(at)?;
    let rank = at.dims(powers).len() as i64;
    if rank < 3 {
        return refuse(format!("of an input with {rank} axes is not supported"));
    }
    let attrs = Attrs::new().with("axes", (2..rank).collect::<Vec<_>>()).with("keepdims", 1);
    let sum = at.emit("reduce_sum", &[powers], attrs, "sum")?;
    root(at, sum, p)
}

/// `|x|^p`, and p.
fn powers(at: &mut At<'_, '_>) -> Result<(Value, i64), Refused> {
    let (x, p) = (at.input(0)?, at.int("p", 2));
    if !(1..=64).contains(&p) {
        return refuse(format!("has p of {p}; 1 to 64 is supported"));
    }
    let powers = match p {
        2 => at.emit("mul", &[x, x], Attrs::new(), "square")?,
        _ => at.emit("abs", &[x], Attrs::new(), "size")?,
    };
    match p {
        1 | 2 => Ok((powers, p)),
        _ => Ok((at.emit("power", &[powers], Attrs::new().with("exponent", p as f64), "power")?, p)),
    }
}

fn root(at: &mut At<'_, '_>, sum: Value, p: i64) -> Result<(), Refused> {
    match p {
        1 => at.finish(sum),
        2 => {
            at.make("sqrt", &[sum], Attrs::new())?;
        }
        _ => {
            at.make("power", &[sum], Attrs::new().with("exponent", 1.0 / p as f64))?;
        }
    }
    Ok(())
}
