//! Convolutions with one input and one output channel in each group, plane by plane.
//!
//! A block of a plane is first unfolded (see [`unfold`]), so that every tap reads one unbroken stretch of memory.

use crate::cpu::window::{Window, all_reached, phases};
use crate::kernels::conv::Conv;
use crate::pool::{Disjoint, Team};
use unfold::Unfold;

mod stretch;
mod unfold;

/// Whether the kernels of this file can run it.
pub fn fits(conv: &Conv) -> bool {
    conv.groups == conv.c && conv.groups == conv.o && 1 < conv.kh * conv.kw
}

/// `y = x * w + b`, with w`[c, kh, kw]`.
pub fn conv(team: &Team<'_>, conv: &Conv, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    let (taps, input, out) = sizes(conv);
    let y = Disjoint::new(y);
    team.run(conv.n * conv.c, |plane, scratch| {
        let channel = plane % conv.c;
        // SAFETY: every task has its own plane.
        let y = unsafe { y.chunk(plane, out) };
        let bias = b.map_or(0.0, |b| b[channel]);
        let to = Strides { start: 0, row: conv.ow, col: 1 };
        let w = &w[channel * taps..][..taps];
        correlate(
            &x[plane * input..][..input],
            [conv.rows(), conv.cols()],
            |ty, tx| w[ty * conv.kw + tx],
            bias,
            y,
            to,
            scratch,
        );
    });
}

/// Gradient with respect to x, as one correlation of dy for each phase of x's pixels.
pub fn conv_input_grad(team: &Team<'_>, conv: &Conv, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let (taps, input, out) = sizes(conv);
    let dx = Disjoint::new(dx);
    let reached = all_reached(conv);
    team.run(conv.n * conv.c, |plane, scratch| {
        // SAFETY: every task has its own plane.
        let dx = unsafe { dx.chunk(plane, input) };
        let (dy, w) = (&dy[plane * out..][..out], &w[plane % conv.c * taps..][..taps]);
        if !reached {
            dx.fill(0.0);
        }
        for (rows, cols) in phases(conv) {
            let to = Strides { start: rows.start * conv.iw + cols.start, row: conv.sh * conv.iw, col: conv.sw };
            let w = |ty, tx| w[(rows.tap + ty * rows.tap_step) * conv.kw + cols.tap + tx * cols.tap_step];
            correlate(dy, [rows.window, cols.window], w, 0.0, dx, to, scratch);
        }
    });
}

/// Gradient with respect to w: one task for each channel goes through all samples.
pub fn conv_weight_grad(team: &Team<'_>, conv: &Conv, dy: &[f32], x: &[f32], dw: &mut [f32]) {
    let (taps, input, out) = sizes(conv);
    let dw = Disjoint::new(dw);
    team.run(conv.c, |channel, scratch| {
        // SAFETY: every task has its own channel.
        let dw = unsafe { dw.chunk(channel, taps) };
        dw.fill(0.0);
        for plane in (channel..conv.n * conv.c).step_by(conv.c) {
            let (x, dy) = (&x[plane * input..][..input], &dy[plane * out..][..out]);
            for_blocks([conv.rows(), conv.cols()], scratch.len(), |row, col, unfold| {
                let from = Strides { start: row * conv.ow + col, row: conv.ow, col: 1 };
                add_products(x, dy, from, unfold, conv.kw, dw, scratch);
            });
        }
    });
}

/// Where the elements of a plane lie that a phase writes.
#[derive(Clone, Copy)]
struct Strides {
    start: usize,
    row: usize,
    col: usize,
}

impl Strides {
    fn at(&self, row: usize, col: usize) -> usize {
        self.start + row * self.row + col * self.col
    }
}

