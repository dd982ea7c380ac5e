//! Local response normalization across channels.

use std::ops::Range;

use super::chunks::each;
use super::wide::wide;
use crate::kernels::norm::Lrn;
use crate::pool::Pool;

/// Adjacent pixels that are done side by side.
const PIXELS: usize = 64;

/// `y[c] = x[c] / base[c]^beta` with `base[c]` = bias + alpha / size * (sum of squares of the channels around c).
pub fn lrn(pool: &Pool, lrn: &Lrn, x: &[f32], y: &mut [f32]) {
    each(pool, y, lrn.channels.c * lrn.channels.inner, |n, y| sample(lrn, &x[n * y.len()..][..y.len()], y));
}

/// dx from dy and x.
pub fn lrn_grad(pool: &Pool, lrn: &Lrn, [dy, x]: [&[f32]; 2], dx: &mut [f32]) {
    each(pool, dx, lrn.channels.c * lrn.channels.inner, |n, dx| {
        let at = n * dx.len();
        sample_grad(lrn, &dy[at..][..dx.len()], &x[at..][..dx.len()], dx);
    });
}

/// Channels whose squares are in the base of `channel`.
#[inline(always)]
fn window(lrn: &Lrn, channel: usize) -> Range<usize> {
    channel.saturating_sub((lrn.size - 1) / 2)..(channel + lrn.size / 2 + 1).min(lrn.channels.c)
}

#[inline(always)]
fn power(base: f32, beta: f32) -> f32 {
    if beta == 0.75 {
        let root = base.sqrt();
        return 1.0 / (root * root.sqrt());
    }
    base.powf(-beta)
}

wide! {
    fn sample(lrn: &Lrn, x: &[f32], y: &mut [f32]) {
        let (shape, beta) = (&lrn.channels, lrn.beta as f32);
        for first in (0..shape.inner).step_by(PIXELS) {
            let n = PIXELS.min(shape.inner - first);
            for c in 0..shape.c {
                let base = base(lrn, x, c, first, n);
                let at = c * shape.inner + first;
                for ((y, &x), &base) in y[at..at + n].iter_mut().zip(&x[at..at + n]).zip(&base) {
                    *y = x * power(base, beta);
                }
            }
        }
    }
}

wide! {
    fn sample_grad(lrn: &Lrn, dy: &[f32], x: &[f32], dx: &mut [f32]) {
        let (shape, beta) = (&lrn.channels, lrn.beta as f32);
        dx.fill(0.0);
        let slope = (-2.0 * lrn.alpha / lrn.size as f64 * lrn.beta) as f32;
        for first in (0..shape.inner).step_by(PIXELS) {
            let n = PIXELS.min(shape.inner - first);
            for c in 0..shape.c {
                let mut through_base = base(lrn, x, c, first, n);
                let at = c * shape.inner + first;
                for (i, base) in through_base[..n].iter_mut().enumerate() {
                    let direct = dy[at + i] * power(*base, beta);
                    dx[at + i] += direct;
                    *base = slope * direct * x[at + i] / *base;
                }
                for other in window(lrn, c) {
                    let at = other * shape.inner + first;
                    for ((dx, &x), &g) in dx[at..at + n].iter_mut().zip(&x[at..at + n]).zip(&through_base) {
                        *dx += g * x;
                    }
                }
            }
        }
    }
}

/// Bases of `n` pixels of one channel.
#[inline(always)]
fn base(lrn: &Lrn, x: &[f32], channel: usize, first: usize, n: usize) -> [f32; PIXELS] {
    let mut squares = [0f32; PIXELS];
    for other in window(lrn, channel) {
        let x = &x[other * lrn.channels.inner + first..][..n];
        for (square, &x) in squares.iter_mut().zip(x) {
            *square += x * x;
        }
    }
    let (weight, bias) = ((lrn.alpha / lrn.size as f64) as f32, lrn.bias as f32);
    squares.map(|square| bias + weight * square)
}
