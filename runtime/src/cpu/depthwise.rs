//! Convolutions with one input and one output channel in each group, plane by plane.
//!
//! A block of a plane is first unfolded (see `unfold`), so that every tap reads one unbroken stretch of memory.

use std::ops::Range;

use crate::cpu::gemm::matrix::copy;
use crate::cpu::sparse::Kept;
use crate::cpu::window::{Phase, Window, all_reached, phases};
use crate::kernels::conv::Conv;
use crate::pool::{Disjoint, Team};
use stretch::{Lanes, STEP};
use unfold::{TAPS, Unfold};

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
    let blocks = Blocks::new([conv.rows(), conv.cols()], team.scratch_len());
    let to = Strides { start: 0, row: conv.ow, col: 1 };
    for_planes(team, conv, |planes, scratch| {
        blocks.each(planes, scratch, |plane, block, room| {
            let channel = plane % conv.c;
            // SAFETY: every task has its own planes.
            let y = unsafe { y.chunk(plane, out) };
            let (x, w) = (&x[plane * input..][..input], &w[channel * taps..][..taps]);
            let bias = b.map_or(0.0, |b| b[channel]);
            correlate(x, block, |ty, tx| w[ty * conv.kw + tx], bias, y, to, room);
        });
    });
}

/// Gradient with respect to x, as one correlation of dy for each phase of x's pixels.
pub fn conv_input_grad(team: &Team<'_>, conv: &Conv, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let (taps, input, out) = sizes(conv);
    if !all_reached(conv) {
        team.pool.chunks(dx, input, |_, plane| plane.fill(0.0));
    }
    let dx = Disjoint::new(dx);
    for_planes(team, conv, |planes, scratch| {
        for (rows, cols) in phases(conv) {
            let blocks = Blocks::new([rows.window, cols.window], scratch.len());
            let to = Strides { start: rows.start * conv.iw + cols.start, row: conv.sh * conv.iw, col: conv.sw };
            let tap = |phase: Phase, it| phase.tap + it * phase.tap_step;
            blocks.each(planes.clone(), scratch, |plane, block, room| {
                // SAFETY: every task has its own planes.
                let dx = unsafe { dx.chunk(plane, input) };
                let (dy, w) = (&dy[plane * out..][..out], &w[plane % conv.c * taps..][..taps]);
                correlate(dy, block, |ty, tx| w[tap(rows, ty) * conv.kw + tap(cols, tx)], 0.0, dx, to, room);
            });
        }
    });
}

/// Gradient with respect to w, or that added onto `dw`: one task for each channel goes through all samples.
pub fn conv_weight_grad(team: &Team<'_>, conv: &Conv, dy: &[f32], x: &[f32], dw: &mut [f32]) {
    let (taps, input, out) = sizes(conv);
    let dw = Disjoint::new(dw);
    let blocks = Blocks::new([conv.rows(), conv.cols()], team.scratch_len());
    team.run(conv.c, |channel, scratch| {
        // SAFETY: every task has its own channel.
        let dw = unsafe { dw.chunk(channel, taps) };
        for (group, dw) in dw.chunks_mut(TAPS).enumerate() {
            let mut lanes = [[0.0; STEP]; TAPS];
            let sums = &mut lanes[..dw.len()];
            blocks.each((channel..conv.n * conv.c).step_by(conv.c), scratch, |plane, block, room| {
                let (x, dy) = (&x[plane * input..][..input], &dy[plane * out..][..out]);
                add_products(x, dy, conv.ow, block, group * TAPS, sums, room);
            });
            for (dw, lanes) in dw.iter_mut().zip(sums) {
                let before = if conv.onto { *dw } else { 0.0 };
                *dw = before + stretch::total(lanes);
            }
        }
    });
}

/// Adds the gradient with respect to w to dw, of x only what was kept: one plane at a time is expanded.
pub fn conv_weight_grad_kept(team: &Team<'_>, conv: &Conv, dy: &[f32], kept: &impl Kept, dw: &mut [f32]) {
    let (taps, input, out) = sizes(conv);
    let dw = Disjoint::new(dw);
    let blocks = Blocks::new([conv.rows(), conv.cols()], team.scratch_len() - input);
    team.run(conv.c, |channel, scratch| {
        // SAFETY: every task has its own channel.
        let dw = unsafe { dw.chunk(channel, taps) };
        let (x, scratch) = scratch.split_at_mut(input);
        for (group, dw) in dw.chunks_mut(TAPS).enumerate() {
            let mut lanes = [[0.0; STEP]; TAPS];
            let sums = &mut lanes[..dw.len()];
            for sample in 0..conv.n {
                kept.read(sample, channel * input..(channel + 1) * input, x);
                let plane = sample * conv.c + channel;
                blocks.each(std::iter::once(plane), scratch, |plane, block, room| {
                    add_products(x, &dy[plane * out..][..out], conv.ow, block, group * TAPS, sums, room);
                });
            }
            dw.iter_mut().zip(sums).for_each(|(dw, lanes)| *dw += stretch::total(lanes));
        }
    });
}

/// Elements of scratch that the gradient from kept elements needs. With more, blocks are larger.
pub fn kept_scratch(conv: &Conv) -> usize {
    conv.ih * conv.iw + 12 * 1024
}

/// Calls `task` for some planes at a time, few enough that there is work to share out.
fn for_planes(team: &Team<'_>, conv: &Conv, task: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    const ELEMENTS: usize = 16 * 1024;
    let planes = conv.n * conv.c;
    let each = (ELEMENTS / (conv.ih * conv.iw)).clamp(1, planes.div_ceil(8));
    team.run(planes.div_ceil(each), |it, scratch| task(it * each..((it + 1) * each).min(planes), scratch));
}

