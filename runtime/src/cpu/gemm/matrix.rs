//! Tensors as factors of a product.

use std::ops::Range;

use super::axis::Axis;
use super::transpose::{LINES, interleave};
use super::{DEPTH, Factor, blocks};

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
        if stride == 1 && 1 < together {
            return pack_lines(width, lines, k, out, |line, k, out| self.line(line, k, out));
        }
        for (k, out) in k.zip(out.chunks_exact_mut(width)) {
            let start = self.ks.offset(k);
            let mut done = 0;
            while done < lines.len() {
                let line = lines.start + done;
                let (stride, together) = self.lines.run(line);
                let len = together.min(lines.len() - done);
                let from = &self.data[start + self.lines.offset(line)..];
                copy(&mut out[done..done + len], from, stride);
                done += len;
            }
            out[done..].fill(0.0);
        }
    }
}

impl Matrix<'_> {
    fn line(&self, line: usize, k: Range<usize>, out: &mut [f32]) {
        let start = self.lines.offset(line);
        let mut done = 0;
        while done < k.len() {
            let (_, together) = self.ks.run(k.start + done);
            let len = together.min(k.len() - done);
            let from = start + self.ks.offset(k.start + done);
            out[done..done + len].copy_from_slice(&self.data[from..from + len]);
            done += len;
        }
    }
}

/// Packs a factor whose lines are easy to read along `k`: `line(i, k, out)` writes elements `k` of line `i`.
pub fn pack_lines(
    width: usize,
    lines: Range<usize>,
    k: Range<usize>,
    out: &mut [f32],
    line: impl Fn(usize, Range<usize>, &mut [f32]),
) {
    let mut rows = [[0.0; DEPTH]; LINES];
    let together = if width.is_multiple_of(LINES) { LINES } else { LINES / 2 };
    for at in (0..width).step_by(together) {
        for (i, row) in rows[..together].iter_mut().enumerate() {
            match lines.start + at + i < lines.end {
                true => line(lines.start + at + i, k.clone(), &mut row[..k.len()]),
                false => row[..k.len()].fill(0.0),
            }
        }
        interleave(&rows[..together], k.len(), &mut out[at..], width);
    }
}

/// `out[i] = from[i * stride]`.
#[inline(always)]
pub fn copy(out: &mut [f32], from: &[f32], stride: usize) {
    if stride == 1 {
        return copy_near(out, &from[..out.len()]);
    }
    for (out, from) in out.iter_mut().zip(from.iter().step_by(stride)) {
        *out = *from;
    }
}

/// A copy for few elements, where calling the system's costs more than copying.
#[inline(always)]
fn copy_near(out: &mut [f32], from: &[f32]) {
    const STEP: usize = 8;
    let len = out.len().min(from.len());
    if len < STEP {
        out.iter_mut().zip(from).for_each(|(out, from)| *out = *from);
        return;
    }
    for at in blocks(0..len, STEP) {
        let start = at.start.min(len - STEP);
        let step: [f32; STEP] = std::array::from_fn(|i| from[start + i]);
        out[start..start + STEP].copy_from_slice(&step);
    }
}
