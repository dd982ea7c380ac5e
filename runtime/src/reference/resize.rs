use ndarray::Array3;

use super::tensor::{Args, Tensor};
use crate::kernels::resize::Resize;

pub fn resize(it: &Resize, args: &Args) -> Tensor {
    let x = args.floats(0, (it.outer, it.input, it.inner));
    let mut y = Array3::<f64>::zeros((it.outer, it.output, it.inner));
    for ((outer, i, inner), y) in y.indexed_iter_mut() {
        let sum: f64 = (0..it.width).map(|t| weight(it, i, t) * x[[outer, it.starts[i] + t, inner]]).sum();
        *y = f64::from(it.constants[i]) + sum;
    }
    y.into()
}

pub fn grad(it: &Resize, args: &Args) -> Tensor {
    let dy = args.floats(0, (it.outer, it.output, it.inner));
    let mut dx = Array3::<f64>::zeros((it.outer, it.input, it.inner));
    for ((outer, i, inner), dy) in dy.indexed_iter() {
        for t in 0..it.width {
            dx[[outer, it.starts[i] + t, inner]] += weight(it, i, t) * dy;
        }
    }
    dx.into()
}

fn weight(it: &Resize, i: usize, t: usize) -> f64 {
    it.weights[i * it.width + t].into()
}
