//! Depth to space and back: reshapes around a transpose.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;

/// DepthToSpace.
pub fn depth_to_space(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (n, c, h, w, b) = sizes(at)?;
    if !c.is_multiple_of(b * b) {
        return refuse(format!("has {c} channels, not a multiple of {}", b * b));
    }
    match at.word("mode", "DCR").as_str() {
        "DCR" => rearrange(at, [n, b, b, c / (b * b), h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => rearrange(at, [n, c / (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3]),
        word => refuse(format!("has mode {word}, which is not supported")),
    }
}

/// SpaceToDepth.
pub fn space_to_depth(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (n, c, h, w, b) = sizes(at)?;
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return refuse(format!("has an image of {h} x {w}, not in blocks of {b}"));
    }
    rearrange(at, [n, c, h / b, b, w / b, b], [0, 3, 5, 1, 2, 4])
}

/// Axes of the image, and the size of a block.
fn sizes(at: &mut At<'_, '_>) -> Result<(u64, u64, u64, u64, u64), Refused> {
    let x = at.input(0)?;
    match (&at.dims(x)[..], u64::try_from(at.int("blocksize", 0))) {
        (&[n, c, h, w], Ok(b)) if (1..1 << 15).contains(&b) => Ok((n, c, h, w, b)),
        _ => refuse(format!("of {:?} by blocks of {} is not supported", at.dims(x), at.int("blocksize", 0))),
    }
}

fn rearrange(at: &mut At<'_, '_>, parts: [u64; 6], perm: [i64; 6]) -> Result<(), Refused> {
    let x = at.input(0)?;
    let parts = at.emit("reshape", &[x], Attrs::new().with("shape", parts.as_slice()), "parts")?;
    let turned = at.emit("transpose", &[parts], Attrs::new().with("perm", perm.to_vec()), "turned")?;
    at.finish_reshaped(turned)
}
