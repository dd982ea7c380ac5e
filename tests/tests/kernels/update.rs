use razorc_proto::program::Role;
use razorc_proto::program::attr::Value;

use crate::case::{Case, ROUNDED, f32, float, int};

#[test]
fn stochastic_gradient_descent() {
    for n in [1, 65, 40_007] {
        for (momentum, nesterov) in [(0.0, 0), (0.9, 0), (0.9, 1)] {
            let mut case = Case::new(&format!("{n} weights, momentum {momentum}, nesterov {nesterov}"));
            let (g, lr) = (case.random(&[n]), case.tensor(&[], &[0.1]));
            let w = case.updated(Role::Param, &[n]);
            let attrs = [("momentum", float(momentum)), ("nesterov", int(nesterov)), ("weight_decay", float(0.01))];
            if momentum == 0.0 {
                case.update("sgd", &[w, g, lr], &[w], &attrs);
            } else {
                let m = case.updated(Role::State, &[n]);
                case.update("sgd", &[w, g, m, lr], &[w, m], &attrs);
            }
            case.check(4e-6);
        }
    }
}

#[test]
fn stochastic_gradient_descent_in_three() {
    for n in [1, 65, 40_007] {
        for (momentum, weight_decay) in [(0.0, 0.0), (0.9, 0.0), (0.9, 0.01), (0.0, 0.01)] {
            let mut case = Case::new(&format!("{n} weights in three, momentum {momentum}, decay {weight_decay}"));
            let (g, other, lr) = (case.random(&[n]), case.random(&[n]), case.tensor(&[], &[0.1]));
            let (w, m) = (case.updated(Role::Param, &[n]), case.updated(Role::State, &[n]));
            let attrs = [("momentum", float(momentum)), ("weight_decay", float(weight_decay))];
            case.update("decay", &[w, m], &[m], &attrs);
            case.update("accumulate", &[g, m], &[m], &[]);
            case.update("accumulate", &[other, m], &[m], &[]);
            case.update("descend", &[w, m, lr], &[w], &[]);
            case.check(4e-6);
        }
    }
}

#[test]
fn adam() {
    for (op, n, step) in [("adam", 40_007, 1.0), ("adam", 3, 1000.0), ("adamw", 40_007, 2.0), ("adamw", 64, 77.0)] {
        let mut case = Case::new(&format!("{op} of {n} weights"));
        let g = case.random(&[n]);
        let (lr, step) = (case.tensor(&[], &[0.01]), case.tensor(&[], &[step]));
        let w = case.updated(Role::Param, &[n]);
        let (m, v) = (case.updated(Role::State, &[n]), case.updated(Role::State, &[n]));
        let attrs =
            [("beta1", float(0.9)), ("beta2", float(0.999)), ("epsilon", float(1e-8)), ("weight_decay", float(0.05))];
        case.update(op, &[w, g, m, v, lr, step], &[w, m, v], &attrs);
        case.check(4e-6);
    }
}

#[test]
fn state_that_is_rounded() {
    for (form, state) in ROUNDED {
        for n in [1, 1025, 40_007] {
            for nesterov in [0, 1] {
                let mut case = Case::new(&format!("{n} weights, momentum in {form}, nesterov {nesterov}"));
                let (g, lr, step) = (case.random(&[n]), case.tensor(&[], &[0.1]), case.tensor(&[], &[7.0]));
                let (w, m) = (case.updated(Role::Param, &[n]), state(&mut case, &[n], true));
                let attrs = [("momentum", float(0.9)), ("nesterov", int(nesterov)), ("weight_decay", float(0.01))];
                let attrs = [&attrs[..], &[("seed", int(5))]].concat();
                case.update("sgd", &[w, g, m, lr, step], &[w, m], &attrs);
                case.check(4e-6);
            }
            for op in ["adam", "adamw"] {
                let mut case = Case::new(&format!("{op} of {n} weights, moments in {form}"));
                let (g, lr, step) = (case.random(&[n]), case.tensor(&[], &[0.01]), case.tensor(&[], &[3.0]));
                let w = case.updated(Role::Param, &[n]);
                let (m, v) = (state(&mut case, &[n], true), state(&mut case, &[n], false));
                let attrs = [&adam_attrs()[..], &[("seed", int(6))]].concat();
                case.update(op, &[w, g, m, v, lr, step], &[w, m, v], &attrs);
                case.check(4e-6);
            }
        }
    }
}

/// Gradients in parts of every size, some of zeros, and every update that takes their factor.
#[test]
fn gradients_that_are_clipped() {
    for (n, most) in [(1, 0.01), (1025, 1.0), (40_007, 20.0), (2_000_003, 1e9)] {
        let mut case = Case::new(&format!("norm of {n} clipped to {most}"));
        let gradients = [case.random(&[n]), case.random(&[3, 7]), case.tensor(&[5], &[0.0; 5])];
        let norms = gradients.map(|it| case.op("gradient_norm", &[it], f32(&[]), &[]));
        let clip = case.op("clip_scale", &norms, f32(&[]), &[("norm", float(most))]);
        case.op("clip_scale", &norms[2..], f32(&[]), &[("norm", float(most))]);
        let (g, lr, step) = (gradients[0], case.tensor(&[], &[0.1]), case.tensor(&[], &[3.0]));
        for momentum in [0.0, 0.9] {
            let w = case.updated(Role::Param, &[n]);
            let attrs = [("momentum", float(momentum)), ("nesterov", int(0)), ("weight_decay", float(0.01))];
            if momentum == 0.0 {
                case.update("sgd_clipped", &[w, g, lr, clip], &[w], &attrs);
                continue;
            }
            let m = case.updated(Role::State, &[n]);
            case.update("sgd_clipped", &[w, g, m, lr, clip], &[w, m], &attrs);
            let (w, m) = (case.updated(Role::Param, &[n]), case.state_in_8_bits(&[n], true));
            let attrs = [&attrs[..], &[("seed", int(6))]].concat();
            case.update("sgd_clipped", &[w, g, m, lr, step, clip], &[w, m], &attrs);
        }
        for op in ["adam_clipped", "adamw_clipped"] {
            let w = case.updated(Role::Param, &[n]);
            let (m, v) = (case.updated(Role::State, &[n]), case.updated(Role::State, &[n]));
            case.update(op, &[w, g, m, v, lr, step, clip], &[w, m, v], &adam_attrs());
        }
        case.check(4e-6);
    }
}

fn adam_attrs() -> [(&'static str, Value); 4] {
    [("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8), ("weight_decay", 0.05)].map(|(name, it)| (name, float(it)))
}

#[test]
fn running_statistics() {
    let mut case = Case::new("seven channels");
    let (batch_mean, rstd) = (case.random(&[7]), case.positive(&[7]));
    let (mean, var) = (case.updated(Role::Statistic, &[7]), case.updated(Role::Statistic, &[7]));
    let attrs = [("momentum", float(0.9)), ("epsilon", float(1e-5)), ("count", int(12))];
    case.update("batch_norm_update", &[mean, var, batch_mean, rstd], &[mean, var], &attrs);
    case.check(4e-6);
}
