//! Cuts results into chunks, a task each. The cut follows from lengths alone.

use crate::arena::{Element, Reusable};
use crate::pool::{Disjoint, Pool};

/// Elements of a chunk of an elementwise kernel; a multiple of 64, so no two chunks share a word of bits.
pub const CHUNK: usize = 1 << 14;

/// Elements of which a copy is made before they are overwritten: few, so that it stays in the nearest cache; a multiple
/// of 64.
const PIECE: usize = 1024;

/// How many rows of `width` elements make up about a chunk.
pub fn rows_per_chunk(width: usize) -> usize {
    (CHUNK / width).max(1)
}

/// Calls `task(idx, chunk)` for each chunk of `size` elements of `y`; the last may be shorter.
pub fn each<T: Send>(pool: &Pool, y: &mut [T], size: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    pool.chunks(y, size, task);
}

/// As [`each`] for a result that is made element for element, perhaps in an operand's bytes: calls
/// `task(start, operands, part)` with the operands' elements that belong to a part.
pub fn each_of<T: Element, const N: usize>(
    pool: &Pool,
    operands: [Reusable<'_, T>; N],
    y: &mut [T],
    task: impl Fn(usize, [&[T]; N], &mut [T]) + Sync,
) {
    each(pool, y, CHUNK, |idx, y| pieces(operands, idx * CHUNK, y, &task));
}

/// One chunk of [`each_of`], which begins at `start`. Where it holds an operand, `task` sees a copy, piece by piece: it
/// never reads what it writes.
pub fn pieces<T: Element, const N: usize>(
    operands: [Reusable<'_, T>; N],
    start: usize,
    y: &mut [T],
    mut task: impl FnMut(usize, [&[T]; N], &mut [T]),
) {
    fn part<'a, T>(operand: Reusable<'a, T>, start: usize, held: &'a [T], len: usize) -> &'a [T] {
        match operand {
            Reusable::Apart(x) => &x[start..][..len],
            Reusable::Within => held,
        }
    }
    if operands.iter().all(|it| matches!(it, Reusable::Apart(_))) {
        let len = y.len();
        return task(start, operands.map(|it| part(it, start, &[], len)), y);
    }
    let mut held = [T::default(); PIECE];
    for (idx, y) in y.chunks_mut(PIECE).enumerate() {
        let held = &mut held[..y.len()];
        held.copy_from_slice(y);
        let start = start + idx * PIECE;
        task(start, operands.map(|it| part(it, start, held, held.len())), y);
    }
}

/// As [`each`] for a result of which each row is made of the same row of an operand: a part holds it at the start.
pub fn each_over<T: Element>(
    pool: &Pool,
    operand: Reusable<'_, T>,
    y: &mut [T],
    size: usize,
    task: impl Fn(usize, &mut [T]) + Sync,
) {
    each(pool, y, size, |idx, y| {
        if let Reusable::Apart(x) = operand {
            y.copy_from_slice(&x[idx * size..][..y.len()]);
        }
        task(idx, y);
    });
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
