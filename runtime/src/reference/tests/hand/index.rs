use razorc_proto::program::Attr;

use super::super::{Case, Typed, f32, ints};
use super::case;
use crate::types::DType;

pub fn cases() -> Vec<Case> {
    let x = f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let axis = |it| Attr::int("axis", it);
    let indices = |dims: &[usize], values: &[i64]| -> Typed { ints(DType::I64, dims, values) };
    vec![
        case(
            "gather",
            [x.clone(), indices(&[3], &[1, -2, 1])],
            &[axis(0)],
            [f32(&[3, 3], &[4.0, 5.0, 6.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])],
        ),
        case("gather", [x, indices(&[2, 1], &[2, -3])], &[axis(1)], [f32(&[2, 2, 1], &[3.0, 1.0, 6.0, 4.0])]),
        // What an index outside gives: the smallest integer, false.
        case(
            "gather",
            [indices(&[2], &[7, 8]), indices(&[4], &[0, 2, -3, i64::MIN])],
            &[axis(0)],
            [indices(&[4], &[7, i64::MIN, i64::MIN, i64::MIN])],
        ),
        case(
            "gather",
            [ints(DType::Bool, &[2], &[1, 1]), indices(&[2], &[1, 9])],
            &[axis(0)],
            [ints(DType::Bool, &[2], &[1, 0])],
        ),
        case(
            "gather_grad",
            [f32(&[4, 2], &[1.0, 2.0, 10.0, 20.0, 100.0, 200.0, 1e3, 2e3]), indices(&[4], &[2, 0, -1, 3])],
            &[axis(0), Attr::ints("shape", &[3, 2])],
            [f32(&[3, 2], &[10.0, 20.0, 0.0, 0.0, 101.0, 202.0])],
        ),
    ]
}
