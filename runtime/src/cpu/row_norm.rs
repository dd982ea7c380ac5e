//! Normalization of rows, and its gradients from what was normalized or from the result.

use std::ops::Range;

use super::chunks::{chunk, each, rows_per_chunk};
use super::math::sum_by;
use super::pack::Packed;
use super::quant::Rounded;
use super::wide::wide;
use crate::arena::Reusable;
use crate::kernels::row_norm::{OUTPUT_LIMIT, RowNorm, Rows};
use crate::pool::{Disjoint, Pool, Team};

/// The longest row of which sums over rows are made along with dx; longer ones are normalized in parts, and twice.
const FUSED: usize = 4096;
/// Rows whose products are added up in f32 before they are added to those of others.
const ROWS: usize = 32;
/// Adjacent columns that are summed by one task.
const COLUMNS: usize = 1024;

/// Scale and bias, of the length of a row; empty where there are none.
#[derive(Clone, Copy)]
pub struct Affine<'a> {
    /// Multiplied by.
    pub scale: &'a [f32],
    /// Added.
    pub bias: &'a [f32],
}

/// What the normalized rows are worked out from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// `(x - mean) * rstd`.
    Input {
        /// What was normalized.
        x: &'a [f32],
        /// Of each row; empty where it was not taken away.
        mean: &'a [f32],
    },
    /// `(y - bias) / scale`, but zero where y is zero: there it was pruned.
    Output(&'a [f32]),
    /// The same of a pruned copy.
    Pruned(Packed<'a>),
    /// The same of a rounded one, as one sample.
    Rounded(Rounded<'a>),
}

/// y and the rows' mean and rstd; a result that nothing reads is empty.
pub fn norm(pool: &Pool, norm: &RowNorm, x: Reusable<'_>, affine: Affine<'_>, results: [&mut [f32]; 3]) {
    let Rows { rows, len, .. } = norm.rows;
    let per_task = rows_per_chunk(len);
    let [y, mean, rstd] = results.map(Disjoint::new);
    pool.run(rows.div_ceil(per_task), &|task, _| {
        let rows = task * per_task..((task + 1) * per_task).min(rows);
        // SAFETY: rows are one task's, and so are their statistics.
        let results =
            unsafe { [chunk(&y, task, per_task * len), chunk(&mean, task, per_task), chunk(&rstd, task, per_task)] };
        let x = match x {
            Reusable::Apart(x) => Some(&x[rows.start * len..rows.end * len]),
            Reusable::Within => None,
        };
        norm_rows(norm, rows.len(), x, affine, results);
    });
}

/// dx, and dscale and dbias summed over rows; a result that nothing reads is empty.
pub fn grad(
    team: &Team<'_>,
    rows: &Rows,
    dy: Reusable<'_>,
    rstd: &[f32],
    source: Source<'_>,
    affine: Affine<'_>,
    results: [&mut [f32]; 3],
) {
    let at = Grad { rows, dy, rstd, source, affine };
    let [dx, dscale, dbias] = results;
    let (len, sums) = (rows.len, !dscale.is_empty() || !dbias.is_empty());
    if sums && len <= FUSED {
        at.fused(team, dx, [dscale, dbias]);
        return;
    }
    if sums {
        at.sums(team.pool, at.dy_beside(dx), [dscale, dbias]);
    }
    each(team.pool, dx, rows_per_chunk(len) * len, |task, dx| {
        let first = task * rows_per_chunk(len);
        grad_rows(&at, first..first + dx.len() / len, dx, &mut []);
    });
}

/// A gradient on its way.
struct Grad<'a> {
    rows: &'a Rows,
    dy: Reusable<'a>,
    rstd: &'a [f32],
    source: Source<'a>,
    affine: Affine<'a>,
}

impl<'a> Grad<'a> {
    /// The whole of dy, dx being as it was at the start.
    fn dy_beside<'b>(&self, dx: &'b [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        match self.dy {
            Reusable::Apart(dy) => dy,
            Reusable::Within => dx,
        }
    }

    /// All results in one pass over the rows: sums of some rows each go to the scratch, to be added up at the end.
    fn fused(&self, team: &Team<'_>, dx: &mut [f32], sums: [&mut [f32]; 2]) {
        let Rows { rows, len, .. } = *self.rows;
        let most = (team.scratch_len() / (2 * len)).clamp(1, rows.div_ceil(ROWS));
        let per_part = rows.div_ceil(most);
        let parts = rows.div_ceil(per_part);
        let dx = Disjoint::new(dx);
        team.run_shared(parts * 2 * len, parts, |part, _, shared| {
            let rows = part * per_part..((part + 1) * per_part).min(rows);
            // SAFETY: every part has its own rows and its own sums.
            let (dx, sums) = unsafe { (chunk(&dx, part, per_part * len), shared.chunk(part, 2 * len)) };
            sums.fill(0.0);
            grad_rows(self, rows, dx, sums);
        });
        let [dscale, dbias] = sums.map(Disjoint::new);
        team.run_shared(parts * 2 * len, len.div_ceil(COLUMNS), |task, _, shared| {
            for (sums, first) in [(&dscale, 0), (&dbias, len)] {
                // SAFETY: columns are one task's.
                for (i, sum) in unsafe { chunk(sums, task, COLUMNS) }.iter_mut().enumerate() {
                    let at = |part: usize| shared.at(part * 2 * len + first + task * COLUMNS + i);
                    // SAFETY: nothing is written to `shared` by these tasks, and all parts are inside it.
                    *sum = (0..parts).map(|part| f64::from(unsafe { *at(part) })).sum::<f64>() as f32;
                }
            }
        });
    }

    /// dscale and dbias alone, by columns.
    fn sums(&self, pool: &Pool, dy: &[f32], sums: [&mut [f32]; 2]) {
        let [dscale, dbias] = sums.map(Disjoint::new);
        pool.run(self.rows.len.div_ceil(COLUMNS), &|task, _| {
            let columns = task * COLUMNS..((task + 1) * COLUMNS).min(self.rows.len);
            // SAFETY: columns are one task's.
            let sums = unsafe { [chunk(&dscale, task, COLUMNS), chunk(&dbias, task, COLUMNS)] };
            sum_columns(self, dy, columns, sums);
        });
    }

    /// Writes the normalized values of some columns of a row.
    #[inline(always)]
    fn normalized(&self, row: usize, columns: Range<usize>, out: &mut [f32]) {
        let at = row * self.rows.len;
        let at = at + columns.start..at + columns.end;
        match self.source {
            Source::Input { x, mean } => {
                let (mean, rstd) = (if mean.is_empty() { 0.0 } else { mean[row] }, self.rstd[row]);
                return out.iter_mut().zip(&x[at]).for_each(|(out, &x)| *out = (x - mean) * rstd);
            }
            Source::Output(y) => out.copy_from_slice(&y[at]),
            Source::Pruned(y) => {
                let n = y.layout().n;
                let sample = at.start / n;
                y.decode(sample, at.start - sample * n..at.end - sample * n, out);
            }
            Source::Rounded(y) => y.decode(0, at, out),
        }
        if self.affine.scale.is_empty() {
            return;
        }
        let scale = &self.affine.scale[columns.clone()];
        match self.affine.bias {
            [] => out.iter_mut().zip(scale).for_each(|(out, &scale)| *out = from_output(*out, scale, 0.0)),
            bias => {
                for (out, (&scale, &bias)) in out.iter_mut().zip(scale.iter().zip(&bias[columns])) {
                    *out = from_output(*out, scale, bias);
                }
            }
        }
    }
}

/// The normalized value that became y. Comparisons let a NaN through.
#[inline(always)]
fn from_output(y: f32, scale: f32, bias: f32) -> f32 {
    let lost = y == 0.0 || y.abs() > OUTPUT_LIMIT as f32 * scale.abs();
    let normalized = (y - bias) / scale;
    if lost { 0.0 } else { normalized }
}

wide! {
    /// Without x, y holds it at the start.
    fn norm_rows(norm: &RowNorm, rows: usize, x: Option<&[f32]>, affine: Affine<'_>, results: [&mut [f32]; 3]) {
        let len = norm.rows.len;
        let [y, means, rstds] = results;
        for row in 0..rows {
            let at = row * len..(row + 1) * len;
            let x = x.map(|x| &x[at.clone()]);
            let values = x.unwrap_or_else(|| &y[at.clone()]);
            let (mut mean, mut rest) = (0.0, 0.0);
            let mut var = 0.0;
            if norm.rows.centered {
                let exact = sum_by(values, |x| x) / len as f64;
                mean = exact as f32;
                // What is lost where the mean is large beside the deviation.
                rest = exact - mean as f64;
                var = -rest * rest;
            }
            var += sum_by(values, |x| (x - mean) * (x - mean)) / len as f64;
            let rstd = (var.max(0.0) + norm.epsilon).sqrt().recip();
            if let Some(it) = means.get_mut(row) {
                *it = mean;
            }
            if let Some(it) = rstds.get_mut(row) {
                *it = rstd as f32;
            }
            let (rstd, shift) = (rstd as f32, (rest * rstd) as f32);
            let normalized = |x: f32| (x - mean) * rstd - shift;
            let Some(y) = y.get_mut(at) else { continue };
            if let Some(x) = x {
                y.copy_from_slice(x);
            }
            match (affine.scale, affine.bias) {
                ([], _) => y.iter_mut().for_each(|y| *y = normalized(*y)),
                (scale, []) => y.iter_mut().zip(scale).for_each(|(y, &scale)| *y = normalized(*y) * scale),
                (scale, bias) => {
                    for (y, (&scale, &bias)) in y.iter_mut().zip(scale.iter().zip(bias)) {
                        *y = normalized(*y) * scale + bias;
                    }
                }
            }
        }
    }
}

wide! {
    /// dx of some rows, where it is wanted, and their `[dscale, dbias]` added to `sums`, where that is wanted.
    fn grad_rows(at: &Grad<'_>, rows: Range<usize>, dx: &mut [f32], sums: &mut [f32]) {
        let len = at.rows.len;
        let mut hat = [0f32; FUSED];
        let scale_of = |block: &Range<usize>| at.affine.scale.get(block.clone()).unwrap_or(&[]);
        for (n, row) in rows.enumerate() {
            // The row of dx holds dy first.
            let dx = if dx.is_empty() { &mut [] } else { &mut dx[n * len..][..len] };
            if let (Reusable::Apart(dy), false) = (at.dy, dx.is_empty()) {
                dx.copy_from_slice(&dy[row * len..][..len]);
            }
            let mut totals = [0f64; 2];
            for block in blocks(len) {
                let dy = match at.dy {
                    Reusable::Apart(dy) => &dy[row * len..][block.clone()],
                    Reusable::Within => &dx[block.clone()],
                };
                let hat = &mut hat[..block.len()];
                at.normalized(row, block.clone(), hat);
                if !sums.is_empty() {
                    let (dscale, dbias) = sums.split_at_mut(len);
                    for ((dscale, dbias), (&dy, &hat)) in
                        dscale.iter_mut().zip(dbias.iter_mut()).zip(dy.iter().zip(&*hat))
                    {
                        *dscale += dy * hat;
                        *dbias += dy;
                    }
                }
                if !dx.is_empty() {
                    add_row_sums(&mut totals, dy, scale_of(&block), hat);
                }
            }
            let [along_hat, along_ones] = totals;
            let along_ones = if at.rows.centered { along_ones } else { 0.0 };
            let (slope, offset) = ((along_hat / len as f64) as f32, (along_ones / len as f64) as f32);
            let rstd = at.rstd[row];
            for block in blocks(dx.len()) {
                let hat = &mut hat[..block.len()];
                if FUSED < len {
                    at.normalized(row, block.clone(), hat);
                }
                let scale = scale_of(&block);
                let dx = &mut dx[block];
                match scale {
                    [] => {
                        for (dx, &mut hat) in dx.iter_mut().zip(hat) {
                            *dx = rstd * (*dx - offset - hat * slope);
                        }
                    }
                    _ => {
                        for (dx, (&mut hat, &scale)) in dx.iter_mut().zip(hat.iter_mut().zip(scale)) {
                            *dx = rstd * (*dx * scale - offset - hat * slope);
                        }
                    }
                }
            }
        }
    }
}

/// Parts of a row of which the normalized values are in a buffer; a row that is summed over rows has one.
#[inline(always)]
fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(FUSED).map(move |start| start..(start + FUSED).min(len))
}

