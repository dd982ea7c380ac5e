//! Smooth activations, and those that are zero in a gap.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;
use crate::graph::Value;

/// Gelu: exact or by the hyperbolic tangent.
pub fn gelu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    match at.word("approximate", "none").as_str() {
        word @ ("none" | "tanh") => make_gelu(at, x, word),
        other => refuse(format!("has the approximation {other}; there are none and tanh")),
    }
}

/// BiasGelu of com.microsoft: gelu(x + bias).
pub fn bias_gelu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = with_bias(at)?;
    make_gelu(at, x, "none")
}

/// FastGelu of com.microsoft: by the hyperbolic tangent; the bias may be left out.
pub fn fast_gelu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = if at.has(1) { with_bias(at)? } else { at.input(0)? };
    make_gelu(at, x, "tanh")
}

/// QuickGelu of com.microsoft: x * sigmoid(alpha * x).
pub fn quick_gelu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let alpha = at.float("alpha", 1.702);
    make_swish(at, alpha)
}

/// Swish: x * sigmoid(alpha * x).
pub fn swish(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let alpha = at.float("alpha", 1.0);
    make_swish(at, alpha)
}

/// Mish.
pub fn mish(at: &mut At<'_, '_>) -> Result<(), Refused> {
    plain(at, "mish")
}

/// Softplus.
pub fn softplus(at: &mut At<'_, '_>) -> Result<(), Refused> {
    plain(at, "softplus")
}

/// Softsign.
pub fn softsign(at: &mut At<'_, '_>) -> Result<(), Refused> {
    plain(at, "softsign")
}

/// Elu.
pub fn elu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, alpha) = (at.input(0)?, at.float("alpha", 1.0));
    at.make("elu", &[x], Attrs::new().with("alpha", alpha))?;
    Ok(())
}

/// Selu: gamma * elu(x).
pub fn selu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, alpha, gamma) = (at.input(0)?, at.float("alpha", 1.673_263_2), at.float("gamma", 1.050_701));
    let elu = at.emit("elu", &[x], Attrs::new().with("alpha", alpha), "elu")?;
    at.make("scale", &[elu], Attrs::new().with("factor", gamma))?;
    Ok(())
}

/// Celu: alpha * elu(x / alpha).
pub fn celu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, alpha) = (at.input(0)?, at.float("alpha", 1.0));
    let one = Attrs::new().with("alpha", 1.0);
    if alpha <= 0.0 {
        return refuse(format!("has the alpha {alpha}; only a positive one is supported"));
    }
    if alpha == 1.0 {
        at.make("elu", &[x], one)?;
        return Ok(());
    }
    let scaled = at.emit("scale", &[x], Attrs::new().with("factor", 1.0 / alpha), "scaled")?;
    let elu = at.emit("elu", &[scaled], one, "elu")?;
    at.make("scale", &[elu], Attrs::new().with("factor", alpha))?;
    Ok(())
}

/// ThresholdedRelu.
pub fn thresholded_relu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, alpha) = (at.input(0)?, at.float("alpha", 1.0));
    at.make("thresholded_relu", &[x], Attrs::new().with("alpha", alpha))?;
    Ok(())
}

/// Shrink.
pub fn shrink(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, lambda, bias) = (at.input(0)?, at.float("lambd", 0.5), at.float("bias", 0.0));
    at.make("shrink", &[x], Attrs::new().with("lambda", lambda).with("bias", bias))?;
    Ok(())
}

fn make_gelu(at: &mut At<'_, '_>, x: Value, approximate: &str) -> Result<(), Refused> {
    at.make("gelu", &[x], Attrs::new().with("approximate", approximate))?;
    Ok(())
}

/// x * sigmoid(alpha * x) is silu(alpha * x) / alpha.
fn make_swish(at: &mut At<'_, '_>, alpha: f64) -> Result<(), Refused> {
    let x = at.input(0)?;
    if alpha == 0.0 {
        at.make("scale", &[x], Attrs::new().with("factor", 0.5))?;
        return Ok(());
    }
    if alpha == 1.0 {
        at.make("silu", &[x], Attrs::new())?;
        return Ok(());
    }
    let scaled = at.emit("scale", &[x], Attrs::new().with("factor", alpha), "scaled")?;
    let silu = at.emit("silu", &[scaled], Attrs::new(), "silu")?;
    at.make("scale", &[silu], Attrs::new().with("factor", 1.0 / alpha))?;
    Ok(())
}

fn with_bias(at: &mut At<'_, '_>) -> Result<Value, Refused> {
    let (x, bias) = (at.input(0)?, at.input(1)?);
    at.emit("add", &[x, bias], Attrs::new(), "biased")
}

fn plain(at: &mut At<'_, '_>, op: &str) -> Result<(), Refused> {
    let x = at.input(0)?;
    at.make(op, &[x], Attrs::new())?;
    Ok(())
}
