use razorc_proto::program::Attr;

use super::super::{Case, Typed, f32, ints};
use super::case;
use crate::types::DType;

pub fn cases() -> Vec<Case> {
    [casts(), comparisons(), choices(), arithmetic()].into_iter().flatten().collect()
}

fn i64s(dims: &[usize], values: &[i64]) -> Typed {
    ints(DType::I64, dims, values)
}

fn truths(dims: &[usize], values: &[i64]) -> Typed {
    ints(DType::Bool, dims, values)
}

fn casts() -> Vec<Case> {
    let to = |it| [Attr::word("to", it)];
    let odd = f32(&[6], &[-2.7, 2.7, -0.0, f64::NAN, 1e30, f64::NEG_INFINITY]);
    vec![
        case("cast", [odd.clone()], &to("i64"), [i64s(&[6], &[-2, 2, 0, 0, i64::MAX, i64::MIN])]),
        case("cast", [odd], &to("bool"), [truths(&[6], &[1, 1, 0, 1, 1, 1])]),
        case("cast", [i64s(&[3], &[-3, 0, 5])], &to("f32"), [f32(&[3], &[-3.0, 0.0, 5.0])]),
        case("cast", [i64s(&[3], &[-3, 0, 5])], &to("bool"), [truths(&[3], &[1, 0, 1])]),
        case("cast", [truths(&[3], &[1, 0, 7])], &to("f32"), [f32(&[3], &[1.0, 0.0, 1.0])]),
        case("cast", [truths(&[3], &[1, 0, 7])], &to("i64"), [i64s(&[3], &[1, 0, 1])]),
    ]
}

fn comparisons() -> Vec<Case> {
    let (a, b) = (f32(&[2, 2], &[1.0, 2.0, f64::NAN, 3.0]), f32(&[2], &[1.0, 3.0]));
    let of_floats = |op, values: [i64; 4]| case(op, [a.clone(), b.clone()], &[], [truths(&[2, 2], &values)]);
    let of_truths = |op, values: [i64; 4]| {
        let sides = [truths(&[2, 1], &[0, 1]), truths(&[2], &[0, 1])];
        case(op, sides, &[], [truths(&[2, 2], &values)])
    };
    vec![
        of_floats("equal", [1, 0, 0, 1]),
        of_floats("less", [0, 1, 0, 0]),
        of_floats("less_or_equal", [1, 1, 0, 1]),
        of_floats("greater", [0, 0, 0, 0]),
        of_floats("greater_or_equal", [1, 0, 0, 1]),
        case("less", [i64s(&[], &[2]), i64s(&[3], &[1, 2, 3])], &[], [truths(&[3], &[0, 0, 1])]),
        of_truths("equal", [1, 0, 0, 1]),
        of_truths("and", [0, 0, 0, 1]),
        of_truths("or", [0, 1, 1, 1]),
        of_truths("xor", [0, 1, 1, 0]),
        case("not", [truths(&[3], &[0, 1, 5])], &[], [truths(&[3], &[1, 0, 0])]),
    ]
}

fn choices() -> Vec<Case> {
    let condition = truths(&[2, 1], &[1, 0]);
    vec![
        case(
            "where",
            [condition.clone(), f32(&[2], &[1.0, 2.0]), f32(&[], &[9.0])],
            &[],
            [f32(&[2, 2], &[1.0, 2.0, 9.0, 9.0])],
        ),
        case(
            "where",
            [condition.clone(), i64s(&[], &[4]), i64s(&[2, 2], &[1, 2, 3, 4])],
            &[],
            [i64s(&[2, 2], &[4, 4, 3, 4])],
        ),
        case(
            "select",
            [f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), condition.clone()],
            &[Attr::int("when", 1)],
            [f32(&[2, 2], &[1.0, 2.0, 0.0, 0.0])],
        ),
        case(
            "select",
            [f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), condition],
            &[Attr::int("when", 0)],
            [f32(&[2, 2], &[0.0, 0.0, 3.0, 4.0])],
        ),
    ]
}

fn arithmetic() -> Vec<Case> {
    let (a, b) = (i64s(&[5], &[7, -7, 7, -7, i64::MIN]), i64s(&[5], &[2, 2, -2, 0, -1]));
    let of = |op, attrs: &[Attr], values: [i64; 5]| case(op, [a.clone(), b.clone()], attrs, [i64s(&[5], &values)]);
    let fmod = |it| [Attr::int("fmod", it)];
    vec![
        of("add", &[], [9, -5, 5, -7, i64::MAX]),
        of("sub", &[], [5, -9, 9, -7, i64::MIN + 1]),
        of("mul", &[], [14, -14, -14, 0, i64::MIN]),
        of("div", &[], [3, -3, -3, 0, i64::MIN]),
        of("mod", &fmod(0), [1, 1, -1, 0, 0]),
        of("mod", &fmod(1), [1, -1, 1, 0, 0]),
    ]
}
