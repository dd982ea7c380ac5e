//! Functions of two numbers.

use super::broadcast;
use crate::arena::Reusable;
use crate::kernels::binary::{Binary, Operator};
use crate::pool::Pool;

/// y = operator(a, b) where each may be stretched to the other.
pub fn binary(pool: &Pool, binary: &Binary, operands: [Reusable<'_>; 2], y: &mut [f32]) {
    let sizes = &binary.sizes;
    match binary.operator {
        Operator::Pow => broadcast::binary(pool, sizes, operands, y, f32::powf),
        Operator::PowBaseSlope => {
            broadcast::binary(pool, sizes, operands, y, |a, b| if b == 0.0 { 0.0 } else { b * a.powf(b - 1.0) });
        }
        Operator::PowExponentSlope => {
            broadcast::binary(
                pool,
                sizes,
                operands,
                y,
                |a, b| {
                    if a == 0.0 && 0.0 <= b { 0.0 } else { a.powf(b) * a.ln() }
                },
            )
        }
        Operator::Max => broadcast::binary(pool, sizes, operands, y, |a, b| if b < a || a.is_nan() { a } else { b }),
        Operator::Min => broadcast::binary(pool, sizes, operands, y, |a, b| if a < b || a.is_nan() { a } else { b }),
        Operator::MaxShare => broadcast::binary(pool, sizes, operands, y, |a, b| {
            let share = if b < a { 1.0 } else { 0.0 };
            if a == b { 0.5 } else { share }
        }),
        Operator::Fmod => broadcast::binary(pool, sizes, operands, y, |a, b| a % b),
    }
}
