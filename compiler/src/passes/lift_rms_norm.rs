//! Root-mean-square normalization as exporters write it, as one op.

use super::lift_layer_norm::{base_of_square, mean_from, over_deviation};
use super::pattern::{Lift, both_orders, lift};
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
    let fits = |&(x, scale): &(Value, Value)| x == of && graph.ty(scale).dims() == &graph.ty(x).dims()[axis..];
    let (x, scale) = both_orders(&factors)?.into_iter().find(fits)?;
    let attrs = Attrs::new().with("axis", axis as i64).with("epsilon", epsilon);
    Some(Lift { op: "rms_norm", operands: vec![x, scale], attrs })
}
