//! The walk over a model's nodes, from inputs to the output.

use std::collections::{BTreeMap, HashMap, HashSet};

use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::Imported;
use super::facts::Facts;
use super::node::{At, ImportRule, Refused};
use super::probe::{is_float, real_inputs, weight_dims};
use super::roles::{Reading, Roles};
use super::weights::{Source, Weight};
use crate::attrs::Attrs;
use crate::error::{ImportError, Refusal};
use crate::graph::{Graph, Phase, Value};
use crate::ops;
use crate::options::{Loss, Options};
use crate::step::scalar_step;
use crate::types::Type;

/// State of the walk.
pub struct Walk<'a> {
    pub model: &'a Model,
    pub opset: i64,
    pub facts: &'a Facts,
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
    inputs: Vec<Value>,
    step: Option<Value>,
    refusals: Vec<Refusal>,
}

impl<'a> Walk<'a> {
    pub fn new(model: &'a Model, opset: i64, facts: &'a Facts, roles: Roles, options: &'a Options) -> Walk<'a> {
        let initializers: HashMap<&str, &TensorProto> =
            model.graph().initializer.iter().map(|it| (it.name(), it)).collect();
        let weighty = initializers.values().filter(|it| is_float(it) && !it.dims.is_empty());
        Walk {
            model,
            opset,
            facts,
            options,
            graph: Graph::new(model.graph().name()),
            roles,
            values: HashMap::new(),
            data: HashSet::new(),
            weighty: weighty.map(|it| it.name().to_string()).collect(),
            initializers,
            weights: BTreeMap::new(),
            inputs: vec![],
            step: None,
            refusals: vec![],
        }
    }

    /// Imports `order`, or says everything that is wrong with it.
    pub fn run(mut self, order: &[&NodeProto]) -> Result<Imported, ImportError> {
        let read: HashSet<&str> = order.iter().flat_map(|it| it.input.iter().map(String::as_str)).collect();
        for info in real_inputs(self.model.graph()) {
            let Some(ty) = self.facts.ty(info.name()).filter(|_| read.contains(info.name())) else { continue };
            let value = self.graph.declare("input", info.name(), ty.clone());
            self.values.insert(info.name().to_string(), value);
            self.data.insert(value);
            self.inputs.push(value);
        }
        for node in order {
            self.visit(node)?;
        }
        if !self.refusals.is_empty() {
            return Err(ImportError::Unsupported(self.refusals));
        }
        self.roles.check()?;
        let name = output_name(self.model.graph())?;
        match self.values.get(name) {
            Some(&output) => {
                let Walk { graph, weights, inputs, step, .. } = self;
                Ok(Imported { graph, weights, inputs, step, output })
            }
            None => Err(ImportError::ConstantOutput(name.into())),
        }
    }

    fn visit(&mut self, node: &NodeProto) -> Result<(), ImportError> {
        let outputs: Vec<&String> = node.output.iter().filter(|it| !it.is_empty()).collect();
        let floats = |it: &&&String| self.facts.ty(it).is_none_or(|ty| ty.is_f32());
        if node.input.iter().any(|it| self.weighty.contains(it)) {
            let made: Vec<String> = outputs.iter().filter(floats).map(|it| it.to_string()).collect();
            self.weighty.extend(made);
        }
        if outputs.iter().all(|it| self.is_constant(it)) {
            return Ok(());
        }
        let rule = rule(node);
        let known = |it: &&String| it.is_empty() || self.facts.ty(it).is_some() || self.values.contains_key(*it);
        let outcome = match rule {
            None => Err(Refused(match domain(node) {
                "" => "is not supported".into(),
                domain => format!("of domain {domain} is not supported"),
            })),
            // What comes after a node that is refused has no shapes; that is not its own fault.
            Some(_) if !node.input.iter().all(|it| known(&it)) => return Ok(()),
            Some(rule) => match self.facts.ty(outputs.first().map_or("", |it| it)) {
                Some(_) => {
                    let mut at = At::new(self, node);
                    rule(&mut at).and_then(|()| at.check())
                }
                None if !self.refusals.is_empty() => return Ok(()),
                None => {
                    let fault = self.facts.fault.as_deref().unwrap_or("its result has no fixed shape");
                    return Err(ImportError::Shapes(format!("{}: {fault}", label(node))));
                }
            },
        };
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

    /// Whether a value of the model is known when compiling: no input and no weight went into it.
    pub fn is_constant(&self, name: &str) -> bool {
        self.facts.is_constant(name) && !self.weighty.contains(name)
    }

    /// The graph's value for a value of the model; declares weights and constants when they are first read.
    pub fn value(&mut self, name: &str, reading: Reading) -> Result<Value, Refused> {
        if let Some(value) = self.values.get(name) {
            return Ok(*value);
        }
        let constant = match self.initializers.get(name) {
            Some(tensor) => return self.declare_weight(name, tensor, reading),
            None => self
                .facts
                .floats(name)
                .ok_or_else(|| Refused(format!("reads `{name}`, which is no tensor of floats")))?,
        };
        let dims = self.facts.ty(name).map(|it| it.dims().to_vec()).unwrap_or_default();
        Ok(self.declare(name, "frozen", Weight { dims, source: Source::Values(constant), initializer: None }))
    }

    fn declare_weight(&mut self, name: &str, tensor: &TensorProto, reading: Reading) -> Result<Value, Refused> {
        if tensor.data_type() != DataType::Float as i32 {
            let dtype = DataType::try_from(tensor.data_type()).map_or("?", |it| it.as_str_name());
            return Err(Refused(format!("reads `{name}`, which is {dtype}; only FLOAT is supported")));
        }
        let dims = weight_dims(tensor).map_err(|e| Refused(e.to_string()))?;
        let folder = self.model.folder().map(Into::into);
        let source = Source::Model { tensor: Box::new(tensor.clone()), folder };
        // Exporters write literals as initializers without axes.
        if dims.is_empty() {
            return Ok(self.declare(name, "frozen", Weight { dims, source, initializer: None }));
        }
        let role = self.roles.of(name, reading);
        Ok(self.declare(name, role, Weight { dims, source, initializer: Some(name.to_string()) }))
    }

    /// Declares a tensor that has values before the first step.
    pub fn declare(&mut self, name: &str, role: &str, weight: Weight) -> Value {
        let value = self.graph.declare(role, name, Type::f32(&weight.dims));
        self.weights.insert(self.graph.name(value).to_string(), weight);
        self.values.insert(name.to_string(), value);
        value
    }

    /// The number of the step, an input.
    pub fn step(&mut self) -> Value {
        let graph = &mut self.graph;
        *self.step.get_or_insert_with(|| scalar_step(graph))
    }

    /// Adds a node to the forward phase.
    pub fn add(&mut self, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> Result<Value, Refused> {
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

fn rule(node: &NodeProto) -> Option<ImportRule> {
    let rows = ops::all().flat_map(|it| it.import);
    let found = rows.filter(|it| it.0 == node.op_type()).map(|it| it.1).next();
    found.filter(|_| domain(node).is_empty())
}

fn domain(node: &NodeProto) -> &str {
    if node.domain() == "ai.onnx" { "" } else { node.domain() }
}

/// A node's name, or that of its first output where it has none.
pub fn label(node: &NodeProto) -> String {
    let outputs = node.output.iter().map(String::as_str);
    let mut names = std::iter::once(node.name()).chain(outputs).filter(|it| !it.is_empty());
    names.next().unwrap_or("(unnamed)").to_string()
}

/// The version of the operator set; refuses what razorc cannot read at all.
pub fn opset(model: &ModelProto) -> Result<i64, ImportError> {
    let names: Vec<String> = model.functions.iter().map(|it| it.name().to_string()).collect();
    if !names.is_empty() {
        return Err(ImportError::Functions(names));
    }
    if model.graph.as_ref().is_some_and(|it| !it.sparse_initializer.is_empty()) {
        return Err(ImportError::Sparse);
    }
    let ours = model.opset_import.iter().filter(|it| matches!(it.domain(), "" | "ai.onnx"));
    let opset = ours.map(|it| it.version()).max().unwrap_or(1);
    if (7..=22).contains(&opset) { Ok(opset) } else { Err(ImportError::Opset(opset)) }
}

/// The output that is trained: the first one.
pub fn output_name(graph: &GraphProto) -> Result<&str, ImportError> {
    graph.output.first().map(|it| it.name()).ok_or(ImportError::NoOutput)
}

/// Nodes that the output depends on, each after those that it reads; otherwise in the file's order.
pub fn live_nodes(graph: &GraphProto) -> Result<Vec<&NodeProto>, ImportError> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|it| !it.is_empty()) {
            if makers.insert(output, at).is_some() {
                return Err(ImportError::MadeTwice(output.clone()));
            }
        }
    }
    let given: HashSet<&str> =
        graph.input.iter().map(|it| it.name()).chain(graph.initializer.iter().map(TensorProto::name)).collect();
    // Depth first, without recursion: a file can nest as deeply as it likes.
    let output = output_name(graph)?;
    let mut order = vec![];
    let mut state = vec![Visit::New; graph.node.len()];
    let mut stack: Vec<usize> = makers.get(output).copied().into_iter().collect();
    while let Some(&at) = stack.last() {
        let node = &graph.node[at];
        if state[at] != Visit::New {
            stack.pop();
            if state[at] == Visit::Open {
                state[at] = Visit::Done;
                order.push(at);
            }
            continue;
        }
        state[at] = Visit::Open;
        for input in node.input.iter().filter(|it| !it.is_empty()) {
            match makers.get(input.as_str()) {
                Some(&maker) if state[maker] == Visit::New => stack.push(maker),
                Some(&maker) if state[maker] == Visit::Open => return Err(ImportError::Cycle(input.clone())),
                Some(_) => {}
                None if given.contains(input.as_str()) => {}
                None => return Err(ImportError::Undefined { node: label(node), value: input.clone() }),
            }
        }
    }
    Ok(by_file(graph, &order, &makers))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

/// Keeps the file's order where that is one in which the nodes can run.
fn by_file<'a>(graph: &'a GraphProto, order: &[usize], makers: &HashMap<&str, usize>) -> Vec<&'a NodeProto> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    let reads_before =
        |at: &usize| graph.node[*at].input.iter().all(|it| makers.get(it.as_str()).is_none_or(|m| m < at));
    let order = if sorted.iter().all(reads_before) { &sorted[..] } else { order };
    order.iter().map(|&at| &graph.node[at]).collect()
}

/// The value that the loss reads: without the activation that the loss brings along; for classes, `[N,C]`.
pub fn prediction(imported: &mut Imported, loss: Loss) -> Value {
    let brought: &[&str] = match loss {
        Loss::CrossEntropy => &["softmax", "log_softmax"],
        Loss::BinaryCrossEntropy => &["sigmoid"],
        Loss::MeanSquaredError => &[],
    };
    let graph = &mut imported.graph;
    let mut output = imported.output;
    while graph.node(output.node).op.name == "reshape" {
        match behind_ones(graph, output) {
            Some(inner) if brought.contains(&graph.node(inner.node).op.name) => output = inner,
            _ => break,
        }
    }
    if brought.contains(&graph.node(output.node).op.name) {
        output = graph.operands(output.node)[0];
    }
    let dims = graph.ty(output).dims().to_vec();
    if loss != Loss::CrossEntropy || dims.len() < 3 || dims[2..].iter().any(|&it| it != 1) {
        return output;
    }
    let (attrs, name) = (Attrs::new().with("shape", &dims[..2]), format!("{}.classes", graph.name(output)));
    match graph.add(Phase::Forward, ops::get("reshape"), &[output], attrs, &name) {
        Ok(node) => Value { node, result: 0 },
        Err(_) => output,
    }
}

/// What a reshape reads, if the reshape only adds or removes axes of one.
fn behind_ones(graph: &Graph, output: Value) -> Option<Value> {
    let inner = graph.operands(output.node)[0];
    let real = |value: Value| graph.ty(value).dims().iter().copied().filter(|&it| it != 1).collect::<Vec<_>>();
    Some(inner).filter(|&it| real(it) == real(output))
}

/// Removes nodes and declarations that the output does not need.
pub fn sweep(imported: &mut Imported) {
    let graph = &mut imported.graph;
    let mut needed: HashSet<Value> = HashSet::from([imported.output]);
    for node in graph.order().iter().rev().copied().collect::<Vec<_>>() {
        let phase = graph.node(node).phase;
        if phase == Phase::Update || graph.results(node).iter().any(|it| needed.contains(it)) {
            needed.extend(graph.operands(node));
        } else if graph.node(node).op.name != "input" {
            let names: Vec<String> = graph.results(node).iter().map(|it| graph.name(*it).to_string()).collect();
            imported.weights.retain(|it, _| !names.contains(it));
            graph.remove(node);
        }
    }
}
