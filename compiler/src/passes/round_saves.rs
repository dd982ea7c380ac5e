//! Saves a few bits of each element where a tensor may be rounded but was not pruned.
//!
//! What attention reads must not be pruned, as every element counts, but eight bits are enough (Mesa, 2021, trains vision
//! transformers so); and so they are for the inputs of the first and the last layer, which are not pruned because they
//! matter most. Each block of a row has its own scale and offset.
//!
//! Where nothing is pruned the pass can round every activation instead: to 8 bits (Mesa), or to 2 bits at random, so that
//! the mean is right (ActNN, ICML 2021). Masks, indices and statistics stay as they are, and so does what is tiny.

use super::back_razor::{Copy, Decision, Saved, readers, save_copy};
use crate::attrs::Attrs;
use crate::graph::{Graph, Phase, Value};
use crate::ops::{Estimate, Lower};
use crate::options::{Choice, Razor, Rounds, Sparsity};
use crate::step;
use crate::types::Type;

/// Elements that share a scale and an offset; of 2 bits each as many as ActNN's.
fn block(bits: u64) -> u64 {
    if bits == 2 { 256 } else { 64 }
}

/// Replaces saved tensors by rounded ones where every reader allows it.
///
/// The seed decides how values are rounded at random.
pub fn run(graph: &mut Graph, razor: &Razor, seed: u64) {
    for saved in candidates(graph, razor) {
        round(graph, saved, razor, seed);
    }
}

/// What the pass makes of tensors that are not pruned.
pub fn decisions(graph: &Graph, razor: &Razor) -> Vec<Decision> {
    let named =
        |saved| Decision { value: graph.name(saved).to_string(), outcome: Ok(Saved::Quantized(razor.rounded_bits)) };
    candidates(graph, razor).into_iter().map(named).collect()
}

fn candidates(graph: &Graph, razor: &Razor) -> Vec<Value> {
    let nothing = razor.rounds == Rounds::Spared && razor.sparsity == Sparsity::default();
    if razor.rounded_bits == 0 || razor.reference || nothing {
        return vec![];
    }
    let fits = |it: &Value| {
        let ty = graph.ty(*it);
        let chosen = razor.choices.get(graph.name(*it)).is_none_or(|it| *it == Choice::Rounded);
        // Half of the bytes at least, or it is not worth a rounding.
        let smaller = ty.is_f32() && 2 * rounded(ty, razor).bytes() <= ty.bytes();
        // Columns of a table may differ by orders of magnitude; pixels do not.
        let table = graph.is_declared(*it) && ty.rank() < 4 && razor.rounds == Rounds::Spared;
        chosen && smaller && !table && tolerated(graph, *it, razor.rounds)
    };
    graph.saves().into_iter().filter(fits).collect()
}

/// The type of a rounded copy.
pub(crate) fn rounded(ty: &Type, razor: &Razor) -> Type {
    Type::Quant { dims: ty.dims().to_vec(), bits: razor.rounded_bits, block: block(razor.rounded_bits) }
}

/// Whether every backward reader allows rounding, views looked through. Statistics, which come beside an op's first
/// result, have readers that do not.
fn tolerated(graph: &Graph, value: Value, rounds: Rounds) -> bool {
    readers(graph, value, Phase::Backward).into_iter().all(|(reader, slot)| match graph.node(reader).op {
        op if op.lower == Lower::View => true,
        op => match (op.estimate(slot), rounds) {
            (None, _) => false,
            (Some(Estimate::Safe | Estimate::Rounded), _) => true,
            (Some(_), rounds) => rounds != Rounds::Spared,
        },
    })
}

fn round(graph: &mut Graph, saved: Value, razor: &Razor, seed: u64) {
    let name = graph.name(saved).to_string();
    let bits = razor.rounded_bits;
    let mut attrs = Attrs::new().with("bits", bits as i64).with("block", block(bits) as i64);
    let mut operands = vec![saved];
    if razor.rounds == Rounds::EverythingAtRandom {
        attrs = attrs.with("seed", step::seed_of(&name, seed));
        operands.push(step::scalar_step(graph));
    }
    let copy = Copy { op: "quantize", suffix: "quant", back: "dequantize" };
    save_copy(graph, &operands, copy, attrs, |graph, it| graph.node(it).phase == Phase::Backward);
}
