use ndarray::Array1;

use super::tensor::{Args, Tensor, positions};
use crate::kernels::layout::{Concat, StridedRead, StridedWrite};

pub fn strided_read(it: &StridedRead, args: &Args) -> Tensor {
    args.at(0, positions(&it.dims, &it.strides).map(|at| it.offset + at))
}

pub fn strided_write(it: &StridedWrite, args: &Args) -> Tensor {
    let places = positions(&it.dims, &it.strides).map(|at| it.offset + at);
    match &args.0[0] {
        Tensor::Int(x) => {
            let mut y = vec![it.value as i64; it.outputs];
            places.zip(x).for_each(|(at, x)| y[at] = *x);
            Tensor::ints(y)
        }
        _ => {
            let mut y = Array1::from_elem(it.outputs, it.value);
            places.zip(args.flat(0)).for_each(|(at, x)| y[at] = *x);
            y.into()
        }
    }
}

pub fn concat(it: &Concat, args: &Args) -> Tensor {
    let parts = (0..it.outer).flat_map(|outer| it.parts.iter().enumerate().map(move |part| (outer, part)));
    let pieces: Vec<Tensor> =
        parts.map(|(outer, (slot, &part))| args.at(slot, outer * part..(outer + 1) * part)).collect();
    match &args.0[0] {
        Tensor::Int(_) => {
            Tensor::ints(pieces.iter().flat_map(|it| it.integers().unwrap_or_default()).copied().collect())
        }
        _ => pieces.iter().flat_map(|it| it.floats().unwrap_or_default()).copied().collect::<Array1<f64>>().into(),
    }
}
