//! Losses, their gradients, and counts of right predictions. Each row of a batch has a weight.

use super::chunks::{each, each2, rows_per_chunk};
use super::math::{exp, sigmoid, sum_by2};
use super::softmax::max_and_sum;
use super::wide::wide;
use crate::kernels::loss::CrossEntropy;
use crate::pool::Pool;

/// Most partial sums of a batch.
const PARTS: usize = 64;

/// What logits[batch, classes] are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Classes<'a> {
    /// Sizes and smoothing.
    pub loss: &'a CrossEntropy,
    /// The right class of each row; a row whose class does not exist counts nothing.
    pub target: &'a [i64],
    /// Weight of each row.
    pub rows: &'a [f32],
    /// Weight of each class.
    pub class_weight: Option<&'a [f32]>,
}

impl Classes<'_> {
    fn target(&self, row: usize) -> Option<usize> {
        usize::try_from(self.target[row]).ok().filter(|&it| it < self.loss.classes)
    }

    fn class_weight(&self, class: usize) -> f64 {
        self.class_weight.map_or(1.0, |it| it[class] as f64)
    }

    /// Weights of all classes together.
    fn class_weights(&self) -> f64 {
        (0..self.loss.classes).map(|it| self.class_weight(it)).sum()
    }

    /// Weights of all rows together.
    fn total(&self) -> f64 {
        let weight = |row| self.target(row).map_or(0.0, |it| self.rows[row] as f64 * self.class_weight(it));
        (0..self.target.len()).map(weight).sum()
    }
}

/// The loss, and p = softmax(logits). A result that nothing reads is empty.
pub fn softmax_cross_entropy(pool: &Pool, logits: &[f32], of: &Classes<'_>, loss: &mut [f32], p: &mut [f32]) {
    let classes = of.loss.classes;
    let rows = of.target.len().div_ceil(PARTS);
    let mut parts = [0.0; PARTS];
    let parts = &mut parts[..of.target.len().div_ceil(rows)];
    each2(pool, (&mut *parts, 1), (p, rows * classes), |idx, part, p| {
        for row in idx * rows..of.target.len().min((idx + 1) * rows) {
            let logits = &logits[row * classes..][..classes];
            let (max, sum) = max_and_sum_slice(logits);
            part[0] += row_loss(logits, row, of, max as f64 + sum.ln());
            if let Some(p) = p.chunks_mut(classes).nth(row - idx * rows) {
                softmax_slice(logits, max, (1.0 / sum) as f32, p);
            }
        }
    });
    if let [loss] = loss {
        *loss = (parts.iter().sum::<f64>() / of.total()) as f32;
    }
}

fn row_loss(logits: &[f32], row: usize, of: &Classes<'_>, log_sum: f64) -> f64 {
    let Some(target) = of.target(row).filter(|_| of.rows[row] != 0.0) else { return 0.0 };
    let nll = |class: usize| of.class_weight(class) * (log_sum - logits[class] as f64);
    let smoothing = of.loss.label_smoothing;
    let mut loss = (1.0 - smoothing) * nll(target);
    if smoothing != 0.0 {
        loss += smoothing / of.loss.classes as f64 * (0..of.loss.classes).map(nll).sum::<f64>();
    }
    of.rows[row] as f64 * loss
}

/// Gradient of the logits from p = softmax(logits).
pub fn softmax_cross_entropy_grad(pool: &Pool, p: &[f32], of: &Classes<'_>, dx: &mut [f32]) {
    let (classes, total, class_weights) = (of.loss.classes, of.total(), of.class_weights());
    let rows = rows_per_chunk(classes);
    each(pool, dx, rows * classes, |idx, dx| {
        for (i, dx) in dx.chunks_mut(classes).enumerate() {
            let row = idx * rows + i;
            let Some(target) = of.target(row).filter(|_| of.rows[row] != 0.0) else {
                dx.fill(0.0);
                continue;
            };
            let weight = of.rows[row] as f64 / total;
            let hard = weight * (1.0 - of.loss.label_smoothing) * of.class_weight(target);
            let soft = weight * of.loss.label_smoothing / classes as f64;
            let factor = (hard + soft * class_weights) as f32;
            for (class, (dx, &p)) in dx.iter_mut().zip(&p[row * classes..]).enumerate() {
                *dx = factor * p - (soft * of.class_weight(class)) as f32;
            }
            // In one step: the difference may be small beside its parts.
            let at = p[row * classes + target] as f64 * (hard + soft * class_weights);
            dx[target] = (at - soft * of.class_weight(target) - hard) as f32;
        }
    });
}

/// Mean over rows, by weight, of the mean squared error of each.
pub fn mse(pool: &Pool, [prediction, target, rows]: [&[f32]; 3]) -> f32 {
    mean_loss(pool, [prediction, target, rows], squares)
}

