//! Softmax and its logarithm along one axis, and their gradients.

use super::chunks::{each_over, rows_per_chunk};
use super::math::{exp, sum_by, sum_by2};
use super::wide::wide;
use crate::arena::Reusable;
use crate::kernels::softmax::Softmax;
use crate::pool::Pool;

/// Adjacent rows that are done side by side where the axis is not the last one.
const COLUMNS: usize = 64;

impl Softmax {
    /// Elements of one task: whole slabs `[len, inner]`.
    fn chunk(&self) -> usize {
        rows_per_chunk(self.len * self.inner) * self.len * self.inner
    }

    /// Strips of at most [`COLUMNS`] adjacent rows of a slab: the first one and how many.
    #[inline(always)]
    fn strips(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let inner = self.inner;
        (0..inner).step_by(COLUMNS).map(move |first| (first, COLUMNS.min(inner - first)))
    }
}

/// y = e^x / sum of e^x.
pub fn softmax(pool: &Pool, along: &Softmax, x: Reusable<'_>, y: &mut [f32]) {
    each_over(pool, x, y, along.chunk(), |_, y| softmax_slabs(along, y));
}

/// y = x - ln(sum of e^x).
pub fn log_softmax(pool: &Pool, along: &Softmax, x: Reusable<'_>, y: &mut [f32]) {
    each_over(pool, x, y, along.chunk(), |_, y| log_softmax_slabs(along, y));
}

/// dx = y * (dy - sum of dy * y).
pub fn softmax_grad(pool: &Pool, along: &Softmax, dy: Reusable<'_>, y: &[f32], dx: &mut [f32]) {
    each_over(pool, dy, dx, along.chunk(), |idx, dx| softmax_grad_slabs(along, &y[idx * along.chunk()..], dx));
}

/// dx = dy - e^y * sum of dy.
pub fn log_softmax_grad(pool: &Pool, along: &Softmax, dy: Reusable<'_>, y: &[f32], dx: &mut [f32]) {
    each_over(pool, dy, dx, along.chunk(), |idx, dx| log_softmax_grad_slabs(along, &y[idx * along.chunk()..], dx));
}

/// Largest element of a row and the sum of e^(x - largest).
#[inline(always)]
pub fn max_and_sum(x: &[f32]) -> (f32, f64) {
    let max = largest(x);
    (max, sum_by(x, |x| exp(x - max)))
}

