//! Functions of one number, and gradients of smooth activations.

use super::elementwise::{map, zip};
use super::math;
use super::smooth::{self, with_slope};
use crate::arena::Reusable;
use crate::kernels::unary::{Function, Smooth, Unary};
use crate::pool::Pool;

/// y = function(x).
pub fn unary(pool: &Pool, unary: &Unary, x: Reusable<'_>, y: &mut [f32]) {
    match unary.function {
        Function::Shift { offset } => {
            let offset = offset as f32;
            map(pool, x, y, move |x| x + offset);
        }
        Function::Power { exponent } => power(pool, exponent as f32, x, y),
        Function::Reciprocal => map(pool, x, y, |x| 1.0 / x),
        Function::Exp => map(pool, x, y, math::exp),
        Function::Log => map(pool, x, y, f32::ln),
        Function::Sqrt => map(pool, x, y, f32::sqrt),
        Function::Abs => map(pool, x, y, f32::abs),
        Function::Sign => map(pool, x, y, |x| if x == 0.0 { 0.0 } else { x.signum() }),
        Function::Floor => map(pool, x, y, f32::floor),
        Function::Ceil => map(pool, x, y, f32::ceil),
        Function::Round => map(pool, x, y, f32::round_ties_even),
        Function::Sin => map(pool, x, y, f32::sin),
        Function::Cos => map(pool, x, y, f32::cos),
        Function::Tan => map(pool, x, y, f32::tan),
        Function::Asin => map(pool, x, y, f32::asin),
        Function::Acos => map(pool, x, y, f32::acos),
        Function::Atan => map(pool, x, y, f32::atan),
        Function::Sinh => map(pool, x, y, f32::sinh),
        Function::Cosh => map(pool, x, y, f32::cosh),
        // These in f64: in f32, the standard library's formulas lose half of the digits.
        Function::Asinh => map(pool, x, y, |x| f64::from(x).asinh() as f32),
        Function::Acosh => map(pool, x, y, |x| f64::from(x).acosh() as f32),
        Function::Atanh => map(pool, x, y, |x| f64::from(x).atanh() as f32),
        Function::Erf => map(pool, x, y, smooth::erf),
        Function::RoundF16 => map(pool, x, y, |x| half::f16::from_f32(x).to_f32()),
        Function::Smooth(function) => smooth(pool, function, x, y),
    }
}

/// The usual exponents are products, which vectorize.
fn power(pool: &Pool, exponent: f32, x: Reusable<'_>, y: &mut [f32]) {
    match exponent {
        2.0 => map(pool, x, y, |x| x * x),
        3.0 => map(pool, x, y, |x| x * x * x),
        -1.0 => map(pool, x, y, |x| 1.0 / x),
        -2.0 => map(pool, x, y, |x| 1.0 / (x * x)),
        _ => map(pool, x, y, move |x| x.powf(exponent)),
    }
}

fn smooth(pool: &Pool, function: Smooth, x: Reusable<'_>, y: &mut [f32]) {
    match function {
        Smooth::Gelu => map(pool, x, y, smooth::gelu),
        Smooth::GeluTanh => map(pool, x, y, smooth::gelu_tanh),
        Smooth::Silu => map(pool, x, y, smooth::silu),
        Smooth::Mish => map(pool, x, y, smooth::mish),
        Smooth::HardSwish => map(pool, x, y, |x| x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)),
        Smooth::Softplus => map(pool, x, y, smooth::softplus),
        Smooth::Softsign => map(pool, x, y, smooth::softsign),
        Smooth::Elu { alpha } => {
            let alpha = alpha as f32;
            map(pool, x, y, move |x| smooth::elu(alpha, x));
        }
    }
}

/// dx = dy * function'(x).
pub fn grad(pool: &Pool, function: Smooth, operands: [Reusable<'_>; 2], dx: &mut [f32]) {
    with_slope!(function, slope => zip(pool, operands, dx, move |dy, x| dy * slope(x)));
}
