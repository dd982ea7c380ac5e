//! Products read a transposed matrix where it lies.

use super::pattern::{Lift, is_inner, lift, made};
use crate::attrs::Attrs;
use crate::graph::{Graph, Value};

/// Turns `matmul` of a transposed stack of matrices into `matmul` of the stack itself.
pub fn run(graph: &mut Graph) {
    lift(graph, |graph, root| {
        let operands = made(graph, root, "matmul")?;
        let attrs = &graph.node(root.node).attrs;
        let sides: Vec<(Value, i64)> = operands
            .iter()
            .zip(["ta", "tb"])
            .map(|(&it, flag)| match transposed(graph, it) {
                Some(inner) => (inner, 1 - attrs.int_or(flag, 0)),
                None => (it, attrs.int_or(flag, 0)),
            })
            .collect();
        let attrs = Attrs::new().with("ta", sides[0].1).with("tb", sides[1].1);
        let found: Vec<Value> = sides.iter().map(|it| it.0).collect();
        (found != operands).then_some(Lift { op: "matmul", operands: found, attrs })
    });
}

/// The stack of matrices whose transposes `value` is, if nobody else reads that.
fn transposed(graph: &Graph, value: Value) -> Option<Value> {
    let of = made(graph, value, "transpose")?[0];
    let perm = graph.node(value.node).attrs.ints("perm");
    (2 <= perm.len() && perm == swapped(perm.len()) && is_inner(graph, value)).then_some(of)
}

/// The permutation of `rank` axes that swaps the last two.
pub fn swapped(rank: usize) -> Vec<i64> {
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    if 2 <= rank {
        perm.swap(rank - 2, rank - 1);
    }
    perm
}
