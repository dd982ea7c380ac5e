use ndarray::{Array1, Array3};

use super::tensor::{Args, Tensor};
use crate::kernels::index::{Gather, place};
use crate::types::DType;

pub fn gather(it: &Gather, args: &Args) -> Tensor {
    let indices = args.ints(1);
    let places = ndarray::indices((it.outer, it.count, it.inner)).into_iter().map(|(outer, i, inner)| {
        let at = place(indices[i], it.len)?;
        Some((outer * it.len + at) * it.inner + inner)
    });
    picked(it.element, args, places)
}

pub fn gather_grad(it: &Gather, args: &Args) -> Tensor {
    let (dy, indices) = (args.floats(0, (it.outer, it.count, it.inner)), args.ints(1));
    let mut dx = Array3::<f64>::zeros((it.outer, it.len, it.inner));
    for ((outer, i, inner), dy) in dy.indexed_iter() {
        if let Some(at) = place(indices[i], it.len) {
            dx[[outer, at, inner]] += dy;
        }
    }
    dx.into()
}

/// Elements of operand 0; where there is none, what says so.
pub fn picked(element: DType, args: &Args, places: impl Iterator<Item = Option<usize>>) -> Tensor {
    match element {
        DType::F32 => {
            let x = args.flat(0);
            places.map(|it| it.map_or(f64::NAN, |at| x[at])).collect::<Array1<f64>>().into()
        }
        _ => {
            let (x, none) = (args.ints(0), if element == DType::I64 { i64::MIN } else { 0 });
            Tensor::ints(places.map(|it| it.map_or(none, |at| x[at])).collect())
        }
    }
}
