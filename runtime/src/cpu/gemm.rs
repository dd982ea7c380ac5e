//! Matrix products from packed panels, with everything that they need in the thread's scratch.
//!
//! An element of C is the sum over blocks of at most [`DEPTH`] products, each block one chain of fused multiply-adds
//! from its first product to its last. That order depends on `k` alone: neither tiles, threads nor the instruction
//! set (where it has fused multiply-add) change a bit.

use std::ops::Range;

use crate::pool::{Disjoint, Team};
use micro::Micro;

pub mod axis;
pub mod four;
pub mod matrix;
mod micro;
mod transpose;

use axis::Axis;

/// Most products in one block of the sum.
pub const DEPTH: usize = 256;
/// Widest panel of any instruction set.
const WIDEST: usize = 48;
/// Scratch in bytes with which any product can run. More lets blocks be larger.
pub const SCRATCH: usize = 64 * 1024;

/// `c[m, n] = a[m, k] b[k, n] + bias`.
pub struct Gemm<'a, A, B> {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// The left factor, `m` lines of `k`.
    pub a: A,
    /// The right factor, `n` lines of `k`.
    pub b: B,
    /// Where the product goes.
    pub c: Target<'a>,
    /// What is added.
    pub bias: Bias<'a>,
}

/// A factor: lines along `k` that are put side by side into panels.
pub trait Factor: Sync {
    /// Writes `out[k][line]` for the lines `lines`, at most `width` of them, and zeros behind them up to `width`.
    fn pack(&self, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]);
}

/// Where the elements of C lie: row `i`, column `j` at `start + i * row + cols.offset(j)`.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The tensor that C is (a part of).
    pub out: &'a Disjoint<'a, f32>,
    /// Offset of C.
    pub start: usize,
    /// From one row to the next.
    pub row: usize,
    /// Offsets of the columns.
    pub cols: Axis,
}

/// What a product starts from.
#[derive(Clone, Copy)]
pub enum Bias<'a> {
    /// Zero.
    None,
    /// One value for each row.
    Rows(&'a [f32]),
    /// One value for each column.
    Cols(&'a [f32]),
}

/// A block of C, computed by one task.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    rows: usize,
    cols: usize,
}

impl Tile {
    /// The tiles that cost least: packing a line costs as much as some multiply-adds for each line on the other side,
    /// and too few tiles leave threads idle. Counts on four threads, however many there are.
    pub fn of(m: usize, n: usize) -> Tile {
        const THREADS: usize = 4;
        const PACKING: f64 = 10.0;
        let sizes = |len: usize, step: usize, most: usize| {
            (1..=16)
                .map(move |it| len.div_ceil(it * len.div_ceil(16 * most)).next_multiple_of(step))
                .filter(move |&it| it <= most)
        };
        let tiles =
            sizes(m, 8, 512).flat_map(|rows| sizes(n, WIDEST, 10 * WIDEST).map(move |cols| Tile { rows, cols }));
        let cost = |tile: &Tile| {
            let count = tile.count(m, n);
            let area = (tile.rows * tile.cols * count.next_multiple_of(THREADS)) as f64;
            area * (1.0 + PACKING / tile.rows as f64 + PACKING / tile.cols as f64)
        };
        tiles.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(Tile { rows: 8, cols: WIDEST })
    }

    /// How many there are of them.
    pub fn count(self, m: usize, n: usize) -> usize {
        m.div_ceil(self.rows) * n.div_ceil(self.cols)
    }
}

/// Computes one product after the other on all threads. `gemm(i)` is the `i`-th; all have the same `m`, `n` and `k`.
pub fn run<'a, A: Factor, B: Factor>(
    team: &Team<'_>,
    (m, n, k): (usize, usize, usize),
    count: usize,
    gemm: impl Fn(usize) -> Gemm<'a, A, B> + Sync,
) {
    let tile = Tile::of(m, n);
    let tiles = tile.count(m, n);
    team.run(count * tiles, |task, scratch| gemm(task / tiles).tile(tile, task % tiles, scratch));
}

