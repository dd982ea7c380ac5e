use ndarray::{Array1, Array3, ArrayView1, Axis};

use super::tensor::{Args, Tensor};
use crate::kernels::softmax::Softmax;

pub fn softmax(it: &Softmax, args: &Args) -> Tensor {
    each_lane(it, args, |[x]| log_probabilities(x).mapv(f64::exp))
}

pub fn log_softmax(it: &Softmax, args: &Args) -> Tensor {
    each_lane(it, args, |[x]| log_probabilities(x))
}

pub fn softmax_grad(it: &Softmax, args: &Args) -> Tensor {
    each_lane(it, args, |[dy, y]| &y * &(&dy - dy.dot(&y)))
}

pub fn log_softmax_grad(it: &Softmax, args: &Args) -> Tensor {
    each_lane(it, args, |[dy, y]| &dy - &(y.mapv(f64::exp) * dy.sum()))
}

/// Logarithm of the softmax.
pub fn log_probabilities(x: ArrayView1<'_, f64>) -> Array1<f64> {
    let max = x.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let shifted = x.mapv(|it| it - max);
    let log_sum = shifted.mapv(f64::exp).sum().ln();
    shifted - log_sum
}

fn each_lane<const N: usize>(it: &Softmax, args: &Args, f: impl Fn([ArrayView1<'_, f64>; N]) -> Array1<f64>) -> Tensor {
    let shape = (it.outer, it.len, it.inner);
    let operands: [_; N] = std::array::from_fn(|slot| args.floats(slot, shape));
    let mut y = Array3::<f64>::zeros(shape);
    for (outer, inner) in ndarray::indices((it.outer, it.inner)) {
        let lanes = std::array::from_fn(|slot| operands[slot].slice(ndarray::s![outer, .., inner]));
        y.index_axis_mut(Axis(0), outer).index_axis_mut(Axis(1), inner).assign(&f(lanes));
    }
    y.into()
}
