//! Normalization of the last axes, and all that can be brought to it.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;
use crate::graph::Value;

/// LayerNormalization (since opset 17): over `axis` and all axes behind it.
pub fn layer_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    in_f32(at)?;
    only_output(at, &["mean", "inverse deviation"])?;
    let x = at.input(0)?;
    let axis = at.axis(at.int("axis", -1), at.dims(x).len())?;
    let attrs = attrs(axis, at.float("epsilon", 1e-5));
    let (scale, bias) = (at.input(1)?, if at.has(2) { Some(at.input(2)?) } else { None });
    match (of_rows(at, scale, x, axis, "scale")?, bias.map(|it| of_rows(at, it, x, axis, "bias")).transpose()?) {
        (Some(scale), None) => drop(at.make("layer_norm", &[x, scale], attrs)?),
        (Some(scale), Some(Some(bias))) => drop(at.make("layer_norm", &[x, scale, bias], attrs)?),
        _ => {
            let normalized = at.emit("layer_norm", &[x], attrs, "normalized")?;
            finish_affine(at, normalized, scale, bias)?;
        }
    }
    Ok(())
}

/// RMSNormalization (since opset 23), and SimplifiedLayerNormalization of onnxruntime, which is older: as layer
/// normalization, but nothing is taken away first.
pub fn rms_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    in_f32(at)?;
    only_output(at, &["inverse deviation"])?;
    let x = at.input(0)?;
    let axis = at.axis(at.int("axis", -1), at.dims(x).len())?;
    let attrs = attrs(axis, at.float("epsilon", 1e-5));
    let scale = at.input(1)?;
    match of_rows(at, scale, x, axis, "scale")? {
        Some(scale) => drop(at.make("rms_norm", &[x, scale], attrs)?),
        None => {
            let normalized = at.emit("rms_norm", &[x], attrs, "normalized")?;
            finish_affine(at, normalized, scale, None)?;
        }
    }
    Ok(())
}

/// SkipLayerNormalization of onnxruntime: layer normalization of a sum, which it also gives out.
pub fn skip_layer_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    skip_norm(at, "layer_norm", 4)
}

/// SkipSimplifiedLayerNormalization of onnxruntime: the same by the root mean square.
pub fn skip_rms_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    skip_norm(at, "rms_norm", 3)
}

/// Inputs are the summands, the norm's weights, and in slot `bias` one more summand.
fn skip_norm(at: &mut At<'_, '_>, op: &str, bias: usize) -> Result<(), Refused> {
    only_output(at, &["mean", "inverse deviation"])?;
    let (x, skip) = (at.input(0)?, at.input(1)?);
    let mut terms = vec![x, skip];
    if at.has(bias) {
        terms.insert(1, at.input(bias)?);
    }
    let sum = match terms[..] {
        [x, bias, skip] => [at.emit("add", &[x, bias], Attrs::new(), "biased")?, skip],
        _ => [x, skip],
    };
    let sum = match at.is_read(3) {
        true => Value { node: at.make_output(3, "add", &sum, Attrs::new())?, result: 0 },
        false => at.emit("add", &sum, Attrs::new(), "sum")?,
    };
    let axis = at.dims(sum).len().saturating_sub(1);
    let mut operands = vec![sum];
    for slot in (2..bias).filter(|&slot| at.has(slot)).collect::<Vec<_>>() {
        operands.push(at.input(slot)?);
    }
    at.make(op, &operands, attrs(axis, at.float("epsilon", 1e-12)))?;
    Ok(())
}

/// InstanceNormalization: each channel of each sample on its own.
pub fn instance_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let dims = channels(at, x)?;
    let groups = dims[1];
    let normalized = grouped(at, x, groups)?;
    let full = reshaped(at, normalized, &dims, "channels")?;
    let [scale, bias] = per_channel(at, &dims)?;
    finish_affine(at, full, scale, Some(bias))
}

