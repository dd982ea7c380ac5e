//! Attention as exporters write it, as one op that never keeps the probabilities.

use std::collections::HashSet;

use super::fold_transposes::swapped;
use super::pattern::{Lift, both_orders, is_inner, made, made_by_number, replace};
use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops;
use crate::types::Type;

/// Turns `softmax(q kᵀ * scale + mask) v` into `attention`.
///
/// The scale may be a factor of q, of k or of their product. Keys and values that are repeated for each head of a group
/// are read once for all. A mask that params go into needs a gradient, which the op has not: such attention stays as it
/// is.
pub fn run(graph: &mut Graph) {
    let trained = trained(graph);
    let mut removed = HashSet::new();
    for node in graph.phase(Phase::Forward).rev().collect::<Vec<_>>() {
        let root = Value { node, result: 0 };
        if removed.contains(&node) {
            continue;
        }
        if let Some(found) = Attention::find(graph, root, &trained) {
            removed.extend(found.replace(graph, root));
        }
    }
}

/// Values that params go into.
fn trained(graph: &Graph) -> HashSet<Value> {
    let mut trained: HashSet<Value> = graph.declared("param").into_iter().collect();
    for node in graph.phase(Phase::Forward) {
        if graph.operands(node).iter().any(|it| trained.contains(it)) {
            trained.extend(graph.results(node));
        }
    }
    trained
}

struct Attention {
    q: Value,
    k: Keys,
    v: Value,
    mask: Option<Value>,
    scale: f64,
}

/// Keys `[.., rows, columns]`, or what they are a transpose of.
enum Keys {
    Rows(Value),
    Permuted(Value, Vec<i64>),
}

/// A product of queries and keys.
struct Scores {
    q: Value,
    k: Keys,
    scale: f64,
}

impl Attention {
    fn find(graph: &Graph, root: Value, trained: &HashSet<Value>) -> Option<Attention> {
        let operands = made(graph, root, "matmul").filter(|_| flags(graph, root) == (0, 0))?;
        let (p, v) = (operands[0], operands[1]);
        let x = made(graph, p, "softmax")?[0];
        let axis = graph.node(p.node).attrs.int_or("axis", -1);
        let rank = graph.ty(p).rank();
        if axis + 1 != rank as i64 || rank < 3 || !is_inner(graph, p) || !is_inner(graph, x) {
            return None;
        }
        let masked = |(x, mask): (Value, Value)| {
            let fits = graph.ty(x) == graph.ty(p) && graph.ty(mask).is_f32() && !trained.contains(&mask);
            Some((Scores::find(graph, x).filter(|_| fits)?, Some(mask)))
        };
        let (scores, mask) = match made(graph, x, "add") {
            Some(terms) => both_orders(&terms)?.into_iter().find_map(masked)?,
            None => (Scores::find(graph, x)?, None),
        };
        let Scores { q, mut k, scale } = scores;
        let mut v = v;
        if let Keys::Rows(rows) = k
            && let (Some(k_once), Some(v_once)) = (ungrouped(graph, rows), ungrouped(graph, v))
        {
            (k, v) = (Keys::Rows(k_once), v_once);
        }
        let found = Attention { q, k, v, mask, scale };
        let y = (ops::get("attention").shape)(&found.types(graph), &Attrs::new()).ok()?;
        (y.first() == Some(graph.ty(root))).then_some(found)
    }

    fn types(&self, graph: &Graph) -> Vec<Type> {
        let k = match &self.k {
            Keys::Rows(k) => graph.ty(*k).clone(),
            Keys::Permuted(from, perm) => {
                let dims = graph.ty(*from).dims();
                Type::f32(&perm.iter().map(|&it| dims[it as usize]).collect::<Vec<_>>())
            }
        };
        let mask = self.mask.map(|it| graph.ty(it).clone());
        [graph.ty(self.q).clone(), k, graph.ty(self.v).clone()].into_iter().chain(mask).collect()
    }

    fn replace(self, graph: &mut Graph, root: Value) -> Vec<NodeId> {
        let k = match self.k {
            Keys::Rows(k) => k,
            Keys::Permuted(from, perm) => {
                let (name, attrs) = (format!("{}.keys", graph.name(root)), Attrs::new().with("perm", perm));
                let node = graph
                    .add(Phase::Forward, ops::get("transpose"), &[from], attrs, &name)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                graph.move_before(node, root.node);
                Value { node, result: 0 }
            }
        };
        let operands = [self.q, k, self.v].into_iter().chain(self.mask).collect();
        let attrs = Attrs::new().with("scale", self.scale).with("causal", 0).with("safe", 0);
        replace(graph, root.node, Lift { op: "attention", operands, attrs })
    }
}

impl Scores {
    fn find(graph: &Graph, value: Value) -> Option<Scores> {
        let (product, of_scores) = unscaled(graph, value);
        let operands = made(graph, product, "matmul").filter(|_| is_inner(graph, product))?;
        let (q, of_q) = unscaled(graph, operands[0]);
        let (k, of_k) = unscaled(graph, operands[1]);
        let rank = graph.ty(k).rank();
        let mut scale = of_scores * of_q * of_k;
        let k = match (flags(graph, product), made(graph, k, "transpose").filter(|_| is_inner(graph, k))) {
            ((0, 1), _) => Keys::Rows(k),
            ((0, 0), Some(from)) => {
                let mut perm = graph.node(k.node).attrs.ints("perm").to_vec();
                perm.swap(rank - 2, rank - 1);
                let (rows, of_rows) = unscaled(graph, from[0]);
                scale *= of_rows;
                match perm.iter().copied().eq(0..rank as i64) {
                    true => Keys::Rows(rows),
                    false => Keys::Permuted(rows, perm),
                }
            }
            ((0, 0), None) => Keys::Permuted(k, swapped(rank)),
            _ => return None,
        };
        Some(Scores { q, k, scale })
    }
}

/// What a value that nobody else reads is a multiple of, and which.
fn unscaled(graph: &Graph, value: Value) -> (Value, f64) {
    match made_by_number(graph, value, "scale", "factor") {
        Some(found) if is_inner(graph, value) => found,
        _ => (value, 1.0),
    }
}

fn flags(graph: &Graph, product: Value) -> (i64, i64) {
    let attrs = &graph.node(product.node).attrs;
    (attrs.int_or("ta", 0), attrs.int_or("tb", 0))
}

/// Keys or values `[.., heads, rows, columns]` before each head was repeated for its group.
fn ungrouped(graph: &Graph, value: Value) -> Option<Value> {
    let repeated = made(graph, value, "reshape")?[0];
    let one = made(graph, repeated, "expand")?[0];
    let once = made(graph, one, "reshape")?[0];
    let (lead, rest) = graph.ty(once).dims().split_at(graph.ty(once).rank().checked_sub(3)?);
    let &[heads, rows, columns] = rest else { return None };
    let group = *graph.ty(repeated).dims().get(lead.len() + 1)?;
    let is = |value: Value, dims: &[u64]| graph.ty(value).dims() == [lead, dims].concat();
    let exact = graph.node(repeated.node).attrs.float_or("scale", 1.0) == 1.0;
    let fits = is(one, &[heads, 1, rows, columns])
        && is(repeated, &[heads, group, rows, columns])
        && is(value, &[heads * group, rows, columns]);
    (fits && exact).then_some(once)
}
