use ndarray::Array1;

use super::tensor::{Args, Tensor};
use crate::kernels::clip::ClipScale;
use crate::kernels::optimizer::{Adam, BatchNormUpdate, Decay, Sgd};
use crate::kernels::state::{BLOCK, Code, State, load, rank, scale, store};

pub fn sgd(it: &Sgd, args: &Args) -> Vec<Tensor> {
    let w = args.flat(0);
    let g = gradient(it.clipped, args) + &(&w * it.weight_decay);
    if it.momentum == 0.0 {
        return vec![(&w - &(g * args.scalar(2))).into()];
    }
    let m = &args.flat(2) * it.momentum + &g;
    let step = if it.nesterov { g + &m * it.momentum } else { m.clone() };
    vec![(&w - &(step * args.scalar(3))).into(), stored(it.state, 0, m, || args.scalar(4)).into()]
}

/// The gradient, clipped where the last operand says how much is left of it.
fn gradient(clipped: bool, args: &Args) -> Array1<f64> {
    let factor = if clipped { args.scalar(args.0.len() - 1) } else { 1.0 };
    &args.flat(1) * factor
}

/// State as it comes back.
fn stored(state: State, slot: usize, x: Array1<f64>, step: impl Fn() -> f64) -> Array1<f64> {
    if !state.is_rounded() {
        return x;
    }
    let key = state.key(step() as f32);
    let x: Vec<f32> = x.iter().map(|&it| it as f32).collect();
    let code = Code::of(slot == 0);
    let scales: Vec<f32> = x.chunks(BLOCK).map(scale).collect();
    let stored = |(at, &x): (usize, &f32)| -> f64 {
        let (scale, rank) = (scales[at / BLOCK], rank(slot, at));
        match state {
            State::Dynamic { .. } => code.load(code.store(x, scale, key, rank), scale).into(),
            _ => load(store(x, key, rank)).into(),
        }
    };
    x.iter().enumerate().map(stored).collect()
}

pub fn gradient_norm(args: &Args) -> Tensor {
    Tensor::scalar(args.flat(0).iter().map(|it| it * it).sum::<f64>().sqrt())
}

pub fn clip_scale(it: &ClipScale, args: &Args) -> Tensor {
    Tensor::scalar(it.factor((0..it.count).map(|slot| args.scalar(slot))))
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
    let [mut w, m, v] = [0, 2, 3].map(|slot| args.flat(slot).to_owned());
    let mut g = gradient(it.clipped, args);
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
