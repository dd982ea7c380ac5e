use razorc_proto::program::Attr;

use super::super::{Case, Typed, f32, ints};
use super::case;
use crate::types::DType;

pub fn cases() -> Vec<Case> {
    [folds(), runs(), orders()].into_iter().flatten().collect()
}

fn i64s(dims: &[usize], values: &[i64]) -> Typed {
    ints(DType::I64, dims, values)
}

fn folds() -> Vec<Case> {
    let x = f32(&[2, 3], &[1.0, -2.0, 3.0, 4.0, 0.5, -6.0]);
    let axes = |axes: &[i64], keep| [Attr::ints("axes", axes), Attr::int("keepdims", keep)];
    let integers = i64s(&[2, 2], &[1, -2, 3, 4]);
    let products = |x: [f64; 3], dx: [f64; 3]| {
        let attrs = [Attr::ints("axes", &[1])];
        case("reduce_prod_grad", [f32(&[1, 1], &[2.0]), f32(&[1, 3], &x)], &attrs, [f32(&[1, 3], &dx)])
    };
    vec![
        case("reduce_max", [x.clone()], &axes(&[1], 0), [f32(&[2], &[3.0, 4.0])]),
        case("reduce_min", [x.clone()], &axes(&[0], 1), [f32(&[1, 3], &[1.0, -2.0, -6.0])]),
        case("reduce_prod", [x], &axes(&[0, 1], 0), [f32(&[], &[72.0])]),
        case("reduce_max", [integers.clone()], &axes(&[0], 0), [i64s(&[2], &[3, 4])]),
        case("reduce_prod", [integers.clone()], &axes(&[1], 0), [i64s(&[2], &[-2, 12])]),
        case("reduce_sum", [integers], &axes(&[1], 1), [i64s(&[2, 1], &[-1, 7])]),
        products([2.0, 3.0, 5.0], [30.0, 20.0, 12.0]),
        products([2.0, 0.0, 5.0], [0.0, 20.0, 0.0]),
        products([0.0, 0.0, 5.0], [0.0, 0.0, 0.0]),
    ]
}

fn runs() -> Vec<Case> {
    let x = f32(&[2, 3], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    let along = |axis, exclusive, reverse| {
        [Attr::int("axis", axis), Attr::int("exclusive", exclusive), Attr::int("reverse", reverse)]
    };
    let of = |attrs: &[Attr], y: [f64; 6]| case("cumsum", [x.clone()], attrs, [f32(&[2, 3], &y)]);
    vec![
        of(&along(1, 0, 0), [1.0, 3.0, 6.0, 10.0, 30.0, 60.0]),
        of(&along(1, 1, 0), [0.0, 1.0, 3.0, 0.0, 10.0, 30.0]),
        of(&along(1, 0, 1), [6.0, 5.0, 3.0, 60.0, 50.0, 30.0]),
        of(&along(0, 1, 1), [10.0, 20.0, 30.0, 0.0, 0.0, 0.0]),
        case("cumsum", [i64s(&[3], &[1, 2, 3])], &along(0, 0, 0), [i64s(&[3], &[1, 3, 6])]),
    ]
}

fn orders() -> Vec<Case> {
    let x = f32(&[2, 4], &[1.0, 7.0, 7.0, -3.0, f64::NAN, 2.0, 5.0, 2.0]);
    let top = |largest| [Attr::int("axis", 1), Attr::int("k", 2), Attr::int("largest", largest)];
    let arg = |largest, last| [Attr::int("axis", 1), Attr::int("largest", largest), Attr::int("last", last)];
    let index = |largest, last, y: [i64; 2]| case("arg_extreme", [x.clone()], &arg(largest, last), [i64s(&[2, 1], &y)]);
    vec![
        case(
            "top_k",
            [f32(&[1, 4], &[1.0, 7.0, 7.0, -3.0])],
            &top(1),
            [f32(&[1, 2], &[7.0, 7.0]), i64s(&[1, 2], &[1, 2])],
        ),
        case("top_k", [x.clone()], &top(0), [f32(&[2, 2], &[-3.0, 1.0, 2.0, 2.0]), i64s(&[2, 2], &[3, 0, 1, 3])]),
        index(1, 0, [1, 0]),
        index(1, 1, [2, 0]),
        index(0, 0, [3, 1]),
        index(0, 1, [3, 3]),
        case(
            "arg_extreme",
            [i64s(&[2, 2], &[4, 5, 6, 5])],
            &[Attr::int("axis", 0), Attr::int("largest", 1), Attr::int("last", 1)],
            [i64s(&[1, 2], &[1, 1])],
        ),
    ]
}
