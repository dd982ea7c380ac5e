//! Reading a graph against its edges: what made a value. Shared by the passes that lift patterns into ops.
//!
//! A lift keeps the name of the pattern's last value, and never changes what is computed. Values inside a pattern that
//! somebody else reads would have to be made all the same, so such a pattern is left alone.

use std::collections::HashSet;

use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops;

/// Most nodes on the way from a product to one of its factors. Longer ones are no pattern that we know.
const DEEPEST: usize = 6;

/// The node that takes a pattern's place.
pub struct Lift {
    /// Row of the op table.
    pub op: &'static str,
    /// What it reads.
    pub operands: Vec<Value>,
    /// Its constants.
    pub attrs: Attrs,
}

/// Replaces every node for whose first result `find` knows a better one, outermost patterns first.
pub fn lift(graph: &mut Graph, find: impl Fn(&Graph, Value) -> Option<Lift>) {
    let mut removed = HashSet::new();
    for node in graph.phase(Phase::Forward).rev().collect::<Vec<_>>() {
        if removed.contains(&node) {
            continue;
        }
        if let Some(lift) = find(graph, Value { node, result: 0 }) {
            removed.extend(replace(graph, node, lift));
        }
    }
}

/// Turns `node` into another one, and removes what only it has read; returns that.
pub fn replace(graph: &mut Graph, node: NodeId, lift: Lift) -> Vec<NodeId> {
    let before = graph.operands(node);
    let Lift { op, operands, attrs } = lift;
    graph
        .rewrite(node, ops::get(op), &operands, attrs)
        .unwrap_or_else(|e| panic!("{op} instead of {}: {e}", graph.name(Value { node, result: 0 })));
    let (mut removed, mut candidates) = (vec![], before);
    while let Some(value) = candidates.pop() {
        let idle = |graph: &Graph| graph.results(value.node).iter().all(|it| graph.readers(*it).is_empty());
        let gone = removed.contains(&value.node);
        if !gone && graph.node(value.node).phase == Phase::Forward && idle(graph) {
            candidates.extend(graph.operands(value.node));
            graph.remove(value.node);
            removed.push(value.node);
        }
    }
    removed
}

/// The operands of the node that made `value`, if that is an `op`.
pub fn made(graph: &Graph, value: Value, op: &str) -> Option<Vec<Value>> {
    let node = graph.node(value.node);
    (node.phase == Phase::Forward && node.op.name == op && value.result == 0).then(|| graph.operands(value.node))
}

/// The operand and the number of the node that made `value`, if that is an `op` with a number: `shift {offset=1.0}`.
pub fn made_by_number(graph: &Graph, value: Value, op: &str, attr: &str) -> Option<(Value, f64)> {
    let operands = made(graph, value, op)?;
    Some((operands[0], graph.node(value.node).attrs.float_or(attr, f64::NAN)))
}

/// Whether exactly one operand of one node is this value.
pub fn is_inner(graph: &Graph, value: Value) -> bool {
    graph.readers(value).len() == 1
}

/// Whether a number is the constant `exact` as exporters round and shorten it.
pub fn near(number: f64, exact: f64) -> bool {
    (number - exact).abs() <= 1e-5 * exact.abs()
}

/// A product taken apart: `number * over[0] * over[1] * … / under[0] / …`, in whatever order it was multiplied.
#[derive(Debug)]
pub struct Product {
    /// All numbers in it.
    pub number: f64,
    /// Factors.
    pub over: Vec<Value>,
    /// Divisors.
    pub under: Vec<Value>,
}

/// Takes a product apart as far as nobody else reads its parts. What is no product has one factor, itself.
pub fn product(graph: &Graph, root: Value) -> Product {
    let mut product = Product { number: 1.0, over: vec![], under: vec![] };
    let mut open = vec![(root, true, 0)];
    while let Some((value, over, depth)) = open.pop() {
        let inside = depth == 0 || depth < DEEPEST && is_inner(graph, value);
        let parts = |op| made(graph, value, op).filter(|_| inside);
        if let Some(factors) = parts("mul") {
            open.extend(factors.into_iter().map(|it| (it, over, depth + 1)));
        } else if let Some(parts) = parts("div") {
            open.extend([(parts[0], over, depth + 1), (parts[1], !over, depth + 1)]);
        } else if let Some(parts) = parts("reciprocal") {
            open.push((parts[0], !over, depth + 1));
        } else if let Some((x, factor)) = made_by_number(graph, value, "scale", "factor").filter(|_| inside) {
            product.number *= if over { factor } else { 1.0 / factor };
            open.push((x, over, depth + 1));
        } else if over {
            product.over.push(value);
        } else {
            product.under.push(value);
        }
    }
    product
}

/// The product that a value is which nobody else reads.
pub fn inner_product(graph: &Graph, value: Value) -> Option<Product> {
    is_inner(graph, value).then(|| product(graph, value))
}

/// n where the product of `factors` is `x^n`.
pub fn exponent(graph: &Graph, factors: &[Value], x: Value) -> Option<f64> {
    let exponent = |&factor: &Value| match made_by_number(graph, factor, "power", "exponent") {
        _ if factor == x => Some(1.0),
        Some((base, exponent)) if base == x => Some(exponent),
        _ => None,
    };
    factors.iter().map(exponent).sum()
}

/// Both orders of two.
pub fn both_orders(pair: &[Value]) -> Option<[(Value, Value); 2]> {
    match *pair {
        [a, b] => Some([(a, b), (b, a)]),
        _ => None,
    }
}
