//! Functions of the model's own, put where they are called.

use std::collections::HashMap;
use std::vec::IntoIter;

use razorc_proto::encoded_len;
use razorc_proto::onnx::{AttributeProto, FunctionProto, ModelProto, NodeProto};

use super::scope::{rename, subgraphs, subgraphs_mut, values_read};
use super::{Key, Unfolding};
use crate::error::ImportError;
use crate::import::order::label;
use crate::import::versions::change;

/// How deep functions may call each other.
const DEEPEST: usize = 256;

/// A function, and what a call of it costs.
#[derive(Clone, Copy)]
pub struct Function<'a> {
    proto: &'a FunctionProto,
    /// Version of the default operator set that its nodes mean; none where it does not say.
    opset: Option<i64>,
    nodes: usize,
    bytes: usize,
}

/// The functions of a model by their names.
pub fn table(model: &ModelProto) -> HashMap<Key<'_>, Function<'_>> {
    let functions = model.functions.iter().map(|proto| {
        let imports = proto.opset_import.iter().filter(|it| matches!(it.domain(), "" | "ai.onnx"));
        let opset = imports.map(|it| it.version()).max();
        let nodes = proto.node.iter().map(count).sum();
        let function = Function { proto, opset, nodes, bytes: encoded_len(proto) };
        ((domain(proto.domain()), proto.name(), proto.overload()), function)
    });
    functions.collect()
}

/// Nodes in a node: itself, and those in graphs within it.
fn count(node: &NodeProto) -> usize {
    1 + subgraphs(node).flat_map(|it| &it.node).map(count).sum::<usize>()
}

fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// Nodes that are still to come: of the graph, or of a function that was called.
struct Frame<'a> {
    nodes: IntoIter<NodeProto>,
    function: Option<Function<'a>>,
}

impl<'a> Unfolding<'a> {
    /// These nodes, with the nodes of functions in place of calls.
    pub fn functions(&mut self, nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>, ImportError> {
        if self.functions.is_empty() {
            return Ok(nodes);
        }
        let mut flat = vec![];
        let mut stack = vec![Frame { nodes: nodes.into_iter(), function: None }];
        while let Some(frame) = stack.last_mut() {
            let within = frame.function;
            let Some(node) = frame.nodes.next() else {
                stack.pop();
                continue;
            };
            let key = (domain(node.domain()), node.op_type(), node.overload());
            let Some(&function) = self.functions.get(&key) else {
                self.check_opset(&node, within);
                flat.push(node);
                continue;
            };
            let calls_itself =
                stack.iter().filter_map(|it| it.function).any(|it| std::ptr::eq(it.proto, function.proto));
            if calls_itself || DEEPEST < stack.len() {
                let what = if calls_itself { "calls itself" } else { "calls functions too deep" };
                self.obstacle(&node, format!("{what}, which is not supported"));
                flat.push(node);
                continue;
            }
            self.spend(function.nodes, function.bytes)?;
            let body = self.body(function.proto, &node);
            stack.push(Frame { nodes: body.into_iter(), function: Some(function) });
        }
        Ok(flat)
    }

    /// A node means what its function's opset says; here it must mean the same by the model's.
    fn check_opset(&mut self, node: &NodeProto, within: Option<Function<'_>>) {
        let Some((function, opset)) = within.and_then(|it| Some((it.proto, it.opset?))) else { return };
        let (first, last) = (opset.min(self.opset), opset.max(self.opset));
        if domain(node.domain()).is_empty()
            && let Some(since) = change(node.op_type(), first, last)
        {
            let (name, model) = (function.name(), self.opset);
            let reason = format!(
                "in the function {name} is of opset {opset}, the model is of opset {model}, and since opset {since} it \
                 means something else; export the model with its functions inlined"
            );
            self.obstacle(node, reason);
        }
    }

    /// The nodes of a function as they are for one call.
    fn body(&mut self, function: &FunctionProto, call: &NodeProto) -> Vec<NodeProto> {
        let label = label(call);
        let mut names: HashMap<String, String> = HashMap::new();
        for (at, input) in function.input.iter().enumerate().filter(|it| !it.1.is_empty()) {
            names.insert(input.clone(), call.input.get(at).cloned().unwrap_or_default());
        }
        let mut copies = vec![];
        for (output, made) in function.output.iter().zip(&call.output).filter(|it| !it.0.is_empty() && !it.1.is_empty())
        {
            // What is an input too, or is given out twice, has a name already.
            match names.contains_key(output) {
                true => copies.push((output.clone(), made)),
                false => _ = names.insert(output.clone(), made.clone()),
            }
        }
        let mine = function.node.iter().flat_map(|it| it.output.iter().map(String::as_str).chain(values_read(it)));
        for name in mine.filter(|it| !it.is_empty()) {
            if !names.contains_key(name) {
                let fresh = self.names.fresh(&format!("{label}/{name}"));
                names.insert(name.to_string(), fresh);
            }
        }
        let instance = |node: &NodeProto| {
            let mut node = node.clone();
            resolve(&mut node, function, call);
            rename(&mut node, &names);
            node.name = Some(format!("{label}/{}", self::label(&node)));
            node
        };
        let copy = |(value, made): (String, &String)| NodeProto {
            op_type: Some("Identity".into()),
            name: Some(format!("{label}/{value}")),
            input: vec![names.get(&value).cloned().unwrap_or(value)],
            output: vec![made.clone()],
            ..NodeProto::default()
        };
        function.node.iter().map(instance).chain(copies.into_iter().map(copy)).collect()
    }
}

/// Puts the attributes of a call in place of references to them; what neither call nor function gives is left out.
fn resolve(node: &mut NodeProto, function: &FunctionProto, call: &NodeProto) {
    node.attribute.retain_mut(|attribute| {
        let reference = attribute.ref_attr_name().to_string();
        if reference.is_empty() {
            return true;
        }
        let given = call.attribute.iter().chain(&function.attribute_proto).find(|it| it.name() == reference);
        if let Some(given) = given {
            *attribute = AttributeProto { name: attribute.name.take(), ..given.clone() };
        }
        given.is_some()
    });
    for graph in subgraphs_mut(node) {
        graph.node.iter_mut().for_each(|it| resolve(it, function, call));
    }
}
