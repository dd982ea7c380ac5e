//! Matrix products from packed panels, with everything that they need in the thread's scratch.
//!
//! An element of C is the sum over blocks of at most [`DEPTH`] products, each block one chain of fused multiply-adds
//! from its first product to its last. That order depends on the sizes and the scratch of one thread alone: neither
//! tiles, threads nor the instruction set (where it has fused multiply-add) change a bit.

use std::ops::Range;

use crate::pool::{Disjoint, Team};
use micro::Micro;

pub mod axis;
pub mod four;
pub mod matrix;
mod micro;
pub mod rounded;
pub mod transpose;

use axis::Axis;

/// Most products in one block of the sum.
pub const DEPTH: usize = 256;
/// Widest panel of any instruction set.
const WIDEST: usize = 48;
/// Scratch in bytes with which any product can run. More lets blocks be larger.
pub const SCRATCH: usize = 64 * 1024;
/// Elements of scratch with which [`Gemm::alone`] can run.
pub const PANELS: usize = DEPTH * (WIDEST + 8);

/// `c[m, n] = a[m, k] b[k, n] + bias`, where the bias may be what C is already.
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
    /// Writes `out[k][line]` for the lines `lines`, at most `width` of them, and zeros behind them in the vector in which
    /// they end. What lies in further vectors of the width is not read.
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
    /// What C is already.
    Itself,
    /// One value for each row.
    Rows(&'a [f32]),
    /// One value for each column.
    Cols(&'a [f32]),
}

/// Computes one product after the other on all threads. `gemm(i)` is the `i`-th; all have the same `m`, `n` and `k`.
pub fn run<'a, A: Factor, B: Factor>(
    team: &Team<'_>,
    (m, n, k): (usize, usize, usize),
    count: usize,
    gemm: impl Fn(usize) -> Gemm<'a, A, B> + Sync,
) {
    match parts(m * n, k, team.scratch_len()) {
        Some(parts) if count == 1 => long(team, parts, &gemm(0)),
        _ => {
            let tile = Tile::of(m, n, count, THREADS);
            let tiles = tile.count(m, n);
            team.run(count * tiles, |task, scratch| gemm(task / tiles).tile(tile, task % tiles, 0..k, scratch));
        }
    }
}

/// Into how many parts the sums of a product are cut that has few elements and many products in each: there are not
/// enough tiles to share out. The parts are kept in a thread's scratch, of which they may take half.
fn parts(elements: usize, k: usize, scratch: usize) -> Option<usize> {
    let most = (scratch / 2 / elements).min(k.div_ceil(4 * DEPTH)).min(2 * THREADS);
    (THREADS <= most).then_some(most)
}

/// A product whose sums are computed in parts, which are then added up in their order.
fn long<A: Factor, B: Factor>(team: &Team<'_>, parts: usize, gemm: &Gemm<'_, A, B>) {
    let Gemm { m, n, k, .. } = *gemm;
    let tile = Tile::of(m, n, 1, 1);
    let tiles = tile.count(m, n);
    let len = k.div_ceil(parts).next_multiple_of(DEPTH);
    let parts = k.div_ceil(len);
    team.run_shared(parts * m * n, parts * tiles, |task, scratch, sums| {
        let part = task / tiles;
        let c = Target { out: sums, start: part * m * n, row: n, cols: Axis::flat(1) };
        let part_of = Gemm { m, n, k, a: &gemm.a, b: &gemm.b, c, bias: Bias::None };
        part_of.tile(tile, task % tiles, part * len..((part + 1) * len).min(k), scratch);
    });
    gemm.check();
    team.run_shared(parts * m * n, m, |i, _, sums| {
        for j in 0..n {
            // SAFETY: nothing is written to `sums` by these tasks, and `parts * m * n` elements are there.
            let sum = (0..parts).fold(0.0, |sum, part| sum + unsafe { *sums.at((part * m + i) * n + j) });
            // SAFETY: element (i, j) is of this task's row of C, inside `out`.
            let c = unsafe { &mut *gemm.c.out.at(gemm.c.start + i * gemm.c.row + gemm.c.cols.offset(j)) };
            *c = match gemm.bias {
                Bias::Itself => *c + sum,
                bias => sum + bias.at(i, j),
            };
        }
    });
}

/// Threads that products are cut for, however many there are.
const THREADS: usize = 4;

/// A block of C, computed by one task.
#[derive(Clone, Copy, Debug)]
struct Tile {
    rows: usize,
    cols: usize,
}

