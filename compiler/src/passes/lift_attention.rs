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
pub(crate) fn trained(graph: &Graph) -> HashSet<Value> {
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
    v: Keys,
    mask: Option<Value>,
    scale: f64,
    safe: bool,
}

/// Keys or values `[.., heads, rows, columns]`, or what they are a transpose of.
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
        let (p, safe) = match unguarded(graph, operands[0]) {
            Some(p) => (p, true),
            None if is_inner(graph, operands[0]) => (operands[0], false),
            None => return None,
        };
        let x = made(graph, p, "softmax")?[0];
        let axis = graph.node(p.node).attrs.int_or("axis", -1);
        let rank = graph.ty(p).rank();
        if axis + 1 != rank as i64 || rank < 3 || !is_inner(graph, x) {
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
        let Scores { q, k, scale } = scores;
        let v = Keys::Rows(operands[1]);
        let (k, v) = match (k.ungrouped(graph), v.ungrouped(graph)) {
            (Some(k), Some(v)) => (k, v),
            _ => (k, v),
        };
        let found = Attention { q, k, v, mask, scale, safe };
        let y = (ops::get("attention").shape)(&found.types(graph), &Attrs::new()).ok()?;
        (y.first() == Some(graph.ty(root))).then_some(found)
    }

    fn types(&self, graph: &Graph) -> Vec<Type> {
        let mask = self.mask.map(|it| graph.ty(it).clone());
        [graph.ty(self.q).clone(), self.k.ty(graph), self.v.ty(graph)].into_iter().chain(mask).collect()
    }

    fn replace(self, graph: &mut Graph, root: Value) -> Vec<NodeId> {
        let (k, v) = (self.k.make(graph, root, "keys"), self.v.make(graph, root, "values"));
        let operands = [self.q, k, v].into_iter().chain(self.mask).collect();
        let attrs = Attrs::new().with("scale", self.scale).with("causal", 0).with("safe", i64::from(self.safe));
        replace(graph, root.node, Lift { op: "attention", operands, attrs })
    }
}

impl Keys {
    fn ty(&self, graph: &Graph) -> Type {
        match self {
            Keys::Rows(value) => graph.ty(*value).clone(),
            Keys::Permuted(from, perm) => {
                let dims = graph.ty(*from).dims();
                Type::f32(&perm.iter().map(|&it| dims[it as usize]).collect::<Vec<_>>())
            }
        }
    }

    /// The value itself, for attention at `root`.
    fn make(self, graph: &mut Graph, root: Value, what: &str) -> Value {
        match self {
            Keys::Rows(value) => value,
            Keys::Permuted(from, perm) => {
                let (name, attrs) = (format!("{}.{what}", graph.name(root)), Attrs::new().with("perm", perm));
                let node = graph
                    .add(Phase::Forward, ops::get("transpose"), &[from], attrs, &name)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                graph.move_before(node, root.node);
                Value { node, result: 0 }
            }
        }
    }

    /// The same before each head was repeated for its group, be it before or after a transpose.
    fn ungrouped(&self, graph: &Graph) -> Option<Keys> {
        let heads = |perm: &[i64]| Some(perm[perm.len().checked_sub(3)?] as usize);
        match self {
            Keys::Permuted(from, perm) => Some(Keys::Permuted(unrepeated(graph, *from, heads(perm)?)?, perm.clone())),
            Keys::Rows(value) => match made(graph, *value, "transpose") {
                None => Some(Keys::Rows(unrepeated(graph, *value, graph.ty(*value).rank().checked_sub(3)?)?)),
                Some(from) => {
                    let perm = graph.node(value.node).attrs.ints("perm").to_vec();
                    Some(Keys::Permuted(unrepeated(graph, from[0], heads(&perm)?)?, perm))
                }
            },
        }
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

/// Probabilities behind a guard that puts zero where they are not a number, as rows do that see nothing.
fn unguarded(graph: &Graph, value: Value) -> Option<Value> {
    let [missing, zero, p] = made(graph, value, "where")?[..] else { return None };
    let number = made(graph, missing, "not")?[0];
    let compared = made(graph, number, "equal")?;
    let alone = [value, missing, number].iter().all(|&it| is_inner(graph, it)) && graph.readers(p).len() == 3;
    // Values of constants are not in the graph; every exporter puts zero here.
    let one_number = graph.is_declared(zero) && graph.ty(zero).elements() == 1;
    (compared == [p, p] && alone && one_number && graph.ty(value) == graph.ty(p)).then_some(p)
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

/// What `value` was before each element of an axis was repeated, where that was done by an axis that was put behind it.
fn unrepeated(graph: &Graph, value: Value, axis: usize) -> Option<Value> {
    let repeated = made(graph, value, "reshape")?[0];
    let one = made(graph, repeated, "expand")?[0];
    let once = made(graph, one, "reshape")?[0];
    let (before, after) = graph.ty(once).dims().split_at_checked(axis + 1)?;
    let (heads, times) = (before[axis], *graph.ty(repeated).dims().get(axis + 1)?);
    let is = |value: Value, dims: &[u64]| graph.ty(value).dims() == [&before[..axis], dims, after].concat();
    let exact = graph.node(repeated.node).attrs.float_or("scale", 1.0) == 1.0;
    let fits = is(one, &[heads, 1]) && is(repeated, &[heads, times]) && is(value, &[heads * times]);
    (fits && exact).then_some(once)
}
