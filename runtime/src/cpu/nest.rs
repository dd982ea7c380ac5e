//! Loop nests over strided tensors.

use std::ops::Range;

use crate::types::MAX_RANK;

/// A row-major loop nest that keeps the offsets of `K` tensors along it. Axes that can be one are one.
#[derive(Clone, Debug)]
pub struct Nest<const K: usize> {
    rank: usize,
    dims: [usize; MAX_RANK],
    strides: [[usize; K]; MAX_RANK],
}

impl<const K: usize> Nest<K> {
    /// A nest of the axes given, outermost first, each with its length and each tensor's stride.
    pub fn new(axes: impl IntoIterator<Item = (usize, [usize; K])>) -> Self {
        let mut nest = Self { rank: 0, dims: [1; MAX_RANK], strides: [[0; K]; MAX_RANK] };
        for (dim, strides) in axes {
            nest.push(dim, strides);
        }
        nest
    }

    /// A nest over `dims` with each tensor's strides.
    pub fn over(dims: &[usize], strides: [&[usize]; K]) -> Self {
        Self::new(dims.iter().enumerate().map(|(axis, &dim)| (dim, strides.map(|it| it[axis]))))
    }

    fn push(&mut self, dim: usize, strides: [usize; K]) {
        if dim == 1 {
            return;
        }
        let last = self.rank.checked_sub(1);
        if let Some(last) = last.filter(|&last| (0..K).all(|k| self.strides[last][k] == dim * strides[k])) {
            self.dims[last] *= dim;
            self.strides[last] = strides;
            return;
        }
        self.dims[self.rank] = dim;
        self.strides[self.rank] = strides;
        self.rank += 1;
    }

    /// Lengths of the axes.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Strides of the axes.
    pub fn strides(&self) -> &[[usize; K]] {
        &self.strides[..self.rank]
    }

    /// Number of points.
    pub fn points(&self) -> usize {
        self.dims().iter().product()
    }

    /// Length of the innermost axis; 1 without axes.
    pub fn inner(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Strides along the innermost axis; zeros without axes.
    pub fn inner_strides(&self) -> [usize; K] {
        self.strides().last().copied().unwrap_or([0; K])
    }

    /// Everything but the innermost axis.
    pub fn outer(&self) -> Self {
        let mut outer = self.clone();
        outer.rank = self.rank.saturating_sub(1);
        outer
    }

    /// Offsets of the point at row-major position `at`.
    pub fn offsets(&self, mut at: usize) -> [usize; K] {
        let mut offsets = [0; K];
        for (&dim, strides) in self.dims().iter().zip(self.strides()).rev() {
            for (offset, stride) in offsets.iter_mut().zip(strides) {
                *offset += at % dim * stride;
            }
            at /= dim;
        }
        offsets
    }

    /// Visits the points of `range` in row-major order, as runs along the innermost axis: `visit(offsets, length)`.
    pub fn runs(&self, range: Range<usize>, mut visit: impl FnMut([usize; K], usize)) {
        if range.is_empty() {
            return;
        }
        let (inner, inner_strides) = (self.inner(), self.inner_strides());
        let outer = self.rank.saturating_sub(1);
        let mut index = [0; MAX_RANK];
        let mut rest = range.start / inner;
        for (index, &dim) in index[..outer].iter_mut().zip(self.dims()).rev() {
            *index = rest % dim;
            rest /= dim;
        }
        let mut at = range.start;
        let mut skip = at % inner;
        let mut base = self.offsets(at - skip);
        loop {
            let length = (inner - skip).min(range.end - at);
            visit(std::array::from_fn(|k| base[k] + skip * inner_strides[k]), length);
            at += length;
            skip = 0;
            if at == range.end {
                return;
            }
            for axis in (0..outer).rev() {
                let strides = self.strides[axis];
                index[axis] += 1;
                if index[axis] < self.dims[axis] {
                    base = std::array::from_fn(|k| base[k] + strides[k]);
                    break;
                }
                index[axis] = 0;
                base = std::array::from_fn(|k| base[k] - (self.dims[axis] - 1) * strides[k]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_visit_every_point_in_order() {
        let nest = Nest::new([(2, [12, 0]), (1, [5, 5]), (3, [4, 0]), (4, [1, 1])]);
        assert_eq!(nest.dims(), [6, 4]);
        for range in [0..24, 3..17, 5..6, 8..8, 23..24] {
            let mut seen = vec![];
            nest.runs(range.clone(), |at, n| (0..n).for_each(|i| seen.push([at[0] + i, at[1] + i])));
            assert_eq!(seen, range.map(|i| [i, i % 4]).collect::<Vec<_>>());
        }
        assert_eq!(nest.offsets(23), [23, 3]);
    }

    #[test]
    fn a_scalar_is_one_point() {
        let mut seen = 0;
        Nest::new([(1, [7])]).runs(0..1, |at, n| {
            assert_eq!((at, n), ([0], 1));
            seen += 1;
        });
        assert_eq!(seen, 1);
    }
}
