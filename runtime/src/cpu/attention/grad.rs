//! Gradient of attention: probabilities are computed anew, tile by tile.

use std::ops::Range;

use super::rows::{self, Rows};
use super::{Head, Operands, Tiles, across, down, product};
use crate::cpu::gemm::blocks;
use crate::kernels::attention::Attention;
use crate::pool::{Disjoint, Team};

/// Cotangents of q, k and v, each perhaps unwanted. A task has one head of k and v, and all heads of q that look at it.
pub fn attention_grad(
    team: &Team<'_>,
    it: &Attention,
    dy: &[f32],
    operands: Operands<'_>,
    lse: &[f32],
    [dq, dk, dv]: [&mut [f32]; 3],
) {
    let tiles = Tiles::of(it, team.scratch_len(), 2);
    let group = it.heads / it.kv_heads;
    let (dq, dk, dv) = (Disjoint::new(dq), Disjoint::new(dk), Disjoint::new(dv));
    team.run(it.batch() * it.kv_heads, |task, scratch| {
        // SAFETY: every task has its own heads of each.
        let (dq, dk, dv) = unsafe {
            let dq = part(&dq, task, group * it.queries * it.depth);
            (dq, part(&dk, task, it.keys * it.depth), part(&dv, task, it.keys * it.width))
        };
        dk.fill(0.0);
        dv.fill(0.0);
        for (head, dq) in (task * group..).zip(heads(dq, group)) {
            for first in (0..it.queries).step_by(tiles.rows) {
                let n = tiles.rows.min(it.queries - first);
                let dq: &mut [f32] = if dq.is_empty() { &mut [] } else { &mut dq[first * it.depth..][..n * it.depth] };
                let block = Block { it, tiles, head: Head::new(it, head), first, n, dy, operands, lse };
                block.add(dq, dk, dv, scratch);
            }
        }
    });
}

/// The `idx`-th part of `len` elements; none of what is unwanted, and so empty.
///
/// # Safety
/// No other part of this index is alive at the same time.
#[expect(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
unsafe fn part<'a>(of: &'a Disjoint<'_, f32>, idx: usize, len: usize) -> &'a mut [f32] {
    if of.is_empty() {
        return &mut [];
    }
    // SAFETY: by the caller's promise.
    unsafe { of.chunk(idx, len) }
}

/// `dq` in as many equal parts, all of them empty if it is.
fn heads(dq: &mut [f32], group: usize) -> impl Iterator<Item = &mut [f32]> {
    let len = dq.len() / group;
    let mut rest = dq;
    (0..group).map(move |_| {
        let (head, others) = std::mem::take(&mut rest).split_at_mut(len);
        rest = others;
        head
    })
}

/// Some queries of one head, from `first` on.
struct Block<'a> {
    it: &'a Attention,
    tiles: Tiles,
    head: Head<'a>,
    first: usize,
    n: usize,
    dy: &'a [f32],
    operands: Operands<'a>,
    lse: &'a [f32],
}

impl Block<'_> {
    /// Makes dq of these queries, and adds their part to dk and dv of the head.
    fn add(&self, dq: &mut [f32], dk: &mut [f32], dv: &mut [f32], scratch: &mut [f32]) {
        let &Block { it, tiles, ref head, n, .. } = self;
        let [q, k, ..] = self.operands;
        let (q, dy) = (self.rows(q, it.depth), self.rows(self.dy, it.width));
        let (p, scratch) = scratch.split_at_mut(tiles.rows * tiles.keys);
        let (dp, scratch) = scratch.split_at_mut(tiles.rows * tiles.keys);
        let (sum, scratch) = scratch.split_at_mut(tiles.rows);
        let (dot, scratch) = scratch.split_at_mut(tiles.rows);
        let (sum, dot) = (&mut sum[..n], &mut dot[..n]);
        sum.fill(0.0);
        dot.fill(0.0);
        let seen = it.seen(self.first + n - 1);
        for keys in blocks(0..seen, tiles.keys) {
            let len = n * keys.len();
            self.tile(&keys, &mut p[..len], &mut dp[..len], scratch);
            rows::add_up(keys.len(), &p[..len], &dp[..len], sum, dot);
        }
        for keys in blocks(0..seen, tiles.keys) {
            let (p, dp) = (&mut p[..n * keys.len()], &mut dp[..n * keys.len()]);
            // A single tile is still there.
            if tiles.keys < seen {
                self.tile(&keys, p, dp, scratch);
            }
            rows::score_grads(it, keys.len(), p, dp, sum, dot);
            if !dv.is_empty() {
                let dv = &mut dv[keys.start * it.width..][..keys.len() * it.width];
                product([keys.len(), n, it.width], (across(p, keys.len()), across(dy, it.width)), true, dv, scratch);
            }
            if !dq.is_empty() {
                let k = across(head.keys(k, it.depth, &keys), it.depth);
                product([n, keys.len(), it.depth], (down(dp, keys.len()), k), keys.start != 0, dq, scratch);
            }
            if !dk.is_empty() {
                let dk = &mut dk[keys.start * it.depth..][..keys.len() * it.depth];
                product([keys.len(), n, it.depth], (across(dp, keys.len()), across(q, it.depth)), true, dk, scratch);
            }
        }
    }

    /// Probabilities, up to a factor for each row, and their cotangents.
    fn tile(&self, keys: &Range<usize>, p: &mut [f32], dp: &mut [f32], scratch: &mut [f32]) {
        let &Block { it, ref head, n, .. } = self;
        let [q, k, v, mask] = self.operands;
        let (q, k) = (self.rows(q, it.depth), head.keys(k, it.depth, keys));
        product([n, it.depth, keys.len()], (down(q, it.depth), down(k, it.depth)), false, p, scratch);
        let rows = Rows { it, head, queries: self.first..self.first + n, keys: keys.clone(), mask };
        rows::probabilities(&rows, p, self.rows(self.lse, 1));
        let (dy, v) = (self.rows(self.dy, it.width), head.keys(v, it.width, keys));
        product([n, it.width, keys.len()], (down(dy, it.width), down(v, it.width)), false, dp, scratch);
    }

    /// These queries' rows of a tensor.
    fn rows<'t>(&self, tensor: &'t [f32], width: usize) -> &'t [f32] {
        &tensor[(self.head.query * self.it.queries + self.first) * width..][..self.n * width]
    }
}
