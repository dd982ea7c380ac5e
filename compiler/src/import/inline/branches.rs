//! `If` with a condition that is known when compiling: the branch that it takes, in its place.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use razorc_proto::onnx::attribute_proto::AttributeType;
use razorc_proto::onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use razorc_proto::{Model, encoded_len};

use super::scope::{Names, rename, subgraphs};
use super::{Unfolding, floats};
use crate::error::ImportError;
use crate::import::facts::analyse;
use crate::import::order::label;
use crate::import::probe::{Sizes, is_float, is_literal, probe, real_inputs};

/// How many times a condition may depend on a branch before it.
const MOST_ROUNDS: usize = 256;

/// Whether a node is an `If`.
pub fn is_if(node: &NodeProto) -> bool {
    node.op_type() == "If" && matches!(node.domain(), "" | "ai.onnx")
}

impl Unfolding<'_> {
    /// Takes branches until no condition is known any more; what is left is an obstacle.
    pub fn branches(&mut self, model: &mut Model, sizes: &Sizes<'_>) -> Result<(), ImportError> {
        for _ in 0..MOST_ROUNDS {
            if !model.graph().node.iter().any(is_if) {
                break;
            }
            let known = known(model, sizes)?;
            let taken = |node: &NodeProto| known.get(node.input.first()?).copied();
            let graph = model.graph_mut();
            if !graph.node.iter().filter(|it| is_if(it)).any(|it| taken(it).is_some()) {
                break;
            }
            let mut nodes = vec![];
            for node in std::mem::take(&mut graph.node) {
                let Some(then) = taken(&node).filter(|_| is_if(&node)) else {
                    nodes.push(node);
                    continue;
                };
                let word = if then { "then_branch" } else { "else_branch" };
                let branch = node.attribute.iter().find(|it| it.name() == word).and_then(|it| it.g.as_ref());
                let Some(branch) = branch else {
                    self.obstacle(&node, format!("has no {word}"));
                    // So that it is not looked at again.
                    nodes.push(NodeProto { domain: Some("damaged".into()), ..node });
                    continue;
                };
                self.spend(branch.node.len(), encoded_len(branch))?;
                let (body, weights) = splice(&node, branch, &mut self.names);
                nodes.extend(self.functions(body)?);
                graph.initializer.extend(weights);
            }
            graph.node = nodes;
        }
        for node in model.graph().node.iter().filter(|it| is_if(it)) {
            let condition = node.input.first().map_or("", String::as_str);
            self.obstacle(
                node,
                format!(
                    "has a condition (`{condition}`) that is not known when compiling; only a constant one is supported"
                ),
            );
        }
        Ok(())
    }
}

/// The nodes and initializers of a branch as they are outside of it.
fn splice(node: &NodeProto, branch: &GraphProto, names: &mut Names) -> (Vec<NodeProto>, Vec<TensorProto>) {
    let label = label(node);
    let mut outside: HashMap<String, String> = HashMap::new();
    let (mut weights, mut nodes) = (vec![], vec![]);
    for tensor in &branch.initializer {
        if names.is_unique(tensor.name()) {
            weights.push(tensor.clone());
            continue;
        }
        // Export could not tell it from its namesakes, so it is a constant and not trained.
        let name = names.fresh(&format!("{label}/{}", tensor.name()));
        outside.insert(tensor.name().to_string(), name.clone());
        nodes.push(constant(tensor, name));
    }
    let made: HashSet<&str> = branch.node.iter().flat_map(|it| it.output.iter().map(String::as_str)).collect();
    let mut copies = vec![];
    for (value, target) in branch.output.iter().map(ValueInfoProto::name).zip(&node.output) {
        if value.is_empty() || target.is_empty() {
            continue;
        }
        match made.contains(value) && !outside.contains_key(value) {
            true => _ = outside.insert(value.to_string(), target.clone()),
            false => copies.push((value.to_string(), target.clone())),
        }
    }
    for value in made.into_iter().filter(|it| !it.is_empty()) {
        if !outside.contains_key(value) && !names.is_unique(value) {
            outside.insert(value.to_string(), names.fresh(&format!("{label}/{value}")));
        }
    }
    nodes.extend(branch.node.iter().map(|inner| {
        let mut inner = inner.clone();
        rename(&mut inner, &outside);
        inner
    }));
    nodes.extend(copies.into_iter().map(|(value, target)| NodeProto {
        op_type: Some("Identity".into()),
        name: Some(format!("{label}/{value}")),
        input: vec![outside.get(&value).cloned().unwrap_or(value)],
        output: vec![target],
        ..NodeProto::default()
    }));
    (nodes, weights)
}

