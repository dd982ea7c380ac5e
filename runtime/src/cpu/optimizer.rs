//! Updates of params in place, with the arithmetic of PyTorch's optimizers.

use super::chunks::{CHUNK, each};
use super::state::Weight;
use super::wide::wide;
use crate::kernels::optimizer::{Adam, BatchNormUpdate, Decay, Sgd};
use crate::pool::Pool;

/// w -= lr * gradient, with what decays the weight; without momentum.
pub fn plain(pool: &Pool, w: &mut [f32], g: &[f32], with: SgdNumbers) {
    each(pool, w, CHUNK, |idx, w| plain_slice(w, &g[idx * CHUNK..][..w.len()], with));
}

/// w -= lr * (gradient with velocity).
pub fn momentum(pool: &Pool, weight: &Weight<'_, 1>, g: &[f32], with: SgdNumbers) {
    each_chunk(pool, weight, |at, w, [m]| momentum_slice(w, &g[at..][..w.len()], m, with));
}

/// m = momentum * m + weight decay * w.
pub fn decay(pool: &Pool, decay: &Decay, w: &[f32], m: &mut [f32]) {
    let (momentum, weight_decay) = (decay.momentum as f32, decay.weight_decay as f32);
    each(pool, m, CHUNK, |idx, m| {
        // What is forgotten must not matter, even if it is no number.
        match momentum {
            0.0 => m.fill(0.0),
            _ => scale_slice(m, momentum),
        }
        if weight_decay != 0.0 {
            axpy_slice(m, &w[idx * CHUNK..][..m.len()], weight_decay);
        }
    });
}

/// m += g.
pub fn accumulate(pool: &Pool, g: &[f32], m: &mut [f32]) {
    each(pool, m, CHUNK, |idx, m| axpy_slice(m, &g[idx * CHUNK..][..m.len()], 1.0));
}

/// w -= lr * m.
pub fn descend(pool: &Pool, w: &mut [f32], m: &[f32], lr: f32) {
    each(pool, w, CHUNK, |idx, w| axpy_slice(w, &m[idx * CHUNK..][..w.len()], -lr));
}

/// One step of Adam or AdamW.
pub fn adam(pool: &Pool, weight: &Weight<'_, 2>, g: &[f32], with: AdamNumbers) {
    each_chunk(pool, weight, |at, w, [m, v]| adam_slice(w, &g[at..][..w.len()], m, v, with));
}

/// Calls `update(first element, w, state)` for parts of a weight and its state.
fn each_chunk<const N: usize>(
    pool: &Pool,
    weight: &Weight<'_, N>,
    update: impl Fn(usize, &mut [f32], [&mut [f32]; N]) + Sync,
) {
    pool.run(weight.elements().div_ceil(CHUNK), &|idx, _| {
        let range = idx * CHUNK..weight.elements().min((idx + 1) * CHUNK);
        // SAFETY: every task has its own chunk, which is of whole pieces but for the last one.
        unsafe { weight.update(range, &update) };
    });
}

/// Running mean and variance after a batch.
pub fn batch_norm_update(update: &BatchNormUpdate, running: [&mut [f32]; 2], mean: &[f32], rstd: &[f32]) {
    let count = update.count as f64;
    let unbiased = count / (count - 1.0);
    let mix = |old: &mut f32, new: f64| *old = (update.momentum * *old as f64 + (1.0 - update.momentum) * new) as f32;
    let [running_mean, running_var] = running;
    running_mean.iter_mut().zip(mean).for_each(|(old, &mean)| mix(old, mean as f64));
    for (old, &rstd) in running_var.iter_mut().zip(rstd) {
        let rstd = rstd as f64;
        mix(old, (1.0 / (rstd * rstd) - update.epsilon) * unbiased);
    }
}

/// What one step of stochastic gradient descent computes with.
#[derive(Clone, Copy)]
pub struct SgdNumbers {
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    lr: f32,
    /// Factor of the gradient.
    clip: f32,
}

impl SgdNumbers {
    /// Rounds what the kernel and the learning rate say; `clip` is a factor of the gradient.
    pub fn new(sgd: &Sgd, lr: f32, clip: f32) -> Self {
        let (momentum, weight_decay) = (sgd.momentum as f32, sgd.weight_decay as f32);
        Self { momentum, nesterov: sgd.nesterov, weight_decay, lr, clip }
    }
}

/// What one step of [`adam`] computes with.
#[derive(Clone, Copy)]
pub struct AdamNumbers {
    beta1: f32,
    beta2: f32,
    /// 1 - beta, rounded once.
    rest1: f32,
    rest2: f32,
    epsilon: f32,
    /// Factor of the weight before the step.
    shrink: f32,
    /// Share of the weight that is added to the gradient.
    decay: f32,
    step_size: f32,
    root_scale: f32,
    /// Factor of the gradient.
    clip: f32,
}

impl AdamNumbers {
    /// Rounds what the kernel, the learning rate and the step say; `clip` is a factor of the gradient.
    pub fn new(with: &Adam, [lr, step]: [f32; 2], clip: f32) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        let lr = lr as f64;
        let (shrink, decay) = match with.decoupled {
            true => (1.0 - lr * with.weight_decay, 0.0),
            false => (1.0, with.weight_decay),
        };
        Self {
            beta1: with.beta1 as f32,
            beta2: with.beta2 as f32,
            rest1: (1.0 - with.beta1) as f32,
            rest2: (1.0 - with.beta2) as f32,
            epsilon: with.epsilon as f32,
            shrink: shrink as f32,
            decay: decay as f32,
            step_size: (lr / correction(with.beta1)) as f32,
            root_scale: (1.0 / correction(with.beta2).sqrt()) as f32,
            clip,
        }
    }
}

wide! {
    fn scale_slice(y: &mut [f32], factor: f32) {
        for y in y {
            *y *= factor;
        }
    }
}

wide! {
    /// y += factor * x.
    fn axpy_slice(y: &mut [f32], x: &[f32], factor: f32) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += factor * x;
        }
    }
}

wide! {
    /// Part of [`plain`].
    pub fn plain_slice(w: &mut [f32], g: &[f32], with: SgdNumbers) {
        for (w, &g) in w.iter_mut().zip(g) {
            *w -= with.lr * (with.clip * g + with.weight_decay * *w);
        }
    }
}

wide! {
    /// Part of [`momentum`].
    pub fn momentum_slice(w: &mut [f32], g: &[f32], m: &mut [f32], with: SgdNumbers) {
        let (ahead, own) = if with.nesterov { (with.momentum, 1.0) } else { (1.0, 0.0) };
        for ((w, m), &g) in w.iter_mut().zip(m).zip(g) {
            let g = with.clip * g + with.weight_decay * *w;
            *m = with.momentum * *m + g;
            *w -= with.lr * (own * g + ahead * *m);
        }
    }
}

wide! {
    /// Part of [`adam`].
    pub fn adam_slice(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], with: AdamNumbers) {
        for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
            let g = with.clip * g + with.decay * *w;
            *m = with.beta1 * *m + with.rest1 * g;
            *v = with.beta2 * *v + with.rest2 * g * g;
            let root = v.sqrt() * with.root_scale + with.epsilon;
            *w = *w * with.shrink - with.step_size * *m / root;
        }
    }
}
