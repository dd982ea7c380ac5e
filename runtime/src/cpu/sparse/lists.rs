//! Kept elements, sorted into lists.

use std::ops::Range;

use super::{Sparse, WIDTH};
use crate::pool::{Disjoint, Team};

/// Room for lists: the end of each list, then pairs of a value and its place in a panel, all in f32 elements of which
/// some hold the bits of whole numbers.
#[derive(Clone, Copy)]
pub struct Room {
    /// Where it starts in the shared scratch.
    pub start: usize,
    /// Lists that fit.
    pub lists: usize,
    /// Kept elements that fit.
    pub most: usize,
}

impl Room {
    /// Two rooms of the same number of lists, in so many elements of scratch: one is filled while the other is read.
    pub fn pair(len: usize, lists: usize) -> [Room; 2] {
        let half = len / 2 / 16 * 16;
        [0, half].map(|start| Room { start, lists, most: (half - lists) / 2 })
    }

    /// Room for the ends and for the pairs.
    ///
    /// # Safety
    /// Nobody else uses the room.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that nobody else uses the room")]
    unsafe fn open<'a>(&self, shared: &'a Disjoint<'_, f32>) -> (&'a mut [f32], &'a mut [f32]) {
        // SAFETY: by the caller's promise; the two parts do not overlap.
        unsafe { (shared.part(self.ends()), shared.part(self.pairs())) }
    }

    fn ends(&self) -> Range<usize> {
        self.start..self.start + self.lists
    }

    fn pairs(&self) -> Range<usize> {
        self.start + self.lists..self.start + self.lists + 2 * self.most
    }
}

/// Planes of some channels of a sample, each cut into blocks of rows.
#[derive(Clone, Copy)]
pub struct Planes {
    /// Rows of a plane.
    pub height: usize,
    /// Elements of a row.
    pub width: usize,
    /// Of those, only every so many-th count, as do rows.
    pub strides: [usize; 2],
    /// Rows of a block that count; the last one may have fewer.
    pub block: usize,
    /// Between places of elements that lie above each other, and of neighbors.
    pub steps: [usize; 2],
}

impl Planes {
    /// Rows of a plane that a block takes.
    fn rows(self) -> usize {
        self.block * self.strides[0]
    }

    /// Blocks of a plane.
    pub fn blocks(self) -> usize {
        self.height.div_ceil(self.rows())
    }

    /// Elements of some channels' planes.
    pub fn elements(self, channels: Range<usize>) -> Range<usize> {
        let plane = self.height * self.width;
        channels.start * plane..channels.end * plane
    }

    /// Makes a list of what is kept in each block of some channels' planes: list `channel * blocks + block`.
    ///
    /// # Safety
    /// Nobody else uses the room.
    pub unsafe fn sort(
        self,
        kept: &impl Sparse,
        sample: usize,
        channels: Range<usize>,
        room: &Room,
        shared: &Disjoint<'_, f32>,
    ) {
        // SAFETY: by the caller's promise.
        let (ends, pairs) = unsafe { room.open(shared) };
        let [down, right] = self.strides;
        let mut at_row = Row { start: self.elements(channels.clone()).start, ..Row::default() };
        let mut n = 0;
        kept.each(sample, self.elements(channels.clone()), |at, value| {
            while at_row.start + self.width <= at {
                at_row.advance(self, ends, n);
            }
            let Row { start, y, in_block, .. } = at_row;
            let x = at - start;
            if y % down != 0 || x % right != 0 {
                return;
            }
            let place = in_block / down * self.steps[0] + x / right * self.steps[1];
            pairs[2 * n as usize] = value;
            pairs[2 * n as usize + 1] = f32::from_bits(place as u32);
            n += 1;
        });
        ends[at_row.list..channels.len() * self.blocks()].fill(f32::from_bits(n));
    }
}

/// A row on the way through planes.
#[derive(Clone, Copy, Default)]
struct Row {
    /// Its first element.
    start: usize,
    /// In its plane.
    y: usize,
    /// In its block.
    in_block: usize,
    /// The block's.
    list: usize,
}

impl Row {
    /// Goes to the next row, and ends the list where that is in another block.
    #[inline(always)]
    fn advance(&mut self, planes: Planes, ends: &mut [f32], n: u32) {
        (self.y, self.in_block, self.start) = (self.y + 1, self.in_block + 1, self.start + planes.width);
        if self.y == planes.height || self.in_block == planes.rows() {
            ends[self.list] = f32::from_bits(n);
            (self.list, self.in_block) = (self.list + 1, 0);
            self.y %= planes.height;
        }
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
    pub fn count(self, kept: &impl Sparse, rows: Range<usize>) -> usize {
        self.parts(rows).map(|(sample, elements, _)| kept.count(sample, elements)).sum()
    }

    /// Sorts what is kept of some rows into a list for each column, a row of a panel being a place.
    ///
    /// # Safety
    /// Nobody else uses the room.
    pub unsafe fn sort(self, kept: &impl Sparse, rows: Range<usize>, room: &Room, shared: &Disjoint<'_, f32>) {
        // SAFETY: by the caller's promise.
        let (ends, pairs) = unsafe { room.open(shared) };
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

    /// Pairs of a value and a place.
    #[inline(always)]
    pub fn list(&self, list: usize) -> &'a [f32] {
        let end = |list: usize| 2 * self.ends[list].to_bits() as usize;
        &self.pairs[if list == 0 { 0 } else { end(list - 1) }..end(list)]
    }
}

/// Sorts units of a tensor and multiplies them, one after the other: while a unit's lists meet panel after panel, the
/// first task sorts what `next` says comes then.
///
/// `len` elements of scratch are shared, with the rooms in them. `sort` fills a room that nobody else uses meanwhile;
/// `multiply` is given the number of a panel, the unit, its lists, and scratch of its own.
pub fn in_turns<U: Sync>(
    team: &Team<'_>,
    (len, rooms): (usize, [Room; 2]),
    panels: usize,
    mut next: impl FnMut() -> Option<U>,
    sort: impl Fn(&U, &Room, &Disjoint<'_, f32>) + Sync,
    multiply: impl Fn(usize, &U, Lists<'_>, &mut [f32]) + Sync,
) {
    let Some(mut unit) = next() else { return };
    team.run_shared(len, 1, |_, _, shared| sort(&unit, &rooms[0], shared));
    for idx in 0.. {
        let following = next();
        team.run_shared(len, 1 + panels, |task, scratch, shared| match (task.checked_sub(1), &following) {
            (None, Some(it)) => sort(it, &rooms[(idx + 1) % 2], shared),
            (None, None) => {}
            // SAFETY: these lists were sorted in the round before, and the other room is filled now.
            (Some(panel), _) => multiply(panel, &unit, unsafe { Lists::of(&rooms[idx % 2], shared) }, scratch),
        });
        match following {
            Some(it) => unit = it,
            None => return,
        }
    }
}
