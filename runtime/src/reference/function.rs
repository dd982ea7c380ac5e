//! Smooth functions and their derivatives.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use crate::kernels::unary::Smooth;

/// A smooth activation.
pub fn smooth(function: Smooth, x: f64) -> f64 {
    match function {
        // Zero times infinity would be NaN.
        Smooth::Gelu | Smooth::GeluTanh | Smooth::Silu | Smooth::Mish if x == f64::NEG_INFINITY => 0.0,
        Smooth::Gelu => x * normal(x),
        Smooth::GeluTanh => 0.5 * x * (1.0 + gelu_inner(x).tanh()),
        Smooth::Silu => x * sigmoid(x),
        Smooth::Mish => x * softplus(x).tanh(),
        Smooth::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Smooth::Softplus => softplus(x),
        Smooth::Softsign if x.is_infinite() => x.signum(),
        Smooth::Softsign => x / (1.0 + x.abs()),
        Smooth::Elu { alpha } => {
            if 0.0 < x {
                x
            } else {
                alpha * x.exp_m1()
            }
        }
    }
}

/// The derivative of a smooth activation.
pub fn slope(function: Smooth, x: f64) -> f64 {
    match function {
        // Infinity times zero would be NaN.
        Smooth::Gelu | Smooth::GeluTanh | Smooth::Silu | Smooth::Mish if x.is_infinite() => {
            if x < 0.0 {
                0.0
            } else {
                1.0
            }
        }
        Smooth::Gelu => normal(x) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt(),
        Smooth::GeluTanh => {
            let t = gelu_inner(x).tanh();
            let inner_slope = (2.0 / PI).sqrt() * (1.0 + 3.0 * 0.044715 * x * x);
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope
        }
        Smooth::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
        Smooth::Mish => {
            let t = softplus(x).tanh();
            t + x * (1.0 - t * t) * sigmoid(x)
        }
        Smooth::HardSwish => match x {
            _ if x <= -3.0 => 0.0,
            _ if 3.0 <= x => 1.0,
            _ => x / 3.0 + 0.5,
        },
        Smooth::Softplus => sigmoid(x),
        Smooth::Softsign => 1.0 / (1.0 + x.abs()).powi(2),
        Smooth::Elu { alpha } => {
            if 0.0 < x {
                1.0
            } else {
                alpha * x.exp()
            }
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn gelu_inner(x: f64) -> f64 {
    (2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)
}

/// The normal distribution.
fn normal(x: f64) -> f64 {
    0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// The error function, by a series whose terms are all of one sign.
pub fn erf(x: f64) -> f64 {
    if 6.0 < x.abs() {
        // Nearer to 1 than numbers can tell.
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    let mut n = 0.0;
    while 1e-17 * sum.abs() < term.abs() {
        n += 1.0;
        term *= x * x / (n + 0.5);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Abramowitz and Stegun, table 7.1, and of the tail.
    #[test]
    fn erf_is_that_of_the_tables() {
        for (x, y) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
            (7.0, 1.0),
        ] {
            assert!((erf(x) - y).abs() < 1e-15, "erf({x}) is {} and should be {y}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert!(erf(f64::NAN).is_nan());
    }
}
