//! Tensors as factors of a product.

use std::ops::Range;

use super::axis::Axis;
use super::transpose::{LINES, interleave};
use super::{DEPTH, Factor};

/// Element `k` of line `i` at `lines.offset(i) + ks.offset(k)`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// What is viewed.
    pub data: &'a [f32],
    /// Offsets of the lines.
    pub lines: Axis,
    /// Offsets along a line.
    pub ks: Axis,
}

impl Factor for Matrix<'_> {
    fn pack(&self, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]) {
        let (stride, together) = self.ks.run(0);
        match stride == 1 && LINES <= together {
            true => pack_lines(self, width, lines, k, out),
            false => self.pack_across(width, lines, k, out),
        }
    }
}

impl Matrix<'_> {
    fn pack_across(&self, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]) {
        let mut offsets = [0; DEPTH];
        self.ks.offsets(k.start, &mut offsets[..k.len()]);
        let mut done = 0;
        while done < lines.len() {
            let line = lines.start + done;
            let (stride, together) = self.lines.run(line);
            let len = together.min(lines.len() - done);
            let from = &self.data[self.lines.offset(line)..];
            for (out, &start) in out.chunks_exact_mut(width).zip(&offsets[..k.len()]) {
                copy(&mut out[done..done + len], &from[start..], stride);
            }
            done += len;
        }
        out.chunks_exact_mut(width).for_each(|it| it[done..].fill(0.0));
    }
}

impl Lines for Matrix<'_> {
    fn line<'a>(&'a self, line: usize, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        let data = &self.data[self.lines.offset(line)..];
        let mut done = 0;
        while done < k.len() {
            let (_, together) = self.ks.run(k.start + done);
            let from = self.ks.offset(k.start + done);
            if done == 0 && k.len() <= together {
                return &data[from..from + k.len()];
            }
            let len = together.min(k.len() - done);
            copy(&mut room[done..done + len], &data[from..], 1);
            done += len;
        }
        &room[..k.len()]
    }
}

/// A factor whose lines are easy to read along `k`.
pub trait Lines {
    /// Elements `k` of a line: where they are, or from `room`, to which they may be copied.
    fn line<'a>(&'a self, line: usize, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32];
}

/// [`Factor::pack`] for such a factor.
pub fn pack_lines(factor: &impl Lines, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]) {
    const NONE: &[f32] = &[0.0; DEPTH];
    let mut rooms = [[0.0; DEPTH]; LINES];
    let together = if width.is_multiple_of(LINES) { LINES } else { LINES / 2 };
    for at in (0..width).step_by(together) {
        let mut rows = [&NONE[..k.len()]; LINES];
        for ((line_idx, room), row) in (lines.start + at..lines.end).zip(&mut rooms).zip(&mut rows[..together]) {
            *row = factor.line(line_idx, k.clone(), room);
        }
        interleave(&rows[..together], &mut out[at..], width);
    }
}

/// `out[i] = from[i * stride]`.
#[inline(always)]
pub fn copy(out: &mut [f32], from: &[f32], stride: usize) {
    match stride {
        1 => copy_near(out, &from[..out.len()]),
        2 => copy_every_other(out, from),
        _ => out.iter_mut().zip(from.iter().step_by(stride)).for_each(|(out, from)| *out = *from),
    }
}

/// Written so that it becomes shuffles of vectors.
#[inline(always)]
fn copy_every_other(out: &mut [f32], from: &[f32]) {
    if let Some((last, out)) = out.split_last_mut() {
        let (pairs, _) = from[..2 * out.len()].as_chunks::<2>();
        *last = from[2 * out.len()];
        out.iter_mut().zip(pairs).for_each(|(out, from)| *out = from[0]);
    }
}

/// A copy for few elements, where calling the system's costs more than copying.
#[inline(always)]
fn copy_near(out: &mut [f32], from: &[f32]) {
    match out.len() {
        8.. => copy_steps::<8>(out, from),
        4.. => copy_steps::<4>(out, from),
        _ => out.iter_mut().zip(from).for_each(|(out, from)| *out = *from),
    }
}

/// The last step overlaps the one before.
#[inline(always)]
fn copy_steps<const STEP: usize>(out: &mut [f32], from: &[f32]) {
    let len = out.len().min(from.len());
    for at in (0..len).step_by(STEP) {
        let start = at.min(len - STEP);
        out[start..start + STEP].copy_from_slice(&from[start..start + STEP]);
    }
}
