//! Moving elements.

use razorc_proto::onnx::NodeProto;

use super::index;
use super::node::{At, Refused, refuse};
use super::shapes::Attributes;
use crate::attrs::Attrs;
use crate::graph::Value;
use crate::types::DType;

/// Reshape, Flatten, Squeeze, Unsqueeze, Identity: the same elements with the axes that tract found.
pub fn view(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    at.finish_reshaped(x)
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
    let mut backwards = vec![];
    for (at_list, &axis) in axes.iter().enumerate() {
        let axis = at.axis(axis, dims.len())?;
        let (dim, step) = (dims[axis], steps[at_list]);
        let resolve = |bound: i64, least: i64, most: i64| {
            (if bound < 0 { bound.saturating_add(dim) } else { bound }).clamp(least, most)
        };
        match step {
            0 => return refuse("by steps of 0 is not supported"),
            1.. => {
                first[axis] = resolve(starts[at_list], 0, dim);
                last[axis] = resolve(ends[at_list], 0, dim).max(first[axis]);
                by[axis] = step.min(dim);
            }
            // Down to what comes before the end, which may be in front of the axis.
            _ => {
                let (start, end) = (resolve(starts[at_list], -1, dim - 1), resolve(ends[at_list], -1, dim - 1));
                let step = step.max(-dim);
                let places: Vec<i64> = (0..dim).map(|it| start + it * step).take_while(|&it| end < it).collect();
                if places.is_empty() {
                    return refuse(format!("makes nothing of axis {axis}"));
                }
                backwards.push((axis, places));
            }
        }
    }
    if by.iter().all(|&it| it == 1) && first.iter().all(|&it| it == 0) && last == dims && backwards.is_empty() {
        at.finish(x);
        return Ok(());
    }
    let attrs = Attrs::new().with("starts", first).with("ends", last).with("steps", by);
    if backwards.is_empty() {
        at.make("slice", &[x], attrs)?;
        return Ok(());
    }
    let mut y = at.emit("slice", &[x], attrs, "forwards")?;
    for (axis, places) in backwards {
        y = index::places(at, y, axis, places, &format!("axis{axis}"))?;
    }
    at.finish(y);
    Ok(())
}

/// Split: one slice for each output that has a name.
pub fn split(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let dims: Vec<i64> = at.dims(x).iter().map(|&it| it as i64).collect();
    let axis = at.axis(at.int("axis", 0), dims.len())?;
    // Without sizes the parts are equal, but for the last one.
    let parts = at.int("num_outputs", at.outputs() as i64).max(1);
    let equal = (dims[axis] + parts - 1) / parts;
    let sizes = at
        .list("split", 1, 13)?
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| (0..parts).map(|it| equal.min(dims[axis] - it * equal)).collect());
    let sum = sizes.iter().try_fold(0i64, |sum, &it| sum.checked_add(it));
    if sizes.len() != at.outputs() || sizes.iter().any(|&it| it < 1) || sum != Some(dims[axis]) {
        return refuse(format!("into {sizes:?} does not fit an axis of {} and {} outputs", dims[axis], at.outputs()));
    }
    let mut start = 0;
    for (slot, size) in sizes.into_iter().enumerate() {
        let (mut starts, mut ends) = (vec![0; dims.len()], dims.clone());
        (starts[axis], ends[axis]) = (start, start + size);
        start += size;
        if at.has_output(slot) {
            let attrs = Attrs::new().with("starts", starts).with("ends", ends).with("steps", vec![1; dims.len()]);
            at.make_output(slot, "slice", &[x], attrs)?;
        }
    }
    Ok(())
}

/// Pad: pads by attribute before opset 11, by input from then on; negative ones crop.
pub fn pad(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let dims: Vec<i64> = at.dims(x).iter().map(|&it| it as i64).collect();
    let given = at.list("pads", 1, 11)?.unwrap_or_default();
    let axes = if at.opset() < 18 { None } else { at.ints(3)? };
    let pads = pads(&at.dims(x), &given, axes.as_deref())?;
    if pads.iter().all(|&it| it == 0) {
        at.finish(x);
        return Ok(());
    }
    match at.word("mode", "constant").as_str() {
        "constant" => pad_with_number(at, x, &dims, &pads),
        mode @ ("reflect" | "edge" | "wrap") => pad_with_itself(at, x, &dims, &pads, mode),
        mode => refuse(format!("with mode {mode} is not supported; constant, reflect, edge and wrap are")),
    }
}

