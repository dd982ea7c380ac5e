//! Functions of one number or two, by values that tables have or that follow from the definition.

use std::f64::consts::{E, FRAC_PI_2, FRAC_PI_4, LN_2, PI};

use razorc_proto::program::Attr;

use super::{Case, bits, codes, f32};

pub fn cases() -> Vec<Case> {
    [of_one(), smooth(), of_two(), gaps(), slopes()].into_iter().flatten().collect()
}

fn unary(op: &'static str, attrs: &[Attr], pairs: &[(f64, f64)]) -> Case {
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let dims = [pairs.len()];
    Case { op, operands: vec![f32(&dims, &x)], attrs: attrs.to_vec(), results: vec![f32(&dims, &y)] }
}

fn of_one() -> Vec<Case> {
    let number = |name, it| [Attr::float(name, it)];
    vec![
        unary("shift", &number("offset", -0.5), &[(1.0, 0.5), (0.0, -0.5)]),
        unary("power", &number("exponent", 3.0), &[(2.0, 8.0), (-2.0, -8.0)]),
        unary("power", &number("exponent", -0.5), &[(4.0, 0.5)]),
        unary("reciprocal", &[], &[(4.0, 0.25), (-0.5, -2.0)]),
        unary("exp", &[], &[(0.0, 1.0), (1.0, E)]),
        unary("log", &[], &[(1.0, 0.0), (E, 1.0)]),
        unary("sqrt", &[], &[(0.0, 0.0), (9.0, 3.0)]),
        unary("abs", &[], &[(-3.0, 3.0), (0.0, 0.0), (2.0, 2.0)]),
        unary("sign", &[], &[(-3.0, -1.0), (0.0, 0.0), (-0.0, 0.0), (2.0, 1.0)]),
        unary("floor", &[], &[(-0.5, -1.0), (1.5, 1.0), (2.0, 2.0)]),
        unary("ceil", &[], &[(-0.5, 0.0), (1.5, 2.0), (2.0, 2.0)]),
        unary("round", &[], &[(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-1.5, -2.0), (1.4, 1.0)]),
        unary("sin", &[], &[(0.0, 0.0), (FRAC_PI_2, 1.0), (-FRAC_PI_2, -1.0)]),
        unary("cos", &[], &[(0.0, 1.0), (PI, -1.0)]),
        unary("tan", &[], &[(0.0, 0.0), (FRAC_PI_4, 1.0)]),
        unary("asin", &[], &[(0.0, 0.0), (1.0, FRAC_PI_2)]),
        unary("acos", &[], &[(1.0, 0.0), (-1.0, PI)]),
        unary("atan", &[], &[(0.0, 0.0), (1.0, FRAC_PI_4)]),
        unary("sinh", &[], &[(0.0, 0.0), (LN_2, 0.75)]),
        unary("cosh", &[], &[(0.0, 1.0), (LN_2, 1.25)]),
        unary("asinh", &[], &[(0.0, 0.0), (0.75, LN_2)]),
        unary("acosh", &[], &[(1.0, 0.0), (1.25, LN_2)]),
        unary("atanh", &[], &[(0.0, 0.0), (0.6, LN_2)]),
        unary("erf", &[], &[(0.0, 0.0), (1.0, 0.842_700_792_949_714_9), (-1.0, -0.842_700_792_949_714_9)]),
        unary("round_f16", &[], &[(1.0, 1.0), (1.0 + 1.0 / 4096.0, 1.0), (1.0 + 3.0 / 4096.0, 1.0 + 1.0 / 1024.0)]),
    ]
}

