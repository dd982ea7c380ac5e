//! Saves a few bits of a smooth activation's slope instead of the tensor that the slope is taken at.
//!
//! Pruning that tensor destroys gradients; rounding the slope to eight levels does not. By the published rule the
//! tensor is saved whole, rounded to 16 bits where its activation is GELU.

use super::back_razor::{Decision, Saved, last_forward, settle};
use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Estimate, Lower, Slope};
use crate::options::{Razor, Sparsity};

/// Replaces saved tensors that the backward phase reads for slopes alone.
pub fn run(graph: &mut Graph, razor: &Razor) {
    for (saved, readings, outcome) in outcomes(graph, razor) {
        match outcome {
            Saved::Rounded => round(graph, saved),
            _ => code(graph, saved, &readings, razor.slope_bits),
        }
    }
}

/// What the pass makes of the tensors that it replaces.
pub fn decisions(graph: &Graph, razor: &Razor) -> Vec<Decision> {
    let named = |(saved, _, outcome)| Decision { value: graph.name(saved).to_string(), outcome: Ok(outcome) };
    outcomes(graph, razor).into_iter().map(named).collect()
}

fn outcomes(graph: &Graph, razor: &Razor) -> Vec<(Value, Vec<Reading>, Saved)> {
    if razor.smooth || razor.slope_bits == 0 || razor.sparsity == Sparsity::default() {
        return vec![];
    }
    let outcome = |readings: &[Reading]| match razor.reference {
        true => readings.iter().all(|it| it.slope.rounded).then_some(Saved::Rounded),
        false => can_code(graph, readings, razor.slope_bits).then_some(Saved::Coded(razor.slope_bits)),
    };
    let found = graph.saves().into_iter().filter_map(|saved| {
        let readings = readings(graph, saved)?;
        let outcome = outcome(&readings)?;
        Some((saved, readings, outcome))
    });
    found.collect()
}

/// A node of the backward phase that takes a slope at a saved tensor.
struct Reading {
    grad: NodeId,
    /// Through which the node sees the tensor, the nearest to the tensor first.
    views: Vec<NodeId>,
    slope: Slope,
}

/// Everyone that reads a saved tensor in the backward phase, if they all take slopes at it.
fn readings(graph: &Graph, value: Value) -> Option<Vec<Reading>> {
    let readers = graph.readers(value).into_iter().filter(|it| graph.node(it.0).phase == Phase::Backward);
    let mut found = vec![];
    for (reader, slot) in readers {
        let op = graph.node(reader).op;
        match (op.lower, op.estimate(slot)) {
            (Lower::View, _) => {
                let mut through = readings(graph, Value { node: reader, result: 0 })?;
                through.iter_mut().for_each(|it| it.views.insert(0, reader));
                found.extend(through);
            }
            (_, Some(Estimate::Slope(slope))) => found.push(Reading { grad: reader, views: vec![], slope }),
            _ => return None,
        }
    }
    Some(found).filter(|it| !it.is_empty())
}

/// Whether so many bits can hold every slope that is read.
fn can_code(graph: &Graph, readings: &[Reading], bits: u64) -> bool {
    readings.iter().all(|it| {
        let x = graph.ty(graph.operands(it.grad)[1]).clone();
        bits != 0 && (ops::get("slope_codes").shape)(&[x], &with_bits(graph, it, bits)).is_ok()
    })
}

/// Makes the backward phase read codes, one copy for equal slopes.
fn code(graph: &mut Graph, saved: Value, readings: &[Reading], bits: u64) {
    let name = format!("{}.codes", graph.name(saved));
    let last = last_forward(graph, saved);
    let mut made: Vec<(Attrs, Vec<u64>, Value)> = vec![];
    for reading in readings {
        let (dy, x) = (graph.operands(reading.grad)[0], graph.operands(reading.grad)[1]);
        let (attrs, dims) = (with_bits(graph, reading, bits), graph.ty(x).dims().to_vec());
        let found = made.iter().find(|it| it.0 == attrs && it.1 == dims).map(|it| it.2);
        let codes = found.unwrap_or_else(|| {
            let x = view_in_forward(graph, saved, last, &reading.views);
            append(graph, saved, last, "slope_codes", x, attrs.clone(), &name)
        });
        made.push((attrs, dims, codes));
        let attrs = attrs_of(graph, reading);
        graph
            .rewrite(reading.grad, ops::get("scale_by_codes"), &[dy, codes], attrs)
            .unwrap_or_else(|e| panic!("{name} scale a gradient: {e}"));
    }
    for view in readings.iter().flat_map(|it| it.views.iter().rev()) {
        let unread = graph.order().contains(view) && graph.readers(Value { node: *view, result: 0 }).is_empty();
        if unread {
            graph.remove(*view);
        }
    }
}

/// Makes the backward phase read the tensor rounded to 16 bits.
fn round(graph: &mut Graph, saved: Value) {
    let name = format!("{}.hat", graph.name(saved));
    let last = last_forward(graph, saved);
    let hat = append(graph, saved, last, "round_f16", saved, Attrs::new(), &name);
    graph.redirect(saved, hat, |graph, it| graph.node(it).phase == Phase::Backward);
}

/// The saved tensor seen in the forward phase as the backward phase sees it.
fn view_in_forward(graph: &mut Graph, saved: Value, last: Option<NodeId>, views: &[NodeId]) -> Value {
    views.iter().fold(saved, |x, &view| {
        let (op, attrs) = (graph.node(view).op, graph.node(view).attrs.clone());
        let name = graph.name(Value { node: view, result: 0 }).to_string();
        append(graph, saved, last, op.name, x, attrs, &name)
    })
}

/// Adds a node to the forward phase, where the saved tensor is about to be read for the last time.
fn append(
    graph: &mut Graph,
    saved: Value,
    last: Option<NodeId>,
    op: &str,
    operand: Value,
    attrs: Attrs,
    name: &str,
) -> Value {
    let node = graph
        .add(Phase::Forward, ops::get(op), &[operand], attrs, name)
        .unwrap_or_else(|e| panic!("{op} makes {name}: {e}"));
    settle(graph, node, saved, last);
    Value { node, result: 0 }
}

/// Those of the gradient op, and the function's name.
fn attrs_of(graph: &Graph, reading: &Reading) -> Attrs {
    let own = graph.node(reading.grad).attrs.iter();
    own.fold(Attrs::new().with("function", reading.slope.function), |attrs, (name, it)| attrs.with(name, it.clone()))
}

fn with_bits(graph: &Graph, reading: &Reading, bits: u64) -> Attrs {
    attrs_of(graph, reading).with("bits", bits as i64)
}
