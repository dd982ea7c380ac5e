//! The walk over a model's nodes, from inputs to the output.

use std::collections::{BTreeMap, HashMap, HashSet};

use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::{NodeProto, TensorProto};

use super::Imported;
use super::facts::Facts;
use super::inline::{Obstacles, first_output};
use super::node::{At, ImportRule, Refused};
use super::notes::Note;
use super::order::label;
use super::probe::{is_float, is_literal, real_inputs, weight_dims};
use super::roles::{Reading, Roles};
use super::rotations::rotations;
use super::shapes;
use super::weights::{Source, Weight};
use crate::attrs::{Attr, Attrs};
use crate::error::{ImportError, Refusal};
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops;
use crate::options::Options;
use crate::step::scalar_step;
use crate::types::{DType, Type};

/// State of the walk.
pub struct Walk<'a> {
    pub model: &'a Model,
    pub opset: i64,
    pub facts: &'a Facts,
    obstacles: &'a Obstacles,
    pub options: &'a Options,
    pub graph: Graph,
    roles: Roles,
    initializers: HashMap<&'a str, &'a TensorProto>,
    /// Values by their names in the model.
    values: HashMap<String, Value>,
    /// Values that depend on an input.
    data: HashSet<Value>,
    /// Values in the model that weights of floats went into: never constants, whatever they fold to.
    weighty: HashSet<String>,
    weights: BTreeMap<String, Weight>,
    /// Initializers that hold the cosines and sines of rotary embeddings.
    rotations: HashSet<String>,
    /// Initializers that look like weights and are constants, and what they are.
    constants: HashMap<String, &'static str>,
    inputs: Vec<Value>,
    step: Option<Value>,
    refusals: Vec<Refusal>,
}

