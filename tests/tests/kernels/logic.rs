use razorc_proto::program::{DType, attr};

use crate::case::{Case, Id, dense, f32, int};

/// Operands of equal shape, rows, columns, a number, and shapes that stretch each other.
const SHAPES: [[&[usize]; 3]; 6] = [
    [&[40_007], &[40_007], &[40_007]],
    [&[50, 40, 30], &[30], &[50, 40, 30]],
    [&[50, 40, 30], &[50, 1, 1], &[50, 40, 30]],
    [&[], &[300, 70], &[300, 70]],
    [&[1, 700], &[300, 1], &[300, 700]],
    [&[3, 1, 5], &[4, 1], &[3, 4, 5]],
];

fn of(case: &mut Case, dtype: DType, dims: &[usize]) -> Id {
    match dtype {
        DType::F32 => case.random(dims),
        DType::I64 => case.integers(dims, -5..5),
        _ => case.truths(dims),
    }
}

#[test]
fn compares_and_connects() {
    for (number, [a, b, y]) in SHAPES.into_iter().enumerate() {
        let mut case = Case::new(&format!("shapes {number}"));
        for dtype in [DType::F32, DType::I64] {
            let (a, b) = (of(&mut case, dtype, a), of(&mut case, dtype, b));
            for op in ["equal", "less", "less_or_equal", "greater", "greater_or_equal"] {
                case.op(op, &[a, b], dense(DType::Bool, y), &[]);
            }
        }
        let (a, b) = (case.truths(a), case.truths(b));
        for op in ["equal", "and", "or", "xor"] {
            case.op(op, &[a, b], dense(DType::Bool, y), &[]);
        }
        case.op("not", &[a], dense(DType::Bool, SHAPES[number][0]), &[]);
        case.check(0.0);
    }
}

#[test]
fn computes_with_integers() {
    for (number, [a, b, y]) in SHAPES.into_iter().enumerate() {
        let mut case = Case::new(&format!("integers {number}"));
        let (a, b) = (case.integers(a, -50..50), case.integers(b, -5..5));
        for op in ["add", "sub", "mul", "div"] {
            case.op(op, &[a, b], dense(DType::I64, y), &[]);
        }
        for fmod in [0, 1] {
            case.op("mod", &[a, b], dense(DType::I64, y), &[("fmod", int(fmod))]);
        }
        case.check(0.0);
    }
}

#[test]
fn chooses() {
    for (number, [a, b, y]) in SHAPES.into_iter().enumerate() {
        for dtype in [DType::F32, DType::I64, DType::Bool] {
            let mut case = Case::new(&format!("choice {number} of {dtype:?}"));
            let (condition, side) = (case.truths(a), of(&mut case, dtype, b));
            let (full, number) = (of(&mut case, dtype, y), of(&mut case, dtype, &[]));
            case.op("where", &[condition, side, full], dense(dtype, y), &[]);
            case.op("where", &[condition, full, side], dense(dtype, y), &[]);
            case.op("where", &[condition, number, full], dense(dtype, y), &[]);
            let condition = case.truths(y);
            case.op("where", &[condition, full, number], dense(dtype, y), &[]);
            case.op("where", &[condition, number, number], dense(dtype, y), &[]);
            case.check(0.0);
        }
        let mut case = Case::new(&format!("selection {number}"));
        let (dy, condition) = (case.random(y), case.truths(a));
        for when in [0, 1] {
            case.op("select", &[dy, condition], f32(y), &[("when", int(when))]);
        }
        case.check(0.0);
    }
}

#[test]
fn casts() {
    for n in [1, 65, 40_007] {
        let mut case = Case::new(&format!("casts of {n}"));
        let floats = case.random(&[n]);
        let large: Vec<f32> = (0..n).map(|it| [2.7, -2.7, 1e30, f32::NAN, f32::NEG_INFINITY][it % 5]).collect();
        let operands = [floats, case.tensor(&[n], &large), case.integers(&[n], -3..3), case.truths(&[n])];
        for x in operands {
            for (to, word) in [(DType::F32, "f32"), (DType::I64, "i64"), (DType::Bool, "bool")] {
                case.op("cast", &[x], dense(to, &[n]), &[("to", attr::Value::Word(word.into()))]);
            }
        }
        case.check(0.0);
    }
}
