//! SiLU (Swish) as exporters write it, as one op.

use super::pattern::{Lift, both_orders, is_inner, lift, made, product};
use crate::attrs::Attrs;
use crate::graph::{Graph, Value};

/// Turns `x * sigmoid(x)` into `silu`.
pub fn run(graph: &mut Graph) {
    lift(graph, |graph, root| {
        let whole = product(graph, root);
        if !whole.under.is_empty() || whole.number != 1.0 {
            return None;
        }
        let of_itself = |&(x, gate): &(Value, Value)| made(graph, gate, "sigmoid").is_some_and(|it| it == [x]);
        let (x, gate) = both_orders(&whole.over)?.into_iter().find(of_itself)?;
        is_inner(graph, gate).then(|| Lift { op: "silu", operands: vec![x], attrs: Attrs::new() })
    });
}
