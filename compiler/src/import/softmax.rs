//! Softmax and its logarithm.

use super::node::{At, Refused};
use crate::attrs::Attrs;

/// Softmax.
pub fn softmax(at: &mut At<'_, '_>) -> Result<(), Refused> {
    along_axis(at, "softmax")
}

/// LogSoftmax.
pub fn log_softmax(at: &mut At<'_, '_>) -> Result<(), Refused> {
    along_axis(at, "log_softmax")
}

/// Before opset 13, `axis` splits the axes into two groups and the sum goes over all of the second one.
fn along_axis(at: &mut At<'_, '_>, op: &str) -> Result<(), Refused> {
    let x = at.input(0)?;
    let dims = at.dims(x);
    let grouped = at.opset() < 13;
    let axis = at.axis(at.int("axis", if grouped { 1 } else { -1 }), dims.len())?;
    let along = |axis: usize| Attrs::new().with("axis", axis as i64);
    if !grouped || dims[axis + 1..].iter().all(|&it| it == 1) {
        at.make(op, &[x], along(axis))?;
        return Ok(());
    }
    let groups = [dims[..axis].iter().product(), dims[axis..].iter().product::<u64>()];
    let flat = at.emit("reshape", &[x], Attrs::new().with("shape", groups.as_slice()), "flat")?;
    let y = at.emit(op, &[flat], along(1), "groups")?;
    at.finish_reshaped(y)
}
