//! The training graph: forward, backward and update in one petgraph graph.
//!
//! A node is an instance of a row of the op table; an edge is one reading of a tensor. Every value keeps the name that
//! the model gave it.

use std::collections::HashMap;
use std::ops::Range;

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::attrs::Attrs;
use crate::ops::{self, Lower, OpDef, ShapeError};
use crate::types::Type;

/// A whole training step: declarations, then nodes in an order in which they can run.
#[derive(Clone, Default)]
pub struct Graph {
    /// Of the model.
    pub name: String,
    nodes: StableDiGraph<Node, Use>,
    order: Vec<NodeIndex>,
    names: HashMap<String, Value>,
    /// The last number that a name was given to be free.
    numbers: HashMap<String, usize>,
}

/// An instance of an op.
#[derive(Clone)]
pub struct Node {
    /// Row of the op table.
    pub op: &'static OpDef,
    /// When it runs.
    pub phase: Phase,
    /// Constants of the instance.
    pub attrs: Attrs,
    outputs: Vec<Output>,
    /// Index in the order.
    position: usize,
    /// Of a view: the value whose bytes it lies in.
    root: Option<Value>,
}

#[derive(Clone)]
struct Output {
    name: String,
    ty: Type,
}

/// An operand: which result is read, and into which slot.
#[derive(Clone, Copy)]
struct Use {
    result: usize,
    slot: usize,
}

/// When a node runs. Declarations are inputs, weights and state. A graph with an opening runs on one part of a batch after
/// the other: its opening before the first part alone, its updates after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Phase {
    Declare,
    Opening,
    Forward,
    Backward,
    Update,
}

/// A node's name within its graph; stays valid while other nodes come and go.
pub type NodeId = NodeIndex;

/// A tensor: one result of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// Who makes it.
    pub node: NodeId,
    /// Which of its results.
    pub result: usize,
}

impl Graph {
    /// A graph without nodes.
    pub fn new(name: &str) -> Graph {
        Graph { name: name.to_string(), ..Graph::default() }
    }

    /// Declares an input, weight or state; `role` is a row of `ops/source.rs`.
    pub fn declare(&mut self, role: &str, name: &str, ty: Type) -> Value {
        let node = self.place(Phase::Declare, ops::get(role), Attrs::new(), &[], vec![(name.to_string(), ty)]);
        Value { node, result: 0 }
    }

    /// Appends a node at the end of its phase, with result types by the op's shape rule.
    ///
    /// The first result is called `name`; the others are named after it by the op. A name that is taken gets a number.
    pub fn add(
        &mut self,
        phase: Phase,
        op: &'static OpDef,
        operands: &[Value],
        attrs: Attrs,
        name: &str,
    ) -> Result<NodeId, ShapeError> {
        let operand_types: Vec<Type> = operands.iter().map(|it| self.ty(*it).clone()).collect();
        let types = (op.shape)(&operand_types, &attrs)?;
        let names = types.iter().enumerate().map(|(result, _)| match result {
            0 => name.to_string(),
            _ => format!("{name}.{}", op.results.get(result).unwrap_or(&"more")),
        });
        let outputs = names.zip(types.iter().cloned()).collect();
        Ok(self.place(phase, op, attrs, operands, outputs))
    }

    /// Appends a node with the names and types given; what a parser and tests need.
    pub fn place(
        &mut self,
        phase: Phase,
        op: &'static OpDef,
        attrs: Attrs,
        operands: &[Value],
        outputs: Vec<(String, Type)>,
    ) -> NodeId {
        let outputs: Vec<Output> =
            outputs.into_iter().map(|(name, ty)| Output { name: self.free_name(&name), ty }).collect();
        let names: Vec<String> = outputs.iter().map(|it| it.name.clone()).collect();
        let node = self.nodes.add_node(Node { op, phase, attrs, outputs, position: 0, root: None });
        for (result, name) in names.into_iter().enumerate() {
            self.names.insert(name, Value { node, result });
        }
        self.set_operands(node, operands);
        let at = self.order.partition_point(|&it| self.nodes[it].phase <= phase);
        self.order.insert(at, node);
        self.number(at..self.order.len());
        node
    }

