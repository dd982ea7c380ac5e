//! Pooling, plane by plane.

use std::ops::Range;

use crate::cpu::gemm::matrix::copy;
use crate::cpu::wide::wide;
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

/// Windows of a row that are compared at a time.
const TOGETHER: usize = 64;

fn max_plane<P: Position>(pool: &Pool, x: &[f32], mut y: Option<&mut [f32]>, mut index: Option<&mut [P]>) {
    for (oy, start) in (0..pool.oh).flat_map(|oy| (0..pool.ow).step_by(TOGETHER).map(move |ox| (oy, ox))) {
        let len = TOGETHER.min(pool.ow - start);
        let mut best = [f32::NEG_INFINITY; TOGETHER];
        let mut positions = [0; TOGETHER];
        let rows = pool.rows(oy);
        for (ox, position) in (start..).zip(&mut positions[..len]) {
            *position = (rows.start * pool.kw + pool.cols(ox).start) as i32;
        }
        for ty in rows {
            let row = &x[pool.y(oy, ty) * pool.iw..][..pool.iw];
            for tx in 0..pool.kw {
                let inside = pool.windows_inside(tx);
                let (first, end) = (inside.start.max(start), inside.end.min(start + len));
                if end <= first {
                    continue;
                }
                let mut values = [0.0; TOGETHER];
                let values = &mut values[..end - first];
                copy(values, &row[pool.x(first, tx)..], pool.sw);
                let (from, to) = (first - start, end - start);
                keep_larger(values, (ty * pool.kw + tx) as i32, &mut best[from..to], &mut positions[from..to]);
            }
        }
        let at = oy * pool.ow + start;
        if let Some(y) = &mut y {
            y[at..at + len].copy_from_slice(&best[..len]);
        }
        if let Some(index) = &mut index {
            let to = index[at..at + len].iter_mut();
            to.zip(positions).for_each(|(index, position)| *index = P::new(position as usize));
        }
    }
}

wide! {
    fn keep_larger(values: &[f32], position: i32, best: &mut [f32], positions: &mut [i32]) {
        for ((&value, best), at) in values.iter().zip(best).zip(positions) {
            let larger = *best < value || (value.is_nan() && !best.is_nan());
            *best = if larger { value } else { *best };
            *at = if larger { position } else { *at };
        }
    }
}

/// Gradient of [`max_pool`].
pub fn max_pool_grad<P: Position>(threads: &Threads, max: &MaxPool, dy: &[f32], index: &[P], dx: &mut [f32]) {
    let pool = &max.pool;
    let out = pool.oh * pool.ow;
    threads.chunks(dx, pool.ih * pool.iw, |plane, dx| {
        dx.fill(0.0);
        let rows = dy[plane * out..].chunks(pool.ow).zip(index[plane * out..].chunks(pool.ow));
        for (oy, (dy, index)) in rows.take(pool.oh).enumerate() {
            for (ox, (dy, position)) in dy.iter().zip(index).enumerate() {
                // Divisions of 32 bits take half the time of longer ones.
                let (position, width) = (position.get() as u32, pool.kw as u32);
                let (ty, tx) = (position / width, position % width);
                dx[pool.y(oy, ty as usize) * pool.iw + pool.x(ox, tx as usize)] += dy;
            }
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

    /// Windows of which this column is inside x.
    fn windows_inside(&self, tx: usize) -> Range<usize> {
        let ahead = tx * self.dw;
        let first = self.pl.saturating_sub(ahead).div_ceil(self.sw);
        let end = (self.iw + self.pl).saturating_sub(ahead).div_ceil(self.sw).min(self.ow);
        first.min(end)..end
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
                let rows = (pool.pt + pool.ih + pool.pb - oy * pool.sh).div_ceil(pool.dh).min(pool.kh);
                rows * (pool.pl + pool.iw + pool.pr - ox * pool.sw).div_ceil(pool.dw).min(pool.kw)
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
