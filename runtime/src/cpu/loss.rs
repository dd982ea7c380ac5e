//! Losses of each element, their gradients, and counts of right signs. Each row of a batch has a weight.

use super::chunks::each;
use super::math::{sigmoid, sum_by2};
use super::wide::wide;
use crate::pool::Pool;

/// Most partial sums of a batch.
const PARTS: usize = 64;

/// Mean over rows, by weight, of the mean squared error of each.
pub fn mse(pool: &Pool, [prediction, target, rows, total]: [&[f32]; 4]) -> f32 {
    mean_loss(pool, [prediction, target, rows, total], squares)
}

/// Gradient of the prediction for [`mse`].
pub fn mse_grad(pool: &Pool, [prediction, target, rows, total]: [&[f32]; 4], dx: &mut [f32]) {
    mean_loss_grad(pool, [prediction, target, rows, total], dx, mse_grad_slice);
}

/// Mean over rows, by weight, of the mean absolute error of each.
pub fn mae(pool: &Pool, [prediction, target, rows, total]: [&[f32]; 4]) -> f32 {
    mean_loss(pool, [prediction, target, rows, total], distances)
}

/// Gradient of the prediction for [`mae`]; nothing pulls where the target is met.
pub fn mae_grad(pool: &Pool, [prediction, target, rows, total]: [&[f32]; 4], dx: &mut [f32]) {
    mean_loss_grad(pool, [prediction, target, rows, total], dx, mae_grad_slice);
}

/// Mean over rows, by weight, of the mean Huber loss of each.
pub fn huber(pool: &Pool, delta: f64, [prediction, target, rows, total]: [&[f32]; 4]) -> f32 {
    let delta = delta as f32;
    let loss = |x: f32, t: f32| {
        let distance = (x - t).abs();
        if distance <= delta { 0.5 * distance * distance } else { delta * (distance - 0.5 * delta) }
    };
    mean_loss(pool, [prediction, target, rows, total], |x, target| sum_by2(x, target, loss))
}

/// Gradient of the prediction for [`huber`].
pub fn huber_grad(pool: &Pool, delta: f64, [prediction, target, rows, total]: [&[f32]; 4], dx: &mut [f32]) {
    let delta = delta as f32;
    mean_loss_grad(pool, [prediction, target, rows, total], dx, |x, target, weight, dx| {
        for (dx, (&x, &t)) in dx.iter_mut().zip(x.iter().zip(target)) {
            *dx = weight * (x - t).clamp(-delta, delta);
        }
    });
}

/// Mean over rows, by weight, of the mean binary cross entropy of each.
pub fn bce_with_logits(pool: &Pool, [logits, target, rows, total]: [&[f32]; 4]) -> f32 {
    mean_loss(pool, [logits, target, rows, total], cross_entropies)
}

/// Gradient of the logits for [`bce_with_logits`].
pub fn bce_with_logits_grad(pool: &Pool, [logits, target, rows, total]: [&[f32]; 4], dx: &mut [f32]) {
    mean_loss_grad(pool, [logits, target, rows, total], dx, bce_grad_slice);
}

/// For each row its weight times the share of elements whose sign agrees with the target.
/// And the weight of all rows.
pub fn correct_threshold(pool: &Pool, [prediction, target, rows]: [&[f32]; 3]) -> [f32; 2] {
    let n = prediction.len() / rows.len();
    let total = sum_rows(pool, rows.len(), |row| {
        let pairs = prediction[row * n..].iter().zip(&target[row * n..]).take(n);
        let right = pairs.filter(|&(&x, &t)| (0.0 < x) == (0.5 < t)).count();
        rows[row] as f64 * right as f64 / n as f64
    });
    [total as f32, weights(rows) as f32]
}

fn mean_loss(pool: &Pool, [x, target, rows, total]: [&[f32]; 4], loss: impl Fn(&[f32], &[f32]) -> f64 + Sync) -> f32 {
    let n = x.len() / rows.len();
    let sum = sum_rows(pool, rows.len(), |row| match rows[row] {
        0.0 => 0.0,
        weight => weight as f64 * loss(&x[row * n..][..n], &target[row * n..][..n]) / n as f64,
    });
    (sum / whole(rows, total)) as f32
}

fn mean_loss_grad(
    pool: &Pool,
    [x, target, rows, total]: [&[f32]; 4],
    dx: &mut [f32],
    grad: impl Fn(&[f32], &[f32], f32, &mut [f32]) + Sync,
) {
    let n = x.len() / rows.len();
    let total = whole(rows, total);
    each(pool, dx, n, |row, dx| match rows[row] {
        0.0 => dx.fill(0.0),
        weight => {
            let weight = weight as f64 / (total * n as f64);
            grad(&x[row * n..][..n], &target[row * n..][..n], weight as f32, dx);
        }
    });
}

/// The weight that a mean is over.
fn whole(rows: &[f32], total: &[f32]) -> f64 {
    total.first().map_or_else(|| weights(rows), |&it| it.into())
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
    fn squares(x: &[f32], target: &[f32]) -> f64 {
        sum_by2(x, target, |x, t| (x - t) * (x - t))
    }
}

wide! {
    fn distances(x: &[f32], target: &[f32]) -> f64 {
        sum_by2(x, target, |x, t| (x - t).abs())
    }
}

wide! {
    fn mae_grad_slice(x: &[f32], target: &[f32], weight: f32, dx: &mut [f32]) {
        for (dx, (&x, &t)) in dx.iter_mut().zip(x.iter().zip(target)) {
            *dx = if x < t { -weight } else if t < x { weight } else { 0.0 };
        }
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
