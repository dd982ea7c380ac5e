use super::elementwise;
use super::tensor::{Args, Tensor};
use crate::kernels::binary::{Binary, Operator};

pub fn binary(it: &Binary, args: &Args) -> Tensor {
    elementwise::binary(&it.sizes, args, function(it.operator))
}

fn function(operator: Operator) -> fn(f64, f64) -> f64 {
    match operator {
        Operator::Pow => f64::powf,
        Operator::PowBaseSlope => |a, b| if b == 0.0 { 0.0 } else { b * a.powf(b - 1.0) },
        Operator::PowExponentSlope => |a, b| if a == 0.0 && 0.0 <= b { 0.0 } else { a.powf(b) * a.ln() },
        // Rust's own max and min ignore NaN.
        Operator::Max => |a, b| if b < a || a.is_nan() { a } else { b },
        Operator::Min => |a, b| if a < b || a.is_nan() { a } else { b },
        Operator::MaxShare => |a, b| match () {
            () if b < a => 1.0,
            () if a == b => 0.5,
            () => 0.0,
        },
        Operator::Fmod => |a, b| a % b,
    }
}
