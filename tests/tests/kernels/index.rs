use razorc_proto::program::{DType, Role};

use crate::case::{Case, dense, f32, int, ints};

#[test]
fn gathers_along_any_axis() {
    for (name, dims, axis, indices) in [
        ("rows", [50, 3, 700], 0, vec![9, 11]),
        ("middle", [7, 300, 33], 1, vec![40]),
        ("columns", [5, 7, 1000], 2, vec![600]),
        ("one place", [40, 30, 20], 1, vec![]),
    ] {
        let mut case = Case::new(name);
        let n = dims[axis] as i64;
        let (x, at) = (case.random(&dims), case.integers(&indices, -n..n));
        let y = [&dims[..axis], &indices[..], &dims[axis + 1..]].concat();
        let y = case.op("gather", &[x, at], f32(&y), &[("axis", int(axis))]);
        let attrs = [("axis", int(axis)), ("shape", ints(&dims))];
        case.op("gather_grad", &[y, at], f32(&dims), &attrs);
        let momentum = case.updated(Role::State, &dims);
        case.update("gather_grad", &[y, at, momentum], &[momentum], &attrs);
        let integers = case.integers(&dims, -99..99);
        let y = [&dims[..axis], &indices[..], &dims[axis + 1..]].concat();
        case.op("gather", &[integers, at], dense(DType::I64, &y), &[("axis", int(axis))]);
        case.check(2e-5);
    }
}

#[test]
fn sums_what_tokens_share() {
    let mut case = Case::new("tokens");
    let (dy, tokens) = (case.random(&[4, 300, 129]), case.integers(&[4, 300], 0..3000));
    let few = case.integers(&[4, 300], 0..2);
    for (tokens, words) in [(tokens, 3000), (few, 2)] {
        let attrs = [("axis", int(0)), ("shape", ints(&[words, 129]))];
        case.op("gather_grad", &[dy, tokens], f32(&[words, 129]), &attrs);
    }
    case.check(1e-4);
}

#[test]
fn an_index_outside_reads_and_writes_nothing() {
    let mut case = Case::new("outside");
    let (x, dy, at) = (case.random(&[6, 5]), case.random(&[90, 5]), case.integers(&[90], -9..9));
    case.op("gather", &[x, at], f32(&[90, 5]), &[("axis", int(0))]);
    case.op("gather_grad", &[dy, at], f32(&[6, 5]), &[("axis", int(0)), ("shape", ints(&[6, 5]))]);
    let (tokens, truths) = (case.integers(&[6], 0..9), case.truths(&[6]));
    case.op("gather", &[tokens, at], dense(DType::I64, &[90]), &[("axis", int(0))]);
    case.op("gather", &[truths, at], dense(DType::Bool, &[90]), &[("axis", int(0))]);
    case.check(1e-5);
}