fn smooth() -> Vec<Case> {
    let approximate = |it| [Attr::word("approximate", it)];
    let alpha = [Attr::float("alpha", 0.5)];
    // Of the normal distribution at 1.
    let normal = 0.841_344_746_068_542_9;
    let sigmoid = E / (1.0 + E);
    vec![
        unary("gelu", &approximate("none"), &[(0.0, 0.0), (1.0, normal), (-1.0, normal - 1.0)]),
        unary("gelu", &approximate("tanh"), &[(0.0, 0.0), (1.0, 0.841_191_990_608_276_8)]),
        unary("silu", &[], &[(0.0, 0.0), (1.0, sigmoid)]),
        // tanh(log(1 + e)) is a fraction.
        unary("mish", &[], &[(0.0, 0.0), (1.0, ((1.0 + E).powi(2) - 1.0) / ((1.0 + E).powi(2) + 1.0))]),
        unary("softplus", &[], &[(0.0, LN_2), (-1000.0, 0.0), (1000.0, 1000.0)]),
        unary("softsign", &[], &[(0.0, 0.0), (3.0, 0.75), (-1.0, -0.5)]),
        unary("elu", &alpha, &[(2.0, 2.0), (0.0, 0.0), (-LN_2, -0.25)]),
    ]
}

fn of_two() -> Vec<Case> {
    let binary = |op, [a, b, y]: [&[f64]; 3]| Case {
        op,
        operands: vec![f32(&[a.len()], a), f32(&[b.len()], b)],
        attrs: vec![],
        results: vec![f32(&[y.len()], y)],
    };
    vec![
        binary("pow", [&[2.0, 4.0, -3.0], &[3.0, 0.5, 2.0], &[8.0, 2.0, 9.0]]),
        binary("pow_base_slope", [&[2.0, 0.0, 0.0], &[3.0, 0.0, 1.0], &[12.0, 0.0, 1.0]]),
        binary("pow_exponent_slope", [&[1.0, E, 0.0], &[3.0, 1.0, 2.0], &[0.0, E, 0.0]]),
        binary("max", [&[1.0, -2.0, 3.0], &[2.0], &[2.0, 2.0, 3.0]]),
        binary("min", [&[1.0, -2.0, 3.0], &[2.0], &[1.0, -2.0, 2.0]]),
        binary("max_share", [&[1.0, 2.0, 3.0], &[2.0], &[0.0, 0.5, 1.0]]),
        binary("fmod", [&[5.5, -5.5, 5.5], &[2.0, 2.0, -2.0], &[1.5, -1.5, 1.5]]),
    ]
}

fn gaps() -> Vec<Case> {
    let x = f32(&[5], &[-2.0, -0.5, 0.5, 1.0, 2.0]);
    let case = |op, attrs: &[Attr], y: &[f64], mask| Case {
        op,
        operands: vec![x.clone()],
        attrs: attrs.to_vec(),
        results: vec![f32(&[5], y), bits(&[5], mask)],
    };
    vec![
        case("thresholded_relu", &[Attr::float("alpha", 0.75)], &[0.0, 0.0, 0.0, 1.0, 2.0], "00011"),
        case("shrink", &[Attr::float("lambda", 0.75), Attr::float("bias", 0.5)], &[-1.5, 0.0, 0.0, 0.5, 1.5], "10011"),
    ]
}

fn slopes() -> Vec<Case> {
    let function = [Attr::word("function", "hard_swish")];
    let with_bits = [&function[..], &[Attr::int("bits", 3)]].concat();
    // Slopes 0, 1/2, 1 and 1.3 among thirds from -2/3 on.
    let packed = codes(3, &[4], &[2, 4, 5, 6]);
    vec![
        Case {
            op: "slope_codes",
            operands: vec![f32(&[4], &[-4.0, 0.4, 5.0, 2.4])],
            attrs: with_bits,
            results: vec![packed.clone()],
        },
        Case {
            op: "scale_by_codes",
            operands: vec![f32(&[4], &[1.0, 3.0, -2.0, 3.0]), packed],
            attrs: function.to_vec(),
            results: vec![f32(&[4], &[0.0, 2.0, -2.0, 4.0])],
        },
    ]
}
