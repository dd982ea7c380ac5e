//! An index of gaps: the code of Elias (1974) and Fano (1971), as `program.proto` lays it out.

use razorc_proto::packed;

use super::Index;
use crate::kernels::pack::Pack;

/// Words whose ones are counted at once on the way to a position.
const STRIDE: usize = 16;

/// Writes the index of one sample.
pub struct Writer<'a> {
    low_bits: u32,
    low: std::slice::IterMut<'a, [u8; 8]>,
    /// Low bits that fill no word yet, and how many they are.
    low_word: u64,
    filled: u32,
    high: &'a mut [[u8; 8]],
    /// The high word that is being made.
    at: usize,
    high_word: u64,
    /// Of the next 64 elements.
    position: usize,
    /// Kept before them.
    entry: usize,
}

impl<'a> Writer<'a> {
    /// Writes all of `index`.
    pub fn new(layout: &Pack, index: &'a mut [u8]) -> Self {
        let Low { bits: low_bits, bytes: low_bytes } = Low::of(layout);
        let (low, high) = index.split_at_mut(low_bytes);
        let (low, high) = (low.as_chunks_mut().0.iter_mut(), high.as_chunks_mut().0);
        Self { low_bits, low, low_word: 0, filled: 0, high, at: 0, high_word: 0, position: 0, entry: 0 }
    }

    #[inline(always)]
    fn store_high(&mut self) {
        if let Some(word) = self.high.get_mut(self.at) {
            *word = self.high_word.to_le_bytes();
        }
        self.at += 1;
        self.high_word = 0;
    }

    #[inline(always)]
    fn store_low(&mut self) {
        if let Some(word) = self.low.next() {
            *word = self.low_word.to_le_bytes();
        }
    }
}

impl Index for Writer<'_> {
    #[inline(always)]
    fn push(&mut self, kept: u64) {
        let low_bits = self.low_bits;
        let mut rest = kept;
        while rest != 0 {
            let position = self.position + rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let bit = (position >> low_bits) + self.entry;
            self.entry += 1;
            while self.at < bit / 64 {
                self.store_high();
            }
            self.high_word |= 1 << (bit % 64);

            let low = position as u64 & ((1 << low_bits) - 1);
            self.low_word |= low << self.filled;
            self.filled += low_bits;
            if 64 <= self.filled {
                self.store_low();
                self.filled -= 64;
                // What did not fit; fewer than 64 low bits are ever asked for.
                self.low_word = low >> (low_bits - self.filled);
            }
        }
        self.position += 64;
    }

    #[inline(always)]
    fn finish(mut self) {
        while self.at < self.high.len() {
            self.store_high();
        }
        if self.filled != 0 {
            self.store_low();
        }
    }
}

/// Reads the index of one sample from some position on.
#[derive(Clone)]
pub struct Gaps<'a> {
    low_bits: u32,
    /// All of the index: a low part may be read together with what is behind it.
    index: &'a [u8],
    high: &'a [[u8; 8]],
    /// The high word that is being read, and what is unread of it.
    at: usize,
    rest: u64,
    /// The next entry.
    entry: usize,
}

impl<'a> Gaps<'a> {
    /// The entries from `start` on.
    #[inline(always)]
    pub fn new(low: Low, index: &'a [u8], start: usize) -> Self {
        let Low { bits: low_bits, bytes: low_bytes } = low;
        let high = index[low_bytes..].as_chunks().0;
        let mut gaps = Self { low_bits, index, high, at: 0, rest: 0, entry: 0 };
        gaps.seek(start);
        gaps
    }

    /// The number of the next entry.
    #[inline(always)]
    pub fn entry(&self) -> usize {
        self.entry
    }

    /// Goes to the first entry that is not before `start`.
    #[inline(always)]
    fn seek(&mut self, start: usize) {
        // In the high part, entries of the same high bits lie behind as many zeros as these bits say.
        let zeros = start >> self.low_bits;
        let mut left = zeros;
        let count = |words: &[[u8; 8]]| words.iter().map(|it| u64::from_le_bytes(*it).count_zeros()).sum::<u32>();
        while let Some(words) = self.high.get(self.at..self.at + STRIDE) {
            let found = count(words) as usize;
            if left <= found {
                break;
            }
            left -= found;
            self.at += STRIDE;
        }
        while let Some(word) = self.high.get(self.at) {
            let found = count(&[*word]) as usize;
            if left <= found {
                break;
            }
            left -= found;
            self.at += 1;
        }
        if self.at == self.high.len() {
            // Only where the bytes are no index.
            return;
        }
        self.rest = self.word();
        let mut before = 0;
        if 0 < left {
            let mut unset = !self.rest;
            for _ in 1..left {
                unset &= unset - 1;
            }
            before = unset.trailing_zeros() + 1;
            self.rest &= u64::MAX.checked_shl(before).unwrap_or(0);
        }
        self.entry = self.at * 64 + before as usize - zeros;
        while let Some(position) = self.peek()
            && position < start
        {
            self.rest &= self.rest - 1;
            self.entry += 1;
        }
    }

    #[inline(always)]
    fn word(&self) -> u64 {
        self.high.get(self.at).map_or(0, |it| u64::from_le_bytes(*it))
    }

    /// Position of the next entry.
    #[inline(always)]
    fn peek(&mut self) -> Option<usize> {
        while self.rest == 0 {
            if self.high.len() <= self.at + 1 {
                return None;
            }
            self.at += 1;
            self.rest = self.word();
        }
        let high = self.at * 64 + self.rest.trailing_zeros() as usize - self.entry;
        let bit = self.entry * self.low_bits as usize;
        let low = u64::from_le_bytes(*self.index.get(bit / 8..)?.first_chunk()?) >> (bit % 8);
        Some(high << self.low_bits | (low & ((1 << self.low_bits) - 1)) as usize)
    }

    /// Writes the positions of the next entries before `end`, counted from `start`, at most 64 and those of one word at a
    /// time. Returns how many they are; none is left where it is 0.
    #[inline(always)]
    pub fn take(&mut self, start: usize, end: usize, positions: &mut [u32; 64]) -> usize {
        let mut n = 0;
        while let Some(position) = self.peek()
            && position < end
        {
            positions[n] = position.wrapping_sub(start) as u32;
            n += 1;
            self.entry += 1;
            self.rest &= self.rest - 1;
            if self.rest == 0 || n == 64 {
                break;
            }
        }
        n
    }
}

/// What is stored as it is of positions. Finding it takes longer than finding a start, so readers keep it.
#[derive(Clone, Copy)]
pub struct Low {
    /// Of each position.
    bits: u32,
    /// Of a sample.
    bytes: usize,
}

impl Low {
    /// That of an index of gaps of this layout.
    pub fn of(layout: &Pack) -> Low {
        let (n, keep) = (layout.n as u64, layout.keep as u64);
        let words = packed::low_words(n, keep).expect("sizes are within bounds");
        Low { bits: packed::low_bits(n, keep), bytes: words as usize * 8 }
    }
}
