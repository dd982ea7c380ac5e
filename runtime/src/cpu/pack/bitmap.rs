//! An index of one bit an element.

use super::Index;

/// Writes the bitmap of one sample.
pub struct Writer<'a> {
    words: std::slice::IterMut<'a, [u8; 8]>,
}

impl<'a> Writer<'a> {
    /// Writes all of `index`, which has a word for each 64 elements.
    pub fn new(index: &'a mut [u8]) -> Self {
        Self { words: index.as_chunks_mut().0.iter_mut() }
    }
}

impl Index for Writer<'_> {
    #[inline(always)]
    fn push(&mut self, kept: u64) {
        if let Some(word) = self.words.next() {
            *word = kept.to_le_bytes();
        }
    }

    #[inline(always)]
    fn finish(self) {}
}

/// Bits of the 64 elements from `position` on; zeros behind the last word.
#[inline(always)]
pub fn bits_at(words: &[[u8; 8]], position: usize) -> u64 {
    let word = |at: usize| words.get(at).map_or(0, |it| u64::from_le_bytes(*it));
    let (at, shift) = (position / 64, position % 64);
    match shift {
        0 => word(at),
        _ => word(at) >> shift | word(at + 1) << (64 - shift),
    }
}

/// Bits that are set before `position`.
#[inline(always)]
pub fn ones_before(words: &[[u8; 8]], position: usize) -> usize {
    let whole = position / 64;
    let below = (1 << (position % 64)) - 1;
    let ones = |it: &[u8; 8]| u64::from_le_bytes(*it).count_ones() as usize;
    words[..whole].iter().map(ones).sum::<usize>() + (bits_at(words, whole * 64) & below).count_ones() as usize
}
