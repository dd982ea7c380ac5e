//! Activations.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;

/// Relu.
pub fn relu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "relu", Attrs::new())
}

/// LeakyRelu.
pub fn leaky_relu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let attrs = Attrs::new().with("alpha", at.float("alpha", 0.01));
    unary(at, "leaky_relu", attrs)
}

/// Clip: bounds by attribute before opset 11, by input from then on, each may be left out.
pub fn clip(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (min, max) = match at.opset() < 11 {
        true => (at.float("min", f32::MIN), at.float("max", f32::MAX)),
        false => (at.scalar(1)?.unwrap_or(f32::MIN.into()), at.scalar(2)?.unwrap_or(f32::MAX.into())),
    };
    if max < min {
        return refuse(format!("has the bounds {min} and {max}, which leave nothing between them"));
    }
    unary(at, "clip", Attrs::new().with("min", min).with("max", max))
}

/// Sigmoid.
pub fn sigmoid(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "sigmoid", Attrs::new())
}

/// Tanh.
pub fn tanh(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "tanh", Attrs::new())
}

/// HardSigmoid.
pub fn hard_sigmoid(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let attrs = Attrs::new().with("alpha", at.float("alpha", 0.2)).with("beta", at.float("beta", 0.5));
    unary(at, "hard_sigmoid", attrs)
}

/// HardSwish.
pub fn hard_swish(at: &mut At<'_, '_>) -> Result<(), Refused> {
    unary(at, "hard_swish", Attrs::new())
}

/// PRelu.
pub fn prelu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, slope) = (at.input(0)?, at.input(1)?);
    at.make("prelu", &[x, slope], Attrs::new())?;
    Ok(())
}

/// Dropout: nothing happens unless the caller asks for it.
pub fn dropout(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let ratio = match at.opset() < 12 {
        true => at.float("ratio", 0.5),
        false => at.scalar(1)?.unwrap_or(0.5),
    };
    match at.dropout_seed() {
        Some(seed) if ratio != 0.0 => {
            if !(0.0..1.0).contains(&ratio) {
                return refuse(format!("has the ratio {ratio}"));
            }
            let step = at.step();
            at.make("dropout", &[x, step], Attrs::new().with("ratio", ratio).with("seed", seed))?;
        }
        _ => at.finish(x),
    }
    Ok(())
}

fn unary(at: &mut At<'_, '_>, op: &str, attrs: Attrs) -> Result<(), Refused> {
    let x = at.input(0)?;
    at.make(op, &[x], attrs)?;
    Ok(())
}
