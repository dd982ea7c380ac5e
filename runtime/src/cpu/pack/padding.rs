//! Which elements of a sample count, where a mask tells tokens from padding.

use std::ops::Range;

/// Numbers above zero tell which rows count.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a> {
    /// As i64.
    Whole(&'a [i64]),
    /// As bool.
    Truths(&'a [u8]),
    /// As f32.
    Real(&'a [f32]),
}

/// The elements of one sample that count: those of some rows, but neither of all nor of none.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// Of the sample.
    mask: Mask<'a>,
    /// Elements of a row.
    width: usize,
}

impl<'a> Mask<'a> {
    fn part(self, range: Range<usize>) -> Mask<'a> {
        match self {
            Mask::Whole(it) => Mask::Whole(&it[range]),
            Mask::Truths(it) => Mask::Truths(&it[range]),
            Mask::Real(it) => Mask::Real(&it[range]),
        }
    }

    fn len(self) -> usize {
        match self {
            Mask::Whole(it) => it.len(),
            Mask::Truths(it) => it.len(),
            Mask::Real(it) => it.len(),
        }
    }

    #[inline(always)]
    fn counts(self, row: usize) -> bool {
        match self {
            Mask::Whole(it) => 0 < it[row],
            Mask::Truths(it) => it[row] != 0,
            Mask::Real(it) => 0.0 < it[row],
        }
    }

    /// What counts of a sample of `n` elements, whose rows are these of the mask. None where everything does: also
    /// where the mask says that nothing would.
    pub fn counted(self, rows: Range<usize>, n: usize) -> Option<Counted<'a>> {
        let width = n / rows.len();
        let mask = self.part(rows);
        let count = (0..mask.len()).filter(|it| mask.counts(*it)).count();
        (count != 0 && count != mask.len()).then_some(Counted { mask, width })
    }
}

impl Counted<'_> {
    /// Ranges of elements that count, in order.
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        let mut row = 0;
        std::iter::from_fn(move || {
            let first = (row..self.mask.len()).find(|it| self.mask.counts(*it))?;
            row = (first..self.mask.len()).find(|it| !self.mask.counts(*it)).unwrap_or(self.mask.len());
            Some(first * self.width..row * self.width)
        })
    }

    /// Which of up to 64 elements from `start` on count.
    #[inline]
    fn bits(&self, start: usize, len: usize) -> u64 {
        let end = start + len;
        let mut bits = 0;
        for row in start / self.width..end.div_ceil(self.width) {
            if self.mask.counts(row) {
                let from = (row * self.width).max(start) - start;
                let to = ((row + 1) * self.width).min(end) - start;
                bits |= (u64::MAX >> (64 - (to - from))) << from;
            }
        }
        bits
    }

    /// Up to 64 elements from `start` on; what does not count is zero, for which they are copied.
    #[inline]
    pub fn group<'x>(&self, start: usize, x: &'x [f32], room: &'x mut [f32; 64]) -> &'x [f32] {
        let mut left = self.bits(start, x.len());
        if left == u64::MAX >> (64 - x.len()) {
            return x;
        }
        room.fill(0.0);
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            room[at] = x[at];
            left &= left - 1;
        }
        &room[..x.len()]
    }
}

/// The parts of a sample that count, and how many elements do not.
pub fn parts<'x>(x: &'x [f32], counted: Option<&'x Counted<'_>>) -> (impl Iterator<Item = &'x [f32]> + Clone, usize) {
    let all = counted.is_none().then_some(0..x.len());
    let runs = counted.map(Counted::runs).into_iter().flatten().chain(all);
    let count: usize = runs.clone().map(|it| it.len()).sum();
    (runs.map(|it| &x[it]), x.len() - count)
}
