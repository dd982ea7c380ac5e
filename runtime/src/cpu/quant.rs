//! Tensors rounded to few bits.

use std::ops::Range;

use super::chunks::{each, rows_per_chunk};
use super::wide::wide;
use crate::kernels::quant::{Levels, Quant, Quantize, code};
use crate::pool::{Disjoint, Pool};

#[cfg(test)]
mod tests;

/// Elements whose codes are in registers or the first cache at once.
const GROUP: usize = 64;

/// Rounds x. The number of the step decides it where that is at random.
pub fn quantize(pool: &Pool, with: &Quantize, x: &[f32], step: f32, rounded: &mut [u8]) {
    let layout = &with.quant;
    let (len, scale_bytes, code_bytes) = (layout.len, layout.scale_bytes(), layout.code_bytes());
    let (scales, codes) = rounded.split_at_mut(layout.rows * scale_bytes);
    let (scales, codes) = (Disjoint::new(scales), Disjoint::new(codes));
    let key = with.key(step as u64);
    let rows = rows_per_chunk(len);
    pool.run(layout.rows.div_ceil(rows), &|task, _| {
        for row in task * rows..((task + 1) * rows).min(layout.rows) {
            // SAFETY: every task has its own rows.
            let (scales, codes) = unsafe { (scales.chunk(row, scale_bytes), codes.chunk(row, code_bytes)) };
            let start = row * len;
            quantize_row(layout, &x[start..start + len], key, start as u64, scales, codes);
        }
    });
}

/// The tensor as f32.
pub fn dequantize(pool: &Pool, layout: &Quant, rounded: &[u8], y: &mut [f32]) {
    let rounded = Rounded::new(layout, 1, rounded);
    let rows = rows_per_chunk(layout.len) * layout.len;
    each(pool, y, rows, |task, y| rounded.decode(0, task * rows..task * rows + y.len(), y));
}

/// A rounded tensor that kernels read directly, seen as `[samples, n]`. It allocates nothing and may be copied freely; reading
/// starts anywhere at no cost.
#[derive(Clone, Copy)]
pub struct Rounded<'a> {
    layout: &'a Quant,
    n: usize,
    scales: &'a [u8],
    codes: &'a [u8],
}

/// A place in one sample of a rounded tensor, from which its elements are read in order.
#[derive(Clone)]
pub struct Cursor<'a> {
    rounded: Rounded<'a>,
    first: usize,
    position: usize,
}

impl<'a> Rounded<'a> {
    /// The tensor of this layout in `bytes`, whose elements are those of so many samples.
    ///
    /// # Panics
    /// When there are not as many bytes as the layout says, or the samples do not divide the elements.
    pub fn new(layout: &'a Quant, samples: usize, bytes: &'a [u8]) -> Rounded<'a> {
        assert_eq!(bytes.len(), layout.bytes(), "the layout says how many bytes a tensor has");
        let elements = layout.rows * layout.len;
        assert!(elements.is_multiple_of(samples), "{samples} samples of {elements} elements");
        let (scales, codes) = bytes.split_at(layout.rows * layout.scale_bytes());
        Rounded { layout, n: elements / samples, scales, codes }
    }

    /// Elements of a sample.
    pub fn elements(&self) -> usize {
        self.n
    }

    /// Reads a sample from element `start` on.
    pub fn cursor(&self, sample: usize, start: usize) -> Cursor<'a> {
        Cursor { rounded: *self, first: sample * self.n, position: start }
    }

    /// Writes the elements of a range of a sample.
    ///
    /// # Panics
    /// When there is no such range, or `out` is not as long.
    pub fn decode(&self, sample: usize, range: Range<usize>, out: &mut [f32]) {
        assert!(range.len() == out.len() && range.end <= self.n, "{range:?} of {}", self.n);
        let Quant { len, .. } = *self.layout;
        let (scale_bytes, code_bytes) = (self.layout.scale_bytes(), self.layout.code_bytes());
        let (mut at, mut out) = (sample * self.n + range.start, out);
        while !out.is_empty() {
            let (row, column) = (at / len, at % len);
            let (now, later) = out.split_at_mut((len - column).min(out.len()));
            at += now.len();
            let scales = &self.scales[row * scale_bytes..][..scale_bytes];
            let codes = &self.codes[row * code_bytes..][..code_bytes];
            dequantize_row(self.layout, scales, codes, column, now);
            out = later;
        }
    }
}

impl Cursor<'_> {
    /// The element that comes next.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Writes the next elements, as many as `out` has.
    ///
    /// # Panics
    /// When the sample has fewer.
    pub fn decode(&mut self, out: &mut [f32]) {
        let range = self.position..self.position + out.len();
        self.position = range.end;
        self.rounded.decode(self.first / self.rounded.n, range, out);
    }
}

