//! Reads pruned copies without expanding them as a whole.

use std::ops::Range;

use super::gaps::{Gaps, Low};
use super::stage::{Source, Stored};
use super::{bitmap, portable};
use crate::cpu::wide::{Level, wide};
use crate::kernels::pack::Pack;
use crate::types::IndexForm;

/// Elements that are cleared at once before what is kept of them is written; they fit into the first cache.
const CLEARED: usize = 2048;

/// A pruned copy of a tensor `[samples, n]` that kernels read directly. It allocates nothing and may be copied freely.
///
/// Reading starts anywhere: finding a start counts the ones of the sample's index before it, about 0.4 microseconds on average
/// for a sample of 150 000 elements. A [`Cursor`] goes on where it stopped and pays this once, so rows that are read one
/// after the other, as `[tokens, features]` are, cost nothing extra.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    level: Level,
    layout: &'a Pack,
    /// Of an index of gaps.
    low: Low,
    index_bytes: usize,
    indices: &'a [u8],
    scales: &'a [u8],
    kept: &'a [u8],
}

/// A place in one sample of a pruned copy, from which its elements are read in order.
#[derive(Clone)]
pub struct Cursor<'a> {
    level: Level,
    position: usize,
    index: Index<'a>,
    source: Source<'a>,
}

#[derive(Clone)]
enum Index<'a> {
    Bitmap(&'a [[u8; 8]]),
    Gaps(Gaps<'a>),
}

/// What is kept of a range, as index in the sample and value, by ascending index. Made by [`Packed::entries`].
pub struct Entries<'a> {
    cursor: Cursor<'a>,
    end: usize,
    start: usize,
    positions: [u32; 64],
    values: [f32; 64],
    at: usize,
    len: usize,
}

impl<'a> Packed<'a> {
    /// The copy of this layout in `bytes`.
    ///
    /// # Panics
    /// When there are not as many bytes as the layout says.
    pub fn new(layout: &'a Pack, bytes: &'a [u8]) -> Packed<'a> {
        Packed::at(Level::detect(), layout, bytes)
    }

    /// [`Packed::new`], to be read with the instructions of one level.
    pub fn at(level: Level, layout: &'a Pack, bytes: &'a [u8]) -> Packed<'a> {
        assert_eq!(bytes.len(), layout.bytes(), "the layout says how many bytes a copy has");
        let index_bytes = layout.index_bytes();
        let (indices, values) = bytes.split_at(layout.samples * index_bytes);
        let (scales, kept) = values.split_at(layout.samples * layout.scale_bytes());
        Packed { level, layout, low: Low::of(layout), index_bytes, indices, scales, kept }
    }

    /// What it is a copy of, and how it is stored.
    pub fn layout(&self) -> &'a Pack {
        self.layout
    }

    /// Reads a sample from element `start` on.
    ///
    /// # Panics
    /// When there is no such sample, or the start is behind its end.
    pub fn cursor(&self, sample: usize, start: usize) -> Cursor<'a> {
        assert!(start <= self.layout.n, "element {start} of {}", self.layout.n);
        let part = |all: &'a [u8], size: usize| &all[sample * size..][..size];
        let index = part(self.indices, self.index_bytes);
        let stored = Stored {
            values: self.layout.values,
            scales: part(self.scales, self.layout.scale_bytes()),
            bytes: part(self.kept, self.layout.kept_bytes()),
        };
        let (index, first) = match self.layout.form {
            IndexForm::Bitmap => {
                let words = index.as_chunks().0;
                (Index::Bitmap(words), ones_before(words, start))
            }
            IndexForm::Gaps => {
                let gaps = seek(self.low, index, start);
                let first = gaps.entry();
                (Index::Gaps(gaps), first)
            }
        };
        Cursor { level: self.level, position: start, index, source: Source::new(stored, first) }
    }

    /// How many elements of a sample are kept before element `position`.
    ///
    /// # Panics
    /// When there is no such sample, or the position is behind its end.
    pub fn before(&self, sample: usize, position: usize) -> usize {
        assert!(position <= self.layout.n, "element {position} of {}", self.layout.n);
        let index = &self.indices[sample * self.index_bytes..][..self.index_bytes];
        match self.layout.form {
            IndexForm::Bitmap => ones_before(index.as_chunks().0, position),
            IndexForm::Gaps => seek(self.low, index, position).entry(),
        }
    }

    /// Writes the elements of a range of a sample, zeros where nothing was kept.
    ///
    /// # Panics
    /// When there is no such range, or `out` is not as long.
    pub fn decode(&self, sample: usize, range: Range<usize>, out: &mut [f32]) {
        assert!(range.len() == out.len() && range.end <= self.layout.n, "{range:?} of {}", self.layout.n);
        self.cursor(sample, range.start).decode(out);
    }

    /// What is kept of a range of a sample.
    ///
    /// # Panics
    /// When there is no such range.
    pub fn entries(&self, sample: usize, range: Range<usize>) -> Entries<'a> {
        assert!(range.start <= range.end && range.end <= self.layout.n, "{range:?} of {}", self.layout.n);
        let cursor = self.cursor(sample, range.start);
        Entries { cursor, end: range.end, start: 0, positions: [0; 64], values: [0.0; 64], at: 0, len: 0 }
    }
}

