use razorc_proto::program::Role;

use crate::case::{Case, f32, int, quant};

#[test]
fn linear() {
    for (rows, k, n) in [(1, 1, 1), (3, 5, 2), (7, 300, 10), (65, 64, 100), (200, 33, 49), (9, 600, 500)] {
        for transpose in [0, 1] {
            let mut case = Case::new(&format!("linear {rows} {k} {n} {transpose}"));
            let w = if transpose == 1 { [n, k] } else { [k, n] };
            let (x_id, w_id, b_id) = (case.random(&[rows, k]), case.random(&w), case.random(&[n]));
            let dy_id = case.random(&[rows, n]);
            let attrs = [("transpose", int(transpose))];
            case.op("linear", &[x_id, w_id], f32(&[rows, n]), &attrs);
            case.op("linear", &[x_id, w_id, b_id], f32(&[rows, n]), &attrs);
            case.op("linear_input_grad", &[dy_id, w_id], f32(&[rows, k]), &attrs);
            case.op("linear_input_grad", &[dy_id, w_id, x_id], f32(&[rows, k]), &attrs);
            case.op("linear_weight_grad", &[dy_id, x_id], f32(&w), &attrs);
            let momentum = case.updated(Role::State, &w);
            case.update("linear_weight_grad", &[dy_id, x_id, momentum], &[momentum], &attrs);
            for x in case.packed(x_id, &[rows, k], if rows % 5 == 0 { 5 } else { 1 }) {
                case.op("linear_weight_grad", &[dy_id, x], f32(&w), &attrs);
                let momentum = case.updated(Role::State, &w);
                case.update("linear_weight_grad", &[dy_id, x, momentum], &[momentum], &attrs);
            }
            let rounded = case.op("quantize", &[x_id], quant(&[rows, k], 8, 64), &[]);
            case.op("linear", &[rounded, w_id], f32(&[rows, n]), &attrs);
            case.op("linear", &[rounded, w_id, b_id], f32(&[rows, n]), &attrs);
            case.check(1e-5);
        }
    }
}

#[test]
fn more_than_one_leading_axis() {
    let mut case = Case::new("leading");
    let (x, w) = (case.random(&[2, 3, 4, 5]), case.random(&[5, 6]));
    case.op("linear", &[x, w], f32(&[2, 3, 4, 6]), &[("transpose", int(0))]);
    case.check(1e-5);
}

#[test]
fn matmul() {
    for (m, k, n) in [(1, 1, 1), (3, 5, 2), (65, 64, 50), (20, 300, 49)] {
        for (ta, tb) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut case = Case::new(&format!("matmul {m} {k} {n} {ta} {tb}"));
            let a = case.random(&if ta == 1 { [2, 3, k, m] } else { [2, 3, m, k] });
            let b = case.random(&if tb == 1 { [2, 3, n, k] } else { [2, 3, k, n] });
            case.op("matmul", &[a, b], f32(&[2, 3, m, n]), &[("ta", int(ta)), ("tb", int(tb))]);
            case.check(1e-5);
        }
    }
}

#[test]
fn matmul_repeats_what_has_fewer_matrices() {
    let stacks: [[&[usize]; 3]; 6] = [
        [&[7], &[], &[7]],
        [&[], &[2, 3], &[2, 3]],
        [&[2, 1, 3], &[4, 1], &[2, 4, 3]],
        [&[3, 2], &[1, 1], &[3, 2]],
        [&[1], &[5], &[5]],
        [&[2, 3], &[3], &[2, 3]],
    ];
    for ([a_lead, b_lead, lead], (m, k, n)) in stacks.into_iter().zip([(3, 5, 2), (33, 64, 17), (4, 9, 50)].repeat(2)) {
        for (ta, tb) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut case = Case::new(&format!("repeated {a_lead:?} {b_lead:?} {ta} {tb}"));
            let a = case.random(&[a_lead, &(if ta == 1 { [k, m] } else { [m, k] })[..]].concat());
            let b = case.random(&[b_lead, &(if tb == 1 { [n, k] } else { [k, n] })[..]].concat());
            case.op("matmul", &[a, b], f32(&[lead, &[m, n]].concat()), &[("ta", int(ta)), ("tb", int(tb))]);
            case.check(1e-5);
        }
    }
}

/// Few elements of long sums are computed in parts, which are added onto what is there too.
#[test]
fn long_sums() {
    for transpose in [0, 1] {
        let mut case = Case::new(&format!("long {transpose}"));
        let w = if transpose == 1 { [6, 5] } else { [5, 6] };
        let (x, dy) = (case.random(&[9000, 5]), case.random(&[9000, 6]));
        let (momentum, attrs) = (case.updated(Role::State, &w), [("transpose", int(transpose))]);
        case.op("linear_weight_grad", &[dy, x], f32(&w), &attrs);
        case.update("linear_weight_grad", &[dy, x, momentum], &[momentum], &attrs);
        case.check(1e-4);
    }
}

#[test]
fn little_scratch() {
    let mut case = Case::new("little").scratch(0);
    let (a, b) = (case.random(&[300, 700]), case.random(&[700, 200]));
    let momentum = case.updated(Role::State, &[300, 200]);
    let transposed = case.random(&[700, 300]);
    case.update("linear_weight_grad", &[b, transposed, momentum], &[momentum], &[("transpose", int(0))]);
    case.op("matmul", &[a, b], f32(&[300, 200]), &[("ta", int(0)), ("tb", int(0))]);
    case.check(1e-5);
}
