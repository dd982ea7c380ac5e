//! Kernels with numbers for each channel.

use std::ops::Range;

use super::chunks::each_of;
use super::wide::wide;
use crate::arena::Reusable;
use crate::kernels::norm::Channels;
use crate::pool::Pool;

/// Planes of fewer elements are too short for vector loops of their own.
const SHORT: usize = 32;

impl Channels {
    /// Ranges of one channel, a plane for each sample.
    pub(super) fn planes(&self, channel: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (stride, inner) = (self.c * self.inner, self.inner);
        (0..self.n).map(move |n| {
            let start = n * stride + channel * inner;
            start..start + inner
        })
    }

    /// Elements of one channel.
    pub(super) fn count(&self) -> f64 {
        (self.n * self.inner) as f64
    }

    /// Adds up `sum` over the planes of one channel. Short planes are gathered into longer pieces first.
    pub(super) fn sum<const K: usize>(
        &self,
        channel: usize,
        tensors: [&[f32]; K],
        sum: impl Fn([&[f32]; K]) -> f64,
    ) -> f64 {
        if SHORT <= self.inner {
            return self.planes(channel).map(|at| sum(tensors.map(|it| &it[at.clone()]))).sum();
        }
        let mut gathered = [[0f32; 32 * SHORT]; K];
        let (mut filled, mut total) = (0, 0.0);
        for at in self.planes(channel) {
            if 32 * SHORT < filled + self.inner {
                total += sum(gathered.each_ref().map(|it| &it[..filled]));
                filled = 0;
            }
            for (gathered, tensor) in gathered.iter_mut().zip(tensors) {
                gathered[filled..filled + self.inner].copy_from_slice(&tensor[at.clone()]);
            }
            filled += self.inner;
        }
        total + sum(gathered.each_ref().map(|it| &it[..filled]))
    }
}

/// (x - shift) * factor + bias.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Taken away first.
    pub shift: f32,
    /// Multiplied by.
    pub factor: f32,
    /// Added last.
    pub bias: f32,
}

impl Line {
    #[inline(always)]
    fn at(self, x: f32) -> f32 {
        (x - self.shift) * self.factor + self.bias
    }
}

/// Applies each channel's line.
pub fn map_channels(
    pool: &Pool,
    shape: &Channels,
    x: Reusable<'_>,
    y: &mut [f32],
    line: impl Fn(usize) -> Line + Sync,
) {
    each_of(pool, [x], y, |start, [x], y| {
        let line = |at: usize| line(at / shape.inner % shape.c);
        if shape.inner < SHORT {
            for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                *y = line(start + i).at(x);
            }
            return;
        }
        let mut done = 0;
        while done < y.len() {
            let at = start + done;
            let end = (done + shape.inner - at % shape.inner).min(y.len());
            line_slice(&x[done..end], &mut y[done..end], line(at));
            done = end;
        }
    });
}

wide! {
    /// Applies one line to a slice.
    pub fn line_slice(x: &[f32], y: &mut [f32], line: Line) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = line.at(x);
        }
    }
}
