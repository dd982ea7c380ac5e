//! GELU as exporters write it, with erf and with tanh, as one op.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use super::pattern::{Lift, both_orders, exponent, inner_product, is_inner, lift, made, made_by_number, near, product};
use crate::attrs::Attrs;
use crate::graph::{Graph, Value};

/// Turns `x / 2 * (1 + erf(x / √2))`, and the same with `tanh(√(2/π) (x + 0.044715 x³))`, into `gelu`.
pub fn run(graph: &mut Graph) {
    lift(graph, find);
}

fn find(graph: &Graph, root: Value) -> Option<Lift> {
    let half = product(graph, root);
    if !half.under.is_empty() || !near(half.number, 0.5) {
        return None;
    }
    let gelu = |(x, gate): (Value, Value)| {
        let approximate = curve(graph, gate, x).filter(|_| graph.ty(x) == graph.ty(root))?;
        Some(Lift { op: "gelu", operands: vec![x], attrs: Attrs::new().with("approximate", approximate) })
    };
    both_orders(&half.over)?.into_iter().find_map(gelu)
}

/// What approximates the normal distribution in `gate`, which is twice its cumulative function of x.
fn curve(graph: &Graph, gate: Value, x: Value) -> Option<&'static str> {
    let (odd, one) = made_by_number(graph, gate, "shift", "offset")?;
    if !near(one, 1.0) || !is_inner(graph, gate) || !is_inner(graph, odd) {
        return None;
    }
    if let Some(of) = made(graph, odd, "erf") {
        let of = inner_product(graph, of[0])?;
        return (near(of.number, FRAC_1_SQRT_2) && of.over == [x] && of.under.is_empty()).then_some("none");
    }
    let of = inner_product(graph, made(graph, odd, "tanh")?[0])?;
    let cubic = near(of.number, FRAC_2_PI.sqrt()) && of.under.is_empty() && is_cubic(graph, &of.over, x);
    cubic.then_some("tanh")
}

/// Whether the product of `factors` is `x + 0.044715 x³`: as a sum, or as `x (1 + 0.044715 x²)`.
fn is_cubic(graph: &Graph, factors: &[Value], x: Value) -> bool {
    let term = |value: Value, power: f64| {
        inner_product(graph, value).is_some_and(|it| {
            near(it.number, 0.044715) && it.under.is_empty() && exponent(graph, &it.over, x) == Some(power)
        })
    };
    match *factors {
        [sum] => made(graph, sum, "add")
            .and_then(|it| both_orders(&it))
            .is_some_and(|orders| orders.into_iter().any(|(a, b)| a == x && term(b, 3.0))),
        [a, b] => {
            let bracket = if a == x { b } else { a };
            let square = made_by_number(graph, bracket, "shift", "offset").filter(|it| near(it.1, 1.0));
            (a == x || b == x) && square.is_some_and(|it| term(it.0, 2.0))
        }
        _ => false,
    }
}
