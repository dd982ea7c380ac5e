use ndarray::Array1;

use super::tensor::{Args, Tensor};
use crate::kernels::optimizer::{Adam, BatchNormUpdate, Decay, Sgd, State, load, rank, store};

pub fn sgd(it: &Sgd, args: &Args) -> Vec<Tensor> {
    let w = args.flat(0);
    let g = &args.flat(1) + &(&w * it.weight_decay);
    if it.momentum == 0.0 {
        return vec![(&w - &(g * args.scalar(2))).into()];
    }
    let m = &args.flat(2) * it.momentum + &g;
    let step = if it.nesterov { g + &m * it.momentum } else { m.clone() };
    vec![(&w - &(step * args.scalar(3))).into(), stored(it.state, 0, m, || args.scalar(4)).into()]
}

/// State as it comes back.
fn stored(state: State, slot: usize, x: Array1<f64>, step: impl Fn() -> f64) -> Array1<f64> {
    if !state.is_rounded() {
        return x;
    }
    let key = state.key(step() as f32).unwrap_or(0);
    x.iter().enumerate().map(|(at, &x)| load(store(x as f32, key, rank(slot, at))).into()).collect()
}

pub fn decay(it: &Decay, args: &Args) -> Tensor {
    let decay = &args.flat(0) * it.weight_decay;
    if it.momentum == 0.0 {
        return decay.into();
    }
    (&args.flat(1) * it.momentum + decay).into()
}

pub fn adam(it: &Adam, args: &Args) -> Vec<Tensor> {
    let state = it.state;
    let [mut w, mut g, m, v] = [0, 1, 2, 3].map(|slot| args.flat(slot).to_owned());
    let (lr, step) = (args.scalar(4), args.scalar(5));
    if it.decoupled {
        w *= 1.0 - lr * it.weight_decay;
    } else {
        g = g + &w * it.weight_decay;
    }
    let m = m * it.beta1 + &g * (1.0 - it.beta1);
    let v = v * it.beta2 + &g * &g * (1.0 - it.beta2);
    let m_hat = &m / (1.0 - it.beta1.powf(step));
    let v_hat = &v / (1.0 - it.beta2.powf(step));
    let w: Array1<f64> = w - m_hat * lr / (v_hat.mapv(f64::sqrt) + it.epsilon);
    let [m, v] = [(0, m), (1, v)].map(|(slot, it)| stored(state, slot, it, || step));
    vec![w.into(), m.into(), v.into()]
}

pub fn batch_norm_update(it: &BatchNormUpdate, args: &Args) -> Vec<Tensor> {
    let unbias = it.count as f64 / (it.count as f64 - 1.0);
    let var = args.flat(3).mapv(|rstd| (rstd.powi(-2) - it.epsilon) * unbias);
    let blend =
        |old, new: Array1<f64>| -> Tensor { (&args.flat(old) * it.momentum + new * (1.0 - it.momentum)).into() };
    vec![blend(0, args.flat(2).to_owned()), blend(1, var)]
}
