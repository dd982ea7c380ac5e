//! Normalization.

use super::node::{At, Refused, refuse};
use super::roles::Reading;
use crate::attrs::Attrs;

/// BatchNormalization: what it means is the caller's choice, not the file's `training_mode`.
pub fn batch_norm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    if at.opset() < 9 && at.int("spatial", 1) != 1 {
        return refuse("with spatial=0 is not supported");
    }
    let x = at.input(0)?;
    let (scale, bias) = (at.input_as(1, Reading::NormAffine)?, at.input_as(2, Reading::NormAffine)?);
    let (mean, var) = (at.input_as(3, Reading::NormStatistic)?, at.input_as(4, Reading::NormStatistic)?);
    let attrs = Attrs::new().with("epsilon", at.float("epsilon", 1e-5)).with("momentum", at.float("momentum", 0.9));
    at.make("batch_norm", &[x, scale, bias, mean, var], attrs)?;
    Ok(())
}

/// LRN: local response normalization across channels.
pub fn lrn(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let size = at.int("size", 0);
    if size < 1 || at.dims(x).len() < 2 {
        return refuse(format!("over {size} channels is not supported"));
    }
    let attrs = Attrs::new().with("size", size).with("alpha", at.float("alpha", 1e-4));
    let attrs = attrs.with("beta", at.float("beta", 0.75)).with("bias", at.float("bias", 1.0));
    at.make("lrn", &[x], attrs)?;
    Ok(())
}
