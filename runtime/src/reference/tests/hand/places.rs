use razorc_proto::program::Attr;

use super::super::{Case, Typed, f32, ints};
use super::case;
use crate::types::DType;

pub fn cases() -> Vec<Case> {
    let x = f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let i64s = |dims: &[usize], values: &[i64]| -> Typed { ints(DType::I64, dims, values) };
    let axis = |it| Attr::int("axis", it);
    let shape = || Attr::ints("shape", &[2, 2]);
    let batch = |it| Attr::int("batch_dims", it);
    let how = |it| Attr::word("reduction", it);
    let at = i64s(&[1, 2], &[1, -2]);
    let updates = f32(&[1, 2], &[10.0, 20.0]);
    let scatter = |reduction, y: [f64; 4]| {
        case(
            "scatter_elements",
            [x.clone(), at.clone(), updates.clone()],
            &[axis(0), how(reduction)],
            [f32(&[2, 2], &y)],
        )
    };
    vec![
        case("gather_elements", [x.clone(), i64s(&[2, 1], &[1, -2])], &[axis(1)], [f32(&[2, 1], &[2.0, 3.0])]),
        case(
            "gather_elements",
            [i64s(&[2], &[5, 6]), i64s(&[3], &[1, 2, 0])],
            &[axis(0)],
            [i64s(&[3], &[6, i64::MIN, 5])],
        ),
        case(
            "gather_elements_grad",
            [f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), i64s(&[2, 3], &[1, 1, 0, 0, 7, -2])],
            &[axis(1), shape()],
            [f32(&[2, 2], &[3.0, 3.0, 10.0, 0.0])],
        ),
        // Elements, rows, and elements of each row.
        case("gather_nd", [x.clone(), i64s(&[2, 2], &[0, 0, 1, 1])], &[batch(0)], [f32(&[2], &[1.0, 4.0])]),
        case("gather_nd", [x.clone(), i64s(&[2, 1], &[1, -2])], &[batch(0)], [f32(&[2, 2], &[3.0, 4.0, 1.0, 2.0])]),
        case("gather_nd", [x.clone(), i64s(&[2, 1], &[1, 0])], &[batch(1)], [f32(&[2], &[2.0, 3.0])]),
        case(
            "gather_nd_grad",
            [f32(&[3], &[1.0, 10.0, 5.0]), i64s(&[3, 2], &[0, 1, 0, 1, 0, 2])],
            &[batch(0), shape()],
            [f32(&[2, 2], &[0.0, 11.0, 0.0, 0.0])],
        ),
        scatter("none", [1.0, 20.0, 10.0, 4.0]),
        scatter("add", [1.0, 22.0, 13.0, 4.0]),
        scatter("mul", [1.0, 40.0, 30.0, 4.0]),
        scatter("min", [1.0, 2.0, 3.0, 4.0]),
        scatter("max", [1.0, 20.0, 10.0, 4.0]),
        case(
            "scatter_elements",
            [x.clone(), at.clone()],
            &[axis(0), how("clear")],
            [f32(&[2, 2], &[1.0, 0.0, 0.0, 4.0])],
        ),
        // The last of equals stays; an index outside writes nothing.
        case(
            "scatter_nd",
            [x, i64s(&[3, 1], &[1, 1, 2]), f32(&[3, 2], &[5.0, 6.0, 7.0, 8.0, 9.0, 9.0])],
            &[how("none")],
            [f32(&[2, 2], &[1.0, 2.0, 7.0, 8.0])],
        ),
        case(
            "scatter_nd",
            [i64s(&[3], &[1, 2, 3]), i64s(&[2, 1], &[0, 0]), i64s(&[2], &[4, 5])],
            &[how("mul")],
            [i64s(&[3], &[20, 2, 3])],
        ),
    ]
}