/// Numbers that are added up side by side, in f32.
const LANES: usize = 32;
/// Elements whose sums in f32 are added to those of others in f64.
const BLOCK: usize = 32 * LANES;
/// The scale where there is none.
static ONES: [f32; BLOCK] = [1.0; BLOCK];

/// Adds `dy * scale * hat` and `dy * scale`. The order of additions depends on the length alone.
#[inline(always)]
fn add_row_sums(totals: &mut [f64; 2], dy: &[f32], scale: &[f32], hat: &[f32]) {
    for start in (0..dy.len()).step_by(BLOCK) {
        let block = start..(start + BLOCK).min(dy.len());
        let scale = if scale.is_empty() { &ONES[..block.len()] } else { &scale[block.clone()] };
        let (dys, dy) = dy[block.clone()].as_chunks::<LANES>();
        let (scales, scale) = scale.as_chunks::<LANES>();
        let (hats, hat) = hat[block].as_chunks::<LANES>();
        let mut lanes = [[0f32; LANES]; 2];
        for (dy, (scale, hat)) in dys.iter().zip(scales.iter().zip(hats)) {
            add(&mut lanes, dy, scale, hat);
        }
        add(&mut lanes, dy, scale, hat);
        for (total, lanes) in totals.iter_mut().zip(&lanes) {
            *total += lanes.iter().map(|&it| it as f64).sum::<f64>();
        }
    }
}

