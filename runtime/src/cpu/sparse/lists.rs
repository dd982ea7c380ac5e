//! Kept elements of some rows, sorted by column.

use std::ops::Range;

use super::{Kept, WIDTH};
use crate::pool::Disjoint;

/// Room for the lists of some rows: the end of each column's list, then pairs of a value and the place of its row in a
/// panel, all in f32 elements of which some hold the bits of whole numbers.
#[derive(Clone, Copy)]
pub struct Room {
    /// Where it starts in the shared scratch.
    pub start: usize,
    /// Columns.
    pub columns: usize,
    /// Kept elements that fit.
    pub most: usize,
}

impl Room {
    /// Elements of scratch.
    pub fn len(columns: usize, most: usize) -> usize {
        (columns + 2 * most).next_multiple_of(16)
    }

    fn ends(&self) -> Range<usize> {
        self.start..self.start + self.columns
    }

    fn pairs(&self) -> Range<usize> {
        self.start + self.columns..self.start + self.columns + 2 * self.most
    }
}

/// Rows of a tensor, each of `columns` elements; `per_sample` of them in a sample.
#[derive(Clone, Copy)]
pub struct Rows {
    /// Elements of a row.
    pub columns: usize,
    /// Rows of a sample.
    pub per_sample: usize,
}

impl Rows {
    /// The parts of samples that some rows are: the sample, its elements, and its first row's number in `rows`.
    fn parts(self, rows: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, usize)> {
        let first = rows.start / self.per_sample;
        (first..rows.end.div_ceil(self.per_sample)).map(move |sample| {
            let start = sample * self.per_sample;
            let inside = rows.start.max(start)..rows.end.min(start + self.per_sample);
            let elements = (inside.start - start) * self.columns..(inside.end - start) * self.columns;
            (sample, elements, inside.start - rows.start)
        })
    }

    /// How many elements are kept in some rows.
    pub fn count(self, kept: &impl Kept, rows: Range<usize>) -> usize {
        self.parts(rows).map(|(sample, elements, _)| kept.count(sample, elements)).sum()
    }

    /// Sorts what is kept of some rows into lists.
    ///
    /// # Safety
    /// Nobody else uses the room.
    pub unsafe fn sort(self, kept: &impl Kept, rows: Range<usize>, room: &Room, shared: &Disjoint<'_, f32>) {
        // SAFETY: by the caller's promise; the two parts do not overlap.
        let (ends, pairs) = unsafe { (shared.part(room.ends()), shared.part(room.pairs())) };
        ends.fill(f32::from_bits(0));
        let columns = self.columns;
        for (sample, elements, _) in self.parts(rows.clone()) {
            let mut row = elements.start;
            kept.each(sample, elements, |at, _| {
                while row + columns <= at {
                    row += columns;
                }
                let count = &mut ends[at - row];
                *count = f32::from_bits(count.to_bits() + 1);
            });
        }
        // Where each list starts; when all are full, where each ends.
        let mut start = 0;
        for end in ends.iter_mut() {
            start += std::mem::replace(end, f32::from_bits(start)).to_bits();
        }
        for (sample, elements, first) in self.parts(rows) {
            let (mut row, mut place) = (elements.start, first * WIDTH);
            kept.each(sample, elements, |at, value| {
                while row + columns <= at {
                    (row, place) = (row + columns, place + WIDTH);
                }
                let end = &mut ends[at - row];
                let pair = 2 * end.to_bits() as usize;
                pairs[pair] = value;
                pairs[pair + 1] = f32::from_bits(place as u32);
                *end = f32::from_bits(end.to_bits() + 1);
            });
        }
    }
}

/// The lists in a room.
#[derive(Clone, Copy)]
pub struct Lists<'a> {
    ends: &'a [f32],
    pairs: &'a [f32],
}

impl<'a> Lists<'a> {
    /// Reads a room.
    ///
    /// # Safety
    /// The lists were sorted, and nobody writes to the room.
    pub unsafe fn of(room: &Room, shared: &'a Disjoint<'_, f32>) -> Lists<'a> {
        // SAFETY: by the caller's promise.
        unsafe { Lists { ends: shared.seen(room.ends()), pairs: shared.seen(room.pairs()) } }
    }

    /// Pairs of a value and a place, for one column.
    #[inline(always)]
    pub fn column(&self, column: usize) -> &'a [f32] {
        let end = |column: usize| 2 * self.ends[column].to_bits() as usize;
        &self.pairs[if column == 0 { 0 } else { end(column - 1) }..end(column)]
    }
}
