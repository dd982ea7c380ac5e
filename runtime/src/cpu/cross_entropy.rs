//! Softmax cross entropy of scores with an axis of classes anywhere behind the batch, and the count of what is right.

use super::chunks::{CHUNK, each, each_over, each2, rows_per_chunk};
use super::math::exp;
use super::softmax::max_and_sum;
use super::wide::wide;
use crate::arena::Reusable;
use crate::kernels::loss::{Classes, CrossEntropy, Reduction};
use crate::pool::Pool;

/// Most partial sums of a batch.
const PARTS: usize = 64;
/// Adjacent positions that are done side by side where the classes are not on the last axis.
const COLUMNS: usize = 64;

/// What scores are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// Sizes and smoothing.
    pub loss: &'a CrossEntropy,
    /// The class of each position.
    pub target: &'a [i64],
    /// Weight of each row.
    pub rows: &'a [f32],
    /// Weight of each class.
    pub class_weight: Option<&'a [f32]>,
    /// Weight that a mean is over; none: that of all these targets.
    pub total: Option<f32>,
}

impl Targets<'_> {
    /// Class and weight of a position that counts.
    fn counted(&self, position: usize) -> Option<(usize, f64)> {
        let at = &self.loss.at;
        let class = at.class(self.target[position])?;
        Some((class, self.rows[at.row(position)] as f64)).filter(|it| it.1 != 0.0)
    }

    fn class_weight(&self, class: usize) -> f64 {
        self.class_weight.map_or(1.0, |it| it[class] as f64)
    }

    /// Weights of all classes together.
    fn class_weights(&self) -> f64 {
        (0..self.loss.at.classes).map(|it| self.class_weight(it)).sum()
    }

    /// What sums are multiplied by.
    fn factor(&self) -> f64 {
        if self.loss.reduction != Reduction::Mean {
            return 1.0;
        }
        let total = self.total.map_or_else(|| self.weight(), f64::from);
        if total == 0.0 { 0.0 } else { 1.0 / total }
    }

    /// Weight of all that counts.
    pub fn weight(&self) -> f64 {
        let counted = (0..self.target.len()).filter_map(|it| self.counted(it));
        counted.map(|(class, weight)| weight * self.class_weight(class)).sum()
    }

    /// The loss of a position, from the logarithm of its sum and its scores, which are `inner` apart.
    fn loss(&self, position: usize, log_sum: f64, scores: &[f32]) -> f64 {
        let Some((target, weight)) = self.counted(position) else { return 0.0 };
        let CrossEntropy { at, label_smoothing, .. } = self.loss;
        let nll = |class: usize| self.class_weight(class) * (log_sum - scores[class * at.inner] as f64);
        let mut loss = (1.0 - label_smoothing) * nll(target);
        if *label_smoothing != 0.0 {
            loss += label_smoothing / at.classes as f64 * (0..at.classes).map(nll).sum::<f64>();
        }
        weight * loss
    }
}

/// The loss, and for each position the logarithm of the sum of e^score. A result that nothing reads is empty.
pub fn softmax_cross_entropy(pool: &Pool, scores: &[f32], of: &Targets<'_>, loss: &mut [f32], lse: &mut [f32]) {
    let at = &of.loss.at;
    let n = at.positions();
    let size = n.div_ceil(PARTS);
    let mut parts = [0.0f64; PARTS];
    let parts = &mut parts[..n.div_ceil(size)];
    if of.loss.reduction == Reduction::None {
        each2(pool, (loss, size), (lse, size), |idx, loss, lse| {
            log_sums(at, scores, idx * size..n.min((idx + 1) * size), |position, log_sum| {
                put(lse, position - idx * size, log_sum as f32);
                let own = of.loss(position, log_sum, &scores[first(at, position)..]);
                put(loss, position - idx * size, own as f32);
            });
        });
        return;
    }
    each2(pool, (&mut *parts, 1), (lse, size), |idx, part, lse| {
        log_sums(at, scores, idx * size..n.min((idx + 1) * size), |position, log_sum| {
            put(lse, position - idx * size, log_sum as f32);
            part[0] += of.loss(position, log_sum, &scores[first(at, position)..]);
        });
    });
    if let [loss] = loss {
        *loss = (parts.iter().sum::<f64>() * of.factor()) as f32;
    }
}

fn put(out: &mut [f32], at: usize, value: f32) {
    if let Some(place) = out.get_mut(at) {
        *place = value;
    }
}

/// Place of a position's first score.
fn first(at: &Classes, position: usize) -> usize {
    position / at.inner * at.classes * at.inner + position % at.inner
}

/// Calls `then` with the logarithm of the sum of e^score of each position.
fn log_sums(at: &Classes, scores: &[f32], positions: std::ops::Range<usize>, mut then: impl FnMut(usize, f64)) {
    if at.inner == 1 {
        for position in positions {
            let (max, sum) = max_and_sum_slice(&scores[position * at.classes..][..at.classes]);
            then(position, max as f64 + sum.ln());
        }
        return;
    }
    let mut start = positions.start;
    while start < positions.end {
        // Positions of one slab that lie side by side.
        let n = COLUMNS.min(positions.end - start).min(at.inner - start % at.inner);
        let (max, sum) = columns(&scores[first(at, start)..], at.classes, at.inner, n);
        for i in 0..n {
            then(start + i, max[i] as f64 + sum[i].ln());
        }
        start += n;
    }
}

wide! {
    fn max_and_sum_slice(x: &[f32]) -> (f32, f64) {
        max_and_sum(x)
    }
}

