//! Products with pruned tensors, from their kept elements alone.
//!
//! What a weight's gradient costs follows from how many elements were kept. The kept elements of some rows are first
//! sorted by column, into lists in the threads' shared scratch; then each column's list meets a panel of the cotangent
//! that stays in the cache.

use std::ops::Range;

pub mod conv;
mod lanes;
pub mod linear;
mod lists;

pub use lanes::WIDTH;

#[cfg(test)]
mod tests;

/// A tensor of which some elements of each sample are kept; the others are zero.
pub trait Kept: Sync {
    /// Elements of a sample, kept or not.
    fn len(&self) -> usize;

    /// How many elements are kept of a part of a sample.
    fn count(&self, sample: usize, range: Range<usize>) -> usize;

    /// Calls `each(index, value)` for the kept elements of a part of a sample, by index.
    fn each(&self, sample: usize, range: Range<usize>, each: impl FnMut(usize, f32));

    /// Writes a part of a sample, zero where nothing was kept.
    fn read(&self, sample: usize, range: Range<usize>, out: &mut [f32]) {
        out.fill(0.0);
        let start = range.start;
        self.each(sample, range, |at, value| out[at - start] = value);
    }
}
