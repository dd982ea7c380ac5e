use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3};

use super::softmax::log_probabilities;
use super::tensor::{Args, Tensor};
use crate::kernels::loss::{Classes, Correct, CrossEntropy, Elementwise, Huber, Reduction};

/// Positions of zero weight and those whose class is ignored or does not exist count nothing.
pub fn softmax_cross_entropy(it: &CrossEntropy, args: &Args) -> Vec<Tensor> {
    let of = Targets::new(it, args, 1);
    let scores = scores(&it.at, args);
    let mut losses = vec![0.0; it.at.positions()];
    let mut lse = vec![0.0; it.at.positions()];
    for position in 0..it.at.positions() {
        let scores = row(&it.at, &scores, position);
        let log_p = log_probabilities(scores);
        lse[position] = scores[0] - log_p[0];
        let Some((class, weight)) = of.counted(position) else { continue };
        let hard = -of.class_weight[class] * log_p[class];
        let soft = -log_p.iter().zip(&of.class_weight).map(|(p, weight)| p * weight).sum::<f64>();
        let smoothing = it.label_smoothing;
        losses[position] = weight * ((1.0 - smoothing) * hard + smoothing * soft / it.at.classes as f64);
    }
    let loss = match it.reduction {
        Reduction::None => Tensor::float(&it.positions, losses),
        _ => Tensor::scalar(losses.iter().sum::<f64>() * of.factor()),
    };
    vec![loss, Tensor::float(&it.positions, lse)]
}

pub fn softmax_cross_entropy_grad(it: &CrossEntropy, args: &Args) -> Tensor {
    let of = Targets::new(it, args, 2);
    let (scores, lse, factor) = (scores(&it.at, args), args.flat(1), of.factor());
    let mut dx = Array3::<f64>::zeros((it.at.outer, it.at.classes, it.at.inner));
    for position in 0..it.at.positions() {
        let Some((target, weight)) = of.counted(position) else { continue };
        let scores = row(&it.at, &scores, position);
        let pull = |class: usize| {
            let soft = it.label_smoothing / it.at.classes as f64 * of.class_weight[class];
            let hard = if class == target { (1.0 - it.label_smoothing) * of.class_weight[class] } else { 0.0 };
            soft + hard
        };
        let whole: f64 = (0..it.at.classes).map(pull).sum();
        for class in 0..it.at.classes {
            let p = (scores[class] - lse[position]).exp();
            let at = [position / it.at.inner, class, position % it.at.inner];
            dx[at] = factor * weight * (p * whole - pull(class));
        }
    }
    dx.into()
}

pub fn mse(it: &Elementwise, args: &Args) -> Tensor {
    mean(it, args, |x, t| (x - t).powi(2))
}

pub fn mse_grad(it: &Elementwise, args: &Args) -> Tensor {
    mean_grad(it, args, |x, t| 2.0 * (x - t))
}

pub fn mae(it: &Elementwise, args: &Args) -> Tensor {
    mean(it, args, |x, t| (x - t).abs())
}

/// Nothing pulls where the target is met.
pub fn mae_grad(it: &Elementwise, args: &Args) -> Tensor {
    mean_grad(it, args, |x, t| if x == t { 0.0 } else { (x - t).signum() })
}

pub fn huber(it: &Huber, args: &Args) -> Tensor {
    mean(&it.of, args, |x, t| {
        let distance = (x - t).abs();
        if distance <= it.delta { 0.5 * distance.powi(2) } else { it.delta * (distance - 0.5 * it.delta) }
    })
}

pub fn huber_grad(it: &Huber, args: &Args) -> Tensor {
    mean_grad(&it.of, args, |x, t| (x - t).clamp(-it.delta, it.delta))
}

pub fn bce_with_logits(it: &Elementwise, args: &Args) -> Tensor {
    mean(it, args, |x, t| x.max(0.0) - x * t + (-x.abs()).exp().ln_1p())
}

pub fn bce_with_logits_grad(it: &Elementwise, args: &Args) -> Tensor {
    mean_grad(it, args, |x, t| 1.0 / (1.0 + (-x).exp()) - t)
}

