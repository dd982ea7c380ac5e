use ndarray::{Array3, ArrayView2, Axis};

use super::tensor::{Args, Tensor};
use crate::kernels::linear::{Linear, Matmul};

pub fn linear(it: &Linear, args: &Args) -> Tensor {
    let mut y = args.floats(0, (it.rows, it.k)).dot(&weight(it, args));
    if it.bias {
        y += &args.flat(2);
    }
    y.into()
}

pub fn input_grad(it: &Linear, args: &Args) -> Tensor {
    args.floats(0, (it.rows, it.n)).dot(&weight(it, args).t()).into()
}

pub fn weight_grad(it: &Linear, args: &Args) -> Tensor {
    let dy = args.floats(0, (it.rows, it.n));
    let x = args.floats(1, (it.rows, it.k));
    if it.transpose { dy.t().dot(&x).into() } else { x.t().dot(&dy).into() }
}

pub fn matmul(it: &Matmul, args: &Args) -> Tensor {
    let mut a = args.floats(0, if it.ta { (it.batch, it.k, it.m) } else { (it.batch, it.m, it.k) });
    let mut b = args.floats(1, if it.tb { (it.batch, it.n, it.k) } else { (it.batch, it.k, it.n) });
    if it.ta {
        a.swap_axes(1, 2);
    }
    if it.tb {
        b.swap_axes(1, 2);
    }
    let mut y = Array3::<f64>::zeros((it.batch, it.m, it.n));
    for (i, mut y) in y.axis_iter_mut(Axis(0)).enumerate() {
        y.assign(&a.index_axis(Axis(0), i).dot(&b.index_axis(Axis(0), i)));
    }
    y.into()
}

/// w as `[k, n]`.
fn weight<'a>(it: &Linear, args: &'a Args) -> ArrayView2<'a, f64> {
    if it.transpose { args.floats(1, (it.n, it.k)).reversed_axes() } else { args.floats(1, (it.k, it.n)) }
}