    /// Moves `node` in the order, directly before `other`; both keep their phases.
    pub fn move_before(&mut self, node: NodeId, other: NodeId) {
        let (from, to) = (self.position(node), self.position(other));
        self.shift(from, if from < to { to - 1 } else { to });
    }

    /// Moves `node` in the order, directly after `other`; both keep their phases.
    pub fn move_after(&mut self, node: NodeId, other: NodeId) {
        let (from, to) = (self.position(node), self.position(other));
        self.shift(from, if from <= to { to } else { to + 1 });
    }

    /// Removes a node whose results nobody reads.
    pub fn remove(&mut self, node: NodeId) {
        for output in self.nodes[node].outputs.clone() {
            self.names.remove(&output.name);
        }
        let at = self.position(node);
        self.nodes.remove_node(node);
        self.order.remove(at);
        self.number(at..self.order.len());
    }

    /// Turns a node into an instance of another op. Its results keep their names; new ones are named after the first.
    pub fn rewrite(
        &mut self,
        node: NodeId,
        op: &'static OpDef,
        operands: &[Value],
        attrs: Attrs,
    ) -> Result<(), ShapeError> {
        let operand_types: Vec<Type> = operands.iter().map(|it| self.ty(*it).clone()).collect();
        let types = (op.shape)(&operand_types, &attrs)?;
        let first = self.nodes[node].outputs[0].name.clone();
        for (result, ty) in types.into_iter().enumerate() {
            if let Some(output) = self.nodes[node].outputs.get_mut(result) {
                output.ty = ty;
                continue;
            }
            let name = self.free_name(&format!("{first}.{}", op.results.get(result).unwrap_or(&"more")));
            self.names.insert(name.clone(), Value { node, result });
            self.nodes[node].outputs.push(Output { name, ty });
        }
        self.nodes[node].op = op;
        self.nodes[node].attrs = attrs;
        self.set_operands(node, operands);
        Ok(())
    }

    /// Makes `node` read these operands.
    pub fn set_operands(&mut self, node: NodeId, operands: &[Value]) {
        let old: Vec<_> = self.nodes.edges_directed(node, Incoming).map(|it| it.id()).collect();
        for edge in old {
            self.nodes.remove_edge(edge);
        }
        for (slot, operand) in operands.iter().enumerate() {
            self.nodes.add_edge(operand.node, node, Use { result: operand.result, slot });
        }
        self.find_root(node);
    }

    /// Makes readers of `from` that satisfy `which` read `to` instead.
    pub fn redirect(&mut self, from: Value, to: Value, which: impl Fn(&Graph, NodeId) -> bool) {
        for (reader, _) in self.readers(from) {
            if !which(self, reader) {
                continue;
            }
            let operands: Vec<Value> =
                self.operands(reader).into_iter().map(|it| if it == from { to } else { it }).collect();
            self.set_operands(reader, &operands);
        }
    }

    /// Turns a declaration into one of another role.
    pub fn set_role(&mut self, declaration: NodeId, role: &str) {
        self.nodes[declaration].op = ops::get(role);
    }

    /// Nodes in an order in which they can run: declarations, opening, forward, backward, update.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// Nodes of one phase, in order.
    pub fn phase(&self, phase: Phase) -> impl DoubleEndedIterator<Item = NodeId> {
        self.order.iter().copied().filter(move |it| self.nodes[*it].phase == phase)
    }

    /// Whether the graph runs on one part of a batch after the other.
    pub fn has_parts(&self) -> bool {
        self.phase(Phase::Opening).next().is_some()
    }

    /// Place of a node in the order.
    pub fn position(&self, node: NodeId) -> usize {
        self.nodes[node].position
    }