wide! {
    fn quantize_row(layout: &Quant, x: &[f32], key: Option<u64>, rank: u64, scales: &mut [u8], codes: &mut [u8]) {
        let most = layout.most();
        let blocks = x.chunks(layout.block).zip(codes.chunks_mut(layout.block * layout.bits / 8));
        let ranks = (rank..).step_by(layout.block);
        for (((x, codes), scale), rank) in blocks.zip(scales.as_chunks_mut().0).zip(ranks) {
            let levels = levels(x, most);
            *scale = levels.to_bytes();
            let groups = x.chunks(GROUP).zip(codes.chunks_mut(GROUP * layout.bits / 8));
            for ((x, bytes), rank) in groups.zip((rank..).step_by(GROUP)) {
                let mut group = [0; GROUP];
                let each = group.iter_mut().zip(x);
                match key {
                    None => each.for_each(|(to, &x)| *to = code(levels.level(x, most), None, 0)),
                    Some(key) => each.zip(rank..).for_each(|((to, &x), rank)| {
                        *to = code(levels.level(x, most), Some(key), rank);
                    }),
                }
                join(layout.bits, &group, bytes);
            }
        }
    }
}

wide! {
    /// Elements of a row from `column` on.
    fn dequantize_row(layout: &Quant, scales: &[u8], codes: &[u8], column: usize, y: &mut [f32]) {
        let scales: &[[u8; 4]] = scales.as_chunks().0;
        let (mut column, mut y) = (column, y);
        while !y.is_empty() {
            let (block, within) = (column / layout.block, column % layout.block);
            // To the end of the group or of the block.
            let skip = within % GROUP;
            let n = (GROUP - skip).min(layout.block - within).min(y.len());
            let (now, later) = y.split_at_mut(n);
            let levels = Levels::from_bytes(scales[block]);
            let group = split(layout.bits, &codes[(column - skip) * layout.bits / 8..]);
            match <&mut [f32; GROUP]>::try_from(&mut *now) {
                // A whole group has a length that the compiler knows.
                Ok(y) => y.iter_mut().zip(&group).for_each(|(y, &code)| *y = levels.value(code)),
                Err(_) => now.iter_mut().zip(&group[skip..]).for_each(|(y, &code)| *y = levels.value(code)),
            }
            column += n;
            y = later;
        }
    }
}

#[inline(always)]
fn levels(x: &[f32], most: f32) -> Levels {
    // Lanes of their own, so that the compiler takes vectors.
    const LANES: usize = 16;
    let (mut smallest, mut largest, mut top) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0; LANES]);
    let mut take = |x: &[f32; LANES]| {
        for (i, &x) in x.iter().enumerate() {
            smallest[i] = if x < smallest[i] { x } else { smallest[i] };
            largest[i] = if largest[i] < x { x } else { largest[i] };
            top[i] = top[i].max(x.to_bits() & 0x7fff_ffff);
        }
    };
    let (groups, rest) = x.as_chunks();
    groups.iter().for_each(&mut take);
    if let Some(&last) = rest.last() {
        let mut padded = [last; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        take(&padded);
    }
    let smallest = smallest.into_iter().fold(f32::INFINITY, f32::min);
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let finite = top.into_iter().fold(0, u32::max) < f32::INFINITY.to_bits();
    Levels::of(smallest, largest, finite, most)
}

/// Packs codes, the first one lowest.
#[inline(always)]
fn join(bits: usize, codes: &[u8; GROUP], bytes: &mut [u8]) {
    match bits {
        8 => bytes.copy_from_slice(&codes[..bytes.len()]),
        4 => bytes.iter_mut().zip(codes.as_chunks().0).for_each(|(byte, [a, b])| *byte = a | b << 4),
        _ => {
            let quads = bytes.iter_mut().zip(codes.as_chunks().0);
            quads.for_each(|(byte, [a, b, c, d])| *byte = a | b << 2 | c << 4 | d << 6);
        }
    }
}

/// Unpacks the codes of a group; those for which there are no bytes are 0.
#[inline(always)]
fn split(bits: usize, bytes: &[u8]) -> [u8; GROUP] {
    let mut codes = [0; GROUP];
    let mut padded = [0; GROUP];
    let size = GROUP * bits / 8;
    let bytes = match bytes.get(..size) {
        Some(bytes) => bytes,
        None => {
            padded[..bytes.len()].copy_from_slice(bytes);
            &padded[..size]
        }
    };
    match bits {
        8 => codes.copy_from_slice(bytes),
        4 => codes.as_chunks_mut().0.iter_mut().zip(bytes).for_each(|(to, it)| *to = [it & 15, it >> 4]),
        _ => {
            let quads = codes.as_chunks_mut().0.iter_mut().zip(bytes);
            quads.for_each(|(to, it)| *to = [it & 3, it >> 2 & 3, it >> 4 & 3, it >> 6]);
        }
    }
    codes
}
