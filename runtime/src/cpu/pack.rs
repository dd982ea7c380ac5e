//! Pruned copies: an index and the kept values of each sample. Every path makes the same bytes.

mod bitmap;
mod gaps;
mod padding;
mod portable;
mod reader;
mod stage;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod wide512;

pub use padding::Mask;
pub use reader::{Cursor, Entries, Packed};

use super::chunks::chunk;
use super::topk::{Cut, select_of};
use super::wide::Level;
use crate::kernels::pack::{Compress, Pack};
use crate::pool::{Disjoint, Pool};
use crate::types::IndexForm;
use padding::{Counted, parts};

/// Elements of a sample that one task expands, a multiple of 64.
const PART: usize = 1 << 16;

/// Where the positions of what a sample keeps are written.
trait Index {
    /// Takes the next 64 elements, of which those are kept whose bits are set.
    fn push(&mut self, kept: u64);
    /// Writes what is left.
    fn finish(self);
}

/// Keeps the largest magnitudes of each sample of x; with a mask, what does not count is taken for zero. The number of the
/// step decides how values of I8 are rounded.
pub fn compress(pool: &Pool, with: &Compress, x: &[f32], step: f32, mask: Option<Mask<'_>>, packed: &mut [u8]) {
    compress_at(Level::detect(), pool, with, x, step, mask, packed);
}

/// [`compress`] with the instructions of one level.
pub fn compress_at(
    level: Level,
    pool: &Pool,
    with: &Compress,
    x: &[f32],
    step: f32,
    mask: Option<Mask<'_>>,
    packed: &mut [u8],
) {
    let layout = &with.pack;
    let sizes = [layout.index_bytes(), layout.scale_bytes(), layout.kept_bytes()];
    let (indices, values) = packed.split_at_mut(layout.samples * sizes[0]);
    let (scales, kept) = values.split_at_mut(layout.samples * sizes[1]);
    let places = [indices, scales, kept].map(Disjoint::new);
    let key = with.key(step as u64);
    pool.run(layout.samples, &|sample, _| {
        // SAFETY: every task has its own sample.
        let [index, scales, kept] = std::array::from_fn(|it| unsafe { chunk(&places[it], sample, sizes[it]) });
        let x = &x[sample * layout.n..][..layout.n];
        let rows = with.rows.as_ref().map_or(0, |it| it.count);
        let counted = mask.and_then(|it| it.counted(sample * rows..(sample + 1) * rows, layout.n));
        let counted = counted.as_ref();
        let (parts, zeros) = parts(x, counted);
        let cut = select_of(parts, zeros, layout.keep);
        let sink = stage::Sink::new(layout.values, kept, scales, key, (sample * layout.keep) as u64);
        match layout.form {
            IndexForm::Bitmap => pack(level, x, counted, cut, bitmap::Writer::new(index), sink),
            IndexForm::Gaps => pack(level, x, counted, cut, gaps::Writer::new(layout, index), sink),
        }
    });
}

fn pack(level: Level, x: &[f32], counted: Option<&Counted<'_>>, cut: Cut, index: impl Index, sink: stage::Sink<'_>) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the level's instructions.
        Level::Avx512 => unsafe { wide512::pack(x, counted, cut, index, sink) },
        _ => portable::pack(x, counted, cut, index, sink),
    }
}

/// The dense tensor of a pruned copy, zero where nothing was kept.
pub fn decompress(pool: &Pool, layout: &Pack, packed: &[u8], y: &mut [f32]) {
    decompress_at(Level::detect(), pool, layout, packed, y);
}

/// [`decompress`] with the instructions of one level.
pub fn decompress_at(level: Level, pool: &Pool, layout: &Pack, packed: &[u8], y: &mut [f32]) {
    let packed = Packed::at(level, layout, packed);
    let parts = layout.n.div_ceil(PART);
    let y = Disjoint::new(y);
    pool.run(layout.samples * parts, &|task, _| {
        let (sample, start) = (task / parts, task % parts * PART);
        let range = start..(start + PART).min(layout.n);
        // SAFETY: every task has its own part.
        let y = unsafe { y.part(sample * layout.n + range.start..sample * layout.n + range.end) };
        packed.decode(sample, range, y);
    });
}

/// Bits of the group that are kept: those above the threshold, and ties while there are any `left`.
#[inline(always)]
fn chosen(above: u64, equal: u64, left: &mut usize) -> u64 {
    if equal == 0 || *left == 0 {
        return above;
    }
    let mut surplus = equal;
    for _ in 0..(*left).min(equal.count_ones() as usize) {
        surplus &= surplus - 1;
    }
    let ties = equal ^ surplus;
    *left -= ties.count_ones() as usize;
    above | ties
}
