//! What is done with the rows of a tile of scores.

use std::ops::Range;

use super::Head;
use crate::cpu::math::{exp, sum_by, sum_by2};
use crate::cpu::wide::wide;
use crate::kernels::attention::Attention;

/// A tile: some queries of a head, and some keys.
pub struct Rows<'a> {
    pub it: &'a Attention,
    pub head: &'a Head<'a>,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    pub mask: &'a [f32],
}

impl Rows<'_> {
    /// Makes scores of products: scaled and masked where the query sees the key; the rest, which is zero, is cut off.
    #[inline(always)]
    fn scores<'x>(&self, i: usize, products: &'x mut [f32]) -> &'x mut [f32] {
        let query = self.queries.start + i;
        let seen = self.it.seen(query).saturating_sub(self.keys.start).min(products.len());
        let (x, unseen) = products.split_at_mut(seen);
        unseen.fill(0.0);
        let scale = self.it.scale as f32;
        match self.it.mask_row(self.head.batch, self.head.head, query) {
            None => x.iter_mut().for_each(|x| *x *= scale),
            Some((start, 0)) => {
                let mask = self.mask[start];
                x.iter_mut().for_each(|x| *x = *x * scale + mask);
            }
            Some((start, stride)) => {
                let mask = &self.mask[start + self.keys.start * stride..][..seen];
                x.iter_mut().zip(mask).for_each(|(x, mask)| *x = *x * scale + mask);
            }
        }
        x
    }
}

wide! {
    /// Makes `e^(score - largest so far)` of products, and brings the sums and y, which is of the blocks of keys before,
    /// from the largest of those to the new one.
    pub fn exponentials(rows: &Rows<'_>, tile: &mut [f32], max: &mut [f32], sum: &mut [f32], y: &mut [f32]) {
        let lines = tile.chunks_exact_mut(rows.keys.len()).zip(y.chunks_exact_mut(rows.it.width)).enumerate();
        for (i, (x, y)) in lines {
            let x = rows.scores(i, x);
            let largest = largest(x).max(max[i]);
            // Where all that was seen is -inf, so is what is left: only if nothing else comes, the row is not a number.
            let shift = if largest == f32::NEG_INFINITY { 0.0 } else { largest };
            x.iter_mut().for_each(|x| *x = exp(*x - shift));
            let older = exp(max[i] - shift);
            sum[i] = sum[i] * older + sum_by(x, |x| x) as f32;
            max[i] = largest;
            if rows.keys.start != 0 {
                y.iter_mut().for_each(|y| *y *= older);
            }
        }
    }
}

wide! {
    /// Divides the rows of y by their sums, and makes `max` the logarithm of the sums without shift.
    pub fn normalize(it: &Attention, max: &mut [f32], sum: &[f32], y: &mut [f32]) {
        for ((max, &sum), y) in max.iter_mut().zip(sum).zip(y.chunks_exact_mut(it.width)) {
            let factor = share(it, sum);
            y.iter_mut().for_each(|y| *y *= factor);
            *max = match sum {
                0.0 if it.safe => f32::INFINITY,
                0.0 => f32::NAN,
                _ => *max + sum.ln(),
            };
        }
    }
}

wide! {
    /// Makes `e^(score - lse)` of products.
    pub fn probabilities(rows: &Rows<'_>, tile: &mut [f32], lse: &[f32]) {
        for (i, (x, &lse)) in tile.chunks_exact_mut(rows.keys.len()).zip(lse).enumerate() {
            rows.scores(i, x).iter_mut().for_each(|x| *x = exp(*x - lse));
        }
    }
}

wide! {
    /// Adds up each row of p, and its products with dp.
    ///
    /// The sum is 1 but for what rounding of lse took, which is much where a mask lifts the whole row out of range.
    pub fn add_up(keys: usize, p: &[f32], dp: &[f32], sum: &mut [f32], dot: &mut [f32]) {
        for (i, (p, dp)) in p.chunks_exact(keys).zip(dp.chunks_exact(keys)).enumerate() {
            sum[i] += sum_by(p, |p| p) as f32;
            dot[i] += sum_by2(p, dp, |p, dp| p * dp) as f32;
        }
    }
}

wide! {
    /// Divides p by its sum, and makes the cotangent of products of dp.
    pub fn score_grads(it: &Attention, keys: usize, p: &mut [f32], dp: &mut [f32], sum: &[f32], dot: &[f32]) {
        for (i, (p, dp)) in p.chunks_exact_mut(keys).zip(dp.chunks_exact_mut(keys)).enumerate() {
            let factor = share(it, sum[i]);
            let mean = dot[i] * factor;
            for (p, dp) in p.iter_mut().zip(dp) {
                *p *= factor;
                *dp = *p * (*dp - mean) * it.scale as f32;
            }
        }
    }
}

/// What exponentials that add up to `sum` are multiplied by. All of them are 0 where a query sees nothing.
#[inline(always)]
fn share(it: &Attention, sum: f32) -> f32 {
    if it.safe && sum == 0.0 { 0.0 } else { 1.0 / sum }
}

#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    for group in x.chunks(16) {
        for (lane, &x) in lanes.iter_mut().zip(group) {
            *lane = if *lane < x { x } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}
