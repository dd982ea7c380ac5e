use ndarray::{Array1, Array3, ArrayView1, ArrayView3, Axis};

use super::tensor::{Args, Tensor};
use crate::kernels::norm::{BatchNorm, Channels, Lrn};

pub fn batch_norm(it: &BatchNorm, args: &Args) -> Tensor {
    let [scale, bias, mean, var] = [1, 2, 3, 4].map(|slot| args.flat(slot));
    let rstd = reciprocal_std(it, var);
    map(&it.channels, args, |c, x| (x - mean[c]) * rstd[c] * scale[c] + bias[c])
}

pub fn batch_norm_input_grad(it: &BatchNorm, args: &Args) -> Tensor {
    let (scale, rstd) = (args.flat(1), reciprocal_std(it, args.flat(2)));
    map(&it.channels, args, |c, dy| dy * scale[c] * rstd[c])
}

pub fn batch_norm_scale_grad(it: &BatchNorm, args: &Args) -> Tensor {
    let (mean, rstd) = (args.flat(2), reciprocal_std(it, args.flat(3)));
    let normalized = normalize(view(&it.channels, args, 1), mean, rstd.view());
    sum(&(&view(&it.channels, args, 0) * &normalized)).into()
}

pub fn batch_norm_train(it: &BatchNorm, args: &Args) -> Vec<Tensor> {
    let x = view(&it.channels, args, 0);
    let (scale, bias) = (args.flat(1), args.flat(2));
    let mean = sum(&x.to_owned()) / count(&it.channels);
    let centered = normalize(x, mean.view(), Array1::ones(it.channels.c).view());
    let var = sum(&(&centered * &centered)) / count(&it.channels);
    let rstd = reciprocal_std(it, var.view());
    let y = map(&it.channels, args, |c, x| (x - mean[c]) * rstd[c] * scale[c] + bias[c]);
    vec![y, mean.into(), rstd.into()]
}

pub fn batch_norm_train_grad(it: &Channels, args: &Args) -> Vec<Tensor> {
    let dy = view(it, args, 0);
    let [scale, mean, rstd] = [2, 3, 4].map(|slot| args.flat(slot));
    let normalized = normalize(view(it, args, 1), mean, rstd);
    let dbias = sum(&dy.to_owned());
    let dscale = sum(&(&dy * &normalized));
    let mut dx = dy.to_owned();
    for ((n, c, i), dx) in dx.indexed_iter_mut() {
        let projected = (dbias[c] + normalized[[n, c, i]] * dscale[c]) / count(it);
        *dx = scale[c] * rstd[c] * (*dx - projected);
    }
    vec![dx.into(), dscale.into(), dbias.into()]
}

pub fn lrn(it: &Lrn, args: &Args) -> Tensor {
    let x = view(&it.channels, args, 0);
    let denominator = denominators(it, x).mapv(|base| base.powf(it.beta));
    (&x / &denominator).into()
}

pub fn lrn_grad(it: &Lrn, args: &Args) -> Tensor {
    let (dy, x) = (view(&it.channels, args, 0), view(&it.channels, args, 1));
    let base = denominators(it, x);
    let mut dx = Array3::<f64>::zeros(x.dim());
    for ((n, c, i), dy) in dy.indexed_iter() {
        let at = base[[n, c, i]];
        dx[[n, c, i]] += dy * at.powf(-it.beta);
        for near in near(it, c) {
            let slope = 2.0 * it.alpha / it.size as f64 * x[[n, near, i]];
            dx[[n, near, i]] -= dy * x[[n, c, i]] * it.beta * at.powf(-it.beta - 1.0) * slope;
        }
    }
    dx.into()
}

/// `bias + alpha / size * sum of squares of near channels`.
fn denominators(it: &Lrn, x: ArrayView3<'_, f64>) -> Array3<f64> {
    Array3::from_shape_fn(x.dim(), |(n, c, i)| {
        let squares: f64 = near(it, c).map(|near| x[[n, near, i]].powi(2)).sum();
        it.bias + it.alpha / it.size as f64 * squares
    })
}

fn near(it: &Lrn, c: usize) -> std::ops::Range<usize> {
    c.saturating_sub((it.size - 1) / 2)..(c + it.size / 2 + 1).min(it.channels.c)
}

fn view<'a>(it: &Channels, args: &'a Args, slot: usize) -> ArrayView3<'a, f64> {
    args.floats(slot, (it.n, it.c, it.inner))
}

/// Applies a function of channel and element to the first operand.
fn map(it: &Channels, args: &Args, f: impl Fn(usize, f64) -> f64) -> Tensor {
    let x = view(it, args, 0);
    Array3::from_shape_fn(x.dim(), |(n, c, i)| f(c, x[[n, c, i]])).into()
}

fn normalize(x: ArrayView3<'_, f64>, mean: ArrayView1<'_, f64>, rstd: ArrayView1<'_, f64>) -> Array3<f64> {
    Array3::from_shape_fn(x.dim(), |(n, c, i)| (x[[n, c, i]] - mean[c]) * rstd[c])
}

/// Sums over all but the channels.
fn sum(x: &Array3<f64>) -> Array1<f64> {
    x.sum_axis(Axis(2)).sum_axis(Axis(0))
}

fn count(it: &Channels) -> f64 {
    (it.n * it.inner) as f64
}

fn reciprocal_std(it: &BatchNorm, var: ArrayView1<'_, f64>) -> Array1<f64> {
    var.mapv(|var| 1.0 / (var + it.epsilon).sqrt())
}
