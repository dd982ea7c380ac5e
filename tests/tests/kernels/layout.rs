use razorc_proto::program::DType;

use crate::case::{Case, dense, f32, float, int, ints};

#[test]
fn transposes() {
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[5, 7], &[1, 0]),
        (&[200, 301], &[1, 0]),
        (&[3, 17, 50, 20], &[0, 2, 3, 1]),
        (&[3, 50, 20, 17], &[0, 3, 1, 2]),
        (&[2, 30, 4, 16], &[0, 2, 1, 3]),
        (&[2, 3, 4, 5, 6], &[4, 2, 0, 3, 1]),
        (&[6, 1, 8], &[1, 2, 0]),
        (&[9, 8, 33], &[2, 1, 0]),
    ];
    for (dims, perm) in shapes {
        let mut case = Case::new(&format!("{dims:?} by {perm:?}"));
        let x = case.random(dims);
        let result: Vec<_> = perm.iter().map(|&it| dims[it]).collect();
        case.op("transpose", &[x], f32(&result), &[("perm", ints(perm))]);
        case.check(4e-6);
    }
}

#[test]
fn slices_and_their_gradients() {
    let shapes: [[&[usize]; 4]; 6] = [
        [&[9], &[2], &[9], &[3]],
        [&[50_000], &[7], &[49_001], &[1]],
        [&[5, 40, 90], &[1, 0, 10], &[4, 40, 80], &[1, 1, 1]],
        [&[6, 40, 90], &[1, 3, 0], &[6, 39, 90], &[2, 5, 1]],
        [&[4, 40, 90], &[0, 0, 5], &[4, 40, 90], &[1, 1, 7]],
        [&[3, 4], &[2, 3], &[3, 4], &[1, 1]],
    ];
    for [dims, starts, ends, steps] in shapes {
        let mut case = Case::new(&format!("{dims:?} from {starts:?} to {ends:?} by {steps:?}"));
        let x = case.random(dims);
        let result: Vec<_> = (0..dims.len()).map(|i| (ends[i] - starts[i]).div_ceil(steps[i])).collect();
        let place = [("starts", ints(starts)), ("steps", ints(steps))];
        let attrs = [&place[..], &[("ends", ints(ends))]].concat();
        let y = case.op("slice", &[x], f32(&result), &attrs);
        let attrs = [&place[..], &[("shape", ints(dims))]].concat();
        case.op("unslice", &[y], f32(dims), &attrs);
        case.check(4e-6);
    }
}

#[test]
fn pads() {
    let shapes: [(&[usize], &[usize]); 4] = [
        (&[5], &[2, 3]),
        (&[3, 4, 50, 60], &[0, 0, 1, 2, 0, 0, 3, 0]),
        (&[2, 3, 4], &[1, 0, 2, 0, 2, 0]),
        (&[3, 300], &[0, 0, 0, 0]),
    ];
    for (dims, pads) in shapes {
        let mut case = Case::new(&format!("{dims:?} with {pads:?}"));
        let x = case.random(dims);
        let result: Vec<_> = (0..dims.len()).map(|i| pads[i] + dims[i] + pads[dims.len() + i]).collect();
        let attrs = [("pads", ints(pads)), ("value", float(-1.5))];
        case.op("pad", &[x], f32(&result), &attrs);
        case.check(4e-6);
    }
}

#[test]
fn concatenates() {
    let cases: [(&[&[usize]], usize); 4] = [
        (&[&[3], &[1], &[20_000]], 0),
        (&[&[4, 3, 50, 40], &[4, 1, 50, 40], &[4, 8, 50, 40]], 1),
        (&[&[5, 6, 7], &[5, 6, 1]], 2),
        (&[&[2, 2]], 1),
    ];
    for (parts, axis) in cases {
        let mut case = Case::new(&format!("{parts:?} along {axis}"));
        let operands: Vec<_> = parts.iter().map(|dims| case.random(dims)).collect();
        let mut result = parts[0].to_vec();
        result[axis] = parts.iter().map(|dims| dims[axis]).sum();
        case.op("concat", &operands, f32(&result), &[("axis", int(axis))]);
        case.check(4e-6);
    }
}

#[test]
fn copies() {
    let mut case = Case::new("reshape");
    let x = case.random(&[111, 200]);
    case.op("reshape", &[x], f32(&[200, 111]), &[("shape", ints(&[200, 111]))]);
    case.check(4e-6);
}

#[test]
fn moves_integers_and_truths() {
    for dtype in [DType::I64, DType::Bool] {
        let mut case = Case::new(&format!("{dtype:?}"));
        let (x, y) = match dtype {
            DType::I64 => (case.integers(&[30, 70], -9..9), case.integers(&[30, 70], -9..9)),
            _ => (case.truths(&[30, 70]), case.truths(&[30, 70])),
        };
        let both = case.op("concat", &[x, y], dense(dtype, &[30, 140]), &[("axis", int(1))]);
        let turned = case.op("transpose", &[both], dense(dtype, &[140, 30]), &[("perm", ints(&[1, 0]))]);
        let attrs = [("starts", ints(&[3, 0])), ("ends", ints(&[140, 30])), ("steps", ints(&[2, 1]))];
        let part = case.op("slice", &[turned], dense(dtype, &[69, 30]), &attrs);
        let attrs = [("pads", ints(&[1, 0, 0, 2])), ("value", float(1.0))];
        let padded = case.op("pad", &[part], dense(dtype, &[70, 32]), &attrs);
        let axes = case.op("reshape", &[padded], dense(dtype, &[70, 1, 32]), &[("shape", ints(&[70, 1, 32]))]);
        let attrs = [("shape", ints(&[70, 5, 32])), ("scale", float(1.0))];
        case.op("expand", &[axes], dense(dtype, &[70, 5, 32]), &attrs);
        case.check(0.0);
    }
}
