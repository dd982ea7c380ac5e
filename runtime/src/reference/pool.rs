use ndarray::Array3;

use super::conv::inside;
use super::tensor::{Args, Tensor};
use crate::kernels::pool::{AvgPool, MaxPool, Pool};

pub fn max(it: &MaxPool, args: &Args) -> Vec<Tensor> {
    let it = &it.pool;
    let x = args.floats(0, input(it));
    let mut y = Array3::<f64>::zeros(output(it));
    let mut index = Array3::<i64>::zeros(output(it));
    for (plane, oy, ox) in ndarray::indices(output(it)) {
        let mut best: Option<(usize, f64)> = None;
        for (position, iy, ix) in window(it, oy, ox) {
            let candidate = x[[plane, iy, ix]];
            if best.is_none_or(|(_, best)| best < candidate || candidate.is_nan() && !best.is_nan()) {
                best = Some((position, candidate));
            }
        }
        let (position, value) = best.expect("every window covers an element");
        y[[plane, oy, ox]] = value;
        index[[plane, oy, ox]] = position as i64;
    }
    vec![y.into(), Tensor::Int(index.into_dyn())]
}

pub fn max_grad(it: &MaxPool, args: &Args) -> Tensor {
    let it = &it.pool;
    let (dy, index) = (args.floats(0, output(it)), args.ints(1));
    let mut dx = Array3::<f64>::zeros(input(it));
    for ((plane, oy, ox), &index) in ndarray::indices(output(it)).into_iter().zip(index) {
        for (_, iy, ix) in window(it, oy, ox).into_iter().filter(|(position, ..)| *position as i64 == index) {
            dx[[plane, iy, ix]] += dy[[plane, oy, ox]];
        }
    }
    dx.into()
}

pub fn avg(it: &AvgPool, args: &Args) -> Tensor {
    let x = args.floats(0, input(&it.pool));
    let mut y = Array3::<f64>::zeros(output(&it.pool));
    for (plane, oy, ox) in ndarray::indices(output(&it.pool)) {
        let window = window(&it.pool, oy, ox);
        let sum: f64 = window.iter().map(|&(_, iy, ix)| x[[plane, iy, ix]]).sum();
        y[[plane, oy, ox]] = sum / divisor(it, oy, ox);
    }
    y.into()
}

pub fn avg_grad(it: &AvgPool, args: &Args) -> Tensor {
    let dy = args.floats(0, output(&it.pool));
    let mut dx = Array3::<f64>::zeros(input(&it.pool));
    for (plane, oy, ox) in ndarray::indices(output(&it.pool)) {
        for (_, iy, ix) in window(&it.pool, oy, ox) {
            dx[[plane, iy, ix]] += dy[[plane, oy, ox]] / divisor(it, oy, ox);
        }
    }
    dx.into()
}

/// Positions of a window that are not padding, row-major, with the elements there.
fn window(it: &Pool, oy: usize, ox: usize) -> Vec<(usize, usize, usize)> {
    let element = |(ky, kx): (usize, usize)| {
        let iy = inside(oy * it.sh + ky * it.dh, it.pt, it.ih)?;
        let ix = inside(ox * it.sw + kx * it.dw, it.pl, it.iw)?;
        Some((ky * it.kw + kx, iy, ix))
    };
    ndarray::indices((it.kh, it.kw)).into_iter().filter_map(element).collect()
}

fn divisor(it: &AvgPool, oy: usize, ox: usize) -> f64 {
    let pool = &it.pool;
    if !it.count_include_pad {
        return window(pool, oy, ox).len() as f64;
    }
    let rows = (0..pool.kh).filter(|ky| oy * pool.sh + ky * pool.dh < pool.ih + pool.pt + pool.pb).count();
    let columns = (0..pool.kw).filter(|kx| ox * pool.sw + kx * pool.dw < pool.iw + pool.pl + pool.pr).count();
    (rows * columns) as f64
}

fn input(it: &Pool) -> [usize; 3] {
    [it.planes, it.ih, it.iw]
}

fn output(it: &Pool) -> [usize; 3] {
    [it.planes, it.oh, it.ow]
}
