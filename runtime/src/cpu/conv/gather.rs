//! A convolution's input as a factor of a product: the matrix of all windows, made panel by panel and never whole.

use std::ops::Range;

use crate::cpu::gemm::Factor;
use crate::cpu::gemm::matrix::{Lines, copy, pack_lines};
use crate::cpu::window::Window;

#[cfg(target_arch = "x86_64")]
mod vectors;

/// All windows of some channels of some images.
#[derive(Clone, Copy)]
pub struct Windows<'a> {
    /// The first image, from its first channel on.
    pub data: &'a [f32],
    /// Images.
    pub samples: usize,
    /// From one image to the next.
    pub sample: usize,
    /// Vertical axis.
    pub y: Window,
    /// Horizontal axis.
    pub x: Window,
}

/// Lines are windows (sample, y, x); `k` runs over channels and taps (c, ty, tx).
pub struct ByWindow<'a>(pub Windows<'a>);

/// Lines are channels and taps (c, ty, tx); `k` runs over windows (sample, y, x).
pub struct ByTap<'a>(pub Windows<'a>);

/// Neighboring windows of one row of one image.
#[derive(Clone, Copy, Default)]
struct Run {
    len: usize,
    sample: usize,
    y: usize,
    x: usize,
}

impl Windows<'_> {
    /// The windows in `range`, row by row.
    fn runs(&self, range: Range<usize>) -> impl Iterator<Item = Run> {
        let (height, width) = (self.y.count, self.x.count);
        let (mut row, mut x, mut left) = (range.start / width, range.start % width, range.len());
        std::iter::from_fn(move || {
            let run = Run { len: left.min(width - x), sample: row / height, y: row % height, x };
            (row, x, left) = (row + 1, 0, left - run.len);
            (0 < run.len).then_some(run)
        })
    }

    /// What tap (c, ty, tx) reads in the windows of `run`.
    #[inline(always)]
    fn read(&self, run: Run, [c, ty, tx]: [usize; 3], out: &mut [f32]) {
        let Some(y) = self.y.read(run.y, ty) else { return out.fill(0.0) };
        let start = run.sample * self.sample + (c * self.y.size + y) * self.x.size;
        let row = &self.data[start..start + self.x.size];
        let (first, stride) = (self.x.at(run.x, tx), self.x.stride);
        // The usual stride has its own arm, because divisions take longer than the few elements of a run.
        let steps = |elements: usize| if stride == 1 { elements } else { elements.div_ceil(stride) };
        let before = steps(first.min(0).unsigned_abs()).min(out.len());
        let first = (first + (before * stride) as isize).max(0).unsigned_abs();
        let inside = steps(row.len().saturating_sub(first)).min(out.len() - before);
        out[..before].fill(0.0);
        if 0 < inside {
            copy(&mut out[before..before + inside], &row[first..], stride);
        }
        out[before + inside..].fill(0.0);
    }

    fn tap(&self, k: usize) -> [usize; 3] {
        let (height, width) = (self.y.taps, self.x.taps);
        [k / width / height, k / width % height, k % width]
    }

    fn next(&self, [c, ty, tx]: [usize; 3]) -> [usize; 3] {
        match (tx + 1 < self.x.taps, ty + 1 < self.y.taps) {
            (true, _) => [c, ty, tx + 1],
            (_, true) => [c, ty + 1, 0],
            _ => [c + 1, 0, 0],
        }
    }
}

impl Factor for ByWindow<'_> {
    fn pack(&self, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if width == 48
            && let Some(reader) = vectors::Reader::new(&self.0, lines.clone())
        {
            return reader.pack_windows(width, lines.len(), k, out);
        }
        const MOST: usize = 64;
        let mut runs = [Run::default(); MOST];
        let mut n_runs = 0;
        for run in self.0.runs(lines.clone()) {
            runs[n_runs] = run;
            n_runs += 1;
        }
        let mut tap = self.0.tap(k.start);
        for out in out.chunks_exact_mut(width).take(k.len()) {
            let mut rest = &mut *out;
            for &run in &runs[..n_runs] {
                let (now, later) = rest.split_at_mut(run.len);
                self.0.read(run, tap, now);
                rest = later;
            }
            rest.fill(0.0);
            tap = self.0.next(tap);
        }
    }
}

impl Factor for ByTap<'_> {
    fn pack(&self, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if width == 48
            && let Some(reader) = vectors::Reader::new(&self.0, k.clone())
        {
            return reader.pack_taps(width, lines, k.len(), out);
        }
        pack_lines(self, width, lines, k, out);
    }
}

impl Lines for ByTap<'_> {
    fn line<'a>(&'a self, line: usize, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        let (tap, len) = (self.0.tap(line), k.len());
        let mut rest = &mut room[..len];
        for run in self.0.runs(k) {
            let (now, later) = rest.split_at_mut(run.len);
            self.0.read(run, tap, now);
            rest = later;
        }
        &room[..len]
    }
}
