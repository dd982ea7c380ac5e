use razorc_proto::program::attr;

use crate::case::{Case, bits, f32, float, ints};

/// Lengths around words of bits and around chunks.
const LENGTHS: [usize; 8] = [1, 3, 63, 64, 65, 1000, 16_384, 40_007];

#[test]
fn activations_with_bits() {
    for n in LENGTHS {
        let mut case = Case::new(&format!("{n} elements"));
        let x = case.random(&[n]);
        let results = || [Some(f32(&[n])), Some(bits(&[n]))];
        case.ops("relu", &[x], &results(), &[]);
        case.ops("leaky_relu", &[x], &results(), &[("alpha", float(0.125))]);
        case.ops("clip", &[x], &results(), &[("min", float(-0.5)), ("max", float(1.0))]);
        case.ops("clip", &[x], &results(), &[("min", float(0.0)), ("max", float(f64::INFINITY))]);
        case.ops("hard_sigmoid", &[x], &results(), &[("alpha", float(0.5)), ("beta", float(0.25))]);
        case.check(4e-6);
    }
}

#[test]
fn activations_with_infinities_and_nan() {
    let mut case = Case::new("odd numbers");
    let x = case.tensor(&[5], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-45]);
    let results = || [Some(f32(&[5])), Some(bits(&[5]))];
    case.ops("leaky_relu", &[x], &results(), &[("alpha", float(0.5))]);
    case.op("sigmoid", &[x], f32(&[5]), &[]);
    case.op("tanh", &[x], f32(&[5]), &[]);
    case.check(4e-6);
}

#[test]
fn smooth_activations() {
    for n in LENGTHS {
        let mut case = Case::new(&format!("{n} elements"));
        let (x, dy) = (case.random(&[n]), case.random(&[n]));
        let wide = case.op("scale", &[x], f32(&[n]), &[("factor", float(7.0))]);
        for op in ["sigmoid", "tanh"] {
            let y = case.op(op, &[x], f32(&[n]), &[]);
            case.op(&format!("{op}_grad"), &[dy, y], f32(&[n]), &[]);
            case.op(op, &[wide], f32(&[n]), &[]);
        }
        case.op("hard_swish", &[wide], f32(&[n]), &[]);
        case.op("hard_swish_grad", &[dy, wide], f32(&[n]), &[]);
        case.check(4e-6);
    }
}

#[test]
fn masks_scale() {
    for n in LENGTHS {
        let mut case = Case::new(&format!("{n} elements"));
        let (x, dy) = (case.random(&[n]), case.random(&[n]));
        let mask = case.ops("relu", &[x], &[Some(f32(&[n])), Some(bits(&[n]))], &[])[1];
        case.op("masked_scale", &[dy, mask], f32(&[n]), &[("on", float(1.5)), ("off", float(-0.25))]);
        case.check(4e-6);
    }
}

#[test]
fn dropout_keeps_what_its_hash_says() {
    for (n, ratio, step) in [(1, 0.5, 1.0), (100, 0.1, 2.0), (40_007, 0.3, 70_000.0), (4096, 0.0, 1.0)] {
        let mut case = Case::new(&format!("{n} elements, ratio {ratio}"));
        let (x, step) = (case.random(&[n]), case.tensor(&[], &[step]));
        let attrs = [("ratio", float(ratio)), ("seed", attr::Value::Int(-77))];
        case.ops("dropout", &[x, step], &[Some(f32(&[n])), Some(bits(&[n]))], &attrs);
        case.check(4e-6);
    }
}

#[test]
fn arithmetic_broadcasts() {
    let shapes: [[&[usize]; 3]; 9] = [
        [&[40_007], &[40_007], &[40_007]],
        [&[3, 5, 7], &[], &[3, 5, 7]],
        [&[1], &[2, 9], &[2, 9]],
        [&[2, 6, 33, 41], &[6, 1, 1], &[2, 6, 33, 41]],
        [&[50, 333], &[333], &[50, 333]],
        [&[50, 1], &[1, 333], &[50, 333]],
        [&[5, 1, 9, 1], &[4, 1, 8], &[5, 4, 9, 8]],
        [&[2, 1, 3, 1, 5], &[2, 4, 1, 6, 5], &[2, 4, 3, 6, 5]],
        [&[], &[], &[]],
    ];
    for [a, b, y] in shapes {
        let mut case = Case::new(&format!("{a:?} with {b:?}"));
        let (left, right) = (case.random(a), case.positive(b));
        for op in ["add", "sub", "mul", "div"] {
            case.op(op, &[left, right], f32(y), &[]);
        }
        for op in ["add", "sub", "mul"] {
            case.op(op, &[right, left], f32(y), &[]);
        }
        case.check(4e-6);
    }
}

#[test]
fn prelu_broadcasts_its_slope() {
    let shapes: [[&[usize]; 2]; 5] =
        [[&[40_007], &[1]], [&[2, 6, 31, 33], &[6, 1, 1]], [&[3, 70], &[70]], [&[3, 4, 5], &[3, 4, 5]], [&[65], &[]]];
    for [dims, slope_dims] in shapes {
        let mut case = Case::new(&format!("{dims:?} with {slope_dims:?}"));
        let (x, dy, slope) = (case.random(dims), case.random(dims), case.random(slope_dims));
        let mask = case.ops("prelu", &[x, slope], &[Some(f32(dims)), Some(bits(dims))], &[])[1];
        case.op("prelu_input_grad", &[dy, mask, slope], f32(dims), &[]);
        let shape = [("shape", ints(slope_dims))];
        case.op("prelu_slope_grad", &[dy, x], f32(slope_dims), &shape);
        case.check(4e-6);
    }
}
