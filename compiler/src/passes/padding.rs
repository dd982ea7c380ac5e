//! Which saved values have a token's features in each row, and which input tells tokens from padding.
//!
//! What is padded reaches nothing that counts: attention masks it out, and the loss does not see it. So its cotangents are
//! zero, and places among the largest magnitudes are lost on it. `back_razor` hands the mask to `compress`, which takes
//! padded rows for zeros.
//!
//! That is only right where padding reaches nothing, so the whole forward phase is walked. Tokens may meet each other in
//! attention under the mask, in a sum after a product with the mask, and in the loss; the first of them may be picked.
//! Where they meet otherwise, as in a mean over all positions, padding counts like everything else.

use std::collections::{HashMap, HashSet};

use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Batch};
use crate::types::{DType, Type};

/// Names of inputs that are 1 for a token and 0 for padding, as the loader of texts fills them.
const MASKS: [&str; 3] = ["attention_mask", "input_mask", "mask"];

/// What is known of padding.
pub struct Padding {
    /// The input `[batch, tokens]` that is above zero for tokens and zero for padding.
    pub mask: Value,
    /// Values of the forward phase of whose samples each is one row for each token.
    pub rows: HashSet<Value>,
}

/// The mask and what it applies to; none where there is no mask, or padding may reach the loss.
pub fn find(graph: &Graph, batch: u64) -> Option<Padding> {
    let inputs = graph.declared("input");
    let is_mask =
        |it: &Value| MASKS.contains(&graph.name(*it).to_lowercase().as_str()) && is_rows(graph.ty(*it), batch);
    let mask = inputs.iter().copied().find(is_mask)?;
    let tokens = graph.ty(mask).dims()[1];
    let mut walk = Walk {
        graph,
        tokens,
        outer: HashMap::new(),
        masks: HashSet::from([mask]),
        masked: HashSet::new(),
        in_attention: false,
    };
    for input in inputs {
        if graph.ty(input).dims().starts_with(&[batch, tokens]) {
            walk.outer.insert(input, batch);
        }
    }
    for node in graph.phase(Phase::Forward) {
        walk.visit(node)?;
    }
    let rows = walk.outer.iter().filter(|it| *it.1 == batch && graph.ty(*it.0).is_f32()).map(|it| *it.0).collect();
    walk.in_attention.then_some(Padding { mask, rows })
}

fn is_rows(ty: &Type, batch: u64) -> bool {
    matches!(ty, Type::Dense { dtype: DType::I64 | DType::Bool | DType::F32, dims }
        if matches!(dims[..], [rows, tokens] if rows == batch && 1 < tokens))
}

struct Walk<'a> {
    graph: &'a Graph,
    tokens: u64,
    /// Product of the axes before that of the tokens.
    outer: HashMap<Value, u64>,
    /// What is made of the mask and of constants alone.
    masks: HashSet<Value>,
    /// Products with those.
    masked: HashSet<Value>,
    in_attention: bool,
}

