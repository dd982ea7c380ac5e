use ndarray::Array4;

use super::tensor::{Args, Tensor};
use crate::kernels::conv::Conv;

pub fn conv(it: &Conv, args: &Args) -> Tensor {
    let (x, w) = (args.floats(0, input(it)), args.floats(1, weights(it)));
    let mut y = Array4::<f64>::zeros(output(it));
    if it.bias {
        y += &args.floats(2, (it.o, 1, 1));
    }
    each_tap(it, |yi, xi, wi| y[yi] += x[xi] * w[wi]);
    y.into()
}

pub fn input_grad(it: &Conv, args: &Args) -> Tensor {
    let (dy, w) = (args.floats(0, output(it)), args.floats(1, weights(it)));
    let mut dx = Array4::<f64>::zeros(input(it));
    if it.onto {
        dx += &args.floats(2, input(it));
    }
    each_tap(it, |yi, xi, wi| dx[xi] += dy[yi] * w[wi]);
    dx.into()
}

pub fn weight_grad(it: &Conv, args: &Args) -> Tensor {
    weight_grad_from(it, args, [0, 1])
}

/// The operands have changed places.
pub fn transpose_weight_grad(it: &Conv, args: &Args) -> Tensor {
    weight_grad_from(it, args, [1, 0])
}

fn weight_grad_from(it: &Conv, args: &Args, [y, x]: [usize; 2]) -> Tensor {
    let (dy, x) = (args.floats(y, output(it)), args.floats(x, input(it)));
    let mut dw = Array4::<f64>::zeros(weights(it));
    each_tap(it, |yi, xi, wi| dw[wi] += dy[yi] * x[xi]);
    dw.into()
}

/// Visits every product of the convolution: indices of y, x and w.
fn each_tap(it: &Conv, mut visit: impl FnMut([usize; 4], [usize; 4], [usize; 4])) {
    let per_group = it.c / it.groups;
    for (n, o, oy, ox) in ndarray::indices(output(it)) {
        let first = o / (it.o / it.groups) * per_group;
        for (c, ky, kx) in ndarray::indices((per_group, it.kh, it.kw)) {
            let iy = inside(oy * it.sh + ky * it.dh, it.pt, it.ih);
            let ix = inside(ox * it.sw + kx * it.dw, it.pl, it.iw);
            if let (Some(iy), Some(ix)) = (iy, ix) {
                visit([n, o, oy, ox], [n, first + c, iy, ix], [o, c, ky, kx]);
            }
        }
    }
}

/// Position in the input of one in the padded input; none in the padding.
pub fn inside(padded: usize, begin: usize, input: usize) -> Option<usize> {
    padded.checked_sub(begin).filter(|&it| it < input)
}

fn input(it: &Conv) -> [usize; 4] {
    [it.n, it.c, it.ih, it.iw]
}

fn output(it: &Conv) -> [usize; 4] {
    [it.n, it.o, it.oh, it.ow]
}

fn weights(it: &Conv) -> [usize; 4] {
    [it.o, it.c / it.groups, it.kh, it.kw]
}
