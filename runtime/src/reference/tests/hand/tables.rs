use razorc_proto::program::Attr;

use super::super::{Case, f32, ints};
use super::case;
use crate::types::DType;

/// A table of four rows, of which the first has a gradient of 5, the last of 1, and the two between none.
pub fn cases() -> Vec<Case> {
    let table = |values: [f64; 4]| f32(&[4, 1], &values);
    let (w, dy) = (table([1.0, 2.0, 3.0, 4.0]), f32(&[2, 2, 1], &[2.0, 1.0, 3.0, 9.0]));
    let indices = ints(DType::I64, &[2, 2], &[0, -1, 0, 4]);
    let number = |it| f32(&[], &[it]);
    let sgd = |momentum, decay| {
        [Attr::float("momentum", momentum), Attr::int("nesterov", 0), Attr::float("weight_decay", decay)]
    };
    // The moments of step 1 count twice and once: w - 0.5 * 2 m / (|g| + 1).
    let of_adam = |op, decay, y: [f64; 4]| {
        let numbers = [("beta1", 0.5), ("beta2", 0.0), ("epsilon", 1.0), ("weight_decay", decay)];
        let [m, v] = [table([0.0, 0.0, 2.0, 2.0]), table([1.0; 4])];
        let operands = [w.clone(), dy.clone(), indices.clone(), m, v, number(0.5), number(1.0)];
        let results = [table(y), table([2.5, 0.0, 1.0, 1.5]), table([25.0, 0.0, 0.0, 1.0])];
        case(op, operands, &numbers.map(|(name, it)| Attr::float(name, it)), results)
    };
    let plain = [w.clone(), dy.clone(), indices.clone(), number(0.5)];
    let momentum = [w.clone(), dy.clone(), indices.clone(), table([4.0; 4]), number(0.5)];
    vec![
        case("sgd_rows", plain.clone(), &sgd(0.0, 0.0), [table([-1.5, 2.0, 3.0, 3.5])]),
        case("sgd_rows", plain, &sgd(0.0, 1.0), [table([-2.0, 1.0, 1.5, 1.5])]),
        case("sgd_rows", momentum, &sgd(0.5, 0.0), [table([-2.5, 1.0, 2.0, 2.5]), table([7.0, 2.0, 2.0, 3.0])]),
        of_adam("adam_rows", 0.0, [1.0 - 2.5 / 6.0, 2.0, 2.0, 3.25]),
        of_adam("adamw_rows", 0.5, [0.75 - 2.5 / 6.0, 1.5, 1.25, 2.25]),
    ]
}
