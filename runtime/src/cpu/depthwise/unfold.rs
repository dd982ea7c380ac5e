//! Copies of a plane in which every tap reads one unbroken stretch.
//!
//! Elements that are `stride` apart become neighbors: there is one copy for each remainder of the row and of the
//! column that some tap starts at, padding included. With rows of equal `pitch` in all copies, window `(y, x)` of tap
//! `(ty, tx)` is at `start(ty, tx) + y * pitch + x`. Between the rows lie elements that belong to no window.

use super::stretch::STEP;
use crate::cpu::gemm::matrix::copy;
use crate::cpu::window::Window;

/// Taps whose starts are worked out in advance.
pub const TAPS: usize = 25;

/// How a block of a plane is unfolded.
#[derive(Clone, Copy)]
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

    /// Zeros for the copies, and room for one sum for each element of a stretch; `None` if `scratch` is too small.
    pub fn split<'a>(&self, scratch: &'a mut [f32]) -> Option<(&'a mut [f32], &'a mut [f32])> {
        let (copies, rest) = scratch.split_at_mut_checked(self.copies())?;
        let sums = rest.get_mut(..self.sums())?;
        copies.fill(0.0);
        Some((copies, sums))
    }

    /// [`Unfold::start`] of the first taps in row-major order, which would take long to work out for each plane.
    pub fn starts(&self) -> [usize; TAPS] {
        let [y, x] = self.windows;
        std::array::from_fn(|tap| if tap < y.taps * x.taps { self.start(tap / x.taps, tap % x.taps) } else { 0 })
    }

    /// Where the stretch of a tap starts in the copies.
    pub fn start(&self, ty: usize, tx: usize) -> usize {
        let [(row_phase, row), (col_phase, col)] =
            [(0, ty), (1, tx)].map(|(axis, tap)| self.axes[axis].place(&self.windows[axis], tap));
        (row_phase * self.axes[1].phases + col_phase) * self.rows() * self.pitch + row * self.pitch + col
    }

    /// Copies what the windows see of the plane `x`, and leaves the zeros around it.
    pub fn fill(&self, x: &[f32], copies: &mut [f32]) {
        let ([y_axis, x_axis], [y_window, x_window]) = (self.axes, self.windows);
        for row_phase in 0..y_axis.phases {
            let lines = y_axis.inside(row_phase, &y_window, self.rows());
            for col_phase in 0..x_axis.phases {
                let cols = x_axis.inside(col_phase, &x_window, self.pitch);
                if cols.len == 0 {
                    continue;
                }
                let copy_start = (row_phase * x_axis.phases + col_phase) * self.rows() * self.pitch;
                for line in 0..lines.len {
                    let from = (lines.first + line * y_window.stride) * x_window.size;
                    let row = &x[from..from + x_window.size];
                    let to = copy_start + (lines.before + line) * self.pitch + cols.before;
                    copy(&mut copies[to..to + cols.len], &row[cols.first..], x_window.stride);
                }
            }
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

    /// With a step more, because stretches are read in whole steps.
    fn copies(&self) -> usize {
        self.axes[0].phases * self.axes[1].phases * self.rows() * self.pitch + STEP
    }

    fn sums(&self) -> usize {
        ((self.windows[0].count - 1) * self.pitch + self.windows[1].count).next_multiple_of(STEP)
    }
}

/// The part of a copy's axis that is not padding.
struct Inside {
    /// Elements of padding before it.
    before: usize,
    /// What its first element is a copy of.
    first: usize,
    len: usize,
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

    fn inside(&self, phase: usize, window: &Window, len: usize) -> Inside {
        let (start, stride) = (self.earliest + phase as isize, window.stride);
        let before = start.min(0).unsigned_abs().div_ceil(stride).min(len);
        let first = (start + (before * stride) as isize).max(0).unsigned_abs();
        Inside { before, first, len: window.size.saturating_sub(first).div_ceil(stride).min(len - before) }
    }
}
