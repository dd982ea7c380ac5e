use ndarray::Array1;

use super::tensor::{Args, Tensor, positions};
use crate::kernels::reduce::{Expand, Reduce};

pub fn reduce(it: &Reduce, args: &Args) -> Tensor {
    let mut y = Array1::<f64>::zeros(it.outputs);
    for (at, x) in positions(&it.dims, &it.strides).zip(args.flat(0)) {
        y[at] += x;
    }
    (y * it.scale).into()
}

pub fn expand(it: &Expand, args: &Args) -> Tensor {
    match args.at(0, positions(&it.dims, &it.strides)) {
        Tensor::Float(y) => Tensor::Float(y * it.scale),
        moved => moved,
    }
}