fn constant(tensor: &TensorProto, name: String) -> NodeProto {
    let value = AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor.into()),
        t: Some(tensor.clone()),
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: Some("Constant".into()),
        name: Some(name.clone()),
        output: vec![name],
        attribute: vec![value],
        ..NodeProto::default()
    }
}

/// Conditions of the graph's `If` nodes that are constants, and what they are.
///
/// Only what they depend on is analysed, and only as far as no weight and no other branch or loop goes into it: weights
/// change.
fn known(model: &Model, sizes: &Sizes<'_>) -> Result<HashMap<String, bool>, ImportError> {
    let graph = model.graph();
    let conditions: HashSet<&str> =
        graph.node.iter().filter(|it| is_if(it)).filter_map(|it| it.input.first()).map(String::as_str).collect();
    let nodes: Vec<NodeProto> = computable(graph, &conditions).into_iter().cloned().collect();
    let small = GraphProto {
        name: graph.name.clone(),
        node: nodes,
        initializer: graph.initializer.clone(),
        input: graph.input.clone(),
        ..GraphProto::default()
    };
    let proto = ModelProto {
        ir_version: model.proto().ir_version,
        opset_import: model.proto().opset_import.clone(),
        graph: Some(small),
        ..ModelProto::default()
    };
    let mut small = Cow::Owned(model.with_proto(proto));
    floats::widen(&mut small);
    let facts = analyse(&probe(&small, sizes)?.model)?;
    let known = conditions.into_iter().filter_map(|it| match facts.ints(it)?.as_slice() {
        [value] => Some((it.to_string(), *value != 0)),
        _ => None,
    });
    Ok(known.collect())
}

/// Nodes that `wanted` depends on, where everything that they depend on is known but for the inputs' values.
fn computable<'a>(graph: &'a GraphProto, wanted: &HashSet<&str>) -> Vec<&'a NodeProto> {
    let changes = |it: &&TensorProto| is_float(it) && !is_literal(it);
    let weights: HashSet<&str> = graph.initializer.iter().filter(changes).map(TensorProto::name).collect();
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        node.output.iter().for_each(|it| _ = makers.insert(it, at));
    }
    let shape_only = |node: &NodeProto| matches!(node.op_type(), "Shape" | "Size");
    // Ancestors first, each node once.
    let (mut order, mut seen) = (vec![], HashSet::new());
    let mut stack: Vec<(usize, bool)> = wanted.iter().filter_map(|it| makers.get(it)).map(|&it| (it, false)).collect();
    while let Some((at, open)) = stack.pop() {
        if open {
            order.push(at);
        } else if seen.insert(at) {
            stack.push((at, true));
            stack.extend(graph.node[at].input.iter().filter_map(|it| makers.get(it.as_str())).map(|&it| (it, false)));
        }
    }
    let given = real_inputs(graph).into_iter().map(ValueInfoProto::name);
    let mut there: HashSet<&str> = given.chain(graph.initializer.iter().map(TensorProto::name)).collect();
    let mut weighty = weights;
    let mut kept = vec![];
    for node in order.into_iter().map(|it| &graph.node[it]) {
        if subgraphs(node).next().is_some() || !node.input.iter().all(|it| it.is_empty() || there.contains(it.as_str()))
        {
            continue;
        }
        if !shape_only(node) && node.input.iter().any(|it| weighty.contains(it.as_str())) {
            weighty.extend(node.output.iter().map(String::as_str));
        }
        there.extend(node.output.iter().map(String::as_str));
        kept.push(node);
    }
    // Weights may lend their shapes, but nothing of theirs may decide.
    kept.retain(|node| !node.output.iter().any(|it| wanted.contains(it.as_str()) && weighty.contains(it.as_str())));
    kept
}
