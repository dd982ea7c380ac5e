//! The counter behind the "memory" that the method's authors publish.
//!
//! Their column is a formula, not a measurement (`ViT/utils/memory_cost_profiler.py` and
//! `CNN/utils/memory_cost_profiler.py` of the published code):
//!
//! ```text
//! params + batch * max over modules in forward order of (what it reads and makes + what was saved before it + R)
//! ```
//!
//! Params are 4 bytes each, frozen ones 1, running statistics none. R is the input of the residual block that the module
//! lies in. Gradients, optimizer state, cotangents and expanded copies are not in it: read it beside their tables, not
//! as memory. It counts what the published code would save of the network, whatever razorc saves of it.
//!
//! The code for transformers saves values of 16 bits, leaves the ends whole, and saves the whole input of GELU; that for
//! convolutional networks does neither. Which one counts is told by whether there is attention.

use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops;
use crate::options::Sparsity;
use crate::passes::lift_attention;
use crate::types::Type;

/// Most nodes between the ends of a residual block; a longer way round is none.
const LONGEST: usize = 1000;

/// Bytes that the authors' counter gives a network, from its forward phase at `batch` samples, all of it pruned to
/// `sparsity`.
///
/// What a block's attention and activation save is added where they are, not where the block begins as in the original.
/// The largest sum is the same, as both come before the block's last layer. Attention with a trained bias counts as
/// nothing: it is in no table.
pub fn bytes(forward: &Graph, batch: u64, sparsity: Sparsity) -> u64 {
    let mut graph = forward.clone();
    lift_attention::run(&mut graph);
    let counter = Counter::new(&graph, batch, sparsity);
    let (mut saved, mut most) = (0.0, 0.0);
    for node in graph.phase(Phase::Forward) {
        let around = counter.blocks.get(&node).copied().unwrap_or(0.0);
        for module in counter.modules(node) {
            most = f64::max(most, module.temporary + saved + around);
            saved += module.saved;
        }
    }
    counter.params() + (batch as f64 * most).round() as u64
}

/// What the counter adds for a module, in bytes of one sample.
struct Module {
    temporary: f64,
    saved: f64,
}

struct Counter<'a> {
    graph: &'a Graph,
    batch: u64,
    /// Share pruned; 0 saves everything whole.
    pruned: f64,
    transformer: bool,
    /// Values that params go into.
    trained: HashSet<Value>,
    /// Layers with weights, in order.
    layers: Vec<NodeId>,
    /// Linear layers that make more than one of the queries, keys and values of attention: how many.
    fused: HashMap<NodeId, u64>,
    /// Bytes of a sample of the input of the innermost residual block that a node lies in.
    blocks: HashMap<NodeId, f64>,
}

