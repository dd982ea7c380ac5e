//! Names inside of functions and branches, and what they become outside.

use std::collections::{HashMap, HashSet};

use razorc_proto::onnx::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Names that are taken, and how many tensors of the whole model each of them means.
pub struct Names {
    taken: HashMap<String, usize>,
    /// From where to number names that were wanted before.
    next: HashMap<String, usize>,
}

impl Names {
    /// Those of a graph and of all graphs within it.
    pub fn of(graph: &GraphProto) -> Names {
        let mut names = Names { taken: HashMap::new(), next: HashMap::new() };
        names.collect(graph);
        names
    }

    fn collect(&mut self, graph: &GraphProto) {
        for name in defined(graph) {
            *self.taken.entry(name.to_string()).or_default() += 1;
        }
        for inner in graph.node.iter().flat_map(subgraphs) {
            self.collect(inner);
        }
    }

    /// Whether a name means one tensor only.
    pub fn is_unique(&self, name: &str) -> bool {
        self.taken.get(name) == Some(&1)
    }

    /// `wanted`, or the same with a number, which is taken from now on.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let next = self.next.entry(wanted.to_string()).or_default();
        let mut free = wanted.to_string();
        while self.taken.contains_key(&free) {
            *next += 1;
            free = format!("{wanted}.{next}");
        }
        self.taken.insert(free.clone(), 1);
        free
    }
}

/// Graphs that are attributes of a node: branches and bodies of loops.
pub fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|it| it.g.iter().chain(&it.graphs))
}

/// The same, to be changed.
pub fn subgraphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute.iter_mut().flat_map(|it| it.g.iter_mut().chain(&mut it.graphs))
}

/// Every value that a node reads, those that graphs within it take from outside included.
pub fn values_read(node: &NodeProto) -> Vec<&str> {
    let mut read: Vec<&str> = node.input.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
    for graph in subgraphs(node) {
        let own: HashSet<&str> = defined(graph).collect();
        let inner = graph.node.iter().flat_map(values_read).chain(graph.output.iter().map(ValueInfoProto::name));
        read.extend(inner.filter(|it| !own.contains(it)));
    }
    read
}

/// Names that a graph gives to tensors.
fn defined(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let given = graph.input.iter().map(ValueInfoProto::name);
    let weights = graph.initializer.iter().map(TensorProto::name);
    // In old files an initializer is an input too.
    let weights = weights.filter(|it| !graph.input.iter().any(|input| input.name() == *it));
    let made = graph.node.iter().flat_map(|it| it.output.iter().map(String::as_str));
    given.chain(weights).chain(made).filter(|it| !it.is_empty())
}

/// Gives everything that a node reads and makes its new name, in graphs within it too.
pub fn rename(node: &mut NodeProto, names: &HashMap<String, String>) {
    for name in node.input.iter_mut().chain(&mut node.output) {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    }
    subgraphs_mut(node).for_each(|it| rename_captured(it, names));
}

/// Gives what a graph takes from outside its new name.
fn rename_captured(graph: &mut GraphProto, names: &HashMap<String, String>) {
    let own: HashSet<&str> = defined(graph).collect();
    let mut outside = names.clone();
    outside.retain(|name, _| !own.contains(name.as_str()));
    if outside.is_empty() {
        return;
    }
    for output in &mut graph.output {
        if let Some(new) = outside.get(output.name()) {
            output.name = Some(new.clone());
        }
    }
    graph.node.iter_mut().for_each(|it| rename(it, &outside));
}
