//! Orders and lifetimes by hand; offsets in `schedule/offsets.rs`.

#[path = "schedule/offsets.rs"]
mod offsets;

use razorc_compiler::attrs::Attrs;
use razorc_compiler::autodiff::differentiate;
use razorc_compiler::graph::{Graph, NodeId, Phase, Value};
use razorc_compiler::ops;
use razorc_compiler::schedule::{Place, schedule};
use razorc_compiler::types::{DType, Type};

/// A plan is what a person would write down: read the snapshot.
#[test]
fn plan_of_a_small_network() {
    let (graph, kept) = network();
    insta::assert_snapshot!(schedule(&graph, &kept).to_text(&graph));
}

#[test]
fn updates_come_right_after_their_gradient_and_the_last_reader_of_the_weight() {
    let (graph, kept) = network();
    let steps = schedule(&graph, &kept).steps;
    let at = |node: NodeId| steps.iter().position(|&it| it == node).unwrap();
    let updates: Vec<NodeId> = graph.phase(Phase::Update).collect();
    assert_eq!(updates.len(), 5);
    for &update in &updates {
        let makers = graph.operands(update).into_iter().filter(|it| !graph.is_declared(*it)).map(|it| it.node);
        let written = graph.writes(update);
        let readers = written.iter().flat_map(|it| graph.readers(*it)).map(|it| it.0).filter(|&it| it != update);
        let last = makers.chain(readers).map(at).max().unwrap();
        let between = &steps[last + 1..at(update)];
        assert!(last < at(update), "{} runs too early", graph.node(update).op.name);
        assert!(between.iter().all(|it| updates.contains(it)), "{} waits for nothing", graph.node(update).op.name);
    }
    let statistics = updates.iter().find(|it| graph.node(**it).op.name == "batch_norm_update").unwrap();
    assert_eq!(graph.node(steps[at(*statistics) - 1]).op.name, "batch_norm_train");
}

#[test]
fn a_weight_is_not_updated_before_a_later_input_gradient_has_read_it() {
    let mut graph = Graph::new("late");
    let w = graph.declare("param", "w", Type::f32(&[4, 4]));
    let lr = graph.declare("input", "lr", Type::f32(&[]));
    let x = graph.declare("input", "x", Type::f32(&[2, 4]));
    let view = add(&mut graph, Phase::Forward, "reshape", &[w], shape(&[4, 4]), "w.view");
    let dw = add(&mut graph, Phase::Backward, "linear_weight_grad", &[x, x], Attrs::new(), "dw");
    let dx = add(&mut graph, Phase::Backward, "linear_input_grad", &[x, view], Attrs::new(), "dx");
    let update = graph.add(Phase::Update, ops::find("sgd").unwrap(), &[w, dw, lr], Attrs::new(), "w").unwrap();
    assert_eq!(schedule(&graph, &[dx]).steps, [dw.node, dx.node, update]);
}

#[test]
fn views_lie_where_their_operand_lies() {
    let mut graph = Graph::new("views");
    let w = graph.declare("frozen", "w", Type::f32(&[2, 3]));
    let x = graph.declare("input", "x", Type::f32(&[2, 3]));
    let unread = graph.declare("input", "unread", Type::f32(&[100]));
    let flat_w = add(&mut graph, Phase::Forward, "reshape", &[w], shape(&[6]), "w.flat");
    let flat_x = add(&mut graph, Phase::Forward, "reshape", &[x], shape(&[6]), "x.flat");
    let column = add(&mut graph, Phase::Forward, "reshape", &[flat_x], shape(&[6, 1]), "x.column");
    let y = add(&mut graph, Phase::Forward, "add", &[flat_x, flat_w], Attrs::new(), "y");
    let z = add(&mut graph, Phase::Forward, "relu", &[column], Attrs::new(), "z");
    let plan = schedule(&graph, &[y]);
    let life = |value| match plan.places[&value] {
        Place::Storage(idx) => (plan.storages[idx].buffer.first, plan.storages[idx].buffer.end),
        Place::Resident(_) => panic!("{} is dynamic", graph.name(value)),
    };
    assert_eq!(plan.places[&flat_w], Place::Resident(w));
    assert_eq!(plan.places[&column], plan.places[&x]);
    assert_eq!([life(x), life(flat_x), life(column)], [(0, 2); 3]);
    assert_eq!(life(unread), (0, 1), "the caller fills it all the same");
    assert_eq!(life(y), (0, 3), "kept values live past the last step");
    assert!(!plan.places.contains_key(&z), "nobody reads it");
    assert_eq!(plan.storages.len(), 3);
}

