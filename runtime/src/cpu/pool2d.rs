//! Pooling, plane by plane.

use std::ops::Range;

use crate::kernels::pool::{AvgPool, MaxPool, Pool};
use crate::pool::{Disjoint, Pool as Threads};

/// A position inside a pooling window, as it is stored.
pub trait Position: Copy + Send + Sync {
    /// Of the position with this number, which fits.
    fn new(position: usize) -> Self;
    /// The number.
    fn get(self) -> usize;
}

/// Largest value of each window, and where it is; the first of equals. A NaN wins over numbers.
pub fn max_pool<P: Position>(
    threads: &Threads,
    max: &MaxPool,
    x: &[f32],
    y: Option<&mut [f32]>,
    index: Option<&mut [P]>,
) {
    let pool = &max.pool;
    let (input, out) = (pool.ih * pool.iw, pool.oh * pool.ow);
    let (y, index) = (y.map(Disjoint::new), index.map(Disjoint::new));
    threads.run(pool.planes, &|plane, _| {
        // SAFETY: every task has its own plane.
        let y = y.as_ref().map(|it| unsafe { it.chunk(plane, out) });
        // SAFETY: as above.
        let index = index.as_ref().map(|it| unsafe { it.chunk(plane, out) });
        max_plane(pool, &x[plane * input..][..input], y, index);
    });
}

fn max_plane<P: Position>(pool: &Pool, x: &[f32], mut y: Option<&mut [f32]>, mut index: Option<&mut [P]>) {
    for (at, (oy, ox)) in pool.windows().enumerate() {
        let (mut best, mut position) = (f32::NEG_INFINITY, None);
        let cols = pool.cols(ox);
        for ty in pool.rows(oy) {
            let row = &x[pool.y(oy, ty) * pool.iw..][..pool.iw];
            for tx in cols.clone() {
                let value = row[pool.x(ox, tx)];
                if best < value || position.is_none() || (value.is_nan() && !best.is_nan()) {
                    (best, position) = (value, Some(ty * pool.kw + tx));
                }
            }
        }
        if let Some(y) = &mut y {
            y[at] = best;
        }
        if let Some(index) = &mut index {
            index[at] = P::new(position.unwrap_or(0));
        }
    }
}

/// Gradient of [`max_pool`].
pub fn max_pool_grad<P: Position>(threads: &Threads, max: &MaxPool, dy: &[f32], index: &[P], dx: &mut [f32]) {
    let pool = &max.pool;
    let out = pool.oh * pool.ow;
    threads.chunks(dx, pool.ih * pool.iw, |plane, dx| {
        dx.fill(0.0);
        let (dy, index) = (&dy[plane * out..][..out], &index[plane * out..][..out]);
        for (at, (oy, ox)) in pool.windows().enumerate() {
            let position = index[at].get();
            dx[pool.y(oy, position / pool.kw) * pool.iw + pool.x(ox, position % pool.kw)] += dy[at];
        }
    });
}

/// Mean of each window.
pub fn avg_pool(threads: &Threads, avg: &AvgPool, x: &[f32], y: &mut [f32]) {
    let pool = &avg.pool;
    let input = pool.ih * pool.iw;
    threads.chunks(y, pool.oh * pool.ow, |plane, y| {
        let x = &x[plane * input..][..input];
        for ((oy, ox), y) in pool.windows().zip(y) {
            let taps = pool.rows(oy).flat_map(|ty| pool.cols(ox).map(move |tx| (ty, tx)));
            let sum = taps.fold(0.0, |sum, (ty, tx)| sum + x[pool.y(oy, ty) * pool.iw + pool.x(ox, tx)]);
            *y = sum / avg.divisor(oy, ox);
        }
    });
}

/// Gradient of [`avg_pool`].
pub fn avg_pool_grad(threads: &Threads, avg: &AvgPool, dy: &[f32], dx: &mut [f32]) {
    let pool = &avg.pool;
    let out = pool.oh * pool.ow;
    threads.chunks(dx, pool.ih * pool.iw, |plane, dx| {
        dx.fill(0.0);
        for ((oy, ox), dy) in pool.windows().zip(&dy[plane * out..][..out]) {
            let part = dy / avg.divisor(oy, ox);
            for ty in pool.rows(oy) {
                let row = &mut dx[pool.y(oy, ty) * pool.iw..][..pool.iw];
                pool.cols(ox).for_each(|tx| row[pool.x(ox, tx)] += part);
            }
        }
    });
}

impl Pool {
    fn windows(&self) -> impl Iterator<Item = (usize, usize)> {
        let width = self.ow;
        (0..self.oh).flat_map(move |oy| (0..width).map(move |ox| (oy, ox)))
    }

    /// Rows of the window that are inside x.
    fn rows(&self, oy: usize) -> Range<usize> {
        inside(oy * self.sh, self.pt, self.kh, self.dh, self.ih)
    }

    /// Columns of the window that are inside x.
    fn cols(&self, ox: usize) -> Range<usize> {
        inside(ox * self.sw, self.pl, self.kw, self.dw, self.iw)
    }

    fn y(&self, oy: usize, ty: usize) -> usize {
        oy * self.sh + ty * self.dh - self.pt
    }

    fn x(&self, ox: usize, tx: usize) -> usize {
        ox * self.sw + tx * self.dw - self.pl
    }
}

impl AvgPool {
    fn divisor(&self, oy: usize, ox: usize) -> f32 {
        let pool = &self.pool;
        let count = match self.count_include_pad {
            true => {
                let rows = (pool.pt + pool.ih + pool.pb - oy * pool.sh).min(pool.kh);
                rows * (pool.pl + pool.iw + pool.pr - ox * pool.sw).min(pool.kw)
            }
            false => pool.rows(oy).len() * pool.cols(ox).len(),
        };
        count as f32
    }
}

/// Positions of a window that starts at `start` in the padded axis and are inside the axis.
fn inside(start: usize, pad: usize, kernel: usize, dilation: usize, size: usize) -> Range<usize> {
    let first = pad.saturating_sub(start).div_ceil(dilation);
    let end = (pad + size).saturating_sub(start).div_ceil(dilation).min(kernel);
    first.min(end)..end
}

impl Position for u8 {
    fn new(position: usize) -> u8 {
        position as u8
    }

    fn get(self) -> usize {
        self.into()
    }
}

impl Position for i32 {
    fn new(position: usize) -> i32 {
        position as i32
    }

    fn get(self) -> usize {
        self as usize
    }
}
