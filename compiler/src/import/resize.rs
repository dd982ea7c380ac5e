//! Resize and Upsample: one axis after the other.

use razorc_proto::onnx::NodeProto;

use super::node::{At, Refused, refuse};
use super::shapes::{Attributes, counted};
use crate::attrs::Attrs;

/// An axis that is resized.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    axis: usize,
    size: u64,
    scale: f32,
    /// The part of the axis that is shown, for `tf_crop_and_resize`.
    roi: [f32; 2],
}

/// Resize: from opset 11 on with a region, scales or sizes.
pub fn resize(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (first, scales, sizes) = (at.floats(1)?, at.floats(2)?, at.ints(3)?);
    resize_by(at, first, scales, sizes)
}

/// Upsample, the older Resize.
pub fn upsample(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let scales = at.floats(1)?;
    resize_by(at, scales, None, None)
}

fn resize_by(
    at: &mut At<'_, '_>,
    first: Option<Vec<f32>>,
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<i64>>,
) -> Result<(), Refused> {
    let mut x = at.input(0)?;
    let axes = plan(at.node(), at.opset(), &at.dims(x), first, scales, sizes)?;
    let old = at.op_type() == "Upsample" || at.opset() < 11;
    let coordinates = match old {
        true => "asymmetric".to_string(),
        false => at.word("coordinate_transformation_mode", "half_pixel"),
    };
    let mode = at.word("mode", "nearest");
    let nearest = at.word("nearest_mode", "round_prefer_floor");
    let mode = |scale: f32| {
        Ok(match mode.as_str() {
            // Before there was a mode, what shrinks rounded up, and what grows rounded down.
            "nearest" if old && scale < 1.0 => "nearest_ceil",
            "nearest" if old => "nearest_floor",
            "nearest" => match nearest.as_str() {
                "floor" => "nearest_floor",
                "ceil" => "nearest_ceil",
                "round_prefer_floor" => "nearest_prefer_floor",
                "round_prefer_ceil" => "nearest_prefer_ceil",
                word => return refuse(format!("has nearest_mode {word}, which is not supported")),
            },
            "linear" | "bilinear" | "trilinear" => "linear",
            "cubic" => "cubic",
            word => return refuse(format!("has mode {word}, which is not supported")),
        })
    };
    let smooth = i64::from(at.int("antialias", 0) != 0 && !mode(1.0)?.starts_with("nearest"));
    let exclude = i64::from(at.int("exclude_outside", 0) != 0);
    let (cubic, outside) = (at.float("cubic_coeff_a", -0.75), at.float("extrapolation_value", 0.0));
    // The innermost axis first: it is the slowest, and has the fewest lines before the others grow.
    for (done, axis) in axes.iter().rev().enumerate() {
        let attrs = Attrs::new()
            .with("axis", axis.axis as i64)
            .with("size", axis.size as i64)
            .with("scale", f64::from(axis.scale))
            .with("mode", mode(axis.scale)?)
            .with("coordinates", coordinates.as_str())
            .with("cubic", cubic)
            .with("exclude_outside", exclude)
            .with("antialias", smooth)
            .with("start", f64::from(axis.roi[0]))
            .with("end", f64::from(axis.roi[1]))
            .with("outside", outside);
        if done + 1 == axes.len() {
            at.make("resize", &[x], attrs)?;
            return Ok(());
        }
        x = at.emit("resize", &[x], attrs, "axis")?;
    }
    at.finish(x);
    Ok(())
}