    /// The node itself.
    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node]
    }

    /// What a node reads, by slot.
    pub fn operands(&self, node: NodeId) -> Vec<Value> {
        let edges = self.nodes.edges_directed(node, Incoming);
        let mut uses: Vec<(usize, Value)> =
            edges.map(|it| (it.weight().slot, Value { node: it.source(), result: it.weight().result })).collect();
        uses.sort_unstable();
        uses.into_iter().map(|it| it.1).collect()
    }

    /// What a node makes.
    pub fn results(&self, node: NodeId) -> Vec<Value> {
        (0..self.nodes[node].outputs.len()).map(|result| Value { node, result }).collect()
    }

    /// Declared values that a node writes in place.
    pub fn writes(&self, node: NodeId) -> Vec<Value> {
        let operands = self.operands(node);
        let slots = (self.nodes[node].op.writes)(operands.len());
        slots.iter().filter_map(|&slot| operands.get(slot).copied()).collect()
    }

    /// Who reads a value, and in which slot; in the order of execution.
    pub fn readers(&self, value: Value) -> Vec<(NodeId, usize)> {
        let edges = self.nodes.edges_directed(value.node, Outgoing);
        let mut readers: Vec<(NodeId, usize)> =
            edges.filter(|it| it.weight().result == value.result).map(|it| (it.target(), it.weight().slot)).collect();
        readers.sort_unstable_by_key(|it| (self.position(it.0), it.1));
        readers
    }

    /// The value whose bytes a value lies in: its own, or those that it is a view of.
    pub fn root(&self, value: Value) -> Value {
        self.nodes[value.node].root.unwrap_or(value)
    }

    /// Type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        &self.nodes[value.node].outputs[value.result].ty
    }

    /// Name of a value.
    pub fn name(&self, value: Value) -> &str {
        &self.nodes[value.node].outputs[value.result].name
    }

    /// The value of this name.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.names.get(name).copied()
    }

    /// The declarations of one role, in order.
    pub fn declared(&self, role: &str) -> Vec<Value> {
        let nodes = self.phase(Phase::Declare).filter(|it| self.nodes[*it].op.name == role);
        nodes.map(|node| Value { node, result: 0 }).collect()
    }

    /// Whether a value is an input, a weight or state.
    pub fn is_declared(&self, value: Value) -> bool {
        self.nodes[value.node].phase == Phase::Declare
    }

    /// Values that the backward phase reads from before it, weights and state apart, in the order of their making.
    ///
    /// This is everything that memory carries from one phase to the other. Nobody lists it: it is what gradients read.
    pub fn saves(&self) -> Vec<Value> {
        let mut saves = vec![];
        for &node in &self.order {
            let source = &self.nodes[node];
            let carried = source.phase == Phase::Forward || source.op.name == "input";
            if !carried {
                continue;
            }
            for value in self.results(node) {
                let later = |it: &(NodeId, usize)| self.nodes[it.0].phase == Phase::Backward;
                if self.readers(value).iter().any(later) {
                    saves.push(value);
                }
            }
        }
        saves
    }

    /// Notes whose bytes a node's result lies in, and those of the views of it.
    fn find_root(&mut self, node: NodeId) {
        let mut changed = vec![node];
        while let Some(node) = changed.pop() {
            let is_view = self.nodes[node].op.lower == Lower::View;
            let root = if is_view { self.operands(node).first().map(|it| self.root(*it)) } else { None };
            if self.nodes[node].root != root {
                self.nodes[node].root = root;
                changed.extend(self.nodes.neighbors_directed(node, Outgoing));
            }
        }
    }

    /// Moves what is at one place of the order to another.
    fn shift(&mut self, from: usize, to: usize) {
        let between = from.min(to)..from.max(to) + 1;
        match from < to {
            true => self.order[between.clone()].rotate_left(1),
            false => self.order[between.clone()].rotate_right(1),
        }
        self.number(between);
    }

    /// Tells the nodes at these places of the order where they are.
    fn number(&mut self, places: Range<usize>) {
        for at in places {
            self.nodes[self.order[at]].position = at;
        }
    }

    fn free_name(&mut self, name: &str) -> String {
        if !self.names.contains_key(name) {
            return name.to_string();
        }
        let number = self.numbers.entry(name.to_string()).or_default();
        loop {
            *number += 1;
            let numbered = format!("{name}.{number}");
            if !self.names.contains_key(&numbered) {
                return numbered;
            }
        }
    }
}
