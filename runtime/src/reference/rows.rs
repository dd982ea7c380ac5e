use ndarray::Array2;

use super::optimizer::{adam, sgd};
use super::tensor::{Args, Tensor};
use crate::kernels::index::place;
use crate::kernels::rows::{AdamRows, Rows, SgdRows};

pub fn sgd_rows(it: &SgdRows, args: &Args) -> Vec<Tensor> {
    sgd(&it.sgd, &with_gradient(&it.rows, args))
}

pub fn adam_rows(it: &AdamRows, args: &Args) -> Vec<Tensor> {
    adam(&it.adam, &with_gradient(&it.rows, args))
}

/// The operands of a dense update.
fn with_gradient(it: &Rows, args: &Args) -> Args {
    let dy = args.floats(1, (it.count, it.inner));
    let mut g = Array2::<f64>::zeros((it.len, it.inner));
    for (&index, dy) in args.ints(2).iter().zip(dy.rows()) {
        if let Some(row) = place(index, it.len) {
            let mut sum = g.row_mut(row);
            sum += &dy;
        }
    }
    Args([vec![args.0[0].clone(), g.into()], args.0[3..].to_vec()].concat())
}
