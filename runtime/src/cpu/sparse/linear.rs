//! The weight's gradient of a linear layer whose input was pruned.

use std::ops::Range;

use super::lists::{Lists, Room, Rows, in_turns};
use super::{Sparse, WIDTH, lanes};
use crate::cpu::gemm::matrix::copy;
use crate::cpu::gemm::transpose::{LINES, interleave};
use crate::kernels::linear::Linear;
use crate::pool::{Disjoint, Team};

/// Most rows whose kept elements are sorted at a time: a panel of so many rows fits in the first cache.
const ROWS: usize = 256;
/// Columns whose sums are turned over together.
const TOGETHER: usize = 2 * LINES;

/// Elements of scratch with which the gradient can be computed for so many columns of x: two rooms for a row that is
/// kept whole, or for 4096 elements, and a panel. More lets more rows be sorted at a time. The compiler reckons with the
/// same.
pub fn scratch(columns: usize) -> usize {
    6 * columns + 41 * 1024
}

/// `dw += x^T dy`, of x only what was kept; `kept` has whole rows of x in each sample.
pub fn weight_grad(team: &Team<'_>, sizes: &Linear, dy: &[f32], kept: &impl Sparse, dw: &mut [f32]) {
    let Linear { rows, k, n, .. } = *sizes;
    let all = Rows { columns: k, per_sample: kept.elements() / k };
    let len = (team.scratch_len() - 2 * ROWS * WIDTH) / 32 * 32;
    let rooms = Room::pair(len, k);
    let mut start = 0;
    let next = || {
        let mut unit = start..(start + ROWS).min(rows);
        while 1 < unit.len() && rooms[0].most < all.count(kept, unit.clone()) {
            unit.end = start + unit.len().div_ceil(2);
        }
        start = unit.end;
        (!unit.is_empty()).then_some(unit)
    };
    // SAFETY: nobody else uses the room.
    let sort = |unit: &Range<usize>, room: &Room, shared: &Disjoint<'_, f32>| unsafe {
        all.sort(kept, unit.clone(), room, shared);
    };
    let dw = Disjoint::new(dw);
    in_turns(team, (len, rooms), n.div_ceil(WIDTH), next, sort, |panel, unit, lists, scratch| {
        let panel = Panel { sizes, columns: panel * WIDTH..((panel + 1) * WIDTH).min(n) };
        panel.multiply(dy, unit.clone(), lists, scratch, &dw);
    });
}

/// Some columns of dy, which are columns (or rows, where transposed) of dw.
struct Panel<'a> {
    sizes: &'a Linear,
    columns: Range<usize>,
}

impl Panel<'_> {
    fn multiply(&self, dy: &[f32], rows: Range<usize>, lists: Lists<'_>, scratch: &mut [f32], dw: &Disjoint<'_, f32>) {
        let Linear { k, n, transpose, .. } = *self.sizes;
        let panel = &mut scratch[..rows.len() * WIDTH];
        for (row, to) in rows.zip(panel.chunks_exact_mut(WIDTH)) {
            let (to, rest) = to.split_at_mut(self.columns.len());
            copy(to, &dy[row * n..][self.columns.clone()], 1);
            rest.fill(0.0);
        }
        let run = lanes::best();
        // SAFETY: places in the lists are those of rows of the panel.
        let add = |column: usize, sums: &mut [f32; WIDTH]| unsafe {
            lanes::add_products(run, lists.list(column), panel, sums);
        };
        match transpose {
            false => {
                for row in (0..k).filter(|it| !lists.list(*it).is_empty()) {
                    // SAFETY: these columns of dw are this task's.
                    let dw = unsafe { dw.part(row * n + self.columns.start..row * n + self.columns.end) };
                    if let Ok(dw) = <&mut [f32; WIDTH]>::try_from(&mut *dw) {
                        add(row, dw);
                        continue;
                    }
                    let mut sums = [0.0; WIDTH];
                    add(row, &mut sums);
                    dw.iter_mut().zip(sums).for_each(|(dw, sum)| *dw += sum);
                }
            }
            true => {
                for first in (0..k).step_by(TOGETHER) {
                    let together = TOGETHER.min(k - first);
                    let mut sums = [[0.0; WIDTH]; TOGETHER];
                    for (column, sums) in (first..k).zip(&mut sums) {
                        add(column, sums);
                    }
                    let mut turned = [0.0; TOGETHER * WIDTH];
                    for (half, lines) in sums.chunks_exact(LINES).enumerate() {
                        let lines: [&[f32]; LINES] = std::array::from_fn(|it| &lines[it][..]);
                        interleave(&lines, &mut turned[half * LINES..], TOGETHER);
                    }
                    for (row, turned) in self.columns.clone().zip(turned.chunks_exact(TOGETHER)) {
                        // SAFETY: these rows of dw are this task's.
                        let dw = unsafe { dw.part(row * k + first..row * k + first + together) };
                        dw.iter_mut().zip(turned).for_each(|(dw, sum)| *dw += sum);
                    }
                }
            }
        }
    }
}