/// Gradient of the prediction for [`mse`].
pub fn mse_grad(pool: &Pool, [prediction, target, rows]: [&[f32]; 3], dx: &mut [f32]) {
    mean_loss_grad(pool, [prediction, target, rows], dx, mse_grad_slice);
}

/// Mean over rows, by weight, of the mean binary cross entropy of each.
pub fn bce_with_logits(pool: &Pool, [logits, target, rows]: [&[f32]; 3]) -> f32 {
    mean_loss(pool, [logits, target, rows], cross_entropies)
}

/// Gradient of the logits for [`bce_with_logits`].
pub fn bce_with_logits_grad(pool: &Pool, [logits, target, rows]: [&[f32]; 3], dx: &mut [f32]) {
    mean_loss_grad(pool, [logits, target, rows], dx, bce_grad_slice);
}

/// Weight of the rows whose largest element is at the target's place, the first of equal ones.
pub fn correct_argmax(pool: &Pool, [prediction, rows]: [&[f32]; 2], target: &[i64]) -> f32 {
    let classes = prediction.len() / target.len();
    let total = sum_rows(pool, target.len(), |row| {
        let prediction = &prediction[row * classes..][..classes];
        let mut best = 0;
        for (class, &x) in prediction.iter().enumerate() {
            if prediction[best] < x {
                best = class;
            }
        }
        if target[row] == best as i64 { rows[row] as f64 } else { 0.0 }
    });
    total as f32
}

/// For each row its weight times the share of elements whose sign agrees with the target.
pub fn correct_threshold(pool: &Pool, [prediction, target, rows]: [&[f32]; 3]) -> f32 {
    let n = prediction.len() / rows.len();
    let total = sum_rows(pool, rows.len(), |row| {
        let pairs = prediction[row * n..].iter().zip(&target[row * n..]).take(n);
        let right = pairs.filter(|&(&x, &t)| (0.0 < x) == (0.5 < t)).count();
        rows[row] as f64 * right as f64 / n as f64
    });
    total as f32
}

fn mean_loss(pool: &Pool, [x, target, rows]: [&[f32]; 3], loss: fn(&[f32], &[f32]) -> f64) -> f32 {
    let n = x.len() / rows.len();
    let total = sum_rows(pool, rows.len(), |row| match rows[row] {
        0.0 => 0.0,
        weight => weight as f64 * loss(&x[row * n..][..n], &target[row * n..][..n]) / n as f64,
    });
    (total / weights(rows)) as f32
}

fn mean_loss_grad(
    pool: &Pool,
    [x, target, rows]: [&[f32]; 3],
    dx: &mut [f32],
    grad: fn(&[f32], &[f32], f32, &mut [f32]),
) {
    let n = x.len() / rows.len();
    let total = weights(rows);
    each(pool, dx, n, |row, dx| match rows[row] {
        0.0 => dx.fill(0.0),
        weight => {
            let weight = weight as f64 / (total * n as f64);
            grad(&x[row * n..][..n], &target[row * n..][..n], weight as f32, dx);
        }
    });
}

fn weights(rows: &[f32]) -> f64 {
    rows.iter().map(|&it| it as f64).sum()
}

/// The sum over a batch, in parts whose number depends on the batch alone.
fn sum_rows(pool: &Pool, batch: usize, row_sum: impl Fn(usize) -> f64 + Sync) -> f64 {
    let rows = batch.div_ceil(PARTS);
    let mut parts = [0.0; PARTS];
    let parts = &mut parts[..batch.div_ceil(rows)];
    each(pool, parts, 1, |idx, part| part[0] = (idx * rows..batch.min((idx + 1) * rows)).map(&row_sum).sum());
    parts.iter().sum()
}

wide! {
    fn max_and_sum_slice(x: &[f32]) -> (f32, f64) {
        max_and_sum(x)
    }
}

wide! {
    fn softmax_slice(x: &[f32], max: f32, factor: f32, y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = exp(x - max) * factor);
    }
}

wide! {
    fn squares(x: &[f32], target: &[f32]) -> f64 {
        sum_by2(x, target, |x, t| (x - t) * (x - t))
    }
}

fn cross_entropies(x: &[f32], target: &[f32]) -> f64 {
    x.iter().zip(target).map(|(&x, &t)| (x.max(0.0) - x * t + (-x.abs()).exp().ln_1p()) as f64).sum()
}

wide! {
    fn mse_grad_slice(x: &[f32], target: &[f32], weight: f32, dx: &mut [f32]) {
        for (dx, (&x, &t)) in dx.iter_mut().zip(x.iter().zip(target)) {
            *dx = 2.0 * weight * (x - t);
        }
    }
}

wide! {
    fn bce_grad_slice(x: &[f32], target: &[f32], weight: f32, dx: &mut [f32]) {
        for (dx, (&x, &t)) in dx.iter_mut().zip(x.iter().zip(target)) {
            *dx = weight * (sigmoid(x) - t);
        }
    }
}
