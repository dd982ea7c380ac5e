//! Convolutions and pooling over three spatial axes or more, one plane or one tap at a time.

use std::ops::Range;

use super::chunks::each;
use super::pool2d::Position;
use super::wide::wide;
use crate::kernels::volume::{Axis, Conv, Pool};
use crate::pool::{Disjoint, Pool as Threads};
use crate::types::MAX_RANK;

/// `y = x * w + b`; a task makes a plane of y.
pub fn conv(threads: &Threads, conv: &Conv, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    let [input, out, taps] = conv.sizes();
    let (per_group, last) = (conv.c / conv.groups, inner(&conv.axes));
    each(threads, y, out, |plane, y| {
        let (sample, o) = (plane / conv.o, plane % conv.o);
        let first = sample * conv.c + o / (conv.o / conv.groups) * per_group;
        y.fill(b.map_or(0.0, |b| b[o]));
        for c in 0..per_group {
            let x = &x[(first + c) * input..][..input];
            for tap in 0..taps {
                let w = w[(o * per_group + c) * taps + tap];
                rows(&conv.axes, tap, |y_at, x_at, len| add_from(&mut y[y_at..][..len], w, &x[x_at..], last.stride));
            }
        }
    });
}

/// Gradient with respect to x; a task makes a plane of it.
pub fn conv_input_grad(threads: &Threads, conv: &Conv, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let [input, out, taps] = conv.sizes();
    let (per_group, o_per_group, last) = (conv.c / conv.groups, conv.o / conv.groups, inner(&conv.axes));
    each(threads, dx, input, |plane, dx| {
        let (sample, c) = (plane / conv.c, plane % conv.c);
        let group = c / per_group;
        dx.fill(0.0);
        for o in group * o_per_group..(group + 1) * o_per_group {
            let dy = &dy[(sample * conv.o + o) * out..][..out];
            for tap in 0..taps {
                let w = w[(o * per_group + c % per_group) * taps + tap];
                rows(&conv.axes, tap, |y_at, x_at, len| add_to(&mut dx[x_at..], last.stride, w, &dy[y_at..][..len]));
            }
        }
    });
}

/// Gradient with respect to w; a task makes the taps between one channel of y and one of x.
pub fn conv_weight_grad(threads: &Threads, conv: &Conv, dy: &[f32], x: &[f32], dw: &mut [f32]) {
    let [input, out, taps] = conv.sizes();
    let (per_group, last) = (conv.c / conv.groups, inner(&conv.axes));
    each(threads, dw, taps, |pair, dw| {
        let (o, c) = (pair / per_group, pair % per_group);
        let c = o / (conv.o / conv.groups) * per_group + c;
        for (tap, dw) in dw.iter_mut().enumerate() {
            let mut sum = 0.0;
            for sample in 0..conv.n {
                let dy = &dy[(sample * conv.o + o) * out..][..out];
                let x = &x[(sample * conv.c + c) * input..][..input];
                rows(&conv.axes, tap, |y_at, x_at, len| sum += dot(&dy[y_at..][..len], &x[x_at..], last.stride));
            }
            *dw = if conv.onto { *dw + sum as f32 } else { sum as f32 };
        }
    });
}

/// Largest value of each window, and where it is; the first of equals. A NaN wins over numbers.
pub fn max_pool<P: Position>(
    threads: &Threads,
    pool: &Pool,
    x: &[f32],
    y: Option<&mut [f32]>,
    index: Option<&mut [P]>,
) {
    let [input, out, _] = pool.sizes();
    let (y, index) = (y.map(Disjoint::new), index.map(Disjoint::new));
    threads.run(pool.planes, &|plane, _| {
        // SAFETY: every task has its own plane.
        let mut y = y.as_ref().map(|it| unsafe { it.chunk(plane, out) });
        // SAFETY: as above.
        let mut index = index.as_ref().map(|it| unsafe { it.chunk(plane, out) });
        let x = &x[plane * input..][..input];
        for at in 0..out {
            let mut best: Option<(usize, f32)> = None;
            taps(&pool.axes, at, |position, element| {
                let value = x[element];
                if best.is_none_or(|(_, best)| best < value || (value.is_nan() && !best.is_nan())) {
                    best = Some((position, value));
                }
            });
            let (position, value) = best.unwrap_or((0, f32::NEG_INFINITY));
            if let Some(y) = &mut y {
                y[at] = value;
            }
            if let Some(index) = &mut index {
                index[at] = P::new(position);
            }
        }
    });
}

/// Gradient of [`max_pool`].
pub fn max_pool_grad<P: Position>(threads: &Threads, pool: &Pool, dy: &[f32], index: &[P], dx: &mut [f32]) {
    let [input, out, _] = pool.sizes();
    each(threads, dx, input, |plane, dx| {
        dx.fill(0.0);
        for (at, (dy, position)) in dy[plane * out..][..out].iter().zip(&index[plane * out..]).enumerate() {
            dx[element(&pool.axes, at, position.get())] += dy;
        }
    });
}

/// Mean of each window.
pub fn avg_pool(threads: &Threads, pool: &Pool, x: &[f32], y: &mut [f32]) {
    let [input, out, _] = pool.sizes();
    each(threads, y, out, |plane, y| {
        let x = &x[plane * input..][..input];
        for (at, y) in y.iter_mut().enumerate() {
            let mut sum = 0.0;
            taps(&pool.axes, at, |_, element| sum += x[element]);
            *y = sum / pool.divisor(at);
        }
    });
}