impl<A: Factor, B: Factor> Gemm<'_, A, B> {
    /// Computes the `idx`-th tile. Those of one column of tiles follow each other.
    fn tile(&self, tile: Tile, idx: usize, scratch: &mut [f32]) {
        let down = self.m.div_ceil(tile.rows);
        let (row, col) = (idx % down * tile.rows, idx / down * tile.cols);
        let rows = row..(row + tile.rows).min(self.m);
        let cols = col..(col + tile.cols).min(self.n);
        let end = self.c.start + (self.m - 1) * self.c.row + self.c.cols.end(self.n);
        assert!(end <= self.c.out.len(), "a product reaches {end} of {} elements", self.c.out.len());
        let micro = Micro::get();
        let depth = self.k.div_ceil(self.k.div_ceil(DEPTH));
        let (a_len, b_len) = micro.share(scratch.len(), depth, rows.len(), cols.len());
        let (a_pack, b_pack) = scratch.split_at_mut(a_len * depth);
        for cols in blocks(cols, b_len) {
            for k in blocks(0..self.k, depth) {
                pack(&self.b, micro.nr, &cols, &k, b_pack);
                for rows in blocks(rows.clone(), a_len) {
                    pack(&self.a, micro.mr, &rows, &k, a_pack);
                    self.block(micro, rows, &cols, &k, a_pack, b_pack);
                }
            }
        }
    }

    fn block(&self, micro: &Micro, rows: Range<usize>, cols: &Range<usize>, k: &Range<usize>, a: &[f32], b: &[f32]) {
        let depth = k.len();
        let first = k.start == 0;
        for (cols, b) in blocks(cols.clone(), micro.nr).zip(b.chunks_exact(micro.nr * depth)) {
            let mut offsets = [0; WIDEST];
            self.c.cols.offsets(cols.start, &mut offsets[..cols.len()]);
            let together = offsets[cols.len() - 1] == offsets[0] + cols.len() - 1 && cols.len() == micro.nr;
            for (rows, a) in blocks(rows.clone(), micro.mr).zip(a.chunks_exact(micro.mr * depth)) {
                if together && rows.len() == micro.mr {
                    let start = self.c.start + rows.start * self.c.row + offsets[0];
                    // SAFETY: the panels hold `depth` steps, and the rows of this tile are inside `out`, which
                    // `tile` checked, and no other task's.
                    unsafe { micro.run(depth, a, b, self.c.out.at(start), self.c.row, !first, cols.len()) };
                    self.add_bias(first, &rows, &cols, |i, j| start + i * self.c.row + j);
                } else {
                    let mut tile = [0.0; micro::LARGEST];
                    // SAFETY: as above, and a tile of `mr` rows of `nr` fits in `LARGEST`.
                    unsafe { micro.run(depth, a, b, tile.as_mut_ptr(), micro.nr, false, cols.len()) };
                    let at = |i, j: usize| self.c.start + (rows.start + i) * self.c.row + offsets[j];
                    for (i, tile) in tile.chunks_exact(micro.nr).take(rows.len()).enumerate() {
                        for (j, &value) in tile[..cols.len()].iter().enumerate() {
                            // SAFETY: element (i, j) is of this task's tile of C, inside `out`.
                            let c = unsafe { &mut *self.c.out.at(at(i, j)) };
                            *c = if first { value } else { *c + value };
                        }
                    }
                    self.add_bias(first, &rows, &cols, at);
                }
            }
        }
    }

    fn add_bias(&self, first: bool, rows: &Range<usize>, cols: &Range<usize>, at: impl Fn(usize, usize) -> usize) {
        if !first || matches!(self.bias, Bias::None) {
            return;
        }
        for i in 0..rows.len() {
            for j in 0..cols.len() {
                let bias = match self.bias {
                    Bias::None => 0.0,
                    Bias::Rows(bias) => bias[rows.start + i],
                    Bias::Cols(bias) => bias[cols.start + j],
                };
                // SAFETY: element (i, j) is of this task's tile of C, inside `out`.
                unsafe { *self.c.out.at(at(i, j)) += bias };
            }
        }
    }
}

fn pack(factor: &impl Factor, width: usize, lines: &Range<usize>, k: &Range<usize>, out: &mut [f32]) {
    for (lines, out) in blocks(lines.clone(), width).zip(out.chunks_exact_mut(width * k.len())) {
        factor.pack(width, lines, k.clone(), out);
    }
}

/// The range in pieces of `len`, the last one perhaps shorter.
pub(super) fn blocks(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(len).map(move |it| it..(it + len).min(range.end))
}