impl Walk<'_> {
    /// Follows tokens through a node; none where padding might reach further than its own row.
    fn visit(&mut self, node: NodeId) -> Option<()> {
        let graph = self.graph;
        let operands = graph.operands(node);
        let op = graph.node(node).op;
        let result = Value { node, result: 0 };
        let constant = |it: &Value| graph.is_declared(*it) && graph.node(it.node).op.name != "input";
        let is_mask = |it: &Value| self.masks.contains(it);
        if operands.iter().any(is_mask) && operands.iter().all(|it| is_mask(it) || constant(it)) {
            self.masks.extend(graph.results(node));
        }
        let followed = self.follow(node);
        let of_mask = |it: &Value| self.masks.contains(it);
        let tracked = |it: &Value| self.outer.contains_key(it) && graph.ty(*it).is_f32() && !of_mask(it);
        if operands.iter().any(tracked) {
            let family = ops::family(op);
            let is_fine = match (op.name, family) {
                ("attention", _) => operands.get(3).is_some_and(of_mask) && followed.is_some(),
                // Copies are not read before the backward phase.
                (_, "loss" | "packing") => true,
                (_, "reduce") => {
                    followed.is_some() || operands.iter().all(|it| self.masked.contains(it) || !tracked(it))
                }
                ("slice", _) => followed.is_some() || self.picks_first(node),
                _ => followed.is_some(),
            };
            if !is_fine {
                return None;
            }
            self.in_attention |= op.name == "attention";
            let product = op.name == "mul" && operands.iter().any(of_mask);
            if product || family == "layout" && operands.iter().all(|it| self.masked.contains(it)) {
                self.masked.insert(result);
            }
        }
        self.outer.extend(followed.map(|it| (result, it)));
        Some(())
    }

    /// Product of the axes before that of the tokens in a node's first result, where every row of it is made of the same
    /// row of its operands.
    fn follow(&self, node: NodeId) -> Option<u64> {
        let graph = self.graph;
        let operands = graph.operands(node);
        let (op, attrs) = (graph.node(node).op, &graph.node(node).attrs);
        let y = graph.ty(*graph.results(node).first()?);
        let first = *operands.first()?;
        let outer = |it: &Value| self.outer.get(it).copied();
        let (x, inside) = (graph.ty(first).dims(), outer(&first));
        // Whether the axis of tokens is before this one.
        let before = |axis: usize| {
            inside.filter(|it| x.get(..axis).is_some_and(|it| !it.is_empty()) && covers(&x[..axis], *it, self.tokens))
        };
        match (op.name, ops::family(op)) {
            ("linear", _) => before(x.len() - 1),
            ("attention", _) => inside.filter(|it| {
                let queries = x.len() - 2;
                x[queries] == self.tokens && x[..queries].iter().product::<u64>() == *it
            }),
            ("reshape", _) => inside,
            ("transpose" | "slice", _) => {
                let Batch::Moves(rule) = op.batch else { return None };
                let types: Vec<Type> = operands.iter().map(|it| graph.ty(*it).clone()).collect();
                let (axis, apart) = place(x, inside?, self.tokens)?;
                let to = rule(&types, attrs, axis)?;
                Some(y.dims()[..to].iter().product::<u64>() * apart)
            }
            ("concat", _) => {
                let axis = usize::try_from(attrs.int_or("axis", 0)).ok()?;
                before(axis).filter(|_| operands.iter().all(|it| outer(it) == inside))
            }
            ("gather", _) => {
                let ids = *operands.get(1)?;
                (attrs.int_or("axis", 0) == 0).then(|| outer(&ids))?
            }
            ("expand", _) => {
                let same = x.iter().zip(y.dims()).take_while(|(a, b)| a == b).count();
                before(same).filter(|_| x.len() == y.dims().len())
            }
            (_, "reduce") => before(*attrs.ints("axes").first()? as usize),
            (_, "softmax" | "row_norm") => before(usize::try_from(attrs.int_or("axis", 0)).ok()?),
            (_, "elementwise" | "activation" | "smooth" | "math" | "logic") => {
                let full = |it: &&Value| graph.ty(**it).elements() == y.elements();
                operands.iter().filter(full).find_map(outer)
            }
            _ => None,
        }
    }

    /// Whether a slice is of the first token alone, which is no padding.
    fn picks_first(&self, node: NodeId) -> bool {
        let first = self.graph.operands(node)[0];
        let (x, attrs) = (self.graph.ty(first).dims(), &self.graph.node(node).attrs);
        let Some((axis, 1)) = self.outer.get(&first).and_then(|it| place(x, *it, self.tokens)) else { return false };
        let y = self.graph.ty(Value { node, result: 0 }).dims();
        x[axis] == self.tokens && y.get(axis) == Some(&1) && attrs.ints("starts").get(axis) == Some(&0)
    }
}

/// Whether axes hold whole tokens, which `inside` others lie before.
fn covers(dims: &[u64], inside: u64, tokens: u64) -> bool {
    dims.iter().product::<u64>().is_multiple_of(inside * tokens)
}

/// The axis that holds the tokens, and how many equal parts of it lie before each of them.
fn place(dims: &[u64], inside: u64, tokens: u64) -> Option<(usize, u64)> {
    let mut before = 1;
    for (axis, &dim) in dims.iter().enumerate() {
        let whole = inside.is_multiple_of(before) && (before * dim).is_multiple_of(inside * tokens);
        if whole {
            return Some((axis, inside / before));
        }
        before *= dim;
    }
    None
}