#[test]
fn results_take_over_the_bytes_of_what_dies() {
    let mut graph = Graph::new("reuses");
    let w = graph.declare("frozen", "w", Type::f32(&[2, 3]));
    let x = graph.declare("input", "x", Type::f32(&[2, 3]));
    let row = graph.declare("input", "row", Type::f32(&[3]));
    let mut at = |op: &str, operands: &[Value], name: &str| {
        let attrs = if op == "reshape" { shape(&[6]) } else { Attrs::new() };
        add(&mut graph, Phase::Forward, op, operands, attrs, name)
    };
    let of_resident = at("tanh", &[w], "of resident");
    let early = at("tanh", &[x], "early");
    let last = at("add", &[row, x], "last");
    let seen = at("reshape", &[last], "seen");
    let of_view = at("exp", &[seen], "of view");
    let twice = at("add", &[of_view, of_view], "twice");
    let kept = at("tanh", &[twice], "kept");
    let of_kept = at("tanh", &[kept], "of kept");
    let sum = at("add", &[early, of_resident], "sum");
    let ends = at("reduce_to", &[sum], "ends");
    let plan = schedule(&graph, &[kept, of_kept, ends]);
    let home = |it: Value| plan.places[&it];
    assert!(home(of_resident) != home(w) && home(early) != home(x), "x is read again");
    assert_eq!([last, seen, of_view].map(home), [home(x); 3]);
    assert_ne!(home(twice), home(of_view), "both operands are in the same bytes");
    assert_eq!(home(kept), home(twice));
    assert_ne!(home(of_kept), home(kept), "kept values are read after the last step");
    assert_eq!(home(sum), home(early), "of two that die the younger one");
    assert_ne!(home(ends), home(sum), "a sum is smaller");
    let reused = plan.storages.iter().find(|it| it.value == x).unwrap();
    assert_eq!((reused.buffer.first, reused.buffer.end), (0, 5), "until the sum of what took its bytes over last");
}

/// Convolution, batch normalization, ReLU, a view and a linear layer, with all updates; and what is kept.
fn network() -> (Graph, Vec<Value>) {
    let mut graph = Graph::new("small");
    let x = graph.declare("input", "x", Type::f32(&[2, 3, 6, 6]));
    let w1 = graph.declare("param", "w1", Type::f32(&[4, 3, 3, 3]));
    let scale = graph.declare("param", "scale", Type::f32(&[4]));
    let bias = graph.declare("param", "bias", Type::f32(&[4]));
    let mean = graph.declare("statistic", "mean", Type::f32(&[4]));
    let var = graph.declare("statistic", "var", Type::f32(&[4]));
    let w2 = graph.declare("param", "w2", Type::f32(&[10, 64]));
    let target = graph.declare("input", "target", Type::dense(DType::I64, &[2]));
    let rows = graph.declare("input", "rows", Type::f32(&[2]));
    let lr = graph.declare("input", "learning_rate", Type::f32(&[]));

    let forward = Phase::Forward;
    let h = add(&mut graph, forward, "conv", &[x, w1], Attrs::new(), "h");
    let n = add(&mut graph, forward, "batch_norm_train", &[h, scale, bias], Attrs::new(), "n");
    let a = add(&mut graph, forward, "relu", &[n], Attrs::new(), "a");
    let f = add(&mut graph, forward, "reshape", &[a], shape(&[2, 64]), "f");
    let z = add(&mut graph, forward, "linear", &[f, w2], Attrs::new().with("transpose", 1), "z");
    let loss = add(&mut graph, forward, "softmax_cross_entropy", &[z, target, rows], Attrs::new(), "loss");
    let kind = Attrs::new().with("kind", "argmax");
    let correct = add(&mut graph, forward, "correct", &[z, target, rows], kind, "correct");

    for (weight, gradient) in differentiate(&mut graph, loss, &[w1, scale, bias, w2]) {
        let name = graph.name(weight).to_string();
        let momentum = graph.declare("state", &format!("{name}.momentum"), graph.ty(weight).clone());
        let attrs = Attrs::new().with("momentum", 0.9);
        graph.add(Phase::Update, ops::find("sgd").unwrap(), &[weight, gradient, momentum, lr], attrs, &name).unwrap();
    }
    let batch = [1, 2].map(|result| Value { node: n.node, result });
    let statistics = ops::find("batch_norm_update").unwrap();
    graph.add(Phase::Update, statistics, &[mean, var, batch[0], batch[1]], Attrs::new(), "statistics").unwrap();
    (graph, vec![loss, correct])
}

fn add(graph: &mut Graph, phase: Phase, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> Value {
    let node = graph.add(phase, ops::find(op).unwrap(), operands, attrs, name).unwrap();
    Value { node, result: 0 }
}

fn shape(dims: &[u64]) -> Attrs {
    Attrs::new().with("shape", dims)
}
