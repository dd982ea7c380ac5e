//! Sums over axes. The order of additions follows from shapes alone.

use super::chunks::{each, rows_per_chunk};
use super::math::{sum_by, sum_by2};
use super::nest::Nest;
use super::wide::wide;
use crate::kernels::elementwise::Broadcast;
use crate::kernels::reduce::Reduce;
use crate::pool::Pool;
use crate::types::MAX_RANK;

/// Adjacent results that are summed side by side.
const COLUMNS: usize = 64;

/// y = scale * sum of x over the axes on which y has no stride, or that added onto y.
pub fn reduce(pool: &Pool, reduce: &Reduce, x: &[f32], y: &mut [f32]) {
    let reduction = Reduction::new(&reduce.dims, &reduce.strides);
    let run = |at: usize, n: usize| sum(&x[at..][..n]);
    let columns = |at: usize, block: &mut [f64]| add(&x[at..][..block.len()], block);
    reduce_by(pool, &reduction, y, |y, sum| *y = reduced(reduce, *y, sum), run, columns);
}

/// Gradient of prelu's slope: the sum of dy * x where x <= 0.
pub fn prelu_slope_grad(pool: &Pool, sizes: &Broadcast, [dy, x]: [&[f32]; 2], y: &mut [f32]) {
    let reduction = Reduction::new(&sizes.dims, &sizes.b);
    let run = |at: usize, n: usize| sum_prelu(&dy[at..][..n], &x[at..][..n]);
    let columns = |at: usize, block: &mut [f64]| {
        let n = block.len();
        add_prelu(&dy[at..][..n], &x[at..][..n], block);
    };
    reduce_by(pool, &reduction, y, |y, sum| *y = sum as f32, run, columns);
}

/// A result, from what was there and its sum.
fn reduced(reduce: &Reduce, before: f32, sum: f64) -> f32 {
    let scaled = (sum * reduce.scale) as f32;
    if reduce.onto { before + scaled } else { scaled }
}

/// Which elements are summed into which result.
pub(super) struct Reduction {
    /// Results in order, with the offset of each one's first element.
    pub kept: Nest<1>,
    /// Elements of one result, with the offset of each from the first.
    pub summed: Nest<1>,
    /// Results lie next to each other along the innermost axis, not summands.
    pub columns: bool,
}

impl Reduction {
    /// Sums a row-major tensor of `dims` over the axes on which the row-major result has no stride.
    pub fn new(dims: &[usize], result_strides: &[usize]) -> Self {
        let mut strides = [1; MAX_RANK];
        for axis in (1..dims.len()).rev() {
            strides[axis - 1] = strides[axis] * dims[axis];
        }
        let axes = |is_summed| {
            let axes = (0..dims.len()).filter(move |&axis| dims[axis] != 1 && (result_strides[axis] == 0) == is_summed);
            axes.map(move |axis| (dims[axis], [strides[axis]]))
        };
        let columns = axes(false).any(|(_, [stride])| stride == 1);
        Self { kept: Nest::new(axes(false)), summed: Nest::new(axes(true)), columns }
    }
}

/// Sums runs of adjacent summands with `run`, or rows of adjacent results with `columns`; `put` takes each sum.
fn reduce_by(
    pool: &Pool,
    reduction: &Reduction,
    y: &mut [f32],
    put: impl Fn(&mut f32, f64) + Sync,
    run: impl Fn(usize, usize) -> f64 + Sync,
    columns: impl Fn(usize, &mut [f64]) + Sync,
) {
    let Reduction { kept, summed, .. } = reduction;
    let summands = summed.points();
    if !reduction.columns {
        let [stride] = summed.inner_strides();
        debug_assert!(stride <= 1);
        each(pool, y, rows_per_chunk(summands), |idx, y| {
            let first = idx * rows_per_chunk(summands);
            for (i, y) in y.iter_mut().enumerate() {
                let [base] = kept.offsets(first + i);
                let mut total = 0.0;
                summed.runs(0..summands, |[at], n| total += run(base + at, n));
                put(y, total);
            }
        });
        return;
    }
    let size = COLUMNS * (rows_per_chunk(summands) / COLUMNS).max(1);
    each(pool, y, size, |idx, y| {
        for (block, y) in y.chunks_mut(COLUMNS).enumerate() {
            let first = idx * size + block * COLUMNS;
            let mut done = 0;
            kept.runs(first..first + y.len(), |[base], n| {
                let mut totals = [0.0; COLUMNS];
                for row in 0..summands {
                    let [at] = summed.offsets(row);
                    columns(base + at, &mut totals[..n]);
                }
                for (y, total) in y[done..][..n].iter_mut().zip(totals) {
                    put(y, total);
                }
                done += n;
            });
        }
    });
}

wide! {
    /// The sum of a slice.
    pub fn sum(x: &[f32]) -> f64 {
        sum_by(x, |x| x)
    }
}

wide! {
    fn add(x: &[f32], y: &mut [f64]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += x as f64;
        }
    }
}

#[inline(always)]
fn prelu_slope(dy: f32, x: f32) -> f32 {
    if 0.0 < x { 0.0 } else { dy * x }
}

wide! {
    fn sum_prelu(dy: &[f32], x: &[f32]) -> f64 {
        sum_by2(dy, x, prelu_slope)
    }
}

wide! {
    fn add_prelu(dy: &[f32], x: &[f32], y: &mut [f64]) {
        for (y, (&dy, &x)) in y.iter_mut().zip(dy.iter().zip(x)) {
            *y += prelu_slope(dy, x) as f64;
        }
    }
}
