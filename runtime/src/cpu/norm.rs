//! Batch normalization.

use super::channels::{Line, line_slice, map_channels};
use super::chunks::each;
use super::math::{sum_by, sum_by2};
use super::reduce::sum;
use super::wide::wide;
use crate::arena::Reusable;
use crate::kernels::norm::{BatchNorm, Channels};
use crate::pool::{Disjoint, Pool};

/// y = (x - mean) / sqrt(var + epsilon) * scale + bias, all but x for each channel.
pub fn batch_norm(pool: &Pool, norm: &BatchNorm, x: Reusable<'_>, numbers: [&[f32]; 4], y: &mut [f32]) {
    let [scale, bias, mean, var] = numbers;
    let line = |c: usize| Line { shift: mean[c], factor: scale[c] * rstd(var[c], norm), bias: bias[c] };
    map_channels(pool, &norm.channels, x, y, line);
}

/// dx = dy * scale / sqrt(var + epsilon).
pub fn batch_norm_input_grad(
    pool: &Pool,
    norm: &BatchNorm,
    dy: Reusable<'_>,
    [scale, var]: [&[f32]; 2],
    dx: &mut [f32],
) {
    let line = |c: usize| Line { shift: 0.0, factor: scale[c] * rstd(var[c], norm), bias: 0.0 };
    map_channels(pool, &norm.channels, dy, dx, line);
}

/// dscale = sum of dy * (x - mean) / sqrt(var + epsilon).
pub fn batch_norm_scale_grad(pool: &Pool, norm: &BatchNorm, [dy, x, mean, var]: [&[f32]; 4], dscale: &mut [f32]) {
    let shape = &norm.channels;
    each(pool, dscale, 1, |c, dscale| {
        let total = shape.sum(c, [dy, x], |[dy, x]| sum_centered(dy, x, mean[c]));
        dscale[0] = (total * rstd64(var[c], norm)) as f32;
    });
}

/// y, mean and rstd with the batch's own mean and (biased) variance. A result that nothing reads is empty.
pub fn batch_norm_train(pool: &Pool, norm: &BatchNorm, [x, scale, bias]: [&[f32]; 3], results: [&mut [f32]; 3]) {
    let shape = &norm.channels;
    let [y, means, rstds] = results.map(Disjoint::new);
    pool.run(shape.c, &|c, _| {
        let exact_mean = shape.sum(c, [x], |[x]| sum(x)) / shape.count();
        let mean = exact_mean as f32;
        // What is lost where the mean is large beside the deviation.
        let rest = exact_mean - mean as f64;
        let var = shape.sum(c, [x], |[x]| sum_squares(x, mean)) / shape.count() - rest * rest;
        let rstd = (var + norm.epsilon).sqrt().recip();
        // SAFETY: the channel is this task's.
        unsafe {
            set(&means, c, mean);
            set(&rstds, c, rstd as f32);
        }
        let factor = rstd * scale[c] as f64;
        let line = Line { shift: mean, factor: factor as f32, bias: (bias[c] as f64 - rest * factor) as f32 };
        for at in shape.planes(c).filter(|_| !y.is_empty()) {
            // SAFETY: planes of different channels do not overlap.
            line_slice(&x[at.clone()], unsafe { y.part(at) }, line);
        }
    });
}

/// dx, dscale and dbias of [`batch_norm_train`]. A result that nothing reads is empty.
pub fn batch_norm_train_grad(
    pool: &Pool,
    shape: &Channels,
    [dy, x, scale, mean, rstd]: [&[f32]; 5],
    results: [&mut [f32]; 3],
) {
    let [dx, dscales, dbiases] = results.map(Disjoint::new);
    pool.run(shape.c, &|c, _| {
        let dbias = shape.sum(c, [dy], |[dy]| sum(dy));
        let centered = shape.sum(c, [dy, x], |[dy, x]| sum_centered(dy, x, mean[c]));
        let dscale = centered * rstd[c] as f64;
        // SAFETY: the channel is this task's.
        unsafe {
            set(&dbiases, c, dbias as f32);
            set(&dscales, c, dscale as f32);
        }
        let factor = scale[c] * rstd[c];
        let slope = (dscale * rstd[c] as f64 / shape.count()) as f32;
        let offset = (dbias / shape.count()) as f32;
        for at in shape.planes(c).filter(|_| !dx.is_empty()) {
            // SAFETY: planes of different channels do not overlap.
            let dx = unsafe { dx.part(at.clone()) };
            grad_slice(&dy[at.clone()], &x[at], dx, [mean[c], factor, slope, offset]);
        }
    });
}

fn rstd64(var: f32, norm: &BatchNorm) -> f64 {
    (var as f64 + norm.epsilon).sqrt().recip()
}

fn rstd(var: f32, norm: &BatchNorm) -> f32 {
    rstd64(var, norm) as f32
}

/// # Safety
/// No other task has this index.
unsafe fn set(slice: &Disjoint<'_, f32>, idx: usize, value: f32) {
    if !slice.is_empty() {
        // SAFETY: by the caller's promise.
        let element = unsafe { slice.part(idx..idx + 1) };
        element[0] = value;
    }
}

wide! {
    fn sum_squares(x: &[f32], mean: f32) -> f64 {
        sum_by(x, |x| (x - mean) * (x - mean))
    }
}

wide! {
    fn sum_centered(dy: &[f32], x: &[f32], mean: f32) -> f64 {
        sum_by2(dy, x, |dy, x| dy * (x - mean))
    }
}

wide! {
    fn grad_slice(dy: &[f32], x: &[f32], dx: &mut [f32], numbers: [f32; 4]) {
        let [mean, factor, slope, offset] = numbers;
        for (dx, (&dy, &x)) in dx.iter_mut().zip(dy.iter().zip(x)) {
            *dx = factor * (dy - offset - (x - mean) * slope);
        }
    }
}
