use razorc_proto::program::Role;

use crate::case::{Case, ROUNDED, float, int};

/// A long table and few tokens, tokens that share rows, wide rows, and more tokens than are kept apart in 64 KiB.
const TABLES: [(usize, usize, usize); 4] = [(3000, 70, 40), (7, 300, 33), (40, 50, 2500), (5, 20_000, 3)];

#[test]
fn sgd_by_rows() {
    for (rows, tokens, inner) in TABLES {
        for (momentum, decay) in [(0.0, 0.0), (0.0, 0.1), (0.9, 0.01)] {
            let mut case = Case::new(&format!("sgd of {rows} rows, {momentum}, {decay}")).scratch(64 << 10);
            let w = case.updated(Role::Param, &[rows, inner]);
            let (dy, indices) = (case.random(&[tokens, inner]), case.integers(&[tokens], -1..rows as i64 + 1));
            let m = (0.0 < momentum).then(|| case.updated(Role::State, &[rows, inner]));
            let lr = case.tensor(&[], &[0.1]);
            let attrs = [("momentum", float(momentum)), ("nesterov", int(0)), ("weight_decay", float(decay))];
            let operands = [vec![w, dy, indices], m.into_iter().collect(), vec![lr]].concat();
            case.update("sgd_rows", &operands, &[vec![w], m.into_iter().collect()].concat(), &attrs);
            case.check(1e-4);
        }
    }
}

#[test]
fn rounded_state_by_rows() {
    for ((rows, tokens, inner), (form, state)) in TABLES.into_iter().flat_map(|it| ROUNDED.map(|form| (it, form))) {
        let mut case = Case::new(&format!("sgd of {rows} rows, {form}")).scratch(64 << 10);
        let (w, m) = (case.updated(Role::Param, &[rows, inner]), state(&mut case, &[rows, inner], true));
        let (dy, indices) = (case.random(&[tokens, inner]), case.integers(&[tokens], -1..rows as i64 + 1));
        let (lr, step) = (case.tensor(&[], &[0.1]), case.tensor(&[], &[2.0]));
        let attrs = [("momentum", float(0.9)), ("nesterov", int(0)), ("weight_decay", float(0.01)), ("seed", int(9))];
        case.update("sgd_rows", &[w, dy, indices, m, lr, step], &[w, m], &attrs);
        case.check(1e-4);

        let mut case = Case::new(&format!("adam of {rows} rows, {form}")).scratch(64 << 10);
        let w = case.updated(Role::Param, &[rows, inner]);
        let [m, v] = [true, false].map(|signed| state(&mut case, &[rows, inner], signed));
        let (dy, indices) = (case.random(&[tokens, inner]), case.integers(&[tokens], -1..rows as i64 + 1));
        let (lr, step) = (case.tensor(&[], &[0.01]), case.tensor(&[], &[3.0]));
        let numbers = [("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8), ("weight_decay", 0.1)];
        let attrs = [&numbers.map(|(name, it)| (name, float(it)))[..], &[("seed", int(9))]].concat();
        case.update("adamw_rows", &[w, dy, indices, m, v, lr, step], &[w, m, v], &attrs);
        case.check(1e-4);
    }
}

#[test]
fn adam_by_rows() {
    for (rows, tokens, inner) in TABLES {
        for op in ["adam_rows", "adamw_rows"] {
            let mut case = Case::new(&format!("{op} of {rows} rows"));
            let w = case.updated(Role::Param, &[rows, inner]);
            let (dy, indices) = (case.random(&[tokens, inner]), case.integers(&[tokens], -1..rows as i64 + 1));
            let [m, v] = [(); 2].map(|()| case.updated(Role::State, &[rows, inner]));
            let (lr, step) = (case.tensor(&[], &[0.01]), case.tensor(&[], &[3.0]));
            let numbers = [("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8), ("weight_decay", 0.1)];
            let attrs = numbers.map(|(name, it)| (name, float(it)));
            case.update(op, &[w, dy, indices, m, v, lr, step], &[w, m, v], &attrs);
            case.check(1e-4);
        }
    }
}