/// The axes that change, from the scales, or from region, scales and sizes by the opset.
pub fn plan(
    node: &NodeProto,
    opset: i64,
    x: &[u64],
    first: Option<Vec<f32>>,
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<i64>>,
) -> Result<Vec<Axis>, Refused> {
    let upsample = node.op_type() == "Upsample";
    let old = upsample || opset < 11;
    let (roi, scales) = match old {
        true if upsample && opset < 9 => (None, node.find("scales").map(|it| it.floats.clone())),
        true => (None, first),
        false => (first, scales),
    };
    let axes = match node.ints("axes") {
        axes if axes.is_empty() || opset < 18 => (0..x.len()).collect::<Vec<_>>(),
        axes => {
            let resolve = |&it: &i64| usize::try_from(if it < 0 { it.saturating_add(x.len() as i64) } else { it }).ok();
            let resolved: Option<Vec<usize>> = axes.iter().map(|it| resolve(it).filter(|&it| it < x.len())).collect();
            resolved.ok_or_else(|| Refused(format!("has axes {axes:?}, but its input has {} axes", x.len())))?
        }
    };
    let n = axes.len();
    let scales = scales.filter(|it| !it.is_empty());
    let sizes = sizes.filter(|it| !it.is_empty());
    if scales.as_ref().is_some_and(|it| it.len() != n) || sizes.as_ref().is_some_and(|it| it.len() != n) {
        return refuse(format!("has other than {n} scales or sizes"));
    }
    let coordinates = node.word("coordinate_transformation_mode", "half_pixel");
    let crops = !old && coordinates == "tf_crop_and_resize";
    let roi = match crops {
        true => {
            roi.filter(|it| it.len() == 2 * n).ok_or_else(|| Refused(format!("needs a region of {} numbers", 2 * n)))?
        }
        false => [vec![0.0; n], vec![1.0; n]].concat(),
    };
    if roi.iter().any(|it| 1e6 < it.abs() || it.is_nan()) {
        return refuse(format!("has the region {roi:?}"));
    }
    let mut found = vec![];
    match (scales, sizes) {
        (Some(scales), None) => {
            for (at, (&axis, &scale)) in axes.iter().zip(&scales).enumerate() {
                if !(1e-9..=1e9).contains(&scale) {
                    return refuse(format!("has scale {scale}"));
                }
                let exact = f64::from(scale) * x[axis] as f64;
                let size = counted((scale * x[axis] as f32).floor() as i64, "a size")?;
                let roi = [roi[at], roi[at + n]];
                if crops && roi != [0.0, 1.0] {
                    return refuse("with a region and scales is not supported; with a region and sizes it is");
                }
                if !old && matches!(coordinates.as_str(), "align_corners" | "tf_crop_and_resize") {
                    // Runtimes disagree on whether corners are those of the size before or after it is rounded.
                    if 1e-4 < (exact - size as f64).abs() {
                        return refuse(format!(
                            "by {coordinates} with scale {scale} of {} is ambiguous; sizes instead of scales are not",
                            x[axis]
                        ));
                    }
                }
                found.push(Axis { axis, size, scale, roi });
            }
        }
        (None, Some(sizes)) => {
            let ratio = |at: usize| sizes[at] as f32 / x[axes[at]] as f32;
            let ratios = (0..n).map(ratio);
            let common = match node.word("keep_aspect_ratio_policy", "stretch").as_str() {
                "stretch" => None,
                "not_larger" => ratios.reduce(f32::min),
                "not_smaller" => ratios.reduce(f32::max),
                word => return refuse(format!("has keep_aspect_ratio_policy {word}, which is not supported")),
            };
            for (at, &axis) in axes.iter().enumerate() {
                let scale = common.unwrap_or(ratio(at));
                let size = match common {
                    Some(scale) => (f64::from(scale) * x[axis] as f64 + 0.5).floor() as i64,
                    None => sizes[at],
                };
                found.push(Axis { axis, size: counted(size, "a size")?, scale, roi: [roi[at], roi[at + n]] });
            }
        }
        _ => return refuse("needs either scales or sizes, known when compiling"),
    }
    found.sort_by_key(|it| it.axis);
    if found.windows(2).any(|it| it[0].axis == it[1].axis) {
        return refuse("names an axis twice");
    }
    let moves = !old && coordinates == "tf_half_pixel_for_nn";
    found.retain(|it| it.size != x[it.axis] || it.scale != 1.0 || crops || moves);
    Ok(found)
}

/// Axis sizes of the result.
pub fn resized(x: &[u64], axes: &[Axis]) -> Vec<u64> {
    let mut y = x.to_vec();
    axes.iter().for_each(|it| y[it.axis] = it.size);
    y
}
