//! Slices that indices say the places of.

use super::chunks::{CHUNK, each, rows_per_chunk};
use super::index::{Nothing, SUMS};
use crate::arena::Element;
use crate::kernels::places::{Pick, Places, Put, Reduction};
use crate::pool::Pool;

/// What arithmetic of a reduction needs.
pub trait Number: Nothing {
    /// An element and its update.
    fn reduce(how: Reduction, old: Self, new: Self) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn reduce(how: Reduction, old: f32, new: f32) -> f32 {
        match how {
            Reduction::Set => new,
            Reduction::Clear => 0.0,
            Reduction::Add => old + new,
            Reduction::Mul => old * new,
            Reduction::Min if old.is_nan() || old <= new => old,
            Reduction::Max if old.is_nan() || new <= old => old,
            Reduction::Min | Reduction::Max => new,
        }
    }
}

macro_rules! number {
    ($($it:ty)*) => { $(impl Number for $it {
        #[inline(always)]
        fn reduce(how: Reduction, old: $it, new: $it) -> $it {
            match how {
                Reduction::Set => new,
                Reduction::Clear => 0,
                Reduction::Add => old.wrapping_add(new),
                Reduction::Mul => old.wrapping_mul(new),
                Reduction::Min => old.min(new),
                Reduction::Max => old.max(new),
            }
        }
    })* };
}
number!(i64 i32 u8);

/// y[slice] = data[place of the slice].
pub fn pick<T: Nothing>(pool: &Pool, it: &Pick, data: &[T], indices: &[i64], y: &mut [T]) {
    let (places, inner) = (&it.places, it.places.inner);
    let rows = rows_per_chunk(inner);
    each(pool, y, rows * inner, |idx, y| {
        for (slice, y) in (idx * rows..).zip(y.chunks_mut(inner)) {
            match places.of(indices, slice) {
                Some(start) => y.copy_from_slice(&data[start..][..inner]),
                None => y.fill(T::NOTHING),
            }
        }
    });
}

/// dx[place of the slice] += dy[slice], in the order of the slices.
pub fn pick_grad(pool: &Pool, it: &Places, dy: &[f32], indices: &[i64], dx: &mut [f32]) {
    change(pool, it, indices, dx, |_, dx| dx.fill(0.0), |at, dx| *dx += dy[at]);
}

/// y = data, changed by the updates in their order.
pub fn put<T: Number>(pool: &Pool, it: &Put, data: &[T], indices: &[i64], updates: &[T], y: &mut [T]) {
    let copy = |first: usize, y: &mut [T]| y.copy_from_slice(&data[first..][..y.len()]);
    match it.how {
        Reduction::Clear => change(pool, &it.places, indices, y, copy, |_, y| *y = T::default()),
        Reduction::Set => change(pool, &it.places, indices, y, copy, |at, y| *y = updates[at]),
        how => change(pool, &it.places, indices, y, copy, |at, y| *y = T::reduce(how, *y, updates[at])),
    }
}

/// Starts each part of y with `start(first element, part)`; then calls `f(element of all slices, element of y)`.
fn change<T: Element>(
    pool: &Pool,
    places: &Places,
    indices: &[i64],
    y: &mut [T],
    start: impl Fn(usize, &mut [T]) + Sync,
    f: impl Fn(usize, &mut T) + Sync,
) {
    // Every task looks at all indices.
    let size = CHUNK.max(y.len().div_ceil(SUMS));
    each(pool, y, size, |idx, y| {
        let (first, end) = (idx * size, idx * size + y.len());
        start(first, y);
        for slice in 0..places.count() {
            let Some(at) = places.of(indices, slice) else { continue };
            for element in at.max(first)..(at + places.inner).min(end) {
                f(slice * places.inner + (element - at), &mut y[element - first]);
            }
        }
    });
}
