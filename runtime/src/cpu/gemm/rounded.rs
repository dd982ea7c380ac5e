//! Tensors rounded to few bits as factors of a product; they are expanded while they are packed.

use std::ops::Range;

use super::Factor;
use super::matrix::{Lines, pack_lines};
use crate::cpu::quant::Rounded;

/// Lines are rows of `len` elements.
#[derive(Clone, Copy)]
pub struct ByRow<'a> {
    /// The tensor, as one sample.
    pub data: Rounded<'a>,
    /// Elements of a row.
    pub len: usize,
}

/// Lines are the columns of rows of `len` elements.
#[derive(Clone, Copy)]
pub struct ByColumn<'a> {
    /// The tensor, as one sample.
    pub data: Rounded<'a>,
    /// Elements of a row.
    pub len: usize,
}

impl Factor for ByRow<'_> {
    fn pack(&self, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]) {
        pack_lines(self, width, lines, k, out);
    }
}

impl Lines for ByRow<'_> {
    fn line<'a>(&'a self, line: usize, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        let start = line * self.len;
        let room = &mut room[..k.len()];
        self.data.decode(0, start + k.start..start + k.end, room);
        room
    }
}

impl Factor for ByColumn<'_> {
    fn pack(&self, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]) {
        for (row, out) in k.zip(out.chunks_exact_mut(width)) {
            let (out, rest) = out.split_at_mut(lines.len());
            let start = row * self.len;
            self.data.decode(0, start + lines.start..start + lines.end, out);
            rest.fill(0.0);
        }
    }
}
