use ndarray::{Array1, Zip};

use super::function::{erf, slope, smooth};
use super::tensor::{Args, Tensor};
use crate::kernels::activation::Gap;
use crate::kernels::slope::Slopes;
use crate::kernels::unary::{Function, Smooth, Unary};

pub fn unary(it: &Unary, args: &Args) -> Tensor {
    args.flat(0).mapv(|x| value(it.function, x)).into()
}

pub fn grad(function: Smooth, args: &Args) -> Tensor {
    Zip::from(args.flat(0)).and(args.flat(1)).map_collect(|&dy, &x| dy * slope(function, x)).into()
}

pub fn slope_codes(it: &Slopes, args: &Args) -> Tensor {
    Tensor::Codes(args.flat(0).iter().map(|&x| it.levels.nearest(slope(it.function, x), it.bits)).collect())
}

pub fn scale_by_codes(it: &Slopes, args: &Args) -> Tensor {
    let pairs = args.flat(0).into_iter().zip(args.codes(1));
    pairs.map(|(dy, &code)| dy * it.levels.slope(code)).collect::<Array1<f64>>().into()
}

pub fn gap(it: &Gap, args: &Args) -> Vec<Tensor> {
    let x = args.flat(0);
    let y = |x| match x {
        _ if x < it.low => x + it.bias,
        _ if it.high < x => x - it.bias,
        _ => 0.0,
    };
    vec![x.mapv(y).into(), Tensor::Bits(x.iter().map(|&x| x < it.low || it.high < x).collect())]
}

fn value(function: Function, x: f64) -> f64 {
    match function {
        Function::Shift { offset } => x + offset,
        Function::Power { exponent } => x.powf(exponent),
        Function::Reciprocal => 1.0 / x,
        Function::Exp => x.exp(),
        Function::Log => x.ln(),
        Function::Sqrt => x.sqrt(),
        Function::Abs => x.abs(),
        // Rust's own signum is 1 for 0.
        Function::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        Function::Floor => x.floor(),
        Function::Ceil => x.ceil(),
        Function::Round => x.round_ties_even(),
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Tan => x.tan(),
        Function::Asin => x.asin(),
        Function::Acos => x.acos(),
        Function::Atan => x.atan(),
        Function::Sinh => x.sinh(),
        Function::Cosh => x.cosh(),
        Function::Asinh => x.asinh(),
        Function::Acosh => x.acosh(),
        Function::Atanh => x.atanh(),
        Function::Erf => erf(x),
        Function::RoundF16 => half::f16::from_f32(x as f32).to_f64(),
        Function::Smooth(function) => smooth(function, x),
    }
}
