use razorc_proto::program::Role;

use crate::case::{Case, f32, float, int, ints};

#[test]
fn sums_and_means_over_axes() {
    let shapes: [(&[usize], &[usize]); 12] = [
        (&[7], &[0]),
        (&[100_003], &[0]),
        (&[300, 200], &[0]),
        (&[300, 200], &[1]),
        (&[5, 300, 130], &[1]),
        (&[4, 6, 30, 31], &[0, 2, 3]),
        (&[4, 6, 30, 31], &[2, 3]),
        (&[4, 6, 30, 31], &[1]),
        (&[2, 3, 4, 5, 6], &[0, 2, 4]),
        (&[2, 3, 4, 5, 6], &[1, 3]),
        (&[2, 1, 3], &[1]),
        (&[2, 3], &[]),
    ];
    for (dims, axes) in shapes {
        for keepdims in [false, true] {
            let mut case = Case::new(&format!("{dims:?} over {axes:?}"));
            let x = case.random(dims);
            let kept = dims.iter().enumerate().filter(|(i, _)| keepdims || !axes.contains(i));
            let result: Vec<_> = kept.map(|(i, &dim)| if axes.contains(&i) { 1 } else { dim }).collect();
            let attrs = [("axes", ints(axes)), ("keepdims", int(keepdims.into()))];
            case.op("reduce_sum", &[x], f32(&result), &attrs);
            case.op("reduce_mean", &[x], f32(&result), &attrs);
            case.check(4e-6);
        }
    }
}

#[test]
fn sums_down_to_a_shape_and_back() {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[40, 1000], &[1000]),
        (&[4, 6, 30, 31], &[6, 1, 1]),
        (&[4, 6, 30, 31], &[4, 1, 1, 31]),
        (&[4, 6, 30, 31], &[]),
        (&[3, 5], &[3, 5]),
        (&[2, 3, 4, 5], &[3, 1, 5]),
    ];
    for (dims, shape) in shapes {
        let mut case = Case::new(&format!("{dims:?} to {shape:?}"));
        let x = case.random(dims);
        let y = case.op("reduce_to", &[x], f32(shape), &[("shape", ints(shape))]);
        let momentum = case.updated(Role::State, shape);
        case.update("reduce_to", &[x, momentum], &[momentum], &[("shape", ints(shape))]);
        if shape.len() == dims.len() {
            let attrs = [("shape", ints(dims)), ("scale", float(0.3))];
            case.op("expand", &[y], f32(dims), &attrs);
        }
        case.check(4e-6);
    }
}

#[test]
fn a_long_sum_is_accurate() {
    let mut case = Case::new("three million numbers");
    let x = case.positive(&[3_000_000]);
    case.op("reduce_to", &[x], f32(&[]), &[("shape", ints(&[]))]);
    case.check(4e-6);
}