/// `out[to(p)] = bias + sum of w(tap) * x[p at tap]` for all windows p.
fn correlate(
    x: &[f32],
    windows: [Window; 2],
    w: impl Fn(usize, usize) -> f32,
    bias: f32,
    out: &mut [f32],
    to: Strides,
    scratch: &mut [f32],
) {
    for_blocks(windows, scratch.len(), |row, col, unfold| {
        let [y_taps, x_taps] = unfold.windows.map(|it| it.taps);
        let Some((copies, sums)) = unfold.split(scratch) else {
            return plain(x, unfold.windows, &w, bias, out, Strides { start: to.at(row, col), ..to });
        };
        unfold.fill(x, copies);
        sums.fill(bias);
        stretch::add_scaled(sums, y_taps * x_taps, |tap| {
            let (ty, tx) = (tap / x_taps, tap % x_taps);
            (&copies[unfold.start(ty, tx)..], w(ty, tx))
        });
        for (y, sums) in sums.chunks(unfold.pitch).enumerate() {
            let out = &mut out[to.at(row + y, col)..];
            let sums = &sums[..unfold.windows[1].count];
            match to.col {
                1 => out[..sums.len()].copy_from_slice(sums),
                col => sums.iter().zip(out.iter_mut().step_by(col)).for_each(|(sum, out)| *out = *sum),
            }
        }
    });
}

/// `dw[tap] += sum of dy[p] * x[p at tap]` over the windows p of one block.
fn add_products(
    x: &[f32],
    dy: &[f32],
    from: Strides,
    unfold: &Unfold,
    x_taps: usize,
    dw: &mut [f32],
    scratch: &mut [f32],
) {
    let width = unfold.windows[1].count;
    let Some((copies, grads)) = unfold.split(scratch) else {
        for (tap, dw) in dw.iter_mut().enumerate() {
            let (ty, tx) = (tap / x_taps, tap % x_taps);
            let at = |y| (0..width).map(move |x| (y, x));
            for (y, px) in (0..unfold.windows[0].count).flat_map(at) {
                *dw += dy[from.at(y, px)] * unfold.read(x, [y, px], [ty, tx]);
            }
        }
        return;
    };
    unfold.fill(x, copies);
    for (y, grads) in grads.chunks_mut(unfold.pitch).enumerate() {
        grads[..width].copy_from_slice(&dy[from.at(y, 0)..][..width]);
        grads[width..].fill(0.0);
    }
    stretch::add_dots(grads, dw, |tap| &copies[unfold.start(tap / x_taps, tap % x_taps)..]);
}

/// Calls `block(row, column, unfold)` for blocks that fit in `scratch` elements, or in the cache if that is smaller.
fn for_blocks([y, x]: [Window; 2], scratch: usize, mut block: impl FnMut(usize, usize, &Unfold)) {
    const CACHE: usize = 12 * 1024;
    let scratch = scratch.min(CACHE.max(Unfold::new([y.part(0, 1), x.part(0, 64)]).len()));
    let mut width = x.count.min(1024);
    while 64 < width && scratch < Unfold::new([y.part(0, 1), x.part(0, width)]).len() {
        width /= 2;
    }
    let one = Unfold::new([y.part(0, 1), x.part(0, width)]).len();
    let more = Unfold::new([y.part(0, 2.min(y.count)), x.part(0, width)]).len() - one;
    let height = 1 + scratch.saturating_sub(one).checked_div(more).unwrap_or(0);
    for row in (0..y.count).step_by(height) {
        for col in (0..x.count).step_by(width) {
            block(row, col, &Unfold::new([y.part(row, height), x.part(col, width)]));
        }
    }
}

/// [`correlate`] without scratch, for windows that are too far apart to unfold.
fn plain(x: &[f32], windows: [Window; 2], w: &impl Fn(usize, usize) -> f32, bias: f32, out: &mut [f32], to: Strides) {
    let unfold = Unfold::new(windows);
    let [rows, cols] = windows;
    for (y, px) in (0..rows.count).flat_map(|y| (0..cols.count).map(move |x| (y, x))) {
        let taps = (0..rows.taps).flat_map(|ty| (0..cols.taps).map(move |tx| [ty, tx]));
        out[to.at(y, px)] = taps.fold(bias, |sum, [ty, tx]| sum + w(ty, tx) * unfold.read(x, [y, px], [ty, tx]));
    }
}

fn sizes(conv: &Conv) -> (usize, usize, usize) {
    (conv.kh * conv.kw, conv.ih * conv.iw, conv.oh * conv.ow)
}
