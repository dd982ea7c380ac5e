//! Kernels that read and write where indices say.

use super::chunks::{each, rows_per_chunk};
use super::wide::wide;
use crate::arena::Element;
use crate::kernels::index::{Gather, place};
use crate::pool::Pool;

/// Tasks of a sum by indices, at most: each of them looks at every index.
pub const SUMS: usize = 64;

/// What an index outside its axis gives.
pub trait Nothing: Element {
    /// No number, the smallest integer, or false.
    const NOTHING: Self;
}

macro_rules! nothing {
    ($($it:ty = $value:expr),*) => { $(impl Nothing for $it { const NOTHING: $it = $value; })* };
}
nothing!(f32 = f32::NAN, i64 = i64::MIN, i32 = i32::MIN, u8 = 0);

/// `y[outer, i, inner] = data[outer, indices[i], inner]`.
pub fn gather<T: Nothing>(pool: &Pool, it: &Gather, data: &[T], indices: &[i64], y: &mut [T]) {
    let rows = rows_per_chunk(it.inner);
    each(pool, y, rows * it.inner, |idx, y| {
        for (row, y) in (idx * rows..).zip(y.chunks_mut(it.inner)) {
            match place(indices[row % it.count], it.len) {
                Some(at) => y.copy_from_slice(&data[(row / it.count * it.len + at) * it.inner..][..it.inner]),
                None => y.fill(T::NOTHING),
            }
        }
    });
}

/// `dx[outer, indices[i], inner] += dy[outer, i, inner]`, in the order of the indices, from zero or from what is there.
pub fn gather_grad(pool: &Pool, it: &Gather, dy: &[f32], indices: &[i64], dx: &mut [f32]) {
    let rows = rows_per_chunk(it.inner).max((it.outer * it.len).div_ceil(SUMS));
    each(pool, dx, rows * it.inner, |idx, dx| {
        if !it.onto {
            dx.fill(0.0);
        }
        let (first, end) = (idx * rows, idx * rows + dx.len() / it.inner);
        for outer in first / it.len..end.div_ceil(it.len) {
            for (i, &index) in indices.iter().enumerate() {
                let Some(row) = place(index, it.len).map(|at| outer * it.len + at) else { continue };
                if (first..end).contains(&row) {
                    let dx = &mut dx[(row - first) * it.inner..][..it.inner];
                    add(&dy[(outer * it.count + i) * it.inner..][..it.inner], dx);
                }
            }
        }
    });
}

wide! {
    /// y += x.
    pub fn add(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}
