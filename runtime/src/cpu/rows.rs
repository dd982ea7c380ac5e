//! Updates of tables by sums of rows at indices. The same bits as a sum and a dense update, without the sum in memory.

use super::chunks::rows_per_chunk;
use super::optimizer::{AdamNumbers, SgdNumbers, adam_slice, momentum_slice, plain_slice};
use super::state::{PIECE, each_piece};
use crate::kernels::index::place;
use crate::kernels::rows::{AdamRows, Rows, SgdRows};
use crate::pool::{Disjoint, Team};

/// Elements of a row that are updated at once; their gradient is on the stack.
const TILE: usize = PIECE;

/// As [`super::optimizer::sgd`].
pub fn sgd_rows(team: &Team<'_>, it: &SgdRows, [w, m]: [&mut [f32]; 2], dy: &[f32], indices: &[i64], lr: f32) {
    let with = SgdNumbers::new(&it.sgd, lr);
    // Without momentum and decay a row without gradient stays as it is.
    let sparse = m.is_empty() && it.sgd.weight_decay == 0.0;
    let (w, m) = (Disjoint::new(w), Disjoint::new(m));
    each_row(team, &it.rows, dy, indices, sparse, |at, g| {
        // SAFETY: no two calls have the same elements.
        let w = unsafe { w.part(at..at + g.len()) };
        match m.is_empty() {
            true => plain_slice(w, g, with),
            // SAFETY: as above.
            false => momentum_slice(w, g, unsafe { m.part(at..at + g.len()) }, with),
        }
    });
}

/// As [`super::optimizer::sgd_rounded`].
pub fn sgd_rows_rounded(
    team: &Team<'_>,
    it: &SgdRows,
    w: &mut [f32],
    m: &mut [u16],
    (dy, indices): (&[f32], &[i64]),
    lr: f32,
    key: u64,
) {
    let with = SgdNumbers::new(&it.sgd, lr);
    let (w, m) = (Disjoint::new(w), Disjoint::new(m));
    each_row(team, &it.rows, dy, indices, false, |at, g| {
        // SAFETY: no two calls have the same elements.
        let (w, m) = unsafe { (w.part(at..at + g.len()), m.part(at..at + g.len())) };
        each_piece(key, at, w, [m], |_, w, [m]| momentum_slice(w, g, m, with));
    });
}

/// As [`super::optimizer::adam_rounded`].
pub fn adam_rows_rounded(
    team: &Team<'_>,
    it: &AdamRows,
    w: &mut [f32],
    states: [&mut [u16]; 2],
    (dy, indices): (&[f32], &[i64]),
    [lr, step]: [f32; 2],
    key: u64,
) {
    let numbers = AdamNumbers::new(&it.adam, lr, step);
    let (w, states) = (Disjoint::new(w), states.map(Disjoint::new));
    each_row(team, &it.rows, dy, indices, false, |at, g| {
        // SAFETY: no two calls have the same elements.
        let w = unsafe { w.part(at..at + g.len()) };
        // SAFETY: as above.
        let states = states.each_ref().map(|it| unsafe { it.part(at..at + g.len()) });
        each_piece(key, at, w, states, |_, w, [m, v]| adam_slice(w, g, m, v, numbers));
    });
}

/// As [`super::optimizer::adam`].
pub fn adam_rows(
    team: &Team<'_>,
    it: &AdamRows,
    weights: [&mut [f32]; 3],
    dy: &[f32],
    indices: &[i64],
    [lr, step]: [f32; 2],
) {
    let numbers = AdamNumbers::new(&it.adam, lr, step);
    let parts = weights.map(Disjoint::new);
    each_row(team, &it.rows, dy, indices, false, |at, g| {
        // SAFETY: no two calls have the same elements.
        let [w, m, v] = parts.each_ref().map(|it| unsafe { it.part(at..at + g.len()) });
        adam_slice(w, g, m, v, numbers);
    });
}

/// Calls `update(first element, gradient)` for parts of all rows, or of those alone that have a gradient.
fn each_row(
    team: &Team<'_>,
    it: &Rows,
    dy: &[f32],
    indices: &[i64],
    sparse: bool,
    update: impl Fn(usize, &[f32]) + Sync,
) {
    let rows = rows_per_chunk(it.inner);
    team.run(it.len.div_ceil(rows), |idx, scratch| {
        let (first, end) = (idx * rows, it.len.min((idx + 1) * rows));
        // Which rows of dy concern this task, as bits of floats; if they are too many, all are looked at.
        let mut found = 0;
        for (i, &index) in indices.iter().enumerate() {
            if place(index, it.len).is_some_and(|it| (first..end).contains(&it)) {
                if let Some(slot) = scratch.get_mut(found) {
                    *slot = f32::from_bits(i as u32);
                }
                found += 1;
            }
        }
        let few = scratch.get(..found);
        let mut sum = [0.0; TILE];
        for row in first..end {
            let all = match few {
                Some(few) => few.len(),
                None => it.count,
            };
            let concerned = (0..all).map(|at| few.map_or(at, |few| few[at].to_bits() as usize));
            let concerned = concerned.filter(|&i| place(indices[i], it.len) == Some(row));
            if sparse && concerned.clone().next().is_none() {
                continue;
            }
            for start in (0..it.inner).step_by(TILE) {
                let n = TILE.min(it.inner - start);
                sum[..n].fill(0.0);
                for i in concerned.clone() {
                    super::index::add(&dy[i * it.inner + start..][..n], &mut sum[..n]);
                }
                update(row * it.inner + start, &sum[..n]);
            }
        }
    });
}
