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
    if 11 <= at.opset() && [1, 2].into_iter().any(|slot| at.has(slot) && at.floats(slot).is_err()) {
        return clip_to_values(at);
    }
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

/// PRelu. A slope with one axis that does not fit the last one of x, but its channels, is a slope for each channel:
/// what operators before opset 7 meant and some converters still write.
pub fn prelu(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, mut slope) = (at.input(0)?, at.input(1)?);
    let (dims, slopes) = (at.dims(x), at.dims(slope));
    if let ([_, channels, .., last], &[n]) = (&dims[..], &slopes[..])
        && n == *channels
        && n != *last
    {
        let mut shape = vec![1; dims.len() - 1];
        shape[0] = n;
        slope = at.emit("reshape", &[slope], Attrs::new().with("shape", shape.as_slice()), "slope")?;
    }
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

/// Bounds that are computed or trained are those of a maximum and a minimum.
fn clip_to_values(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let mut y = at.input(0)?;
    for (slot, op) in [(1, "max"), (2, "min")] {
        if !at.has(slot) {
            continue;
        }
        let bound = at.input(slot)?;
        if at.dims(bound).iter().any(|&it| it != 1) {
            return refuse(format!("has a bound of {:?} elements; only one number is supported", at.dims(bound)));
        }
        y = at.emit(op, &[y, bound], Attrs::new(), op)?;
    }
    at.finish(y);
    Ok(())
}

fn unary(at: &mut At<'_, '_>, op: &str, attrs: Attrs) -> Result<(), Refused> {
    let x = at.input(0)?;
    at.make(op, &[x], attrs)?;
    Ok(())
}