#[inline(always)]
fn add(lanes: &mut [[f32; LANES]; 2], dy: &[f32], scale: &[f32], hat: &[f32]) {
    let [along_hat, along_ones] = lanes;
    for ((along_hat, along_ones), (&dy, (&scale, &hat))) in
        along_hat.iter_mut().zip(along_ones).zip(dy.iter().zip(scale.iter().zip(hat)))
    {
        let scaled = dy * scale;
        *along_hat += scaled * hat;
        *along_ones += scaled;
    }
}

wide! {
    fn sum_columns(at: &Grad<'_>, dy: &[f32], columns: Range<usize>, sums: [&mut [f32]; 2]) {
        let n = columns.len();
        let [mut dscale, mut dbias] = [[0f64; COLUMNS]; 2];
        let mut hat = [0f32; COLUMNS];
        for row in 0..at.rows.rows {
            let dy = &dy[row * at.rows.len..][columns.clone()];
            at.normalized(row, columns.clone(), &mut hat[..n]);
            for ((dscale, dbias), (&dy, &hat)) in dscale.iter_mut().zip(&mut dbias).zip(dy.iter().zip(&hat)) {
                *dscale += (dy * hat) as f64;
                *dbias += dy as f64;
            }
        }
        for (sums, totals) in sums.into_iter().zip([dscale, dbias]) {
            sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum = total as f32);
        }
    }
}