#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (groups, rest) = x.as_chunks::<LANES>();
    for group in groups {
        for (lane, &x) in lanes.iter_mut().zip(group) {
            *lane = if *lane < x { x } else { *lane };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if *lane < x { x } else { *lane };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

wide! {
    /// y holds x at the start.
    fn softmax_slabs(along: &Softmax, y: &mut [f32]) {
        let &Softmax { len, inner, .. } = along;
        for y in y.chunks_mut(len * inner) {
            if inner == 1 {
                let max = largest(y);
                y.iter_mut().for_each(|y| *y = exp(*y - max));
                let factor = (1.0 / sum_by(y, |y| y)) as f32;
                y.iter_mut().for_each(|y| *y *= factor);
                continue;
            }
            for (first, n) in along.strips() {
                let max = largest_of_columns(along, y, first, n);
                let mut sum = [0f64; COLUMNS];
                for at in (0..len).map(|it| it * inner + first) {
                    let y = &mut y[at..at + n];
                    y.iter_mut().zip(&max).for_each(|(y, &max)| *y = exp(*y - max));
                    sum.iter_mut().zip(y).for_each(|(sum, y)| *sum += *y as f64);
                }
                let factor = sum.map(|it| (1.0 / it) as f32);
                for at in (0..len).map(|it| it * inner + first) {
                    y[at..at + n].iter_mut().zip(&factor).for_each(|(y, &factor)| *y *= factor);
                }
            }
        }
    }
}

wide! {
    /// y holds x at the start.
    fn log_softmax_slabs(along: &Softmax, y: &mut [f32]) {
        let &Softmax { len, inner, .. } = along;
        for y in y.chunks_mut(len * inner) {
            if inner == 1 {
                let (max, sum) = max_and_sum(y);
                let log = sum.ln() as f32;
                y.iter_mut().for_each(|y| *y = (*y - max) - log);
                continue;
            }
            for (first, n) in along.strips() {
                let (max, sum) = columns(along, y, first, n);
                let log = sum.map(|it| it.ln() as f32);
                for at in (0..len).map(|it| it * inner + first) {
                    for (y, (&max, &log)) in y[at..at + n].iter_mut().zip(max.iter().zip(&log)) {
                        *y = (*y - max) - log;
                    }
                }
            }
        }
    }
}

/// [`max_and_sum`] of `n` adjacent rows.
#[inline(always)]
fn columns(along: &Softmax, x: &[f32], first: usize, n: usize) -> ([f32; COLUMNS], [f64; COLUMNS]) {
    let max = largest_of_columns(along, x, first, n);
    let (mut sum, mut powers) = ([0f64; COLUMNS], [0f32; COLUMNS]);
    for row in (0..along.len).map(|it| &x[it * along.inner + first..][..n]) {
        powers.iter_mut().zip(row.iter().zip(&max)).for_each(|(power, (&x, &max))| *power = exp(x - max));
        sum.iter_mut().zip(&powers[..n]).for_each(|(sum, &power)| *sum += power as f64);
    }
    (max, sum)
}

#[inline(always)]
fn largest_of_columns(along: &Softmax, x: &[f32], first: usize, n: usize) -> [f32; COLUMNS] {
    let mut max = [f32::NEG_INFINITY; COLUMNS];
    for row in (0..along.len).map(|it| &x[it * along.inner + first..][..n]) {
        for (max, &x) in max.iter_mut().zip(row) {
            *max = if *max < x { x } else { *max };
        }
    }
    max
}

wide! {
    /// dx holds dy at the start.
    fn softmax_grad_slabs(along: &Softmax, y: &[f32], dx: &mut [f32]) {
        let &Softmax { len, inner, .. } = along;
        let slab = len * inner;
        for (dx, y) in dx.chunks_mut(slab).zip(y.chunks(slab)) {
            if inner == 1 {
                let dot = sum_by2(dx, y, |dy, y| dy * y) as f32;
                dx.iter_mut().zip(y).for_each(|(dx, &y)| *dx = y * (*dx - dot));
                continue;
            }
            for (first, n) in along.strips() {
                let mut dot = [0f64; COLUMNS];
                for at in (0..len).map(|it| it * inner + first) {
                    for (dot, (&dy, &y)) in dot.iter_mut().zip(dx[at..at + n].iter().zip(&y[at..at + n])) {
                        *dot += (dy * y) as f64;
                    }
                }
                let dot = dot.map(|it| it as f32);
                for at in (0..len).map(|it| it * inner + first) {
                    let (dx, y) = (&mut dx[at..at + n], &y[at..at + n]);
                    for (dx, (&y, &dot)) in dx.iter_mut().zip(y.iter().zip(&dot)) {
                        *dx = y * (*dx - dot);
                    }
                }
            }
        }
    }
}

wide! {
    /// dx holds dy at the start.
    fn log_softmax_grad_slabs(along: &Softmax, y: &[f32], dx: &mut [f32]) {
        let &Softmax { len, inner, .. } = along;
        let slab = len * inner;
        for (dx, y) in dx.chunks_mut(slab).zip(y.chunks(slab)) {
            if inner == 1 {
                let total = sum_by(dx, |dy| dy) as f32;
                dx.iter_mut().zip(y).for_each(|(dx, &y)| *dx -= exp(y) * total);
                continue;
            }
            for (first, n) in along.strips() {
                let mut total = [0f64; COLUMNS];
                for at in (0..len).map(|it| it * inner + first) {
                    for (total, &dy) in total.iter_mut().zip(&dx[at..at + n]) {
                        *total += dy as f64;
                    }
                }
                let total = total.map(|it| it as f32);
                for at in (0..len).map(|it| it * inner + first) {
                    let (dx, y) = (&mut dx[at..at + n], &y[at..at + n]);
                    for (dx, (&y, &total)) in dx.iter_mut().zip(y.iter().zip(&total)) {
                        *dx -= exp(y) * total;
                    }
                }
            }
        }
    }
}
