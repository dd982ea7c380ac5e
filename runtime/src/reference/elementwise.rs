use ndarray::{Array1, Zip};

use super::tensor::{Args, Tensor, positions};
use crate::kernels::elementwise::{Broadcast, Clip, Dropout, HardSigmoid, LeakyRelu, MaskedScale, Scale};

pub fn relu(args: &Args) -> Vec<Tensor> {
    with_bits(args, |x| if x <= 0.0 { 0.0 } else { x }, |x| 0.0 < x)
}

pub fn leaky_relu(it: &LeakyRelu, args: &Args) -> Vec<Tensor> {
    with_bits(args, |x| if x < 0.0 { it.alpha * x } else { x }, |x| 0.0 < x)
}

pub fn clip(it: &Clip, args: &Args) -> Vec<Tensor> {
    with_bits(args, |x| x.clamp(it.min, it.max), |x| it.min < x && x < it.max)
}

pub fn hard_sigmoid(it: &HardSigmoid, args: &Args) -> Vec<Tensor> {
    let line = |x| it.alpha * x + it.beta;
    with_bits(args, |x| line(x).clamp(0.0, 1.0), |x| 0.0 < line(x) && line(x) < 1.0)
}

pub fn sigmoid(args: &Args) -> Tensor {
    args.flat(0).mapv(|x| 1.0 / (1.0 + (-x).exp())).into()
}

pub fn sigmoid_grad(args: &Args) -> Tensor {
    zip(args, |dy, y| dy * y * (1.0 - y))
}

pub fn tanh(args: &Args) -> Tensor {
    args.flat(0).mapv(f64::tanh).into()
}

pub fn tanh_grad(args: &Args) -> Tensor {
    zip(args, |dy, y| dy * (1.0 - y * y))
}

pub fn hard_swish(args: &Args) -> Tensor {
    args.flat(0).mapv(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)).into()
}

pub fn hard_swish_grad(args: &Args) -> Tensor {
    zip(args, |dy, x| match x {
        _ if x <= -3.0 => 0.0,
        _ if 3.0 <= x => dy,
        _ => dy * (x / 3.0 + 0.5),
    })
}

pub fn scale(it: &Scale, args: &Args) -> Tensor {
    args.flat(0).mapv(|x| x * it.factor).into()
}

pub fn masked_scale(it: &MaskedScale, args: &Args) -> Tensor {
    let pairs = args.flat(0).into_iter().zip(args.bits(1));
    pairs.map(|(dy, &bit)| dy * if bit { it.on } else { it.off }).collect::<Array1<f64>>().into()
}

pub fn dropout(it: &Dropout, args: &Args) -> Vec<Tensor> {
    let step = args.scalar(1) as u64;
    let kept: Vec<_> = (0..it.n).map(|index| it.keeps(step, index as u64)).collect();
    let pairs = args.flat(0).into_iter().zip(&kept);
    let y: Array1<f64> = pairs.map(|(x, &kept)| if kept { x / (1.0 - it.ratio) } else { 0.0 }).collect();
    vec![y.into(), Tensor::Bits(kept)]
}

pub fn binary(it: &Broadcast, args: &Args, f: fn(f64, f64) -> f64) -> Tensor {
    let (a, b) = (args.flat(0), args.flat(1));
    pairs(it).map(|(ai, bi)| f(a[ai], b[bi])).collect::<Array1<f64>>().into()
}

pub fn prelu(it: &Broadcast, args: &Args) -> Vec<Tensor> {
    let y = binary(it, args, |x, slope| if x < 0.0 { slope * x } else { x });
    vec![y, Tensor::Bits(args.flat(0).iter().map(|&x| 0.0 < x).collect())]
}

pub fn prelu_input_grad(it: &Broadcast, args: &Args) -> Tensor {
    let (dy, bits, slope) = (args.flat(0), args.bits(1), args.flat(2));
    let dx = pairs(it).map(|(i, at)| if bits[i] { dy[i] } else { dy[i] * slope[at] });
    dx.collect::<Array1<f64>>().into()
}

pub fn prelu_slope_grad(it: &Broadcast, args: &Args) -> Tensor {
    let (dy, x) = (args.flat(0), args.flat(1));
    let mut dslope = Array1::<f64>::zeros(it.b_len);
    for (i, at) in pairs(it).filter(|&(i, _)| x[i] <= 0.0) {
        dslope[at] += dy[i] * x[i];
    }
    dslope.into()
}

/// Positions of both operands for each element of the result.
pub fn pairs(it: &Broadcast) -> impl Iterator<Item = (usize, usize)> {
    positions(&it.dims, &it.a).zip(positions(&it.dims, &it.b))
}

fn with_bits(args: &Args, y: impl Fn(f64) -> f64, bit: impl Fn(f64) -> bool) -> Vec<Tensor> {
    let x = args.flat(0);
    vec![x.mapv(y).into(), Tensor::Bits(x.iter().map(|&x| bit(x)).collect())]
}

fn zip(args: &Args, f: impl Fn(f64, f64) -> f64) -> Tensor {
    Zip::from(args.flat(0)).and(args.flat(1)).map_collect(|&a, &b| f(a, b)).into()
}
