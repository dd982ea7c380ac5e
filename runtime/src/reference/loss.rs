use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use super::softmax::log_probabilities;
use super::tensor::{Args, Tensor};
use crate::kernels::loss::{Correct, CrossEntropy, Elementwise};

/// Rows of zero weight and rows whose class does not exist count nothing.
pub fn softmax_cross_entropy(it: &CrossEntropy, args: &Args) -> Vec<Tensor> {
    let logits = args.floats(0, (it.batch, it.classes));
    let class_weight = class_weight(it, args);
    let mut p = Array2::<f64>::zeros((it.batch, it.classes));
    let log_p: Vec<_> = logits.rows().into_iter().map(log_probabilities).collect();
    for (mut p, log_p) in p.rows_mut().into_iter().zip(&log_p) {
        p.assign(&log_p.mapv(f64::exp));
    }
    let mut loss = 0.0;
    for (row, target, weight) in rows(it, args) {
        let hard = -class_weight[target] * log_p[row][target];
        let soft = -class_weight.dot(&log_p[row]) / it.classes as f64;
        loss += weight * ((1.0 - it.label_smoothing) * hard + it.label_smoothing * soft);
    }
    vec![Tensor::scalar(loss / normalizer(it, args)), p.into()]
}

pub fn softmax_cross_entropy_grad(it: &CrossEntropy, args: &Args) -> Tensor {
    let p = args.floats(0, (it.batch, it.classes));
    let class_weight = class_weight(it, args);
    let mut dx = Array2::<f64>::zeros((it.batch, it.classes));
    for (row, target, weight) in rows(it, args) {
        let mut pull = &class_weight * (it.label_smoothing / it.classes as f64);
        pull[target] += (1.0 - it.label_smoothing) * class_weight[target];
        let grad = &p.row(row) * pull.sum() - &pull;
        dx.row_mut(row).assign(&(grad * (weight / normalizer(it, args))));
    }
    dx.into()
}

pub fn mse(it: &Elementwise, args: &Args) -> Tensor {
    mean(it, args, |x, t| (x - t).powi(2))
}

pub fn mse_grad(it: &Elementwise, args: &Args) -> Tensor {
    mean_grad(it, args, |x, t| 2.0 * (x - t))
}

pub fn bce_with_logits(it: &Elementwise, args: &Args) -> Tensor {
    mean(it, args, |x, t| x.max(0.0) - x * t + (-x.abs()).exp().ln_1p())
}

pub fn bce_with_logits_grad(it: &Elementwise, args: &Args) -> Tensor {
    mean_grad(it, args, |x, t| 1.0 / (1.0 + (-x).exp()) - t)
}

pub fn correct(it: &Correct, args: &Args) -> Tensor {
    let x = args.floats(0, (it.batch, it.per_row));
    let share = |row: usize| {
        if it.argmax {
            let right = first_largest(x.row(row)) as i64 == args.ints(1)[row];
            return if right { 1.0 } else { 0.0 };
        }
        let target = args.floats(1, (it.batch, it.per_row));
        let right = x.row(row).into_iter().zip(target.row(row)).filter(|&(&x, &t)| (0.0 < x) == (0.5 < t));
        right.count() as f64 / it.per_row as f64
    };
    let weights = args.flat(2);
    Tensor::scalar((0..it.batch).map(|row| weights[row] * share(row)).sum())
}

fn first_largest(x: ArrayView1<'_, f64>) -> usize {
    (1..x.len()).fold(0, |best, it| if x[best] < x[it] { it } else { best })
}

fn class_weight(it: &CrossEntropy, args: &Args) -> Array1<f64> {
    if it.class_weight { args.flat(3).to_owned() } else { Array1::ones(it.classes) }
}

/// Row, class and weight of the rows that count.
fn rows(it: &CrossEntropy, args: &Args) -> Vec<(usize, usize, f64)> {
    let row = |row: usize| {
        let target = usize::try_from(args.ints(1)[row]).ok().filter(|&target| target < it.classes)?;
        Some((row, target, args.flat(2)[row]))
    };
    (0..it.batch).filter_map(row).filter(|&(.., weight)| weight != 0.0).collect()
}

fn normalizer(it: &CrossEntropy, args: &Args) -> f64 {
    let class_weight = class_weight(it, args);
    rows(it, args).iter().map(|&(_, target, weight)| weight * class_weight[target]).sum()
}

fn mean(it: &Elementwise, args: &Args, f: fn(f64, f64) -> f64) -> Tensor {
    let ([x, target], weights) = elements(it, args);
    let row_loss = |row: usize| -> f64 {
        let sum: f64 = (0..it.per_row).map(|i| f(x[[row, i]], target[[row, i]])).sum();
        sum / it.per_row as f64
    };
    let counted = (0..it.batch).filter(|&row| weights[row] != 0.0);
    let loss: f64 = counted.map(|row| weights[row] * row_loss(row)).sum();
    Tensor::scalar(loss / weights.sum())
}

fn mean_grad(it: &Elementwise, args: &Args, f: fn(f64, f64) -> f64) -> Tensor {
    let ([x, target], weights) = elements(it, args);
    let total = weights.sum() * it.per_row as f64;
    let grad = |(row, i)| match weights[row] {
        0.0 => 0.0,
        weight => weight / total * f(x[[row, i]], target[[row, i]]),
    };
    Array2::from_shape_fn((it.batch, it.per_row), grad).into()
}

fn elements<'a>(it: &Elementwise, args: &'a Args) -> ([ArrayView2<'a, f64>; 2], ArrayView1<'a, f64>) {
    ([0, 1].map(|slot| args.floats(slot, (it.batch, it.per_row))), args.flat(2))
}