/// Where the elements of a plane lie that belong to the windows.
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

/// A block of a plane, from this row and column on.
struct Block {
    row: usize,
    col: usize,
    unfold: Unfold,
    starts: [usize; TAPS],
}

impl Block {
    /// Where the stretch of a tap starts in the copies.
    fn start(&self, tap: usize) -> usize {
        let x_taps = self.unfold.windows[1].taps;
        if tap < TAPS { self.starts[tap] } else { self.unfold.start(tap / x_taps, tap % x_taps) }
    }
}

/// Room for the copies and the sums of a block; none where a thread's scratch is too small for it.
type Room<'a> = Option<(&'a mut [f32], &'a mut [f32])>;

/// `out[to(p)] = bias + sum of w(tap) * x[p at tap]` for the windows p of a block.
fn correlate(
    x: &[f32],
    block: &Block,
    w: impl Fn(usize, usize) -> f32,
    bias: f32,
    out: &mut [f32],
    to: Strides,
    room: &mut Room<'_>,
) {
    let Block { row, col, unfold, .. } = block;
    let [rows, cols] = unfold.windows;
    let Some((copies, sums)) = room else {
        for (y, px) in (0..rows.count).flat_map(|y| (0..cols.count).map(move |x| (y, x))) {
            let taps = (0..rows.taps).flat_map(|ty| (0..cols.taps).map(move |tx| [ty, tx]));
            let sum = taps.fold(bias, |sum, [ty, tx]| sum + w(ty, tx) * unfold.read(x, [y, px], [ty, tx]));
            out[to.at(row + y, col + px)] = sum;
        }
        return;
    };
    unfold.fill(x, copies);
    stretch::sum_scaled(sums, bias, rows.taps * cols.taps, |tap| {
        (&copies[block.start(tap)..], w(tap / cols.taps, tap % cols.taps))
    });
    for (y, sums) in sums.chunks(unfold.pitch).take(rows.count).enumerate() {
        let out = &mut out[to.at(row + y, *col)..];
        let sums = &sums[..cols.count];
        match to.col {
            1 => copy(&mut out[..sums.len()], sums, 1),
            col => sums.iter().zip(out.iter_mut().step_by(col)).for_each(|(sum, out)| *out = *sum),
        }
    }
}

/// `sums[t] += dy[p] * x[p at tap first + t]` for the windows p of a block, spread over the lanes.
fn add_products(
    x: &[f32],
    dy: &[f32],
    dy_width: usize,
    block: &Block,
    first: usize,
    sums: &mut [Lanes],
    room: &mut Room<'_>,
) {
    let Block { row, col, unfold, .. } = block;
    let [rows, cols] = unfold.windows;
    let dy = |y: usize| &dy[(row + y) * dy_width + col..][..cols.count];
    let Some((copies, grads)) = room else {
        for (tap, sums) in (first..).zip(sums) {
            let tap = [tap / cols.taps, tap % cols.taps];
            for y in 0..rows.count {
                let products = dy(y).iter().enumerate().map(|(px, dy)| dy * unfold.read(x, [y, px], tap));
                sums[0] += products.sum::<f32>();
            }
        }
        return;
    };
    unfold.fill(x, copies);
    for (y, grads) in grads.chunks_mut(unfold.pitch).enumerate() {
        if rows.count <= y {
            grads.fill(0.0);
            continue;
        }
        let (grads, between) = grads.split_at_mut(cols.count);
        copy(grads, dy(y), 1);
        between.fill(0.0);
    }
    stretch::add_products(grads, sums, |tap| &copies[block.start(first + tap)..]);
}

/// How planes are cut into blocks that fit in a thread's scratch, and in the cache.
struct Blocks {
    windows: [Window; 2],
    height: usize,
    width: usize,
}

impl Blocks {
    fn new([y, x]: [Window; 2], scratch: usize) -> Blocks {
        const CACHE: usize = 12 * 1024;
        let len = |height, width| Unfold::new([y.part(0, height), x.part(0, width)]).len();
        let scratch = scratch.min(CACHE.max(len(1, 64)));
        let mut width = x.count.min(1024);
        while 64 < width && scratch < len(1, width) {
            width /= 2;
        }
        let (one, two) = (len(1, width), len(2, width));
        let height = 1 + scratch.saturating_sub(one).checked_div(two - one).unwrap_or(0);
        Blocks { windows: [y, x], height, width }
    }

    /// Calls `task` for every block of every plane. Between the planes of a block the room is kept as it is.
    fn each(
        &self,
        planes: impl Iterator<Item = usize> + Clone,
        scratch: &mut [f32],
        mut task: impl FnMut(usize, &Block, &mut Room<'_>),
    ) {
        let [y, x] = self.windows;
        for row in (0..y.count).step_by(self.height) {
            for col in (0..x.count).step_by(self.width) {
                let unfold = Unfold::new([y.part(row, self.height), x.part(col, self.width)]);
                let block = Block { row, col, unfold, starts: unfold.starts() };
                let mut room = unfold.split(scratch);
                planes.clone().for_each(|plane| task(plane, &block, &mut room));
            }
        }
    }
}

fn sizes(conv: &Conv) -> (usize, usize, usize) {
    (conv.kh * conv.kw, conv.ih * conv.iw, conv.oh * conv.ow)
}
