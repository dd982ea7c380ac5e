//! Moving elements.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;

/// Reshape, Flatten, Squeeze, Unsqueeze, Identity: the same elements with the axes that tract found.
pub fn view(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    at.finish_reshaped(x)
}

/// Cast to the type that the input has anyway.
pub fn cast(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    match at.output_type(0)?.is_f32() {
        true => at.finish(x),
        false => return refuse("to another type than f32 is not supported"),
    }
    Ok(())
}

/// Transpose: without a permutation it reverses the axes.
pub fn transpose(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let rank = at.dims(x).len() as i64;
    let perm = match at.int_list("perm") {
        perm if perm.is_empty() => (0..rank).rev().collect(),
        perm => perm,
    };
    at.make("transpose", &[x], Attrs::new().with("perm", perm))?;
    Ok(())
}

/// Concat.
pub fn concat(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let operands = (0..at.inputs()).map(|slot| at.any(slot)).collect::<Result<Vec<_>, _>>()?;
    let Some(&first) = operands.first() else {
        return refuse("has no inputs");
    };
    let axis = at.axis(at.int("axis", 1), at.dims(first).len())?;
    at.make("concat", &operands, Attrs::new().with("axis", axis as i64))?;
    Ok(())
}

/// Slice: bounds by attribute before opset 10, by input from then on; they may count from the end.
pub fn slice(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let dims: Vec<i64> = at.dims(x).iter().map(|&it| it as i64).collect();
    let starts = at.list("starts", 1, 10)?.unwrap_or_default();
    let ends = at.list("ends", 2, 10)?.unwrap_or_default();
    let axes = at.list("axes", 3, 10)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = if at.opset() < 10 { None } else { at.ints(4)? }.unwrap_or_else(|| vec![1; starts.len()]);
    if [&ends, &axes, &steps].iter().any(|it| it.len() != starts.len()) {
        return refuse("has starts, ends, axes and steps of different lengths");
    }
    let (mut first, mut last, mut by) = (vec![0; dims.len()], dims.clone(), vec![1; dims.len()]);
    for (at_list, &axis) in axes.iter().enumerate() {
        let axis = at.axis(axis, dims.len())?;
        if steps[at_list] < 1 {
            return refuse(format!("by steps of {} is not supported", steps[at_list]));
        }
        let resolve =
            |bound: i64| (if bound < 0 { bound.saturating_add(dims[axis]) } else { bound }).clamp(0, dims[axis]);
        first[axis] = resolve(starts[at_list]);
        last[axis] = resolve(ends[at_list]).max(first[axis]);
        by[axis] = steps[at_list];
    }
    if by.iter().all(|&it| it == 1) && first.iter().all(|&it| it == 0) && last == dims {
        at.finish(x);
        return Ok(());
    }
    at.make("slice", &[x], Attrs::new().with("starts", first).with("ends", last).with("steps", by))?;
    Ok(())
}

/// Split: one slice for each output.
pub fn split(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let dims: Vec<i64> = at.dims(x).iter().map(|&it| it as i64).collect();
    let axis = at.axis(at.int("axis", 0), dims.len())?;
    let mut start = 0;
    for slot in 0..at.outputs() {
        let size = at.output_dims(slot)?.get(axis).map_or(0, |&it| it as i64);
        let (mut starts, mut ends) = (vec![0; dims.len()], dims.clone());
        (starts[axis], ends[axis]) = (start, start + size);
        start += size;
        let attrs = Attrs::new().with("starts", starts).with("ends", ends).with("steps", vec![1; dims.len()]);
        at.make_output(slot, "slice", &[x], attrs)?;
    }
    Ok(())
}

/// Pad with a constant: pads by attribute before opset 11, by input from then on.
pub fn pad(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let rank = at.dims(x).len();
    let mode = at.word("mode", "constant");
    if mode != "constant" {
        return refuse(format!("with mode {mode} is not supported; constant is"));
    }
    let given = at.list("pads", 1, 11)?.unwrap_or_default();
    let value = if at.opset() < 11 { at.float("value", 0.0) } else { at.scalar(2)?.unwrap_or(0.0) };
    let axes = if at.opset() < 18 { None } else { at.ints(3)? }.unwrap_or_else(|| (0..rank as i64).collect());
    if given.len() != 2 * axes.len() || given.iter().any(|it| !(0..=1 << 31).contains(it)) {
        return refuse(format!(
            "with pads {given:?} is not supported; one at each end of each axis, none negative, is"
        ));
    }
    let mut pads = vec![0; 2 * rank];
    for (at_list, &axis) in axes.iter().enumerate() {
        let axis = at.axis(axis, rank)?;
        pads[axis] = given[at_list];
        pads[axis + rank] = given[at_list + axes.len()];
    }
    if pads.iter().all(|&it| it == 0) {
        at.finish(x);
        return Ok(());
    }
    at.make("pad", &[x], Attrs::new().with("pads", pads).with("value", value))?;
    Ok(())
}

/// Expand: broadcasting to the shape that tract found.
pub fn expand(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, shape) = (at.any(0)?, at.output_dims(0)?);
    let mut dims = at.dims(x);
    if dims == shape {
        at.finish(x);
        return Ok(());
    }
    let mut same_rank = x;
    if dims.len() < shape.len() {
        dims = [vec![1; shape.len() - dims.len()], dims].concat();
        same_rank = at.emit("reshape", &[x], Attrs::new().with("shape", dims.as_slice()), "axes")?;
    }
    at.make("expand", &[same_rank], Attrs::new().with("shape", shape.as_slice()).with("scale", 1.0))?;
    Ok(())
}
