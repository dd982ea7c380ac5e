//! Root-mean-square normalization as exporters write it, as one op.

use super::lift_layer_norm::{base_of_square, fits, mean_from, over_deviation, with_scale};
use super::pattern::{Lift, lift};
use crate::attrs::Attrs;
use crate::graph::{Graph, Value};

/// Turns `x / sqrt(mean(x²) + epsilon) * scale` over the last axes into `rms_norm`.
pub fn run(graph: &mut Graph) {
    lift(graph, find);
}

fn find(graph: &Graph, root: Value) -> Option<Lift> {
    let (factors, variance, epsilon) = over_deviation(graph, root)?;
    let (square, axis) = mean_from(graph, variance)?;
    let of = base_of_square(graph, square)?;
    let found = |&(x, scale): &(Value, Option<Value>)| x == of && fits(graph, scale, x, axis);
    let (x, scale) = with_scale(&factors).into_iter().find(found)?;
    let attrs = Attrs::new().with("axis", axis as i64).with("epsilon", epsilon);
    Some(Lift { op: "rms_norm", operands: [x].into_iter().chain(scale).collect(), attrs })
}