impl<'a> Walk<'a> {
    pub fn new(
        model: &'a Model,
        opset: i64,
        facts: &'a Facts,
        obstacles: &'a Obstacles,
        roles: Roles,
        options: &'a Options,
    ) -> Walk<'a> {
        let initializers: HashMap<&str, &TensorProto> =
            model.graph().initializer.iter().map(|it| (it.name(), it)).collect();
        let weighty = initializers.values().filter(|it| is_float(it) && !is_literal(it));
        Walk {
            model,
            opset,
            facts,
            obstacles,
            options,
            graph: Graph::new(model.graph().name()),
            roles,
            values: HashMap::new(),
            data: HashSet::new(),
            weighty: weighty.map(|it| it.name().to_string()).collect(),
            initializers,
            weights: BTreeMap::new(),
            rotations: if options.train.is_empty() { rotations(model) } else { HashSet::new() },
            constants: HashMap::new(),
            inputs: vec![],
            step: None,
            refusals: vec![],
        }
    }

    /// Imports `order`, or says everything that is wrong with it.
    ///
    /// Notes what becomes of each node, as far as it gets.
    pub fn run(
        mut self,
        order: &[&NodeProto],
        outputs: &[&str],
        notes: &mut Vec<Note>,
    ) -> Result<Imported, ImportError> {
        let read: HashSet<&str> = order.iter().flat_map(|it| it.input.iter().map(String::as_str)).collect();
        for info in real_inputs(self.model.graph()) {
            let Some(ty) = self.facts.ty(info.name()).filter(|_| read.contains(info.name())) else { continue };
            let value = self.graph.declare("input", info.name(), ty.clone());
            self.values.insert(info.name().to_string(), value);
            self.data.insert(value);
            self.inputs.push(value);
        }
        for node in order {
            let (refusals, last) = (self.refusals.len(), self.graph.phase(Phase::Forward).next_back());
            let outcome = self.visit(node);
            notes.push(self.note(node, refusals, last));
            outcome?;
        }
        if !self.refusals.is_empty() {
            return Err(ImportError::Unsupported(self.refusals));
        }
        self.roles.check()?;
        let name = outputs.first().copied().unwrap_or_default();
        let prediction = outputs.get(1).and_then(|it| self.bound(it));
        match self.values.get(name) {
            Some(&output) => {
                let Walk { graph, weights, inputs, step, .. } = self;
                Ok(Imported { graph, weights, inputs, step, output, prediction })
            }
            None => Err(ImportError::ConstantOutput(name.into())),
        }
    }

    /// What became of a node, where there were so many refusals and this was the last node before it.
    fn note(&self, node: &NodeProto, refusals: usize, last: Option<NodeId>) -> Note {
        let mut note = Note::of(node);
        note.refused = self.refusals.get(refusals).map(|it| it.reason.clone());
        let mut outputs = node.output.iter().filter(|it| !it.is_empty());
        if note.refused.is_none() {
            note.constant = outputs.clone().all(|it| self.is_constant(it));
            note.behind = !note.constant && !outputs.any(|it| self.values.contains_key(it));
            let is_weight = |name: &str| self.weights.get(name).is_some_and(|it| it.initializer.is_some());
            note.add(&self.graph, last, is_weight);
            note.holds = node.input.iter().find_map(|it| self.constants.get(it).copied());
        }
        note
    }

    fn visit(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let outputs: Vec<&String> = node.output.iter().filter(|it| !it.is_empty()).collect();
        // Sizes do not depend on what a weight holds.
        let measures = ["Shape", "Size"].contains(&node.op_type());
        // tract looks for the largest number from the smallest finite one on, so it never finds minus infinity.
        let unsure = ["ReduceMax", "ReduceMin"].contains(&node.op_type())
            && outputs.iter().any(|it| self.facts.ty(it).is_some_and(Type::is_f32));
        if unsure || !measures && node.input.iter().any(|it| self.weighty.contains(it)) {
            self.weighty.extend(outputs.iter().map(|it| it.to_string()));
        }
        if outputs.iter().all(|it| self.is_constant(it)) {
            return Ok(());
        }
        let rule = rule(node);
        let obstacle = self.obstacles.get(&first_output(node)).cloned();
        let obstacle = obstacle.or_else(|| self.odd_weight(node).filter(|_| rule.is_some()));
        let rule = rule.filter(|_| obstacle.is_none());
        let known = |it: &&String| it.is_empty() || self.facts.ty(it).is_some() || self.values.contains_key(*it);
        let outcome = match rule {
            None => Err(Refused(obstacle.or_else(|| operator_refusal(node)).unwrap_or_default())),
            // What comes after a node that is refused has no shapes; that is not its own fault.
            Some(_) if !node.input.iter().all(|it| known(&it)) => return Ok(()),
            Some(rule) => {
                let mut at = At::new(self, node);
                rule(&mut at).and_then(|()| at.check())
            }
        };
        // Where types come from our own rules, it is them that refuse.
        let typed = shapes::known(node.op_type()) || outputs.first().is_some_and(|it| self.facts.ty(it).is_some());
        if let (Err(Refused(reason)), Some(_), false) = (&outcome, rule, typed) {
            if !self.refusals.is_empty() {
                return Ok(());
            }
            let fault = self.facts.fault.as_deref().unwrap_or(reason);
            let inputs = node.input.iter().filter_map(|it| self.facts.ty(it)).map(Type::to_string);
            let inputs = inputs.collect::<Vec<_>>().join(", ");
            return Err(ImportError::Shapes(format!("{} ({} of {inputs}): {fault}", label(node), node.op_type())));
        }
        if let Err(Refused(reason)) = outcome {
            let (op, opset) = (node.op_type().to_string(), self.opset);
            self.refusals.push(Refusal { node: label(node), op, opset, reason });
            for output in outputs {
                // Stands in for the missing value, so that later nodes can be looked at.
                if let Some(ty) = self.facts.ty(output) {
                    let value = self.graph.declare("frozen", output, ty.clone());
                    self.values.insert(output.clone(), value);
                    self.data.insert(value);
                }
            }
        }
        Ok(())
    }

    /// What is wrong with an initializer that a node reads, if that has a type that nothing computes with.
    fn odd_weight(&self, node: &NodeProto) -> Option<String> {
        let mut odd = node.input.iter().filter(|it| self.facts.ty(it).is_none());
        let tensor = odd.find_map(|it| self.initializers.get(it.as_str()))?;
        let dtype = DataType::try_from(tensor.data_type()).map_or("?", |it| it.as_str_name());
        // Where nothing has a type, something else is at fault.
        let alone = node.input.iter().any(|it| self.facts.ty(it).is_some()) && !is_float(tensor);
        alone.then(|| format!("reads `{}`, which is {dtype}; only weights of floats are supported", tensor.name()))
    }

    /// Whether a value of the model is known when compiling: no input and no weight went into it.
    pub fn is_constant(&self, name: &str) -> bool {
        self.facts.is_constant(name) && !self.weighty.contains(name)
    }

    /// The graph's value for a value of the model; declares weights and constants when they are first read.
    pub fn value(&mut self, name: &str, reading: Reading) -> Result<Value, Refused> {
        if let Some(value) = self.values.get(name) {
            return Ok(*value);
        }
        if let Some(tensor) = self.initializers.get(name).filter(|it| is_float(it)) {
            return self.declare_weight(name, tensor, reading);
        }
        let no_tensor = || Refused(format!("reads `{name}`, which is no tensor of floats, integers or truths"));
        let ty = self.facts.ty(name).ok_or_else(no_tensor)?;
        let (ints, floats) = (|| self.facts.ints(name), || self.facts.floats(name));
        let source = match ty {
            Type::Dense { dtype: DType::F32, .. } => floats().map(Source::Values),
            Type::Dense { dtype: DType::I64, .. } => ints().map(Source::Integers),
            Type::Dense { dtype: DType::Bool, .. } => {
                ints().map(|it| Source::Truths(it.into_iter().map(|it| it != 0).collect()))
            }
            _ => None,
        };
        let weight = Weight { dims: ty.dims().to_vec(), source: source.ok_or_else(no_tensor)?, initializer: None };
        Ok(self.declare(name, "frozen", weight))
    }

    fn declare_weight(&mut self, name: &str, tensor: &TensorProto, reading: Reading) -> Result<Value, Refused> {
        if !is_float(tensor) {
            let dtype = DataType::try_from(tensor.data_type()).map_or("?", |it| it.as_str_name());
            return Err(Refused(format!("reads `{name}`, which is {dtype}; only weights of floats are supported")));
        }
        let dims = weight_dims(tensor).map_err(|e| Refused(e.to_string()))?;
        let folder = self.model.folder().map(Into::into);
        let source = Source::Model { tensor: Box::new(tensor.clone()), folder };
        if is_literal(tensor) {
            return Ok(self.declare(name, "frozen", Weight { dims, source, initializer: None }));
        }
        let mut role = self.roles.of(name, reading);
        let weight = Weight { dims, source, initializer: Some(name.to_string()) };
        let constant = match () {
            () if role != "param" || !self.options.train.is_empty() => None,
            () if self.rotations.contains(name) => Some("a table of rotations"),
            () => is_mask(&weight).then_some("a mask"),
        };
        if let Some(what) = constant {
            role = "frozen";
            self.constants.insert(name.to_string(), what);
        }
        Ok(self.declare(name, role, weight))
    }

    /// Declares a tensor that has values before the first step.
    pub fn declare(&mut self, name: &str, role: &str, weight: Weight) -> Value {
        let value = self.place(name, role, weight);
        self.values.insert(name.to_string(), value);
        value
    }

    /// Declares a constant that is no value of the model.
    pub fn declare_constant(&mut self, name: &str, weight: Weight) -> Value {
        self.place(name, "frozen", weight)
    }

    fn place(&mut self, name: &str, role: &str, weight: Weight) -> Value {
        let value = self.graph.declare(role, name, weight.ty());
        self.weights.insert(self.graph.name(value).to_string(), weight);
        value
    }

    /// The number of the step, an input.
    pub fn step(&mut self) -> Value {
        let graph = &mut self.graph;
        *self.step.get_or_insert_with(|| scalar_step(graph))
    }

    /// Adds a node to the forward phase.
    pub fn add(&mut self, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> Result<Value, Refused> {
        if let Some((attr, _)) = attrs.iter().find(|it| matches!(it.1, Attr::Float(x) if x.is_nan())) {
            return Err(Refused(format!("has a {attr} that is not a number")));
        }
        let node =
            self.graph.add(Phase::Forward, ops::get(op), operands, attrs, name).map_err(|e| Refused(e.to_string()))?;
        if operands.iter().any(|it| self.data.contains(it)) {
            self.data.extend(self.graph.results(node));
        }
        Ok(Value { node, result: 0 })
    }

    /// Whether a value depends on an input of the model.
    pub fn is_data(&self, value: Value) -> bool {
        self.data.contains(&value)
    }

    /// Gives a value of the model its value in the graph.
    pub fn bind(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_string(), value);
    }

    /// The graph's value that was bound to a value of the model.
    pub fn bound(&self, name: &str) -> Option<Value> {
        self.values.get(name).copied()
    }
}