/// Weight of what is right, and of all that counts.
pub fn correct(it: &Correct, args: &Args) -> Vec<Tensor> {
    let weights = args.flat(2);
    let (mut right, mut all) = (0.0, 0.0);
    match it {
        Correct::Argmax(at) => {
            let scores = scores(at, args);
            for (position, &target) in args.ints(1).iter().enumerate() {
                let Some(class) = at.class(target) else { continue };
                let weight = weights[at.row(position)];
                all += weight;
                if first_largest(row(at, &scores, position)) == class {
                    right += weight;
                }
            }
        }
        Correct::Threshold(it) => {
            let ([x, target], weights) = elements(it, args);
            for (row, weight) in weights.iter().enumerate() {
                let pairs = x.row(row).into_iter().zip(target.row(row));
                let agree = pairs.filter(|&(&x, &t)| (0.0 < x) == (0.5 < t)).count();
                right += weight * agree as f64 / it.per_row as f64;
                all += weight;
            }
        }
    }
    vec![Tensor::scalar(right), Tensor::scalar(all)]
}

fn first_largest(x: ArrayView1<'_, f64>) -> usize {
    (1..x.len()).fold(0, |best, it| if x[best] < x[it] { it } else { best })
}

/// What scores are compared with.
struct Targets<'a> {
    loss: &'a CrossEntropy,
    target: &'a [i64],
    rows: ArrayView1<'a, f64>,
    class_weight: Vec<f64>,
    total: Option<f64>,
}

impl<'a> Targets<'a> {
    fn new(loss: &'a CrossEntropy, args: &'a Args, slot: usize) -> Targets<'a> {
        let class_weight = match loss.class_weight {
            true => args.flat(slot + 2).to_vec(),
            false => vec![1.0; loss.at.classes],
        };
        let total = loss.total.then(|| args.scalar(args.0.len() - 1));
        Targets { loss, target: args.ints(slot), rows: args.flat(slot + 1), class_weight, total }
    }

    /// Class and weight of a position that counts.
    fn counted(&self, position: usize) -> Option<(usize, f64)> {
        let class = self.loss.at.class(self.target[position])?;
        Some((class, self.rows[self.loss.at.row(position)])).filter(|it| it.1 != 0.0)
    }

    /// What sums are multiplied by.
    fn factor(&self) -> f64 {
        let counted = (0..self.target.len()).filter_map(|it| self.counted(it));
        let all = || counted.map(|(class, weight)| weight * self.class_weight[class]).sum();
        let total = self.total.unwrap_or_else(all);
        match self.loss.reduction {
            Reduction::Mean if total == 0.0 => 0.0,
            Reduction::Mean => 1.0 / total,
            Reduction::Sum | Reduction::None => 1.0,
        }
    }
}

fn scores<'a>(at: &Classes, args: &'a Args) -> ArrayView3<'a, f64> {
    args.floats(0, (at.outer, at.classes, at.inner))
}

fn row<'a>(at: &Classes, scores: &'a ArrayView3<'_, f64>, position: usize) -> ArrayView1<'a, f64> {
    scores.slice(ndarray::s![position / at.inner, .., position % at.inner])
}

fn mean(it: &Elementwise, args: &Args, f: impl Fn(f64, f64) -> f64) -> Tensor {
    let ([x, target], weights) = elements(it, args);
    let row_loss = |row: usize| -> f64 {
        let sum: f64 = (0..it.per_row).map(|i| f(x[[row, i]], target[[row, i]])).sum();
        sum / it.per_row as f64
    };
    let counted = (0..it.batch).filter(|&row| weights[row] != 0.0);
    let loss: f64 = counted.map(|row| weights[row] * row_loss(row)).sum();
    Tensor::scalar(loss / total(it, args, weights))
}

fn mean_grad(it: &Elementwise, args: &Args, f: impl Fn(f64, f64) -> f64) -> Tensor {
    let ([x, target], weights) = elements(it, args);
    let total = total(it, args, weights) * it.per_row as f64;
    let grad = |(row, i)| match weights[row] {
        0.0 => 0.0,
        weight => weight / total * f(x[[row, i]], target[[row, i]]),
    };
    Array2::from_shape_fn((it.batch, it.per_row), grad).into()
}

/// The weight that a mean is over.
fn total(it: &Elementwise, args: &Args, weights: ArrayView1<'_, f64>) -> f64 {
    if it.total { args.scalar(3) } else { weights.sum() }
}

fn elements<'a>(it: &Elementwise, args: &'a Args) -> ([ArrayView2<'a, f64>; 2], ArrayView1<'a, f64>) {
    ([0, 1].map(|slot| args.floats(slot, (it.batch, it.per_row))), args.flat(2))
}
