//! Running sums and orders along an axis.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;
use crate::graph::Value;

/// CumSum.
pub fn cumsum(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let Some(&[axis]) = at.ints(1)?.as_deref() else {
        return refuse("needs one axis");
    };
    let axis = at.axis(axis, at.dims(x).len())? as i64;
    let (exclusive, reverse) = (i64::from(at.int("exclusive", 0) != 0), i64::from(at.int("reverse", 0) != 0));
    at.make("cumsum", &[x], Attrs::new().with("axis", axis).with("exclusive", exclusive).with("reverse", reverse))?;
    Ok(())
}

/// TopK: k by attribute before opset 10, by input from then on. The largest come first even if no order is asked for.
pub fn top_k(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let dims = at.dims(x);
    let axis = at.axis(at.int("axis", -1), dims.len())?;
    let k = if at.opset() < 10 { Some(at.int("k", 0)) } else { at.ints(1)?.and_then(|it| it.first().copied()) };
    let k = k.filter(|it| (1..=dims[axis] as i64).contains(it));
    let k = k.ok_or_else(|| Refused(format!("needs a k of 1 to {}", dims[axis])))?;
    let attrs = Attrs::new().with("axis", axis as i64).with("k", k).with("largest", at.int("largest", 1).min(1));
    let node = at.make("top_k", &[x], attrs)?;
    at.finish_output(1, Value { node, result: 1 });
    Ok(())
}

/// ArgMax.
pub fn arg_max(at: &mut At<'_, '_>) -> Result<(), Refused> {
    arg_extreme(at, 1)
}

/// ArgMin.
pub fn arg_min(at: &mut At<'_, '_>) -> Result<(), Refused> {
    arg_extreme(at, 0)
}

fn arg_extreme(at: &mut At<'_, '_>, largest: i64) -> Result<(), Refused> {
    let x = at.any(0)?;
    let axis = at.axis(at.int("axis", 0), at.dims(x).len())? as i64;
    let last = i64::from(at.int("select_last_index", 0) != 0);
    let attrs = Attrs::new().with("axis", axis).with("largest", largest).with("last", last);
    let index = at.emit("arg_extreme", &[x], attrs, "kept")?;
    at.finish_reshaped(index)
}
