//! Adds gradients onto the optimizer's state as they are made, so that the gradient of a weight is never in memory.
//!
//! SGD with momentum is `m = momentum m + weight_decay w + g; w -= lr m`. It reads g only to add it. So m can decay before
//! g is made, sums add themselves onto m, and the weight descends afterwards. With Nesterov's momentum, and for Adam, g
//! has to be known as a whole. The sums are the same in another order, which rounds differently.
//!
//! A step that runs on one part of its batch after the other has to add up gradients in any case: m decays before the
//! first part and the weight descends after the last. Where m does not do, g is added up in a state of its own. Nor does m
//! do where gradients are clipped, as their norm has to be known first.

use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Lower};
use crate::step::DRAW;
use crate::types::Type;

/// Rewrites every update for which that takes no more memory, or, of a step that `has_parts`, every one. What `clips` needs
/// each gradient as a whole.
pub fn run(graph: &mut Graph, has_parts: bool, clips: bool) {
    let updates: Vec<NodeId> = graph.phase(Phase::Update).collect();
    for update in updates {
        rewrite(graph, update, has_parts, clips);
    }
    if has_parts {
        draw_for_each_part(graph);
    }
}

fn rewrite(graph: &mut Graph, update: NodeId, has_parts: bool, clips: bool) {
    let node = graph.node(update);
    let (op, attrs, operands) = (node.op.name, node.attrs.clone(), graph.operands(update));
    let dense = op.strip_suffix("_rows").unwrap_or(op);
    if op != dense && !has_parts {
        return;
    }
    let (gradient, others) = match (op == dense, &operands[..]) {
        (true, [_, g, others @ ..]) => (Gradient::of(graph, *g), others),
        (false, [w, dy, indices, others @ ..]) => (Gradient::of_rows(graph, *w, [*dy, *indices]), others),
        _ => return,
    };
    let w = operands[0];
    let name = graph.name(w).to_string();
    let onto_momentum = match others {
        [m, _] if !clips && dense == "sgd" && attrs.int_or("nesterov", 0) == 0 => Some(*m),
        _ => None,
    };
    // A gradient that must be there as a whole is no smaller for being added later.
    let gains = !matches!(gradient.parts[..], [Part { onto: false, .. }]);
    if !(has_parts || gains && onto_momentum.is_some()) {
        return;
    }

    graph.remove(update);
    // From the last sum to the first.
    gradient.between.iter().for_each(|it| graph.remove(*it));
    let (sum, decay) = match onto_momentum {
        Some(m) => (m, attrs.only(&["momentum", "weight_decay"])),
        None => {
            let sum = graph.declare("state", &format!("{name}.gradient"), graph.ty(w).clone());
            (sum, Attrs::new().with("momentum", 0.0).with("weight_decay", 0.0))
        }
    };
    let adds: Vec<NodeId> = gradient.parts.into_iter().map(|it| add_onto(graph, it, sum)).collect();
    let phase = if has_parts { Phase::Opening } else { Phase::Backward };
    let decays = add(graph, phase, "decay", &[w, sum], decay, &name);
    let first = adds.into_iter().min_by_key(|it| graph.position(*it)).filter(|_| !has_parts);
    first.into_iter().for_each(|it| graph.move_before(decays, it));
    match others.last().filter(|_| onto_momentum.is_some()) {
        Some(&lr) => add(graph, Phase::Update, "descend", &[w, sum, lr], Attrs::new(), &name),
        None => add(graph, Phase::Update, dense, &[&[w, sum], others].concat(), attrs, &name),
    };
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

    /// Of a table `w`, rows of which are summed at indices.
    fn of_rows(graph: &mut Graph, w: Value, rows: [Value; 2]) -> Gradient {
        let name = format!("{}.grad", graph.name(w));
        let attrs = Attrs::new().with("axis", 0).with("shape", graph.ty(w).dims());
        let node = add(graph, Phase::Backward, "gather_grad", &rows, attrs, &name);
        let last = rows.into_iter().map(|it| it.node).max_by_key(|it| graph.position(*it));
        if let Some(last) = last.filter(|it| graph.node(*it).phase == Phase::Backward) {
            graph.move_after(node, last);
        }
        Gradient { parts: vec![Part { value: Value { node, result: 0 }, onto: true }], between: vec![] }
    }
}

/// Adds a part of a gradient onto `sum`; what was made of the part has been removed.
fn add_onto(graph: &mut Graph, part: Part, sum: Value) -> NodeId {
    let name = graph.name(sum).to_string();
    let shape = graph.ty(part.value).dims().to_vec();
    let onto = match graph.ty(sum).dims() == shape {
        true => sum,
        false => {
            let attrs = Attrs::new().with("shape", shape.as_slice());
            let node = add(graph, Phase::Backward, "reshape", &[sum], attrs, &format!("{name}.view"));
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
    if onto != sum {
        graph.move_before(onto.node, adds);
    }
    adds
}

/// What is drawn by the number of the step is drawn anew for each part of its batch.
fn draw_for_each_part(graph: &mut Graph) {
    let draws = |graph: &Graph, it: NodeId| graph.node(it).phase != Phase::Update;
    let Some(step) = graph.value("step").filter(|it| graph.readers(*it).iter().any(|it| draws(graph, it.0))) else {
        return;
    };
    let draw = graph.declare("input", DRAW, Type::f32(&[]));
    graph.redirect(step, draw, draws);
}

fn add(graph: &mut Graph, phase: Phase, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> NodeId {
    graph
        .add(phase, ops::get(op), operands, attrs, name)
        .unwrap_or_else(|e| panic!("{op} accumulates the gradient of {name}: {e}"))
}