impl<'a> Counter<'a> {
    fn new(graph: &'a Graph, batch: u64, sparsity: Sparsity) -> Counter<'a> {
        let forward = || graph.phase(Phase::Forward);
        let mut counter = Counter {
            graph,
            batch: batch.max(1),
            pruned: f64::from(sparsity.ppm()) / 1e6,
            transformer: forward().any(|it| graph.node(it).op.name == "attention"),
            trained: lift_attention::trained(graph),
            layers: forward().filter(|it| graph.node(*it).op.weight.is_some()).collect(),
            fused: HashMap::new(),
            blocks: HashMap::new(),
        };
        for node in forward() {
            match graph.node(node).op.name {
                "attention" => counter.note_sources(node),
                "add" => counter.note_block(node),
                _ => {}
            }
        }
        counter
    }

    /// Elements of a sample.
    fn elements(&self, value: Value) -> f64 {
        (self.graph.ty(value).elements() / self.batch) as f64
    }

    /// 4 bytes for each number that is trained, 1 for each other one of a layer; buffers, as running statistics are, none.
    fn params(&self) -> u64 {
        let elements = |it: Value| self.graph.ty(it).elements();
        let is_statistic = |&(node, slot): &(NodeId, usize)| self.graph.node(node).op.name == "batch_norm" && 2 < slot;
        let is_buffer = |it: &Value| self.graph.readers(*it).iter().any(is_statistic);
        let frozen = self.graph.declared("frozen").into_iter().filter(|it| !is_buffer(it));
        4 * self.graph.declared("param").into_iter().map(elements).sum::<u64>() + frozen.map(elements).sum::<u64>()
    }

    /// What a node counts as.
    fn modules(&self, node: NodeId) -> Vec<Module> {
        let graph = self.graph;
        let (op, operands) = (graph.node(node).op, graph.operands(node));
        let results = graph.results(node);
        let (Some(&x), Some(&y)) = (operands.first(), results.first()) else { return vec![] };
        let n = self.elements(x);
        let whole = |counts: bool| if counts { 4.0 * n } else { 0.0 };
        let scaled = operands.get(1).is_some_and(|it| self.is_param(*it));
        let module = match (op.name, ops::family(op)) {
            ("conv" | "linear", _) => return self.layer(node, x, y),
            ("batch_norm_train", _) => Module { temporary: 4.0 * n, saved: 4.0 * n },
            ("batch_norm", _) => Module { temporary: 4.0 * n, saved: whole(scaled) },
            (_, "row_norm") => {
                let whole = self.pruned == 0.0 || self.is_end(node);
                let saved = if whole { 4.0 * n } else { 4.0 * n * self.kept(n) + n / 8.0 };
                Module { temporary: 4.0 * n, saved: if scaled { saved } else { 0.0 } }
            }
            ("attention", _) => {
                let keys = graph.ty(operands[1]).dims().iter().rev().nth(1).map_or(1.0, |&it| it as f64);
                let scores = keys * self.elements(results[1]);
                let read: f64 = operands[..3].iter().map(|it| self.elements(*it)).sum();
                let each = if self.pruned == 0.0 { 4.0 } else { 2.0 * (1.0 - self.pruned) + 0.125 };
                let learns = self.trained.contains(&y);
                Module { temporary: 0.0, saved: if learns { each * (scores + read) } else { 0.0 } }
            }
            // Its masks are not counted.
            ("dropout", _) => return vec![],
            (_, "activation" | "smooth") if self.transformer => {
                let each = if self.pruned == 0.0 { 4.0 } else { 2.0 };
                Module { temporary: 0.0, saved: if self.trained.contains(&x) { each * n } else { 0.0 } }
            }
            (_, "activation" | "smooth") => {
                let has_mask = results.iter().any(|it| matches!(graph.ty(*it), Type::Bits { .. }));
                Module { temporary: 4.0 * n, saved: if has_mask { n / 8.0 } else { 4.0 * n } }
            }
            _ => return vec![],
        };
        vec![module]
    }

    /// A linear layer or a convolution; one for each of the layers that it stands for.
    fn layer(&self, node: NodeId, x: Value, y: Value) -> Vec<Module> {
        let (n, op) = (self.elements(x), self.graph.node(node).op);
        let trained = op.weight.is_some_and(|it| self.is_param(self.graph.operands(node)[it]));
        let pruned = 0.0 < self.pruned && !(self.transformer && (op.name == "conv" || self.is_end(node)));
        let saved = match (pruned, self.transformer) {
            (false, _) => {
                if trained {
                    4.0 * n
                } else {
                    0.0
                }
            }
            // The bitmap is counted even where the weight is frozen.
            (true, true) => n / 8.0 + if trained { 2.0 * n * self.kept(n) } else { 0.0 },
            (true, false) => {
                if trained {
                    4.0 * n * (1.0 - self.pruned) + n / 8.0
                } else {
                    0.0
                }
            }
        };
        let parts = self.fused.get(&node).copied().unwrap_or(1);
        let groups = self.graph.node(node).attrs.int_or("groups", 1).max(1) as f64;
        let made = self.elements(y) / groups / parts as f64;
        (0..parts).map(|_| Module { temporary: 4.0 * (n + made), saved }).collect()
    }

    /// Share kept of n elements by the published rule, where there are no ties.
    fn kept(&self, n: f64) -> f64 {
        (n - (n * self.pruned).trunc().max(1.0) + 1.0) / n
    }

    fn is_param(&self, value: Value) -> bool {
        self.graph.node(self.graph.root(value).node).op.name == "param"
    }

    /// Whether a node is the last layer, or comes after the last but one.
    fn is_end(&self, node: NodeId) -> bool {
        let before = self.layers.iter().rev().nth(1);
        before.is_none_or(|&it| self.graph.position(it) < self.graph.position(node))
    }

    /// Counts from which linear layers queries, keys and values come, as far as each comes from one alone.
    fn note_sources(&mut self, attention: NodeId) {
        for value in self.graph.operands(attention).into_iter().take(3) {
            let (mut sources, mut seen, mut open) = (HashSet::new(), HashSet::new(), vec![value]);
            while let Some(value) = open.pop() {
                let node = value.node;
                match (self.graph.node(node).op.name, ops::family(self.graph.node(node).op)) {
                    _ if !seen.insert(node) || self.graph.is_declared(value) => {}
                    (_, "layout" | "elementwise" | "index") if seen.len() < LONGEST => {
                        open.extend(self.graph.operands(node))
                    }
                    _ => _ = sources.insert(node),
                }
            }
            let mut sources = sources.into_iter();
            if let (Some(layer), None) = (sources.next(), sources.next())
                && self.graph.node(layer).op.name == "linear"
            {
                *self.fused.entry(layer).or_default() += 1;
            }
        }
    }

    /// Notes the nodes between `x` and `add(x, f(x))`, or `add(g(x), f(x))`.
    fn note_block(&mut self, add: NodeId) {
        let graph = self.graph;
        let (mut sides, mut open): (HashMap<Value, u8>, _) = (HashMap::new(), BinaryHeap::new());
        let mut inside = HashSet::new();
        let reach = |value: Value, side: u8, sides: &mut HashMap<Value, u8>, open: &mut BinaryHeap<_>| {
            let is_weight = graph.is_declared(value) && graph.node(value.node).op.name != "input";
            if !is_weight {
                let known = sides.entry(value).or_default();
                if *known == 0 {
                    open.push((graph.position(value.node), value));
                }
                *known |= side;
            }
        };
        let operands = graph.operands(add);
        operands.iter().take(2).zip([1, 2]).for_each(|(&it, side)| reach(it, side, &mut sides, &mut open));
        // The last value that both sides come from; later ones are looked at first.
        while let Some((_, value)) = open.pop().filter(|_| inside.len() < LONGEST) {
            let side = sides[&value];
            if side == 3 {
                let bytes = if graph.ty(value).is_f32() { 4.0 * self.elements(value) } else { 0.0 };
                inside.into_iter().for_each(|it| _ = self.blocks.entry(it).or_insert(bytes));
                return;
            }
            inside.insert(value.node);
            graph.operands(value.node).into_iter().for_each(|it| reach(it, side, &mut sides, &mut open));
        }
    }
}
