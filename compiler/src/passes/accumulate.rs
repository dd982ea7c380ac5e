//! Adds gradients onto momentum as they are made, so that the gradient of a weight is never in memory.
//!
//! SGD with momentum is `m = momentum m + weight_decay w + g; w -= lr m`. It reads g only to add it. So m can decay before
//! g is made, sums add themselves onto m, and the weight descends afterwards. With Nesterov's momentum, and for Adam, g
//! has to be known as a whole. The sums are the same in another order, which rounds differently.

use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Lower};

/// Rewrites every update for which that takes no more memory.
pub fn run(graph: &mut Graph) {
    let updates: Vec<NodeId> = graph.phase(Phase::Update).collect();
    for update in updates {
        rewrite(graph, update);
    }
}

fn rewrite(graph: &mut Graph, update: NodeId) {
    let node = graph.node(update);
    let &[w, g, m, lr] = graph.operands(update).as_slice() else { return };
    if node.op.name != "sgd" || node.attrs.int_or("nesterov", 0) != 0 {
        return;
    }
    let decay = node.attrs.only(&["momentum", "weight_decay"]);
    let gradient = Gradient::of(graph, g);
    // A gradient that must be there as a whole is no smaller for being added later.
    if let [Part { onto: false, .. }] = gradient.parts[..] {
        return;
    }

    let name = graph.name(w).to_string();
    graph.remove(update);
    // From the last sum to the first.
    gradient.between.iter().for_each(|it| graph.remove(*it));
    let sums: Vec<NodeId> = gradient.parts.into_iter().map(|it| add_onto(graph, it, m)).collect();
    let decays = add(graph, Phase::Backward, "decay", &[w, m], decay, &name);
    let first = sums.into_iter().min_by_key(|it| graph.position(*it));
    first.into_iter().for_each(|it| graph.move_before(decays, it));
    add(graph, Phase::Update, "descend", &[w, m, lr], Attrs::new(), &name);
}

/// What a gradient is the sum of.
struct Gradient {
    parts: Vec<Part>,
    /// Sums and views between the parts and the gradient, which nobody else reads; readers come first.
    between: Vec<NodeId>,
}

struct Part {
    value: Value,
    /// Whether its maker can add it onto another value instead of making it: nobody else reads it.
    onto: bool,
}

impl Gradient {
    fn of(graph: &Graph, gradient: Value) -> Gradient {
        let mut found = Gradient { parts: vec![], between: vec![] };
        let mut todo = vec![gradient];
        while let Some(value) = todo.pop() {
            let node = graph.node(value.node);
            let operands = graph.operands(value.node);
            let is_sum = node.op.name == "add" && operands.iter().all(|it| graph.ty(*it) == graph.ty(value));
            let alone = node.phase == Phase::Backward && graph.readers(value).len() == 1;
            if alone && (is_sum || node.op.lower == Lower::View) {
                found.between.push(value.node);
                todo.extend(operands);
                continue;
            }
            let onto = alone && graph.results(value.node).len() == 1 && node.op.accumulates(operands.len());
            found.parts.push(Part { value, onto });
        }
        found
    }
}

/// Adds a part of a gradient onto `m`; what was made of the part has been removed.
fn add_onto(graph: &mut Graph, part: Part, m: Value) -> NodeId {
    let name = graph.name(m).to_string();
    let shape = graph.ty(part.value).dims().to_vec();
    let onto = match graph.ty(m).dims() == shape {
        true => m,
        false => {
            let attrs = Attrs::new().with("shape", shape.as_slice());
            let node = add(graph, Phase::Backward, "reshape", &[m], attrs, &format!("{name}.view"));
            Value { node, result: 0 }
        }
    };
    let maker = part.value.node;
    let adds = match part.onto {
        true => {
            let (op, attrs) = (graph.node(maker).op.name, graph.node(maker).attrs.clone());
            let operands = [graph.operands(maker), vec![onto]].concat();
            let adds = add(graph, Phase::Backward, op, &operands, attrs, &name);
            graph.move_before(adds, maker);
            graph.remove(maker);
            adds
        }
        false => {
            let adds = add(graph, Phase::Backward, "accumulate", &[part.value, onto], Attrs::new(), &name);
            if graph.node(maker).phase == Phase::Backward {
                graph.move_after(adds, maker);
            }
            adds
        }
    };
    if onto != m {
        graph.move_before(onto.node, adds);
    }
    adds
}

fn add(graph: &mut Graph, phase: Phase, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> NodeId {
    graph
        .add(phase, ops::get(op), operands, attrs, name)
        .unwrap_or_else(|e| panic!("{op} accumulates the gradient of {name}: {e}"))
}
