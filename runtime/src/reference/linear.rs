use ndarray::{Array3, ArrayView2, Axis};

use super::tensor::{Args, Tensor, positions};
use crate::kernels::linear::{Linear, Matmul};

pub fn linear(it: &Linear, args: &Args) -> Tensor {
    let mut y = args.floats(0, (it.rows, it.k)).dot(&weight(it, args));
    if it.bias {
        y += &args.flat(2);
    }
    y.into()
}

pub fn input_grad(it: &Linear, args: &Args) -> Tensor {
    let mut dx = args.floats(0, (it.rows, it.n)).dot(&weight(it, args).t());
    if it.onto {
        dx += &args.floats(2, (it.rows, it.k));
    }
    dx.into()
}

pub fn weight_grad(it: &Linear, args: &Args) -> Tensor {
    let dy = args.floats(0, (it.rows, it.n));
    let x = args.floats(1, (it.rows, it.k));
    if it.transpose { dy.t().dot(&x).into() } else { x.t().dot(&dy).into() }
}

pub fn matmul(it: &Matmul, args: &Args) -> Tensor {
    let [a_count, b_count] =
        [0, 1].map(|slot| args.flat(slot).len() / if slot == 0 { it.m * it.k } else { it.k * it.n });
    let mut a = args.floats(0, if it.ta { (a_count, it.k, it.m) } else { (a_count, it.m, it.k) });
    let mut b = args.floats(1, if it.tb { (b_count, it.n, it.k) } else { (b_count, it.k, it.n) });
    if it.ta {
        a.swap_axes(1, 2);
    }
    if it.tb {
        b.swap_axes(1, 2);
    }
    let factors = positions(&it.lead, &it.a).zip(positions(&it.lead, &it.b));
    let mut y = Array3::<f64>::zeros((it.lead.iter().product(), it.m, it.n));
    for (mut y, (i, j)) in y.axis_iter_mut(Axis(0)).zip(factors) {
        y.assign(&a.index_axis(Axis(0), i).dot(&b.index_axis(Axis(0), j)));
    }
    y.into()
}

/// w as `[k, n]`.
fn weight<'a>(it: &Linear, args: &'a Args) -> ArrayView2<'a, f64> {
    if it.transpose { args.floats(1, (it.n, it.k)).reversed_axes() } else { args.floats(1, (it.k, it.n)) }
}
