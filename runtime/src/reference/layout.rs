use ndarray::Array1;

use super::tensor::{Args, Tensor, positions};
use crate::kernels::layout::{Concat, StridedRead, StridedWrite};

pub fn strided_read(it: &StridedRead, args: &Args) -> Tensor {
    let x = args.flat(0);
    positions(&it.dims, &it.strides).map(|at| x[it.offset + at]).collect::<Array1<f64>>().into()
}

pub fn strided_write(it: &StridedWrite, args: &Args) -> Tensor {
    let mut y = Array1::from_elem(it.outputs, it.value);
    for (at, x) in positions(&it.dims, &it.strides).zip(args.flat(0)) {
        y[it.offset + at] = *x;
    }
    y.into()
}

pub fn concat(it: &Concat, args: &Args) -> Tensor {
    let mut y = Vec::new();
    for outer in 0..it.outer {
        for (slot, &part) in it.parts.iter().enumerate() {
            y.extend(args.flat(slot).iter().skip(outer * part).take(part));
        }
    }
    Array1::from(y).into()
}
