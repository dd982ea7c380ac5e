//! Pruned copies: a bitmap and the kept values of each sample. Every path makes the same bytes.

mod portable;
mod stage;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod wide512;

use super::chunks::{each, each2};
use super::topk::{Cut, select};
use super::wide::Level;
use crate::kernels::pack::Pack;
use crate::pool::Pool;

impl Pack {
    /// Bytes of one sample's bitmap.
    fn bitmap(&self) -> usize {
        self.words() * 8
    }

    /// Bytes of one sample's values.
    fn kept(&self) -> usize {
        self.keep * self.values.bytes()
    }
}

/// Keeps the largest magnitudes of each sample of x.
pub fn compress(pool: &Pool, layout: &Pack, x: &[f32], packed: &mut [u8]) {
    compress_at(Level::detect(), pool, layout, x, packed);
}

/// [`compress`] with the instructions of one level.
pub fn compress_at(level: Level, pool: &Pool, layout: &Pack, x: &[f32], packed: &mut [u8]) {
    let (bitmaps, kept) = packed.split_at_mut(layout.samples * layout.bitmap());
    each2(pool, (bitmaps, layout.bitmap()), (kept, layout.kept()), |sample, bitmap, kept| {
        let x = &x[sample * layout.n..][..layout.n];
        let cut = select(x, layout.keep);
        let sink = stage::Sink::new(layout.values, kept);
        match level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has the level's instructions.
            Level::Avx512 => unsafe { wide512::pack(x, cut, bitmap, sink) },
            _ => portable::pack(x, cut, bitmap, sink),
        }
    });
}

/// The dense tensor of a pruned copy, zero where nothing was kept.
pub fn decompress(pool: &Pool, layout: &Pack, packed: &[u8], y: &mut [f32]) {
    decompress_at(Level::detect(), pool, layout, packed, y);
}

/// [`decompress`] with the instructions of one level.
pub fn decompress_at(level: Level, pool: &Pool, layout: &Pack, packed: &[u8], y: &mut [f32]) {
    let (bitmaps, kept) = packed.split_at(layout.samples * layout.bitmap());
    each(pool, y, layout.n, |sample, y| {
        let bitmap = &bitmaps[sample * layout.bitmap()..][..layout.bitmap()];
        let source = stage::Source::new(layout.values, &kept[sample * layout.kept()..][..layout.kept()]);
        match level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has the level's instructions.
            Level::Avx512 => unsafe { wide512::unpack(bitmap, source, y) },
            _ => portable::unpack(bitmap, source, y),
        }
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
