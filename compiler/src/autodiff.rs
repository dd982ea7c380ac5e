//! Reverse-mode differentiation. Gradients are nodes; what they read from the forward phase is what gets saved.

use std::collections::{HashMap, HashSet};

use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Gradient};
use crate::types::Type;

/// Name of the stage, for `inspect`.
pub const STAGE: &str = "autodiff";

/// Appends the backward phase; returns the gradient of `loss` with respect to each param that it depends on.
///
/// Only what lies between `params` and `loss` gets a cotangent: what is frozen costs neither gradient nor saved memory.
pub fn differentiate(graph: &mut Graph, loss: Value, params: &[Value]) -> Vec<(Value, Value)> {
    differentiate_from(graph, loss, None, params)
}

/// As [`differentiate`]; `one` is the cotangent of a loss that is made by an op that is no loss itself.
pub fn differentiate_from(graph: &mut Graph, loss: Value, one: Option<Value>, params: &[Value]) -> Vec<(Value, Value)> {
    let forward: Vec<NodeId> = graph.phase(Phase::Forward).collect();
    let mut reached: HashSet<Value> = params.iter().copied().collect();
    for &node in &forward {
        if graph.operands(node).iter().any(|it| reached.contains(it)) {
            reached.extend(graph.results(node));
        }
    }
    let mut cotangents: HashMap<Value, Value> = one.map(|one| (loss, one)).into_iter().collect();
    for &node in forward.iter().rev() {
        let results = graph.results(node);
        let arrived: Vec<Option<Value>> = results.iter().map(|it| cotangents.get(it).copied()).collect();
        if arrived.iter().all(Option::is_none) && !results.contains(&loss) {
            continue;
        }
        let Gradient::Rule(rule) = graph.node(node).op.gradient else {
            continue;
        };
        let operands = graph.operands(node);
        let wanted: Vec<bool> = operands.iter().map(|it| reached.contains(it)).collect();
        if !wanted.contains(&true) {
            continue;
        }
        let found = vec![None; operands.len()];
        let mut at = Vjp { graph, node, operands, results, cotangents: arrived, wanted, found };
        rule(&mut at);
        let found: Vec<(Value, Value)> =
            at.operands.iter().zip(&at.found).filter_map(|(&operand, &it)| Some((operand, it?))).collect();
        for (operand, part) in found {
            let sum = match cotangents.get(&operand) {
                Some(&other) => add(graph, operand, other, part),
                None => part,
            };
            cotangents.insert(operand, sum);
        }
    }
    params.iter().filter_map(|it| Some((*it, *cotangents.get(it)?))).collect()
}

fn add(graph: &mut Graph, operand: Value, a: Value, b: Value) -> Value {
    let name = format!("{}.grad.sum", graph.name(operand));
    let node = graph
        .add(Phase::Backward, ops::get("add"), &[a, b], Attrs::new(), &name)
        .unwrap_or_else(|e| panic!("cotangents of {name} do not add: {e}"));
    Value { node, result: 0 }
}

/// What a gradient rule may read, and the only way it may add nodes.
pub struct Vjp<'a> {
    graph: &'a mut Graph,
    node: NodeId,
    operands: Vec<Value>,
    results: Vec<Value>,
    cotangents: Vec<Option<Value>>,
    wanted: Vec<bool>,
    found: Vec<Option<Value>>,
}

impl Vjp<'_> {
    /// Operand of the forward node.
    pub fn operand(&self, slot: usize) -> Value {
        self.operands[slot]
    }

    /// How many operands the forward node has.
    pub fn operands(&self) -> usize {
        self.operands.len()
    }

    /// Result of the forward node.
    pub fn result(&self, result: usize) -> Value {
        self.results[result]
    }

    /// Cotangent of a result. A loss has none: it is one.
    pub fn cotangent(&self, result: usize) -> Value {
        self.cotangents[result].unwrap_or_else(|| panic!("{} has no cotangent", self.graph.name(self.results[result])))
    }

    /// Cotangent of a result; none for a loss that is minimized itself.
    pub fn cotangent_if_any(&self, result: usize) -> Option<Value> {
        self.cotangents[result]
    }

    /// Whether the cotangent of operand `slot` is asked for; false where there is no such operand.
    pub fn wants(&self, slot: usize) -> bool {
        self.wanted.get(slot).copied().unwrap_or(false)
    }

    /// Name of the forward node's op.
    pub fn op(&self) -> &'static str {
        self.graph.node(self.node).op.name
    }

    /// Attributes of the forward node.
    pub fn attrs(&self) -> &Attrs {
        &self.graph.node(self.node).attrs
    }

    /// Type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        self.graph.ty(value)
    }

    /// Axis sizes of a value.
    pub fn dims(&self, value: Value) -> Vec<u64> {
        self.graph.ty(value).dims().to_vec()
    }

    /// Emits a node on the way to the cotangent of operand `slot` and returns its first result.
    pub fn emit(&mut self, op: &str, operands: &[Value], attrs: Attrs, slot: usize) -> Value {
        let name = format!("{}.grad", self.graph.name(self.operands[slot]));
        let node = self
            .graph
            .add(Phase::Backward, ops::get(op), operands, attrs, &name)
            .unwrap_or_else(|e| panic!("gradient of {} by {op}: {e}", self.graph.name(self.results[0])));
        Value { node, result: 0 }
    }

    /// Emits the node that makes the cotangent of operand `slot`.
    pub fn grad(&mut self, slot: usize, op: &str, operands: &[Value], attrs: Attrs) {
        let value = self.emit(op, operands, attrs, slot);
        self.found[slot] = Some(value);
    }

    /// The cotangent of operand `slot` is `value`.
    pub fn found(&mut self, slot: usize, value: Value) {
        self.found[slot] = Some(value);
    }

    /// Emits one node whose results are the cotangents of `slots`, in that order.
    pub fn grads(&mut self, slots: &[usize], op: &str, operands: &[Value], attrs: Attrs) {
        let first = self.emit(op, operands, attrs, slots[0]);
        for (result, &slot) in slots.iter().enumerate() {
            if self.wants(slot) {
                self.found[slot] = Some(Value { node: first.node, result });
            }
        }
    }

    /// The cotangent of operand `slot` is `full`, summed over the axes along which the operand was broadcast.
    pub fn grad_reduced(&mut self, slot: usize, full: Value) {
        let shape = self.dims(self.operands[slot]);
        if self.graph.ty(full).dims() == shape {
            self.found[slot] = Some(full);
        } else {
            self.grad(slot, "reduce_to", &[full], Attrs::new().with("shape", shape.as_slice()));
        }
    }

    /// The cotangent of operand `slot`, one number for each channel (axis 1), is `full` summed over the other axes.
    pub fn grad_per_channel(&mut self, slot: usize, full: Value, channels: u64) {
        let mut kept = vec![1; self.graph.ty(full).rank()];
        kept[1] = channels;
        let sums = self.emit("reduce_to", &[full], Attrs::new().with("shape", kept.as_slice()), slot);
        self.grad(slot, "reshape", &[sums], Attrs::new().with("shape", [channels].as_slice()));
    }
}
