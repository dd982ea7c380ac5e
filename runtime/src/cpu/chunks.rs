//! Cuts results into chunks, a task each. The cut follows from lengths alone.

use crate::pool::{Disjoint, Pool};

/// Elements of a chunk of an elementwise kernel; a multiple of 64, so no two chunks share a word of bits.
pub const CHUNK: usize = 1 << 14;

/// How many rows of `width` elements make up about a chunk.
pub fn rows_per_chunk(width: usize) -> usize {
    (CHUNK / width).max(1)
}

/// Calls `task(idx, chunk)` for each chunk of `size` elements of `y`; the last may be shorter.
pub fn each<T: Send>(pool: &Pool, y: &mut [T], size: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    pool.chunks(y, size, task);
}

/// As [`each`] for two results. One that nothing reads is empty, and so are its chunks.
pub fn each2<T: Send, U: Send>(
    pool: &Pool,
    (y, y_size): (&mut [T], usize),
    (z, z_size): (&mut [U], usize),
    task: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let n = y.len().div_ceil(y_size).max(z.len().div_ceil(z_size));
    let (y, z) = (Disjoint::new(y), Disjoint::new(z));
    // SAFETY: every task has its own chunks.
    pool.run(n, &|idx, _| unsafe { task(idx, chunk(&y, idx, y_size), chunk(&z, idx, z_size)) });
}

/// As [`each2`] for three results of the same chunk size.
pub fn each3<T: Send>(pool: &Pool, results: [&mut [T]; 3], size: usize, task: impl Fn(usize, [&mut [T]; 3]) + Sync) {
    let n = results.iter().map(|it| it.len().div_ceil(size)).max().unwrap_or(0);
    let results = results.map(Disjoint::new);
    // SAFETY: every task has its own chunks.
    pool.run(n, &|idx, _| task(idx, std::array::from_fn(|it| unsafe { chunk(&results[it], idx, size) })));
}

/// A chunk of a result, empty where nothing reads the result.
///
/// # Safety
/// No other chunk of this index is alive at the same time.
#[expect(clippy::mut_from_ref, reason = "the caller promises that chunks do not overlap")]
pub(super) unsafe fn chunk<'a, T>(slice: &'a Disjoint<'_, T>, idx: usize, size: usize) -> &'a mut [T] {
    if slice.is_empty() {
        return &mut [];
    }
    // SAFETY: by the caller's promise.
    unsafe { slice.chunk(idx, size) }
}