impl Tile {
    /// The tiles that cost least: packing a line costs as much as some multiply-adds for each line on the other side,
    /// and too few tiles of all `products` leave threads idle.
    fn of(m: usize, n: usize, products: usize, threads: usize) -> Tile {
        const PACKING: f64 = 10.0;
        const ROWS: usize = 512;
        const COLS: usize = 10 * WIDEST;
        let sizes = |len: usize, step: usize, most: usize| {
            let least = len.div_ceil(most);
            (least..least + 16).map(move |it| len.div_ceil(it).next_multiple_of(step)).filter(move |&it| it <= most)
        };
        let tiles = sizes(m, 8, ROWS).flat_map(|rows| sizes(n, 16, COLS).map(move |cols| Tile { rows, cols }));
        let cost = |tile: &Tile| {
            let (rows, cols) = (tile.rows as f64, tile.cols as f64);
            let count = (products * tile.count(m, n)).next_multiple_of(threads) as f64;
            // The last panel of a tile is not always full, and then runs a little slower.
            let cut = if tile.cols.is_multiple_of(WIDEST) { 0.0 } else { 3.0 };
            count * rows * (cols + cut) * (1.0 + PACKING / rows + PACKING / cols)
        };
        tiles.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(Tile { rows: 8, cols: WIDEST })
    }

    /// How many there are of them.
    fn count(self, m: usize, n: usize) -> usize {
        m.div_ceil(self.rows) * n.div_ceil(self.cols)
    }
}

impl<F: Factor> Factor for &F {
    fn pack(&self, width: usize, lines: Range<usize>, k: Range<usize>, out: &mut [f32]) {
        (*self).pack(width, lines, k, out);
    }
}

impl Bias<'_> {
    fn at(&self, row: usize, col: usize) -> f32 {
        match self {
            Bias::None | Bias::Itself => 0.0,
            Bias::Rows(bias) => bias[row],
            Bias::Cols(bias) => bias[col],
        }
    }
}

impl<A: Factor, B: Factor> Gemm<'_, A, B> {
    fn check(&self) {
        let end = self.c.start + (self.m - 1) * self.c.row + self.c.cols.end(self.n);
        assert!(end <= self.c.out.len(), "a product reaches {end} of {} elements", self.c.out.len());
    }

    /// Computes the product on this thread, with its panels in `scratch`; adds it to what C is where `add`.
    pub fn alone(&self, add: bool, scratch: &mut [f32]) {
        self.check();
        self.area(0..self.m, 0..self.n, 0..self.k, add, scratch);
    }

    /// Computes the `idx`-th tile from the products in `ks`. Tiles of one column follow each other.
    fn tile(&self, tile: Tile, idx: usize, ks: Range<usize>, scratch: &mut [f32]) {
        self.check();
        let down = self.m.div_ceil(tile.rows);
        let (row, col) = (idx % down * tile.rows, idx / down * tile.cols);
        let rows = row..(row + tile.rows).min(self.m);
        let cols = col..(col + tile.cols).min(self.n);
        self.area(rows, cols, ks, matches!(self.bias, Bias::Itself), scratch);
    }

    fn area(&self, rows: Range<usize>, cols: Range<usize>, ks: Range<usize>, add: bool, scratch: &mut [f32]) {
        let micro = Micro::get();
        let depth = ks.len().div_ceil(ks.len().div_ceil(DEPTH));
        let (a_len, b_len) = micro.share(scratch.len(), depth, rows.len(), cols.len());
        let (a_pack, b_pack) = scratch.split_at_mut(a_len * depth);
        for cols in blocks(cols, b_len) {
            for k in blocks(ks.clone(), depth) {
                let first = !add && k.start == ks.start;
                pack(&self.b, micro.nr, &cols, &k, b_pack);
                for rows in blocks(rows.clone(), a_len) {
                    pack(&self.a, micro.mr, &rows, &k, a_pack);
                    self.block(micro, first, rows, &cols, k.len(), a_pack, b_pack);
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what there is of a block")]
    fn block(
        &self,
        micro: &Micro,
        first: bool,
        rows: Range<usize>,
        cols: &Range<usize>,
        depth: usize,
        a: &[f32],
        b: &[f32],
    ) {
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
        if !first || matches!(self.bias, Bias::None | Bias::Itself) {
            return;
        }
        for i in 0..rows.len() {
            for j in 0..cols.len() {
                let bias = self.bias.at(rows.start + i, cols.start + j);
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