/// Gradient of [`avg_pool`].
pub fn avg_pool_grad(threads: &Threads, pool: &Pool, dy: &[f32], dx: &mut [f32]) {
    let [input, out, _] = pool.sizes();
    each(threads, dx, input, |plane, dx| {
        dx.fill(0.0);
        for (at, dy) in dy[plane * out..][..out].iter().enumerate() {
            let part = dy / pool.divisor(at);
            taps(&pool.axes, at, |_, element| dx[element] += part);
        }
    });
}

impl Axis {
    /// Windows of which this tap is inside x.
    fn windows(&self, tap: usize) -> Range<usize> {
        let ahead = tap * self.dilation;
        let first = self.begin.saturating_sub(ahead).div_ceil(self.stride);
        let end = (self.input + self.begin).saturating_sub(ahead).div_ceil(self.stride).min(self.output);
        first.min(end)..end
    }

    /// Taps of the window that are inside x.
    fn taps(&self, window: usize) -> Range<usize> {
        let start = window * self.stride;
        let first = self.begin.saturating_sub(start).div_ceil(self.dilation);
        let end = (self.begin + self.input).saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        first.min(end)..end
    }

    fn element(&self, window: usize, tap: usize) -> usize {
        window * self.stride + tap * self.dilation - self.begin
    }
}

impl Pool {
    /// Number of positions that a window's sum is divided by.
    fn divisor(&self, at: usize) -> f32 {
        let windows = digits(&self.axes, at, |it| it.output);
        let counts = self.axes.iter().zip(windows).map(|(axis, window)| match self.count_include_pad {
            true => {
                let room = axis.begin + axis.input + axis.end - window * axis.stride;
                room.div_ceil(axis.dilation).min(axis.kernel)
            }
            false => axis.taps(window).len(),
        });
        counts.product::<usize>() as f32
    }
}

fn inner(axes: &[Axis]) -> Axis {
    *axes.last().expect("there are three axes or more")
}

/// A row-major index taken apart.
fn digits(axes: &[Axis], mut at: usize, radix: impl Fn(&Axis) -> usize) -> [usize; MAX_RANK] {
    let mut digits = [0; MAX_RANK];
    for (digit, axis) in digits.iter_mut().zip(axes).rev() {
        *digit = at % radix(axis);
        at /= radix(axis);
    }
    digits
}

/// Runs along the innermost axis in which the tap is inside x: `visit(output, input, length)`.
fn rows(axes: &[Axis], tap: usize, mut visit: impl FnMut(usize, usize, usize)) {
    fn walk(axes: &[Axis], tap: &[usize], y: usize, x: usize, visit: &mut impl FnMut(usize, usize, usize)) {
        let windows = axes[0].windows(tap[0]);
        if windows.is_empty() {
            return;
        }
        let (y, x) = (y * axes[0].output, x * axes[0].input);
        if axes.len() == 1 {
            return visit(y + windows.start, x + axes[0].element(windows.start, tap[0]), windows.len());
        }
        windows.for_each(|it| walk(&axes[1..], &tap[1..], y + it, x + axes[0].element(it, tap[0]), visit));
    }
    walk(axes, &digits(axes, tap, |it| it.kernel), 0, 0, &mut visit);
}

/// Taps of the window of output `at` that are inside x: `visit(tap, input)`.
fn taps(axes: &[Axis], at: usize, mut visit: impl FnMut(usize, usize)) {
    fn walk(axes: &[Axis], window: &[usize], tap: usize, x: usize, visit: &mut impl FnMut(usize, usize)) {
        let Some((axis, rest)) = axes.split_first() else { return visit(tap, x) };
        for it in axis.taps(window[0]) {
            let x = x * axis.input + axis.element(window[0], it);
            walk(rest, &window[1..], tap * axis.kernel + it, x, visit);
        }
    }
    walk(axes, &digits(axes, at, |it| it.output), 0, 0, &mut visit);
}

/// The element that a tap of the window of output `at` reads.
fn element(axes: &[Axis], at: usize, tap: usize) -> usize {
    let (windows, taps) = (digits(axes, at, |it| it.output), digits(axes, tap, |it| it.kernel));
    let inputs = axes.iter().zip(windows).zip(taps);
    inputs.fold(0, |x, ((axis, window), tap)| x * axis.input + axis.element(window, tap))
}

wide! {
    fn add_from(y: &mut [f32], w: f32, x: &[f32], stride: usize) {
        match stride {
            1 => y.iter_mut().zip(x).for_each(|(y, x)| *y += w * x),
            _ => y.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, x)| *y += w * x),
        }
    }
}

wide! {
    fn add_to(x: &mut [f32], stride: usize, w: f32, y: &[f32]) {
        match stride {
            1 => x.iter_mut().zip(y).for_each(|(x, y)| *x += w * y),
            _ => x.iter_mut().step_by(stride).zip(y).for_each(|(x, y)| *x += w * y),
        }
    }
}

wide! {
    fn dot(y: &[f32], x: &[f32], stride: usize) -> f64 {
        y.iter().zip(x.iter().step_by(stride)).fold(0.0, |sum, (&y, &x)| sum + f64::from(y) * f64::from(x))
    }
}