/// Pads at the start of every axis, then at the end of every axis. Something of each axis is left.
fn pads(dims: &[u64], given: &[i64], axes: Option<&[i64]>) -> Result<Vec<i64>, Refused> {
    let rank = dims.len();
    let all: Vec<i64> = (0..rank as i64).collect();
    let axes = axes.unwrap_or(&all);
    if given.len() != 2 * axes.len() || given.iter().any(|it| !(-1 << 31..=1 << 31).contains(it)) {
        return refuse(format!("with pads {given:?} is not supported; one at each end of each axis is"));
    }
    let mut pads = vec![0; 2 * rank];
    for (at_list, &axis) in axes.iter().enumerate() {
        let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        let Some(axis) = usize::try_from(from_front).ok().filter(|&it| it < rank) else {
            return refuse(format!("has axis {axis}, but its input has {rank} axes"));
        };
        pads[axis] = given[at_list];
        pads[axis + rank] = given[at_list + axes.len()];
    }
    match (0..rank).find(|&it| (dims[it] as i64) + pads[it].min(0) + pads[it + rank].min(0) < 1) {
        Some(axis) => refuse(format!("crops all of axis {axis}")),
        None => Ok(pads),
    }
}

/// Axes of the output of a Pad.
pub(super) fn padded(node: &NodeProto, opset: i64, at: [Option<Vec<i64>>; 2], x: &[u64]) -> Result<Vec<u64>, Refused> {
    let [given, axes] = at;
    let given = if opset < 11 { Some(node.ints("pads")) } else { given };
    let pads = pads(x, &given.ok_or_else(|| Refused("has pads that are no constant".into()))?, axes.as_deref())?;
    Ok((0..x.len()).map(|it| (x[it] as i64 + pads[it] + pads[it + x.len()]) as u64).collect())
}

fn pad_with_number(at: &mut At<'_, '_>, x: Value, dims: &[i64], pads: &[i64]) -> Result<(), Refused> {
    let whole = || at.ints(2).map(|it| it.and_then(|it| it.first().copied()).unwrap_or(0));
    let value = match at.dtype(x) {
        _ if at.opset() < 11 => at.float("value", 0.0),
        Some(DType::F32) => at.scalar(2)?.unwrap_or(0.0),
        _ => whole()? as f64,
    };
    let rank = dims.len();
    let mut y = x;
    if pads.iter().any(|&it| it < 0) {
        let starts: Vec<i64> = (0..rank).map(|it| (-pads[it]).max(0)).collect();
        let ends: Vec<i64> = (0..rank).map(|it| dims[it] + pads[it + rank].min(0)).collect();
        let attrs = Attrs::new().with("starts", starts).with("ends", ends).with("steps", vec![1; rank]);
        y = at.emit("slice", &[x], attrs, "cropped")?;
    }
    let pads: Vec<i64> = pads.iter().map(|&it| it.max(0)).collect();
    match pads.iter().all(|&it| it == 0) {
        true => at.finish(y),
        false => drop(at.make("pad", &[y], Attrs::new().with("pads", pads).with("value", value))?),
    }
    Ok(())
}

/// Pads that are elements of the axis itself: mirrored, the nearest, or from its other end.
fn pad_with_itself(at: &mut At<'_, '_>, x: Value, dims: &[i64], pads: &[i64], mode: &str) -> Result<(), Refused> {
    let mut y = x;
    for (axis, &dim) in dims.iter().enumerate() {
        let (before, behind) = (pads[axis], pads[axis + dims.len()]);
        if (1 << 27) < before + dim + behind {
            return refuse(format!("makes axis {axis} too large"));
        }
        let place = |at: i64| match mode {
            "edge" => at.clamp(0, dim - 1),
            "wrap" => at.rem_euclid(dim),
            _ if dim == 1 => 0,
            _ => {
                let turn = at.rem_euclid(2 * (dim - 1));
                turn.min(2 * (dim - 1) - turn)
            }
        };
        let places: Vec<i64> = (-before..dim + behind).map(place).collect();
        y = index::places(at, y, axis, places, &format!("axis{axis}"))?;
    }
    at.finish(y);
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
