//! Copies of a plane in which every tap reads one unbroken stretch.
//!
//! Elements that are `stride` apart become neighbors: there is one copy for each remainder of the row and of the
//! column that some tap starts at, padding included. With rows of equal `pitch` in all copies, window `(y, x)` of tap
//! `(ty, tx)` is at `start(ty, tx) + y * pitch + x`. Between the rows lie elements that belong to no window.

use crate::cpu::gemm::matrix::copy;
use crate::cpu::window::Window;

/// How a block of a plane is unfolded.
pub struct Unfold {
    /// Vertical and horizontal windows of the block.
    pub windows: [Window; 2],
    /// From one row to the next.
    pub pitch: usize,
    axes: [Axis; 2],
}

/// One axis: tap `j` reads copy `phase(j)` from element `shift(j)` on.
#[derive(Clone, Copy)]
struct Axis {
    /// What the earliest tap reads in the first window.
    earliest: isize,
    /// Copies: the stride, or 1 where there is but one tap.
    phases: usize,
    /// Elements of a copy beyond one for each window.
    reach: usize,
}

impl Unfold {
    /// Works out the sizes.
    pub fn new(windows: [Window; 2]) -> Unfold {
        let axes = windows.map(|it| Axis::of(&it));
        Unfold { windows, pitch: windows[1].count + axes[1].reach, axes }
    }

    /// Elements that the copies and the sums take.
    pub fn len(&self) -> usize {
        self.copies() + self.sums()
    }

    /// Room for the copies, and for the sums; `None` if there is not enough.
    pub fn split<'a>(&self, scratch: &'a mut [f32]) -> Option<(&'a mut [f32], &'a mut [f32])> {
        let (copies, rest) = scratch.split_at_mut_checked(self.copies())?;
        Some((copies, rest.get_mut(..self.sums())?))
    }

    /// Where the stretch of a tap starts in the copies.
    pub fn start(&self, ty: usize, tx: usize) -> usize {
        let [(row_phase, row), (col_phase, col)] =
            [(0, ty), (1, tx)].map(|(axis, tap)| self.axes[axis].place(&self.windows[axis], tap));
        (row_phase * self.axes[1].phases + col_phase) * self.rows() * self.pitch + row * self.pitch + col
    }

    /// Copies what the windows see of the plane `x`.
    pub fn fill(&self, x: &[f32], copies: &mut [f32]) {
        let [y_axis, x_axis] = self.axes;
        let [y_window, x_window] = self.windows;
        for (at, row) in copies.chunks_exact_mut(self.pitch).enumerate() {
            let (phase, line) = (at / self.rows(), at % self.rows());
            let (row_phase, col_phase) = (phase / x_axis.phases, phase % x_axis.phases);
            let y = y_axis.earliest + (row_phase + line * y_window.stride) as isize;
            let Some(y) = usize::try_from(y).ok().filter(|&it| it < y_window.size) else {
                row.fill(0.0);
                continue;
            };
            let (first, stride) = (x_axis.earliest + col_phase as isize, x_window.stride);
            let before = if first < 0 { first.unsigned_abs().div_ceil(stride).min(row.len()) } else { 0 };
            let first = (first + (before * stride) as isize).max(0).unsigned_abs();
            let inside = x_window.size.saturating_sub(first).div_ceil(stride).min(row.len() - before);
            row[..before].fill(0.0);
            if 0 < inside {
                let from = &x[y * x_window.size..][..x_window.size];
                copy(&mut row[before..before + inside], &from[first..], stride);
            }
            row[before + inside..].fill(0.0);
        }
    }

    /// What window `at` of the plane `x` reads at a tap.
    pub fn read(&self, x: &[f32], at: [usize; 2], tap: [usize; 2]) -> f32 {
        let [y_window, x_window] = self.windows;
        match (y_window.read(at[0], tap[0]), x_window.read(at[1], tap[1])) {
            (Some(row), Some(col)) => x[row * x_window.size + col],
            _ => 0.0,
        }
    }

    fn rows(&self) -> usize {
        self.windows[0].count + self.axes[0].reach
    }

    fn copies(&self) -> usize {
        self.axes[0].phases * self.axes[1].phases * self.rows() * self.pitch
    }

    fn sums(&self) -> usize {
        (self.windows[0].count - 1) * self.pitch + self.windows[1].count
    }
}

impl Axis {
    fn of(window: &Window) -> Axis {
        let last = window.first + (window.taps - 1) as isize * window.step;
        let reach = window.first.abs_diff(last) / window.stride;
        let phases = if window.taps == 1 { 1 } else { window.stride };
        Axis { earliest: window.first.min(last), phases, reach }
    }

    fn place(&self, window: &Window, tap: usize) -> (usize, usize) {
        let ahead = (window.at(0, tap) - self.earliest).unsigned_abs();
        (ahead % window.stride, ahead / window.stride)
    }
}
