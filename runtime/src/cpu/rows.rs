//! Updates of tables by sums of rows at indices. The same bits as a sum and a dense update, without the sum in memory.

use std::ops::Range;

use super::chunks::CHUNK;
use super::optimizer::{AdamNumbers, SgdNumbers, adam_slice, momentum_slice, plain_slice};
use super::state::{PIECE, Weight};
use crate::kernels::index::place;
use crate::kernels::rows::Rows;
use crate::pool::{Disjoint, Team};

/// As [`super::optimizer::plain`]. Without decay, what has no gradient stays as it is.
pub fn plain(
    team: &Team<'_>,
    rows: &Rows,
    decays: bool,
    w: &mut [f32],
    (dy, indices): (&[f32], &[i64]),
    with: SgdNumbers,
) {
    let w = Disjoint::new(w);
    each_piece(team, rows, (dy, indices), !decays, |range, g| {
        // SAFETY: no two calls have the same elements.
        plain_slice(unsafe { w.part(range) }, g, with);
    });
}

/// As [`super::optimizer::momentum`].
pub fn momentum(
    team: &Team<'_>,
    rows: &Rows,
    weight: &Weight<'_, 1>,
    (dy, indices): (&[f32], &[i64]),
    with: SgdNumbers,
) {
    each_piece(team, rows, (dy, indices), false, |range, g| {
        // SAFETY: every call has a piece of its own.
        unsafe { weight.update(range, |_, w, [m]| momentum_slice(w, g, m, with)) };
    });
}

/// As [`super::optimizer::adam`].
pub fn adam(team: &Team<'_>, rows: &Rows, weight: &Weight<'_, 2>, (dy, indices): (&[f32], &[i64]), with: AdamNumbers) {
    each_piece(team, rows, (dy, indices), false, |range, g| {
        // SAFETY: every call has a piece of its own.
        unsafe { weight.update(range, |_, w, [m, v]| adam_slice(w, g, m, v, with)) };
    });
}

/// Calls `update(elements, gradient)` for all pieces of the table, or for those alone that have a gradient.
fn each_piece(
    team: &Team<'_>,
    it: &Rows,
    (dy, indices): (&[f32], &[i64]),
    sparse: bool,
    update: impl Fn(Range<usize>, &[f32]) + Sync,
) {
    let elements = it.len * it.inner;
    team.run(elements.div_ceil(CHUNK), |idx, scratch| {
        let (start, end) = (idx * CHUNK, elements.min((idx + 1) * CHUNK));
        let rows = start / it.inner..end.div_ceil(it.inner);
        // Which rows of dy concern this task, as bits of floats; if they are too many, all are looked at.
        let mut found = 0;
        for (i, &index) in indices.iter().enumerate() {
            if place(index, it.len).is_some_and(|it| rows.contains(&it)) {
                if let Some(slot) = scratch.get_mut(found) {
                    *slot = f32::from_bits(i as u32);
                }
                found += 1;
            }
        }
        let few = scratch.get(..found);
        let concerned = (0..few.map_or(it.count, |few| few.len()))
            .map(|at| few.map_or(at, |few| few[at].to_bits() as usize))
            .filter_map(|i| Some((i, place(indices[i], it.len)?)));
        let mut sum = [0.0; PIECE];
        for at in (start..end).step_by(PIECE) {
            let piece = at..end.min(at + PIECE);
            let sum = &mut sum[..piece.len()];
            sum.fill(0.0);
            let mut has_gradient = false;
            for (i, row) in concerned.clone() {
                let first = row * it.inner;
                let part = piece.start.max(first)..piece.end.min(first + it.inner);
                if !part.is_empty() {
                    let dy = &dy[i * it.inner + (part.start - first)..][..part.len()];
                    super::index::add(dy, &mut sum[part.start - at..part.end - at]);
                    has_gradient = true;
                }
            }
            if has_gradient || !sparse {
                update(piece, sum);
            }
        }
    });
}