/// Whether a tensor says which scores of attention count: by nothing but zeros and numbers that no score outweighs.
/// Exporters write such constants like weights.
fn is_mask(weight: &Weight) -> bool {
    let square = |dims: &[u64]| matches!(dims, [rows, keys] if rows == keys);
    let shaped = match weight.dims[..] {
        [ref lead @ .., _, _] if !lead.is_empty() => lead.iter().all(|&it| it == 1),
        _ => square(&weight.dims),
    };
    let counts = |&it: &f32| it == 0.0 || it <= -1e4;
    let masks = |values: Vec<f32>| values.iter().all(counts) && values.iter().any(|&it| it != 0.0);
    shaped && weight.floats().is_ok_and(|it| it.is_some_and(masks))
}

fn rule(node: &NodeProto) -> Option<ImportRule> {
    let name = match domain(node) {
        "" => node.op_type().to_string(),
        domain => format!("{domain}.{}", node.op_type()),
    };
    ops::all().flat_map(|it| it.import).find(|it| it.0 == name).map(|it| it.1)
}

/// Why a node cannot be imported whatever it reads; none where its operator has a rule.
pub fn operator_refusal(node: &NodeProto) -> Option<String> {
    let refusal = match domain(node) {
        "" => unsupported(node.op_type()),
        domain => format!("of domain {domain} is not supported"),
    };
    rule(node).is_none().then_some(refusal)
}

/// What is wrong with an operator that has no rule, and what to do about it.
fn unsupported(op: &str) -> String {
    let instead = match op {
        "Loop" | "Scan" => ": nothing that repeats is; export the model with its loops unrolled",
        "OptionalGetElement" | "OptionalHasElement" | "Optional" => ": only tensors are, no optional values",
        _ if op.contains("Sequence") => ": only tensors are, no sequences of them",
        _ => "",
    };
    format!("is not supported{instead}")
}

fn domain(node: &NodeProto) -> &str {
    if node.domain() == "ai.onnx" { "" } else { node.domain() }
}
