//! Layer normalization as exporters before opset 17 write it, as one op.

use super::pattern::{Lift, both_orders, is_inner, lift, made, made_by_number, product};
use crate::attrs::Attrs;
use crate::graph::{Graph, Value};

/// Turns `(x - mean) / sqrt(mean((x - mean)²) + epsilon) * scale + bias` over the last axes into `layer_norm`.
pub fn run(graph: &mut Graph) {
    lift(graph, |graph, root| {
        let with_bias = |(y, bias): (Value, Value)| {
            let normalized = is_inner(graph, y).then(|| normalized(graph, y)).flatten()?;
            (graph.ty(bias) == graph.ty(normalized.scale?)).then_some((normalized, Some(bias)))
        };
        let (Normalized { x, scale, axis, epsilon }, bias) = match made(graph, root, "add") {
            Some(terms) => both_orders(&terms)?.into_iter().find_map(with_bias)?,
            None => (normalized(graph, root)?, None),
        };
        let attrs = Attrs::new().with("axis", axis as i64).with("epsilon", epsilon);
        Some(Lift { op: "layer_norm", operands: [x].into_iter().chain(scale).chain(bias).collect(), attrs })
    });
}

struct Normalized {
    x: Value,
    scale: Option<Value>,
    axis: usize,
    epsilon: f64,
}

fn normalized(graph: &Graph, y: Value) -> Option<Normalized> {
    let (factors, variance, epsilon) = over_deviation(graph, y)?;
    let (square, axis) = mean_from(graph, variance)?;
    let of = base_of_square(graph, square)?;
    with_scale(&factors).into_iter().find_map(|(centered, scale)| {
        let x = centered_of(graph, centered, axis)?;
        // Some exporters subtract the mean a second time.
        let same = of == centered || centered_of(graph, of, axis) == Some(x);
        (same && fits(graph, scale, x, axis)).then_some(Normalized { x, scale, axis, epsilon })
    })
}

/// What may be normalized, and by what it is scaled.
pub fn with_scale(factors: &[Value]) -> Vec<(Value, Option<Value>)> {
    match *factors {
        [x] => vec![(x, None)],
        [a, b] => vec![(a, Some(b)), (b, Some(a))],
        _ => vec![],
    }
}

/// Whether a scale has one number for each element of the axes of x from `axis` on.
pub fn fits(graph: &Graph, scale: Option<Value>, x: Value, axis: usize) -> bool {
    scale.is_none_or(|it| graph.ty(it).dims() == &graph.ty(x).dims()[axis..])
}

/// x where `value` is x less its mean over the axes from `axis` on.
fn centered_of(graph: &Graph, value: Value, axis: usize) -> Option<Value> {
    let parts = made(graph, value, "sub")?;
    let mean = mean_from(graph, parts[1])?;
    (mean == (parts[0], axis)).then_some(parts[0])
}

/// The factors of `y = a * b * … / sqrt(variance + epsilon)`, the variance and epsilon.
pub fn over_deviation(graph: &Graph, y: Value) -> Option<(Vec<Value>, Value, f64)> {
    let whole = product(graph, y);
    let powered = |value: Value, exponent: f64| {
        made_by_number(graph, value, "power", "exponent").filter(|it| it.1 == exponent).map(|it| it.0)
    };
    let root = |&it: &Value| made(graph, it, "sqrt").map(|it| it[0]).or_else(|| powered(it, 0.5));
    let (mut factors, shifted) = match whole.under[..] {
        [divisor] => (whole.over, root(&divisor)?),
        [] => {
            let at = whole.over.iter().position(|&it| powered(it, -0.5).is_some())?;
            let mut factors = whole.over;
            let shifted = powered(factors.remove(at), -0.5)?;
            (factors, shifted)
        }
        _ => return None,
    };
    let (variance, epsilon) = made_by_number(graph, shifted, "shift", "offset")?;
    factors.sort_unstable();
    (whole.number == 1.0 && 0.0 <= epsilon).then_some((factors, variance, epsilon))
}

/// What `mean` is the mean of, and from which axis on, where that is the last ones and they stay as ones.
pub fn mean_from(graph: &Graph, mean: Value) -> Option<(Value, usize)> {
    let of = made(graph, mean, "reduce_mean")?[0];
    let (rank, attrs) = (graph.ty(of).rank(), &graph.node(mean.node).attrs);
    let mut axes = attrs.ints("axes").to_vec();
    axes.sort_unstable();
    let first = rank.checked_sub(axes.len())?;
    let last_ones = axes.iter().copied().eq(first as i64..rank as i64) && !axes.is_empty();
    (last_ones && attrs.int_or("keepdims", 1) == 1).then_some((of, first))
}

/// x where `square` is x², made either way.
pub fn base_of_square(graph: &Graph, square: Value) -> Option<Value> {
    match made(graph, square, "mul") {
        Some(factors) => (factors[0] == factors[1]).then_some(factors[0]),
        None => made_by_number(graph, square, "power", "exponent").filter(|it| it.1 == 2.0).map(|it| it.0),
    }
}
