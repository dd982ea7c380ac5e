//! Lets the gradients of normalization read the output instead of the input.
//!
//! What a layer reads is saved for its weight's gradient anyway, mostly as a pruned copy. Where a normalization made it,
//! the normalized values can be worked out from it: `(y − bias) / scale` where a value was kept, and zero elsewhere. Then
//! the input, of the same size and otherwise saved whole, need not be saved at all. Measured on transformers, it costs
//! 0.01 of the gradient's cosine, as does every other way to prune what normalization saves, dropping it included.
//!
//! Gradients of the bias stay exact. Where a scale is zero, or so small that the rounding of y drowns what it was
//! multiplied by, the normalized value counts as zero, and so does the gradient of that scale.

use std::collections::HashSet;
use std::fmt;

use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Estimate, Lower};
use crate::options::{Razor, Sparsity};

/// What the gradient of a normalization reads, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Name of the normalization's output.
    pub norm: String,
    /// Nothing but the output, or why the input.
    pub outcome: Result<(), Input>,
}

/// Why the gradient of a normalization reads the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Exact gradients, or those of the published rule, were asked for.
    Asked,
    /// Nothing else saves the output.
    OutputNotSaved,
    /// Another gradient needs the exact input, so it is saved whole anyway.
    InputSaved,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Input::Asked => "as was asked for",
            Input::OutputNotSaved => "nothing else saves the output",
            Input::InputSaved => "it is saved whole anyway",
        })
    }
}

/// A normalization in the forward phase with its gradient in the backward phase.
struct Norm {
    forward: NodeId,
    grad: NodeId,
}

/// Rewrites gradients of normalization where that saves memory.
pub fn run(graph: &mut Graph, razor: &Razor) {
    for (norm, outcome) in outcomes(graph, razor) {
        if outcome.is_ok() {
            rewrite(graph, &norm);
        }
    }
}

/// What the pass makes of every normalization of a graph.
pub fn decisions(graph: &Graph, razor: &Razor) -> Vec<Decision> {
    let name = |norm: &Norm| graph.name(Value { node: norm.forward, result: 0 }).to_string();
    outcomes(graph, razor).into_iter().map(|(norm, outcome)| Decision { norm: name(&norm), outcome }).collect()
}

fn outcomes(graph: &Graph, razor: &Razor) -> Vec<(Norm, Result<(), Input>)> {
    let norms = norms(graph);
    let told: Vec<Result<(), Input>> = norms.iter().map(|it| tells(graph, it, razor)).collect();
    let may: HashSet<NodeId> = norms.iter().zip(&told).filter(|it| it.1.is_ok()).map(|it| it.0.grad).collect();
    let outcomes: Vec<Result<(), Input>> =
        norms.iter().zip(told).map(|(norm, told)| told.and_then(|()| frees(graph, norm, &may))).collect();
    norms.into_iter().zip(outcomes).collect()
}

fn norms(graph: &Graph) -> Vec<Norm> {
    let forward =
        graph.phase(Phase::Forward).filter(|it| ["layer_norm", "rms_norm"].contains(&graph.node(*it).op.name));
    let norms = forward.filter_map(|forward| {
        let name = format!("{}_grad", graph.node(forward).op.name);
        let grad = graph.readers(rstd(graph, forward)).into_iter().find(|it| graph.node(it.0).op.name == name)?.0;
        Some(Norm { forward, grad })
    });
    norms.collect()
}

/// The last result of a normalization.
fn rstd(graph: &Graph, norm: NodeId) -> Value {
    Value { node: norm, result: graph.results(norm).len() - 1 }
}

/// Whether the output, as others save it, tells the normalized values.
fn tells(graph: &Graph, norm: &Norm, razor: &Razor) -> Result<(), Input> {
    let affine = 1 < graph.operands(norm.forward).len();
    // Without scale and bias, the output that others read exactly is the normalized value itself.
    if razor.reference || affine && (razor.exact_norm || razor.sparsity == Sparsity::default()) {
        return Err(Input::Asked);
    }
    let readers = backward_readers(graph, Value { node: norm.forward, result: 0 });
    if readers.is_empty() || !affine && !readers.iter().any(|it| needs_exact(graph, *it)) {
        return Err(Input::OutputNotSaved);
    }
    Ok(())
}

/// Whether nobody needs the exact input any more, once those gradients that may read the output do so.
fn frees(graph: &Graph, norm: &Norm, may: &HashSet<NodeId>) -> Result<(), Input> {
    let x = graph.root(graph.operands(norm.forward)[0]);
    let is_weight = graph.is_declared(x) && graph.node(x.node).op.name != "input";
    let exact = |it: &(NodeId, usize)| !may.contains(&it.0) && needs_exact(graph, *it);
    if is_weight || backward_readers(graph, x).iter().any(exact) {
        return Err(Input::InputSaved);
    }
    Ok(())
}

fn needs_exact(graph: &Graph, (reader, slot): (NodeId, usize)) -> bool {
    graph.node(reader).op.estimate(slot) != Some(Estimate::Safe)
}

/// Who reads a value in the backward phase, views seen through.
fn backward_readers(graph: &Graph, value: Value) -> Vec<(NodeId, usize)> {
    let readers = graph.readers(value).into_iter().flat_map(|(reader, slot)| match graph.node(reader) {
        it if it.op.lower == Lower::View => backward_readers(graph, Value { node: reader, result: 0 }),
        it if it.phase == Phase::Backward => vec![(reader, slot)],
        _ => vec![],
    });
    readers.collect()
}

fn rewrite(graph: &mut Graph, norm: &Norm) {
    let (dy, x) = (graph.operands(norm.grad)[0], graph.operands(norm.grad)[1]);
    let affine = graph.operands(norm.forward)[1..].to_vec();
    let y = Value { node: norm.forward, result: 0 };
    let operands = [vec![dy, y, rstd(graph, norm.forward)], affine].concat();
    let op = ops::get(match graph.node(norm.grad).op.name {
        "layer_norm_grad" => "layer_norm_grad_from_output",
        _ => "rms_norm_grad_from_output",
    });
    let name = graph.name(y).to_string();
    graph
        .rewrite(norm.grad, op, &operands, Attrs::new())
        .unwrap_or_else(|e| panic!("the gradient of {name} from its output: {e}"));
    // A view that was made for this reader would still count as saving the input.
    if graph.node(x.node).phase == Phase::Backward && graph.readers(x).is_empty() {
        graph.remove(x.node);
    }
}