wide! {
    fn columns(x: &[f32], classes: usize, inner: usize, n: usize) -> ([f32; COLUMNS], [f64; COLUMNS]) {
        let mut max = [f32::NEG_INFINITY; COLUMNS];
        let mut sum = [0f64; COLUMNS];
        for class in 0..classes {
            for (max, &x) in max.iter_mut().zip(&x[class * inner..][..n]) {
                *max = if *max < x { x } else { *max };
            }
        }
        for class in 0..classes {
            for ((sum, &max), &x) in sum.iter_mut().zip(&max).zip(&x[class * inner..][..n]) {
                *sum += exp(x - max) as f64;
            }
        }
        (max, sum)
    }
}

/// Gradient of the scores, from the scores and the logarithms of their sums.
pub fn softmax_cross_entropy_grad(pool: &Pool, scores: Reusable<'_>, lse: &[f32], of: &Targets<'_>, dx: &mut [f32]) {
    let CrossEntropy { at, label_smoothing, .. } = of.loss;
    let (factor, class_weights) = (of.factor(), of.class_weights());
    // What pulls at the target, and what pulls at every class.
    let pulls = |position: usize| {
        let (target, weight) = of.counted(position)?;
        let hard = factor * weight * (1.0 - label_smoothing) * of.class_weight(target);
        Some((target, hard, factor * weight * label_smoothing / at.classes as f64))
    };
    if at.inner == 1 {
        let rows = rows_per_chunk(at.classes);
        each_over(pool, scores, dx, rows * at.classes, |idx, dx| {
            for (i, dx) in dx.chunks_mut(at.classes).enumerate() {
                let position = idx * rows + i;
                let Some((target, hard, soft)) = pulls(position) else {
                    dx.fill(0.0);
                    continue;
                };
                let score = dx[target];
                let whole = hard + soft * class_weights;
                probabilities(dx, lse[position], whole as f32);
                if soft != 0.0 {
                    dx.iter_mut().enumerate().for_each(|(class, dx)| *dx -= (soft * of.class_weight(class)) as f32);
                }
                // In one step: the difference may be small beside its parts.
                let p = exp(score - lse[position]) as f64;
                dx[target] = (p * whole - soft * of.class_weight(target) - hard) as f32;
            }
        });
        return;
    }
    let size = at.inner.min(CHUNK);
    // A task is a part of the positions that one class has side by side; they are of one row.
    each_part(pool, dx, at.inner, size, |line, part, dx| {
        let (outer, class) = (line / at.classes, line % at.classes);
        let begin = outer * at.inner + part * size;
        let row = of.rows[at.row(begin)] as f64;
        if row == 0.0 {
            dx.fill(0.0);
            return;
        }
        let (base, soft) = (factor * row * (1.0 - label_smoothing), factor * row * label_smoothing / at.classes as f64);
        let own_soft = soft * of.class_weight(class);
        if let Reusable::Apart(scores) = scores {
            dx.copy_from_slice(&scores[line * at.inner + part * size..][..dx.len()]);
        }
        for (dx, (&lse, &target)) in dx.iter_mut().zip(lse[begin..].iter().zip(&of.target[begin..])) {
            *dx = match at.class(target) {
                None => 0.0,
                Some(target) => {
                    let hard = base * of.class_weight(target);
                    let p = exp(*dx - lse) as f64;
                    let pull = if target == class { own_soft + hard } else { own_soft };
                    (p * (hard + soft * class_weights) - pull) as f32
                }
            };
        }
    });
}

/// Calls `task(line, part, chunk)` for chunks of at most `size` of every line of `length` elements.
fn each_part(pool: &Pool, y: &mut [f32], length: usize, size: usize, task: impl Fn(usize, usize, &mut [f32]) + Sync) {
    if size == length {
        // Short lines share a task.
        let lines = rows_per_chunk(length);
        each(pool, y, lines * length, |idx, y| {
            for (i, y) in y.chunks_mut(length).enumerate() {
                task(idx * lines + i, 0, y);
            }
        });
        return;
    }
    for (line, y) in y.chunks_mut(length).enumerate() {
        each(pool, y, size, |part, y| task(line, part, y));
    }
}

wide! {
    /// y holds the scores at the start.
    fn probabilities(y: &mut [f32], lse: f32, factor: f32) {
        y.iter_mut().for_each(|y| *y = exp(*y - lse) * factor);
    }
}

/// Weight of the positions whose largest score is that of the target, the first of equal ones; and of all that count.
pub fn correct(pool: &Pool, at: &Classes, [scores, rows]: [&[f32]; 2], target: &[i64]) -> [f32; 2] {
    let n = at.positions();
    let size = n.div_ceil(PARTS);
    let mut parts = [[0.0f64; 2]; PARTS];
    let parts = &mut parts[..n.div_ceil(size)];
    each(pool, parts, 1, |idx, part| {
        for position in idx * size..n.min((idx + 1) * size) {
            let Some(class) = at.class(target[position]) else { continue };
            let weight = rows[at.row(position)] as f64;
            if weight == 0.0 {
                continue;
            }
            part[0][1] += weight;
            let scores = &scores[first(at, position)..];
            let own = scores[class * at.inner];
            let beaten = |it: usize| own < scores[it * at.inner] || (it < class && own == scores[it * at.inner]);
            if !(0..at.classes).any(beaten) && !own.is_nan() {
                part[0][0] += weight;
            }
        }
    });
    [0, 1].map(|it| parts.iter().map(|part| part[it]).sum::<f64>() as f32)
}