impl Cursor<'_> {
    /// The element that comes next.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Writes the next elements, as many as `out` has, zeros where nothing was kept or the sample has ended.
    pub fn decode(&mut self, out: &mut [f32]) {
        match &mut self.index {
            Index::Bitmap(words) => match self.level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the CPU has the level's instructions.
                Level::Avx512 => unsafe { super::wide512::expand(words, self.position, &mut self.source, out) },
                _ => portable::expand(words, self.position, &mut self.source, out),
            },
            Index::Gaps(gaps) => scatter(gaps, self.position, &mut self.source, out),
        }
        self.position += out.len();
    }

    /// Writes what is kept of the next `len` elements, as distances from [`Cursor::position`] before the call and values, by
    /// ascending distance, and returns how many there are.
    ///
    /// # Panics
    /// When there is less room than `len`, or than the sample keeps.
    pub fn gather(&mut self, len: usize, distances: &mut [u32], values: &mut [f32]) -> usize {
        let (start, mut n) = (self.position, 0);
        let mut group = [0; 64];
        loop {
            let (took, found) = self.group(start, start + len, &mut group);
            distances[n..n + took].copy_from_slice(&group[..took]);
            values[n..n + took].copy_from_slice(&found[..took]);
            n += took;
            if took == 0 && start + len <= self.position {
                return n;
            }
        }
    }

    /// Calls `each(distance, value)` for what is kept of the next `len` elements, as [`Cursor::gather`] does.
    pub fn for_each(&mut self, len: usize, mut each: impl FnMut(usize, f32)) {
        let start = self.position;
        let mut group = [0; 64];
        loop {
            let (took, values) = self.group(start, start + len, &mut group);
            group[..took].iter().zip(&values).for_each(|(&at, &value)| each(at as usize, value));
            if took == 0 && start + len <= self.position {
                return;
            }
        }
    }

    /// Takes the next entries before `end`, at most 64, as distances from `start`. At the end the position is `end`, and only
    /// then.
    #[inline(always)]
    fn group(&mut self, start: usize, end: usize, group: &mut [u32; 64]) -> (usize, [f32; 64]) {
        let values = *self.source.next();
        let n = match &mut self.index {
            Index::Bitmap(words) => {
                let len = (end - self.position).min(64);
                let n = positions(words, self.position, len, start, group);
                self.position += len;
                n
            }
            Index::Gaps(gaps) => {
                let n = take(gaps, start, end, group);
                if n == 0 {
                    self.position = end;
                }
                n
            }
        };
        self.source.advance(n);
        (n, values)
    }
}

impl Iterator for Entries<'_> {
    type Item = (usize, f32);

    #[inline]
    fn next(&mut self) -> Option<(usize, f32)> {
        while self.at == self.len {
            if self.cursor.position == self.end {
                return None;
            }
            self.start = self.cursor.position;
            (self.len, self.values) = self.cursor.group(self.start, self.end, &mut self.positions);
            self.at = 0;
        }
        let entry = (self.start + self.positions[self.at] as usize, self.values[self.at]);
        self.at += 1;
        Some(entry)
    }
}

wide! {
    fn ones_before(words: &[[u8; 8]], position: usize) -> usize {
        bitmap::ones_before(words, position)
    }
}

wide! {
    fn seek['a](low: Low, index: &'a [u8], start: usize) -> Gaps<'a> {
        Gaps::new(low, index, start)
    }
}

wide! {
    fn take(gaps: &mut Gaps<'_>, start: usize, end: usize, positions: &mut [u32; 64]) -> usize {
        gaps.take(start, end, positions)
    }
}

wide! {
    /// Distances from `start` of what is kept of `len` elements from `position` on, up to 64, and how many they are.
    fn positions(words: &[[u8; 8]], position: usize, len: usize, start: usize, group: &mut [u32; 64]) -> usize {
        let mut rest = bitmap::bits_at(words, position) & u64::MAX.checked_shr(64 - len as u32).unwrap_or(0);
        let mut n = 0;
        while rest != 0 {
            group[n] = (position - start) as u32 + rest.trailing_zeros();
            rest &= rest - 1;
            n += 1;
        }
        n
    }
}

wide! {
    /// Expands the elements from `position` on.
    fn scatter(gaps: &mut Gaps<'_>, position: usize, source: &mut Source<'_>, y: &mut [f32]) {
        let mut group = [0; 64];
        for (y, start) in y.chunks_mut(CLEARED).zip((position..).step_by(CLEARED)) {
            y.fill(0.0);
            loop {
                let n = gaps.take(start, start + y.len(), &mut group);
                if n == 0 {
                    break;
                }
                for (&at, &value) in group[..n].iter().zip(source.next()) {
                    // Always there in a copy that was made here.
                    if let Some(y) = y.get_mut(at as usize) {
                        *y = value;
                    }
                }
                source.advance(n);
            }
        }
    }
}
