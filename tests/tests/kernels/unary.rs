use crate::case::{Case, bits, f32, float, word};

/// Lengths around vectors, words of bits and chunks.
const LENGTHS: [usize; 6] = [1, 3, 64, 65, 1000, 40_007];

#[test]
fn arithmetic_with_a_number() {
    for n in LENGTHS {
        let mut case = Case::new(&format!("{n} elements"));
        let (x, positive) = (case.random(&[n]), case.positive(&[n]));
        case.op("shift", &[x], f32(&[n]), &[("offset", float(-0.75))]);
        for exponent in [2.0, 3.0, 0.0, 1.0, 4.0] {
            case.op("power", &[x], f32(&[n]), &[("exponent", float(exponent))]);
        }
        for exponent in [-1.0, -2.0, 0.5, -0.5, 1.7] {
            case.op("power", &[positive], f32(&[n]), &[("exponent", float(exponent))]);
        }
        case.op("reciprocal", &[positive], f32(&[n]), &[]);
        case.check(4e-6);
    }
}

#[test]
fn functions_of_one_number() {
    for n in LENGTHS {
        let mut case = Case::new(&format!("{n} elements"));
        let (x, positive) = (case.random(&[n]), case.positive(&[n]));
        let wide = case.op("scale", &[x], f32(&[n]), &[("factor", float(3.0))]);
        let above_one = case.op("shift", &[positive], f32(&[n]), &[("offset", float(1.0))]);
        for op in ["exp", "abs", "sign", "floor", "ceil", "round", "sin", "cos", "atan", "sinh", "cosh", "asinh", "erf"]
        {
            case.op(op, &[wide], f32(&[n]), &[]);
        }
        for op in ["log", "sqrt"] {
            case.op(op, &[positive], f32(&[n]), &[]);
        }
        for op in ["asin", "acos", "atanh", "tan"] {
            case.op(op, &[x], f32(&[n]), &[]);
        }
        case.op("acosh", &[above_one], f32(&[n]), &[]);
        case.check(1e-5);
    }
}

#[test]
fn functions_outside_their_domain_and_at_its_ends() {
    let mut case = Case::new("odd numbers");
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 1.5, 2.5, -0.5, -1.5];
    let x = case.tensor(&[odd.len()], &odd);
    for op in [
        "exp",
        "log",
        "sqrt",
        "abs",
        "sign",
        "floor",
        "ceil",
        "round",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
        "atanh",
        "erf",
        "reciprocal",
        "silu",
        "mish",
        "softplus",
        "softsign",
    ] {
        case.op(op, &[x], f32(&[odd.len()]), &[]);
    }
    for approximate in ["none", "tanh"] {
        case.op("gelu", &[x], f32(&[odd.len()]), &[("approximate", word(approximate))]);
    }
    case.op("elu", &[x], f32(&[odd.len()]), &[("alpha", float(1.5))]);
    case.op("pow", &[x, x], f32(&[odd.len()]), &[]);
    for exponent in [2.0, 3.0, -1.0, -2.0, 0.5, 0.0] {
        case.op("power", &[x], f32(&[odd.len()]), &[("exponent", float(exponent))]);
    }
    case.check(4e-6);
}

#[test]
fn smooth_activations_and_their_gradients() {
    for n in LENGTHS {
        let mut case = Case::new(&format!("{n} elements"));
        let (x, dy) = (case.random(&[n]), case.random(&[n]));
        let wide = case.op("scale", &[x], f32(&[n]), &[("factor", float(7.0))]);
        let mut both = |op: &str, attrs: &[_]| {
            for x in [x, wide] {
                case.op(op, &[x], f32(&[n]), attrs);
                case.op(&format!("{op}_grad"), &[dy, x], f32(&[n]), attrs);
            }
        };
        ["silu", "mish", "softplus", "softsign"].into_iter().for_each(|op| both(op, &[]));
        both("gelu", &[("approximate", word("none"))]);
        both("gelu", &[("approximate", word("tanh"))]);
        both("elu", &[("alpha", float(0.75))]);
        case.check(4e-6);
    }
}

#[test]
fn activations_that_are_zero_in_a_gap() {
    for n in LENGTHS {
        let mut case = Case::new(&format!("{n} elements"));
        let x = case.random(&[n]);
        let results = || [Some(f32(&[n])), Some(bits(&[n]))];
        case.ops("thresholded_relu", &[x], &results(), &[("alpha", float(0.25))]);
        case.ops("thresholded_relu", &[x], &results(), &[("alpha", float(-0.25))]);
        case.ops("shrink", &[x], &results(), &[("lambda", float(0.5)), ("bias", float(0.125))]);
        case.check(4e-6);
    }
}

#[test]
fn functions_of_two_numbers_broadcast() {
    let shapes: [[&[usize]; 3]; 5] = [
        [&[40_007], &[40_007], &[40_007]],
        [&[3, 5, 7], &[], &[3, 5, 7]],
        [&[2, 6, 33, 41], &[6, 1, 1], &[2, 6, 33, 41]],
        [&[50, 1], &[1, 333], &[50, 333]],
        [&[], &[], &[]],
    ];
    for [a, b, y] in shapes {
        let mut case = Case::new(&format!("{a:?} with {b:?}"));
        let (left, right) = (case.random(a), case.random(b));
        let (base, exponent) = (case.positive(a), case.random(b));
        for op in ["max", "min", "max_share", "fmod"] {
            case.op(op, &[left, right], f32(y), &[]);
        }
        case.op("max_share", &[left, left], f32(a), &[]);
        for op in ["pow", "pow_base_slope", "pow_exponent_slope"] {
            case.op(op, &[base, exponent], f32(y), &[]);
        }
        case.check(1e-5);
    }
}

#[test]
fn slopes_of_powers_at_zero() {
    let mut case = Case::new("zeros");
    let a = case.tensor(&[6], &[0.0, 0.0, 0.0, 2.0, -2.0, 0.0]);
    let b = case.tensor(&[6], &[0.0, 2.0, 1.0, 0.0, 2.0, 0.5]);
    case.op("pow_base_slope", &[a, b], f32(&[6]), &[]);
    case.op("pow_exponent_slope", &[a, b], f32(&[6]), &[]);
    case.check(4e-6);
}