/// GroupNormalization (since opset 18): groups of channels of each sample, with a scale and a bias for each group before
/// opset 21 and for each channel from then on.
pub fn group_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    in_f32(at)?;
    let x = at.input(0)?;
    let dims = channels(at, x)?;
    let groups = at.int("num_groups", 0);
    let Some(groups) = u64::try_from(groups).ok().filter(|&it| 0 < it && dims[1].is_multiple_of(it)) else {
        return refuse(format!("has {groups} groups of {} channels", dims[1]));
    };
    let normalized = grouped(at, x, groups)?;
    if at.opset() < 21 {
        let rows = at.dims(normalized);
        let [scale, bias] = per_channel(at, &rows)?;
        let scaled = at.emit("mul", &[normalized, scale], Attrs::new(), "scaled")?;
        let y = at.emit("add", &[scaled, bias], Attrs::new(), "shifted")?;
        return at.finish_reshaped(y);
    }
    let full = reshaped(at, normalized, &dims, "channels")?;
    let [scale, bias] = per_channel(at, &dims)?;
    finish_affine(at, full, scale, Some(bias))
}

/// MeanVarianceNormalization: over any axes, of which ONNX adds 1e-9 to the deviation.
pub fn mean_variance_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let rank = at.dims(x).len();
    let axes = match at.attr("axes") {
        Some(it) => it.ints.clone(),
        None => vec![0, 2, 3],
    };
    let axes = axes.iter().map(|&it| at.axis(it, rank)).collect::<Result<Vec<_>, _>>()?;
    if axes.is_empty() {
        return refuse("over no axes is not supported");
    }
    // The square of 1e-9: the same where the deviation is zero, and as good as nothing elsewhere.
    over_axes(at, x, &axes, |at, x, axis| at.emit("layer_norm", &[x], attrs(axis, 1e-18), "normalized"))
}

/// LpNormalization by the Euclidean norm along an axis. What is all zero stays so.
pub fn lp_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let p = at.int("p", 2);
    if p != 2 {
        return refuse(format!("with p={p} is not supported; p=2 is"));
    }
    let x = at.input(0)?;
    let dims = at.dims(x);
    let axis = at.axis(at.int("axis", -1), dims.len())?;
    let factor = 1.0 / (dims[axis] as f64).sqrt();
    over_axes(at, x, &[axis], |at, x, axis| {
        let y = at.emit("rms_norm", &[x], attrs(axis, 1e-38), "normalized")?;
        at.emit("scale", &[y], Attrs::new().with("factor", factor), "unit")
    })
}

fn attrs(axis: usize, epsilon: f64) -> Attrs {
    Attrs::new().with("axis", axis as i64).with("epsilon", epsilon)
}

/// Refuses statistics in another type than f32.
fn in_f32(at: &At<'_, '_>) -> Result<(), Refused> {
    match at.int("stash_type", 1) {
        1 => Ok(()),
        other => refuse(format!("with stash_type={other} is not supported; 1, which is f32, is")),
    }
}

/// Refuses a node whose other outputs are read: no gradient flows through them.
fn only_output(at: &At<'_, '_>, others: &[&str]) -> Result<(), Refused> {
    match others.iter().zip(1..).find(|it| at.is_read(it.1)) {
        Some((what, _)) => refuse(format!("has its {what} read by other nodes, which is not supported")),
        None => Ok(()),
    }
}

/// A weight with the normalized axes of x, `axis` and those behind it; none where it varies along other axes too.
fn of_rows(at: &mut At<'_, '_>, weight: Value, x: Value, axis: usize, what: &str) -> Result<Option<Value>, Refused> {
    let (dims, row) = (at.dims(weight), at.dims(x)[axis..].to_vec());
    let surplus = dims.len().saturating_sub(row.len());
    if dims[..surplus].iter().any(|&it| it != 1) {
        return Ok(None);
    }
    let ones = vec![1; row.len().saturating_sub(dims.len())];
    let aligned = [&ones, &dims[surplus..]].concat();
    if aligned.iter().zip(&row).any(|(&own, &dim)| own != 1 && own != dim) {
        return refuse(format!("has a {what} of {dims:?}, which does not broadcast to {:?}", at.dims(x)));
    }
    let weight = reshaped(at, weight, &aligned, &format!("{what}.axes"))?;
    if aligned == row {
        return Ok(Some(weight));
    }
    let attrs = Attrs::new().with("shape", row.as_slice()).with("scale", 1.0);
    at.emit("expand", &[weight], attrs, what).map(Some)
}

