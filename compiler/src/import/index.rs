//! Places that indices say.

use super::node::{At, Refused, refuse};
use super::weights::{Source, Weight};
use crate::attrs::Attrs;
use crate::graph::Value;
use crate::types::{DType, Type};

/// Gather. One place that is known when compiling is a slice.
pub fn gather(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.any(0)?;
    let dims = at.dims(x);
    let axis = at.axis(at.int("axis", 0), dims.len())?;
    let known = at.known_ints(1);
    if let Some(&index) = known.iter().flatten().find(|&&it| !(-(dims[axis] as i64)..dims[axis] as i64).contains(&it)) {
        return refuse(format!("reads place {index} of an axis of {}", dims[axis]));
    }
    if let Some(&[index]) = known.as_deref() {
        let start = if index < 0 { index + dims[axis] as i64 } else { index };
        let (mut starts, mut ends) = (vec![0; dims.len()], dims.iter().map(|&it| it as i64).collect::<Vec<_>>());
        (starts[axis], ends[axis]) = (start, start + 1);
        let attrs = Attrs::new().with("starts", starts).with("ends", ends).with("steps", vec![1; dims.len()]);
        let slice = at.emit("slice", &[x], attrs, "place")?;
        return at.finish_reshaped(slice);
    }
    let indices = at.input_of(1, DType::I64)?;
    at.make("gather", &[x, indices], Attrs::new().with("axis", axis as i64))?;
    Ok(())
}

/// GatherElements.
pub fn gather_elements(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, indices) = (at.any(0)?, at.input_of(1, DType::I64)?);
    let axis = at.axis(at.int("axis", 0), at.dims(x).len())?;
    at.make("gather_elements", &[x, indices], Attrs::new().with("axis", axis as i64))?;
    Ok(())
}

/// GatherND.
pub fn gather_nd(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, indices) = (at.any(0)?, at.input_of(1, DType::I64)?);
    at.make("gather_nd", &[x, indices], Attrs::new().with("batch_dims", at.int("batch_dims", 0)))?;
    Ok(())
}

/// ScatterElements and its old name, Scatter.
pub fn scatter_elements(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let rank = at.any(0).map(|it| at.dims(it).len())?;
    let axis = at.axis(at.int("axis", 0), rank)?;
    scatter(at, "scatter_elements", Attrs::new().with("axis", axis as i64))
}

/// ScatterND.
pub fn scatter_nd(at: &mut At<'_, '_>) -> Result<(), Refused> {
    scatter(at, "scatter_nd", Attrs::new())
}

fn scatter(at: &mut At<'_, '_>, op: &str, attrs: Attrs) -> Result<(), Refused> {
    let (data, indices, updates) = (at.any(0)?, at.input_of(1, DType::I64)?, at.any(2)?);
    let reduction = at.word("reduction", "none");
    let computes = ["add", "mul", "min", "max"].contains(&reduction.as_str());
    if !computes && reduction != "none" {
        return refuse(format!("with reduction {reduction} is not supported"));
    }
    if at.dtype(data) == Some(DType::Bool) && computes {
        return refuse(format!("with reduction {reduction} of truths is not supported"));
    }
    if !["none", "add"].contains(&reduction.as_str()) && [data, updates].iter().any(|&it| at.is_trained(it)) {
        return refuse(format!(
            "with reduction {reduction} has no gradient, and weights that are trained lie before it; \
             `--freeze` them to train what comes behind"
        ));
    }
    at.make(op, &[data, indices, updates], attrs.with("reduction", reduction.as_str()))?;
    Ok(())
}

/// `x` at places of one axis that are known when compiling, in any order; a slice where they go forward evenly.
pub(super) fn places(
    at: &mut At<'_, '_>,
    x: Value,
    axis: usize,
    places: Vec<i64>,
    suffix: &str,
) -> Result<Value, Refused> {
    if places.len() as u64 == at.dims(x)[axis] && places.iter().copied().eq(0..places.len() as i64) {
        return Ok(x);
    }
    let indices = Weight { dims: vec![places.len() as u64], source: Source::Integers(places), initializer: None };
    let indices = at.declare(&format!("{suffix}.places"), indices);
    at.emit("gather", &[x, indices], Attrs::new().with("axis", axis as i64), suffix)
}

/// OneHot: depth and both values are known when compiling.
pub fn one_hot(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let mut indices = at.any(0)?;
    if at.dtype(indices) == Some(DType::F32) {
        indices = at.emit("cast", &[indices], Attrs::new().with("to", "i64"), "indices")?;
    }
    let shape = at.output_dims(0)?;
    let axis = at.axis(at.int("axis", -1), shape.len())?;
    let depth = shape[axis] as i64;
    let number = |it| Weight { dims: vec![], source: Source::Integers(vec![it]), initializer: None };
    let (zero, length) = (at.declare("zero", number(0)), at.declare("depth", number(depth)));
    let is_negative = at.emit("less", &[indices, zero], Attrs::new(), "is_negative")?;
    let from_end = at.emit("add", &[indices, length], Attrs::new(), "from_end")?;
    let class = at.emit("where", &[is_negative, from_end, indices], Attrs::new(), "class")?;
    let mut with_axis = at.dims(class);
    with_axis.insert(axis, 1);
    let class = at.emit("reshape", &[class], Attrs::new().with("shape", with_axis.as_slice()), "class.axis")?;
    let mut dims = vec![1; shape.len()];
    dims[axis] = depth as u64;
    let classes = Weight { dims, source: Source::Integers((0..depth).collect()), initializer: None };
    let classes = at.declare("classes", classes);
    let hot = at.emit("equal", &[class, classes], Attrs::new(), "hot")?;
    let (off, on) = match *at.output_type(0)? {
        Type::Dense { dtype: DType::F32, .. } => match at.floats(2)?.as_deref() {
            Some(&[off, on]) => (Source::Values(vec![off]), Source::Values(vec![on])),
            _ => return refuse("needs two values"),
        },
        Type::Dense { dtype: DType::I64, .. } => match at.ints(2)?.as_deref() {
            Some(&[off, on]) => (Source::Integers(vec![off]), Source::Integers(vec![on])),
            _ => return refuse("needs two values"),
        },
        ref other => return refuse(format!("makes {other}; only f32 and i64 are supported")),
    };
    let scalar = |source| Weight { dims: vec![], source, initializer: None };
    let (off, on) = (at.declare("off", scalar(off)), at.declare("on", scalar(on)));
    at.make("where", &[hot, on, off], Attrs::new())?;
    Ok(())
}
