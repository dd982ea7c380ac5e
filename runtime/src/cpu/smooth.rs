//! Smooth activations and their slopes as functions of one number, written so that loops over them become vector
//! instructions.

use super::math::{exp, sigmoid};

/// Binds `$slope` to the derivative of a smooth activation and computes `$body`, compiled anew for each of them.
macro_rules! with_slope {
    ($function:expr, $slope:ident => $body:expr) => {
        match $function {
            Smooth::Gelu => {
                let $slope = $crate::cpu::smooth::gelu_slope;
                $body
            }
            Smooth::GeluTanh => {
                let $slope = $crate::cpu::smooth::gelu_tanh_slope;
                $body
            }
            Smooth::Silu => {
                let $slope = $crate::cpu::smooth::silu_slope;
                $body
            }
            Smooth::Mish => {
                let $slope = $crate::cpu::smooth::mish_slope;
                $body
            }
            Smooth::HardSwish => {
                let $slope = $crate::cpu::smooth::hard_swish_slope;
                $body
            }
            Smooth::Softplus => {
                let $slope = $crate::cpu::math::sigmoid;
                $body
            }
            Smooth::Softsign => {
                let $slope = $crate::cpu::smooth::softsign_slope;
                $body
            }
            Smooth::Elu { alpha } => {
                let alpha = alpha as f32;
                let $slope = move |x| $crate::cpu::smooth::elu_slope(alpha, x);
                $body
            }
        }
    };
}
pub(super) use with_slope;

/// Beyond this, GELU is x or 0 as far as an f32 can tell.
const FAR: f32 = 14.0;

/// The error function within 1e-6 of its value.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let t = x.abs();
    let y = if t < NEAR { erf_near(t) } else { 1.0 - erfc_far(t) };
    y.copysign(x)
}

/// Where the two approximations meet.
const NEAR: f32 = 0.927_734_4;

#[inline(always)]
fn erf_near(t: f32) -> f32 {
    let s = t * t;
    let mut p = -5.967_617e-4;
    for c in [4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_3e-1, -3.761_253_4e-1, 1.283_791_7e-1] {
        p = p * s + c;
    }
    p * t + t
}

/// 1 - erf(t) for t of at least `NEAR`.
#[inline(always)]
fn erfc_far(t: f32) -> f32 {
    let mut p = -1.728_534_7e-5;
    for c in [3.831_971_3e-4, -3.883_964_4e-3, 2.425_462_2e-2, -1.067_778_8e-1, -6.348_469e-1, -1.287_175_1e-1] {
        p = p * t + c;
    }
    exp(p * t - t)
}

/// The normal distribution. Its tail is not a difference, so it keeps more digits than `1 + erf` would.
#[inline(always)]
fn normal(x: f32) -> f32 {
    let t = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let tail = if t < NEAR { 1.0 - erf_near(t) } else { erfc_far(t) };
    0.5 * if x < 0.0 { tail } else { 2.0 - tail }
}

/// x * normal(x).
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let y = x * normal(x);
    if x < -FAR { 0.0 } else { y }
}

/// Derivative of [`gelu`].
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    // 1 / √(2π)
    const DENSITY: f32 = 0.398_942_3;
    let slope = normal(x) + x * DENSITY * exp(-0.5 * x * x);
    if FAR < x.abs() { step(x) } else { slope }
}

/// sigmoid(2 * gelu_inner(x)) is what [`gelu_tanh`] multiplies x by.
#[inline(always)]
fn gelu_inner(x: f32) -> f32 {
    // √(2/π)
    0.797_884_6 * (x + 0.044_715 * x * x * x)
}

/// The approximation of [`gelu`] by the hyperbolic tangent.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    let y = x * sigmoid(2.0 * gelu_inner(x));
    if x < -FAR { 0.0 } else { y }
}

/// Derivative of [`gelu_tanh`].
#[inline(always)]
pub fn gelu_tanh_slope(x: f32) -> f32 {
    let z = 2.0 * gelu_inner(x);
    let s = sigmoid(z);
    let inner_slope = 0.797_884_6 * (1.0 + 0.134_145 * x * x);
    let slope = s + 2.0 * x * s * sigmoid(-z) * inner_slope;
    if FAR < x.abs() { step(x) } else { slope }
}

/// x * sigmoid(x).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    let y = x * sigmoid(x);
    if x < -100.0 { 0.0 } else { y }
}

/// Derivative of [`silu`].
#[inline(always)]
pub fn silu_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    let slope = s + x * s * sigmoid(-x);
    if 100.0 < x.abs() { step(x) } else { slope }
}

/// x * tanh(softplus(x)): the hyperbolic tangent of a logarithm is a fraction of powers.
#[inline(always)]
pub fn mish(x: f32) -> f32 {
    let e = exp(x.min(20.0));
    let n = e * (e + 2.0);
    let y = x * (n / (n + 2.0));
    let y = if 20.0 < x { x } else { y };
    if x < -100.0 { 0.0 } else { y }
}

