//! Clipping of gradients by their norm, as PyTorch's `clip_grad_norm_` does it: a gradient whose norm is above the largest one
//! that is allowed is made shorter on its way into the update, so no second copy of it is made.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::elementwise::Flat;
use super::optimizer::{Adam, Sgd};

/// Added to a norm before it is divided by.
const GUARD: f64 = 1e-6;

/// The factor of gradients whose norms are the operands.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipScale {
    /// Gradients that are clipped as one vector.
    pub count: usize,
    /// The largest norm that this vector may have.
    pub norm: f64,
}

impl ClipScale {
    /// `min(1, largest / (norm + 1e-6))`, where the norm is that of these norms; no number where it is infinite or none, so
    /// that the weights and the next loss are none either and the run stops.
    pub fn factor(&self, norms: impl Iterator<Item = f64>) -> f64 {
        let norm = norms.map(|it| it * it).sum::<f64>().sqrt();
        if norm.is_finite() { (self.norm / (norm + GUARD)).min(1.0) } else { f64::NAN }
    }
}

pub(super) fn gradient_norm(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let n = call.f32(0)?.iter().product();
    call.result(&[])?;
    Ok(Kernel::GradientNorm(Flat { n }))
}

pub(super) fn clip_scale(call: &Call<'_>) -> Result<Kernel> {
    let count = call.operands(1..=usize::MAX)?;
    (0..count).try_for_each(|slot| call.f32_of(slot, &[]))?;
    call.result(&[])?;
    let norm = call.float("norm")?;
    if !(0.0 < norm && norm.is_finite()) {
        return Err(wrong("norm", "a float above 0".into()));
    }
    Ok(Kernel::ClipScale(ClipScale { count, norm }))
}

/// An update whose last operand is a factor of the gradient, and that otherwise is the one that `parse` makes.
pub(super) fn clipped(call: &Call<'_>, parse: fn(&Call<'_>) -> Result<Kernel>) -> Result<Kernel> {
    let last = call.operands(1..=usize::MAX)? - 1;
    call.f32_of(last, &[])?;
    Ok(match parse(&Call { operands: &call.operands[..last], results: call.results, attrs: call.attrs })? {
        Kernel::Sgd(it) => Kernel::Sgd(Sgd { clipped: true, ..it }),
        Kernel::Adam(it) => Kernel::Adam(Adam { clipped: true, ..it }),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_never_made_longer_and_no_norm_hides_what_is_not_finite() {
        let factor = |norms: &[f64]| ClipScale { count: norms.len(), norm: 2.0 }.factor(norms.iter().copied());
        assert_eq!([factor(&[]), factor(&[0.0]), factor(&[1.0, 1.0])], [1.0; 3]);
        assert!((factor(&[3.0, 4.0]) - 2.0 / 5.000001).abs() < 1e-15);
        assert!(factor(&[f64::from(f32::MAX); 3]) < 1e-38);
        for norm in [f64::NAN, f64::INFINITY] {
            assert!(factor(&[1.0, norm]).is_nan());
        }
    }
}
