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

use super::pack::Packed;
use super::quant::Rounded;

pub use lanes::WIDTH;

#[cfg(test)]
mod tests;

/// A tensor of which some elements of each sample are kept; the others are zero.
pub trait Sparse: Sync {
    /// Elements of a sample, kept or not.
    fn elements(&self) -> usize;

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

impl Sparse for Packed<'_> {
    fn elements(&self) -> usize {
        self.layout().n
    }

    fn count(&self, sample: usize, range: Range<usize>) -> usize {
        self.before(sample, range.end) - self.before(sample, range.start)
    }

    fn each(&self, sample: usize, range: Range<usize>, mut each: impl FnMut(usize, f32)) {
        self.cursor(sample, range.start).for_each(range.len(), |distance, value| each(range.start + distance, value));
    }

    fn read(&self, sample: usize, range: Range<usize>, out: &mut [f32]) {
        self.decode(sample, range, out);
    }
}

/// Nothing is pruned, but kernels that expand a part at a time read it likewise.
impl Sparse for Rounded<'_> {
    fn elements(&self) -> usize {
        Rounded::elements(self)
    }

    fn count(&self, _: usize, range: Range<usize>) -> usize {
        range.len()
    }

    fn each(&self, sample: usize, range: Range<usize>, mut each: impl FnMut(usize, f32)) {
        const TOGETHER: usize = 64;
        for start in range.clone().step_by(TOGETHER) {
            let mut values = [0.0; TOGETHER];
            let values = &mut values[..TOGETHER.min(range.end - start)];
            self.decode(sample, start..start + values.len(), values);
            values.iter().enumerate().for_each(|(at, &value)| each(start + at, value));
        }
    }

    fn read(&self, sample: usize, range: Range<usize>, out: &mut [f32]) {
        self.decode(sample, range, out);
    }
}