/// Derivative of [`mish`].
#[inline(always)]
pub fn mish_slope(x: f32) -> f32 {
    let e = exp(x.min(20.0));
    let n = e * (e + 2.0);
    let rest = 4.0 * (n + 1.0) / ((n + 2.0) * (n + 2.0));
    let slope = n / (n + 2.0) + x * rest * (e / (1.0 + e));
    let slope = if 20.0 < x { 1.0 } else { slope };
    if x < -100.0 { 0.0 } else { slope }
}

/// Derivative of x * clip(x / 6 + 0.5, 0, 1).
#[inline(always)]
pub fn hard_swish_slope(x: f32) -> f32 {
    let slope = if x <= -3.0 { 0.0 } else { x * (1.0 / 3.0) + 0.5 };
    if 3.0 <= x { 1.0 } else { slope }
}

/// log(1 + e^x), which neither overflows nor vanishes.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let above = if x < 0.0 { 0.0 } else { x };
    above + exp(-x.abs()).ln_1p()
}

/// x / (1 + |x|).
#[inline(always)]
pub fn softsign(x: f32) -> f32 {
    let y = x / (1.0 + x.abs());
    if x.is_infinite() { x.signum() } else { y }
}

/// Derivative of [`softsign`].
#[inline(always)]
pub fn softsign_slope(x: f32) -> f32 {
    let below = 1.0 + x.abs();
    1.0 / (below * below)
}

/// 0 < x ? x : alpha * (e^x - 1).
#[inline(always)]
pub fn elu(alpha: f32, x: f32) -> f32 {
    let mut p = 1.388_888_9e-3;
    for c in [8.333_334e-3, 4.166_666_8e-2, 1.666_666_7e-1, 0.5, 1.0] {
        p = p * x + c;
    }
    // Near 0, where the difference would lose digits, by its series.
    let below = if -0.3 < x { p * x } else { exp(x) - 1.0 };
    if 0.0 < x { x } else { alpha * below }
}

/// Derivative of [`elu`].
#[inline(always)]
pub fn elu_slope(alpha: f32, x: f32) -> f32 {
    if 0.0 < x { 1.0 } else { alpha * exp(x) }
}

#[inline(always)]
fn step(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::unary::Smooth;
    use crate::reference::function as exact;

    /// The largest error relative to the exact value, or to `least` where that is larger.
    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, least: f64) -> f64 {
        let error = |x: f32| {
            let want = exact(x.into());
            (f64::from(f(x)) - want).abs() / want.abs().max(least)
        };
        (-60_000..60_000).map(|i| error(i as f32 * 5e-4)).fold(0.0, f64::max)
    }

    #[test]
    fn erf_is_exact_to_an_f32() {
        let error = worst(erf, exact::erf, 1e-30);
        assert!(error < 3e-7, "{error}");
    }

    #[test]
    fn activations_are_close_to_their_f64_values() {
        let value = |function| move |x| exact::smooth(function, x);
        for (name, error) in [
            ("gelu", worst(gelu, value(Smooth::Gelu), 0.1)),
            ("gelu_tanh", worst(gelu_tanh, value(Smooth::GeluTanh), 0.1)),
            ("silu", worst(silu, value(Smooth::Silu), 1e-6)),
            ("mish", worst(mish, value(Smooth::Mish), 1e-6)),
            ("softplus", worst(softplus, value(Smooth::Softplus), 1e-6)),
            ("softsign", worst(softsign, value(Smooth::Softsign), 1e-30)),
            ("elu", worst(|x| elu(0.75, x), value(Smooth::Elu { alpha: 0.75 }), 1e-30)),
        ] {
            assert!(error < 2e-6, "{name}: {error}");
        }
    }

    #[test]
    fn slopes_are_close_to_their_f64_values() {
        for function in [
            Smooth::Gelu,
            Smooth::GeluTanh,
            Smooth::Silu,
            Smooth::Mish,
            Smooth::HardSwish,
            Smooth::Softplus,
            Smooth::Softsign,
            Smooth::Elu { alpha: 0.75 },
        ] {
            let error = with_slope!(function, slope => worst(slope, |x| exact::slope(function, x), 1.0));
            assert!(error < 3e-6, "{function:?}: {error}");
        }
    }

    #[test]
    fn odd_numbers_stay_what_they_are() {
        for f in [gelu, gelu_tanh, silu, mish, softplus, |x| elu(1.0, x)] {
            assert!(f(f32::NAN).is_nan());
            assert_eq!(f(f32::INFINITY), f32::INFINITY);
        }
        for f in [gelu, gelu_tanh, silu, mish, softplus] {
            assert_eq!(f(f32::NEG_INFINITY), 0.0);
        }
        for f in [gelu_slope, gelu_tanh_slope, silu_slope, mish_slope, hard_swish_slope] {
            assert!(f(f32::NAN).is_nan());
            assert_eq!([f(f32::INFINITY), f(f32::NEG_INFINITY)], [1.0, 0.0]);
        }
        assert_eq!([softsign(f32::INFINITY), softsign(f32::NEG_INFINITY)], [1.0, -1.0]);
        assert_eq!([erf(f32::INFINITY), erf(f32::NEG_INFINITY)], [1.0, -1.0]);
    }
}
