//! Attention by tiles: scores and probabilities live in a thread's scratch only (Dao et al., FlashAttention, 2022).
//!
//! A task has some queries of one head, which it shows one block of keys after the other. Tiles depend on the sizes and
//! the scratch of one thread alone, so neither do the bits depend on anything else.

use std::ops::Range;

use crate::cpu::gemm::axis::Axis;
use crate::cpu::gemm::matrix::Matrix;
use crate::cpu::gemm::{self, Bias, Gemm, Target, blocks};
use crate::kernels::attention::Attention;
use crate::pool::{Disjoint, Team};
use rows::Rows;

mod grad;
mod rows;

pub use grad::attention_grad;

/// q, k, v and the mask, which is empty where there is none.
pub type Operands<'a> = [&'a [f32]; 4];

/// `y = softmax(q kᵀ * scale + mask) v` and the logarithm of each row's sum of exponentials, which may be unwanted.
pub fn attention(team: &Team<'_>, it: &Attention, [q, k, v, mask]: Operands<'_>, [y, lse]: [&mut [f32]; 2]) {
    let tiles = Tiles::of(it, team.scratch_len(), 1);
    let n_blocks = it.queries.div_ceil(tiles.rows);
    let (y, lse) = (Disjoint::new(y), Disjoint::new(lse));
    team.run(it.batch() * it.heads * n_blocks, |task, scratch| {
        let at = Head::new(it, task / n_blocks);
        let first = task % n_blocks * tiles.rows;
        let queries = first..(first + tiles.rows).min(it.queries);
        let n = queries.len();
        let (tile, scratch) = scratch.split_at_mut(tiles.rows * tiles.keys);
        let (max, scratch) = scratch.split_at_mut(tiles.rows);
        let (sum, scratch) = scratch.split_at_mut(tiles.rows);
        let (max, sum) = (&mut max[..n], &mut sum[..n]);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        let out = at.query * it.queries + queries.start;
        // SAFETY: every task has its own rows of y.
        let y = unsafe { y.part(out * it.width..(out + n) * it.width) };
        let q = &q[out * it.depth..][..n * it.depth];
        for keys in blocks(0..it.seen(queries.end - 1), tiles.keys) {
            let (k, v) = (at.keys(k, it.depth, &keys), at.keys(v, it.width, &keys));
            let tile = &mut tile[..n * keys.len()];
            let later = keys.start != 0;
            product([n, it.depth, keys.len()], (down(q, it.depth), down(k, it.depth)), false, tile, scratch);
            let rows = Rows { it, head: &at, queries: queries.clone(), keys: keys.clone(), mask };
            rows::exponentials(&rows, tile, max, sum, y);
            product([n, keys.len(), it.width], (down(tile, keys.len()), across(v, it.width)), later, y, scratch);
        }
        rows::normalize(it, max, sum, y);
        if !lse.is_empty() {
            // SAFETY: every task has its own rows.
            unsafe { lse.part(out..out + n) }.copy_from_slice(max);
        }
    });
}

/// Largest number of rows and of keys of a tile.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    rows: usize,
    keys: usize,
}

impl Tiles {
    /// As many rows as all keys fit for, but not so few that packing the keys costs more than the products. `count`
    /// tiles and two numbers for each row leave room for the panels of products.
    fn of(it: &Attention, scratch: usize, count: usize) -> Tiles {
        const LEAST: usize = 64;
        // With many rows, keys are multiplied in vain that most rows do not see.
        let most = if it.causal { LEAST } else { 4 * LEAST };
        let room = (scratch - gemm::PANELS).min(scratch / 2);
        let rows = (room / (count * it.keys + 2)).max(LEAST).min(room / (count * 128 + 2)).min(most);
        let rows = it.queries.div_ceil(it.queries.div_ceil(rows));
        let keys = (room / rows - 2) / count;
        Tiles { rows, keys: if it.keys <= keys { it.keys } else { keys / 16 * 16 } }
    }
}

/// A head of one sample.
struct Head<'a> {
    it: &'a Attention,
    batch: usize,
    head: usize,
    /// Index among the heads of q of all samples.
    query: usize,
    /// Index among the heads of k of all samples.
    key: usize,
}

impl<'a> Head<'a> {
    fn new(it: &'a Attention, query: usize) -> Head<'a> {
        let (batch, head) = (query / it.heads, query % it.heads);
        Head { it, batch, head, query, key: batch * it.kv_heads + it.kv_head(head) }
    }

    /// Some rows of k or v.
    fn keys<'t>(&self, tensor: &'t [f32], width: usize, keys: &Range<usize>) -> &'t [f32] {
        &tensor[(self.key * self.it.keys + keys.start) * width..][..keys.len() * width]
    }
}

/// `c[m, n] = a[m, k] b[k, n]` on this thread, or added to c.
fn product([m, k, n]: [usize; 3], (a, b): (Matrix<'_>, Matrix<'_>), add: bool, c: &mut [f32], scratch: &mut [f32]) {
    let out = Disjoint::new(c);
    let c = Target { out: &out, start: 0, row: n, cols: Axis::flat(1) };
    Gemm { m, n, k, a, b, c, bias: Bias::None }.alone(add, scratch);
}

/// A factor whose lines lie one after the other, `len` elements each.
fn down(data: &[f32], len: usize) -> Matrix<'_> {
    Matrix { data, lines: Axis::flat(len), ks: Axis::flat(1) }
}

/// A factor whose `count` lines lie side by side.
fn across(data: &[f32], count: usize) -> Matrix<'_> {
    Matrix { data, lines: Axis::flat(1), ks: Axis::flat(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fit_in_any_scratch() {
        for (queries, keys, causal) in [(1, 1, false), (197, 197, false), (128, 128, true), (3, 70_000, false)] {
            let it = Attention {
                lead: vec![],
                heads: 1,
                kv_heads: 1,
                queries,
                keys,
                depth: 64,
                width: 64,
                scale: 1.0,
                causal,
                safe: false,
                mask: None,
            };
            for (scratch, count) in [(1 << 14, 1), (1 << 14, 2), (1 << 18, 1), (1 << 18, 2), (1 << 22, 2)] {
                let Tiles { rows, keys } = Tiles::of(&it, scratch, count);
                assert!(0 < rows && 0 < keys && rows <= it.queries && keys <= it.keys);
                assert!(rows * (count * keys + 2) + gemm::PANELS <= scratch, "{rows} {keys} of {scratch}");
            }
        }
    }
}