/// Axes of an input `[n, c, ..]`.
fn channels(at: &At<'_, '_>, x: Value) -> Result<Vec<u64>, Refused> {
    match at.dims(x) {
        dims if 3 <= dims.len() => Ok(dims),
        dims => refuse(format!("of an input with {} axes is not supported; it needs 3 and more", dims.len())),
    }
}

/// x `[n, c, ..]` as `[n, groups, ..]` with all that belongs to a group normalized together.
fn grouped(at: &mut At<'_, '_>, x: Value, groups: u64) -> Result<Value, Refused> {
    let dims = at.dims(x);
    let rows = [dims[0], groups, dims[1..].iter().product::<u64>() / groups];
    let x = reshaped(at, x, &rows, "groups")?;
    at.emit("layer_norm", &[x], attrs(2, at.float("epsilon", 1e-5)), "normalized")
}

/// Inputs 1 and 2, a number for each place along axis 1 of `dims`, with axes behind it to be broadcast over.
fn per_channel(at: &mut At<'_, '_>, dims: &[u64]) -> Result<[Value; 2], Refused> {
    let column = [vec![dims[1]], vec![1; dims.len() - 2]].concat();
    let mut weights = vec![];
    for (slot, what) in [(1, "scale"), (2, "bias")] {
        let weight = at.input(slot)?;
        if at.dims(weight) != [dims[1]] {
            return refuse(format!("has a {what} of {:?}; {} numbers are needed", at.dims(weight), dims[1]));
        }
        weights.push(reshaped(at, weight, &column, &format!("{what}.column"))?);
    }
    Ok([weights[0], weights[1]])
}

/// Output 0 is `normalized * scale + bias`.
fn finish_affine(at: &mut At<'_, '_>, normalized: Value, scale: Value, bias: Option<Value>) -> Result<(), Refused> {
    let Some(bias) = bias else {
        at.make("mul", &[normalized, scale], Attrs::new())?;
        return Ok(());
    };
    let scaled = at.emit("mul", &[normalized, scale], Attrs::new(), "scaled")?;
    at.make("add", &[scaled, bias], Attrs::new())?;
    Ok(())
}

/// Output 0 is x after `work` on its last axes, `axes` having been moved there.
fn over_axes(
    at: &mut At<'_, '_>,
    x: Value,
    axes: &[usize],
    work: impl Fn(&mut At<'_, '_>, Value, usize) -> Result<Value, Refused>,
) -> Result<(), Refused> {
    let rank = at.dims(x).len();
    let others = (0..rank).filter(|it| !axes.contains(it));
    let perm: Vec<i64> = others.chain((0..rank).filter(|it| axes.contains(it))).map(|it| it as i64).collect();
    let first = perm.iter().position(|&it| axes.contains(&(it as usize))).unwrap_or(0);
    if perm.is_sorted() {
        let y = work(at, x, first)?;
        at.finish(y);
        return Ok(());
    }
    let back: Vec<i64> =
        (0..rank as i64).map(|axis| perm.iter().position(|&it| it == axis).unwrap_or(0) as i64).collect();
    let moved = at.emit("transpose", &[x], Attrs::new().with("perm", perm), "moved")?;
    let y = work(at, moved, first)?;
    at.make("transpose", &[y], Attrs::new().with("perm", back))?;
    Ok(())
}

fn reshaped(at: &mut At<'_, '_>, value: Value, dims: &[u64], suffix: &str) -> Result<Value, Refused> {
    if at.dims(value) == dims {
        return Ok(value);
    }
    at.emit("reshape", &[value], Attrs::new().with("shape", dims), suffix)
}
