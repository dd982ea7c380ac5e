//! Updates of params in place, with the arithmetic of PyTorch's optimizers.

use super::chunks::{CHUNK, chunk, each, each2, each3};
use super::state::each_piece;
use super::wide::wide;
use crate::kernels::optimizer::{Adam, BatchNormUpdate, Decay, Sgd};
use crate::pool::{Disjoint, Pool};

/// w -= lr * (gradient with velocity). `m` is empty without momentum.
pub fn sgd(pool: &Pool, sgd: &Sgd, [w, m]: [&mut [f32]; 2], g: &[f32], lr: f32) {
    let with = SgdNumbers::new(sgd, lr);
    each2(pool, (w, CHUNK), (m, CHUNK), |idx, w, m| {
        let g = &g[idx * CHUNK..][..w.len()];
        match m.is_empty() {
            true => plain_slice(w, g, with),
            false => momentum_slice(w, g, m, with),
        }
    });
}

/// As [`sgd`], with momentum that is rounded by `key`.
pub fn sgd_rounded(pool: &Pool, sgd: &Sgd, w: &mut [f32], m: &mut [u16], g: &[f32], lr: f32, key: u64) {
    let with = SgdNumbers::new(sgd, lr);
    each2(pool, (w, CHUNK), (m, CHUNK), |idx, w, m| {
        each_piece(key, idx * CHUNK, w, [m], |at, w, [m]| momentum_slice(w, &g[at..][..w.len()], m, with));
    });
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
pub fn adam(pool: &Pool, adam: &Adam, [w, m, v]: [&mut [f32]; 3], g: &[f32], lr: f32, step: f32) {
    let numbers = AdamNumbers::new(adam, lr, step);
    each3(pool, [w, m, v], CHUNK, |idx, [w, m, v]| adam_slice(w, &g[idx * CHUNK..][..w.len()], m, v, numbers));
}

/// As [`adam`], with moments that are rounded by `key`.
pub fn adam_rounded(
    pool: &Pool,
    adam: &Adam,
    w: &mut [f32],
    states: [&mut [u16]; 2],
    g: &[f32],
    [lr, step]: [f32; 2],
    key: u64,
) {
    let numbers = AdamNumbers::new(adam, lr, step);
    let n = w.len().div_ceil(CHUNK);
    let (w, states) = (Disjoint::new(w), states.map(Disjoint::new));
    pool.run(n, &|idx, _| {
        // SAFETY: every task has its own chunks.
        let w = unsafe { chunk(&w, idx, CHUNK) };
        // SAFETY: as above.
        let states = std::array::from_fn(|it| unsafe { chunk(&states[it], idx, CHUNK) });
        each_piece(key, idx * CHUNK, w, states, |at, w, [m, v]| adam_slice(w, &g[at..][..w.len()], m, v, numbers));
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

/// What one step of [`sgd`] computes with.
#[derive(Clone, Copy)]
pub struct SgdNumbers {
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    lr: f32,
}

impl SgdNumbers {
    /// Rounds what the kernel and the learning rate say.
    pub fn new(sgd: &Sgd, lr: f32) -> Self {
        let (momentum, weight_decay) = (sgd.momentum as f32, sgd.weight_decay as f32);
        Self { momentum, nesterov: sgd.nesterov, weight_decay, lr }
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
}

impl AdamNumbers {
    /// Rounds what the kernel, the learning rate and the step say.
    pub fn new(with: &Adam, lr: f32, step: f32) -> Self {
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
    /// Part of a step of [`sgd`] without momentum.
    pub fn plain_slice(w: &mut [f32], g: &[f32], with: SgdNumbers) {
        for (w, &g) in w.iter_mut().zip(g) {
            *w -= with.lr * (g + with.weight_decay * *w);
        }
    }
}

wide! {
    /// Part of a step of [`sgd`] with momentum.
    pub fn momentum_slice(w: &mut [f32], g: &[f32], m: &mut [f32], with: SgdNumbers) {
        let (ahead, own) = if with.nesterov { (with.momentum, 1.0) } else { (1.0, 0.0) };
        for ((w, m), &g) in w.iter_mut().zip(m).zip(g) {
            let g = g + with.weight_decay * *w;
            *m = with.momentum * *m + g;
            *w -= with.lr * (own * g + ahead * *m);
        }
    }
}

wide! {
    /// Part of a step of [`adam`].
    pub fn adam_slice(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], with: AdamNumbers) {
        for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
            let g = g + with.decay * *w;
            *m = with.beta1 * *m + with.rest1 * g;
            *v = with.beta2 * *v + with.rest2 * g * g;
            let root = v.sqrt() * with.root_scale + with.epsilon;
            *w = *w * with.shrink - with.step_size * *m / root;
        }
    }
}
