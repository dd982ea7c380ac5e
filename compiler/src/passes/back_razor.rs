//! Back Razor (NeurIPS 2022): saved activations are kept as their largest magnitudes.
//!
//! The forward phase stays dense. Of every tensor that the backward phase reads only as an estimate, the pass saves a
//! packed copy with the `n − ⌊n·s⌋` largest magnitudes of each sample, made after the last forward reader and expanded
//! with zeros directly before the first backward reader.

use std::collections::HashSet;
use std::fmt;

use globset::{Glob, GlobMatcher};
use razorc_proto::packed;

use super::padding::{self, Padding};
use super::samples;
use crate::attrs::Attrs;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops::{self, Estimate, Lower};
use crate::options::{Choice, Razor, Sparsity};
use crate::step;
use crate::types::{DType, IndexForm, Type};

/// What became of a saved tensor, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Name of the saved value.
    pub value: String,
    /// What is saved of it, or why it is saved whole.
    pub outcome: Result<Saved, Whole>,
}

/// What is saved of a tensor instead of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// The largest magnitudes.
    Pruned {
        /// The fraction of each sample that is not kept.
        sparsity: Sparsity,
        /// Type of the kept values.
        values: DType,
        /// Whether padded tokens are taken for zeros.
        unpadded: bool,
    },
    /// So many bits an element, of an activation's slope at it.
    Coded(u64),
    /// So many bits of each element.
    Quantized(u64),
    /// All of it, rounded to 16 bits.
    Rounded,
    /// Nothing: it is computed again from what is saved anyway.
    Again,
}

/// Why a tensor is saved whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// Bits, indices, statistics, labels.
    NotAnActivation,
    /// A reader in the backward phase needs the exact tensor.
    ReadExactly,
    /// The batch is not the outermost part of its memory.
    BatchInside,
    /// The first layer's input.
    Stem,
    /// The last layer's input.
    Classifier,
    /// Sparsity 0 was asked for.
    Asked,
    /// A budget leaves room for all of it.
    Chosen,
    /// A packed copy would not be smaller.
    NotSmaller,
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Whole::NotAnActivation => "no activation",
            Whole::ReadExactly => "a gradient needs it exactly",
            Whole::BatchInside => "its samples do not lie together",
            Whole::Stem => "the first layer reads it",
            Whole::Classifier => "the last layer reads it",
            Whole::Asked => "as was asked for",
            Whole::Chosen => "there is memory for it",
            Whole::NotSmaller => "a pruned copy would not be smaller",
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Ok(Saved::Pruned { sparsity, values, unpadded }) => {
                write!(f, "{sparsity} pruned")?;
                if values != DType::F16 {
                    write!(f, ", {values} values")?;
                }
                f.write_str(if unpadded { ", padding left out" } else { "" })
            }
            Ok(Saved::Coded(bits)) => write!(f, "{bits} bits of the slope at it"),
            Ok(Saved::Quantized(bits)) => write!(f, "{bits} bits of each element"),
            Ok(Saved::Again) => f.write_str("nothing: computed again from what is saved anyway"),
            Ok(Saved::Rounded) => f.write_str("rounded to 16 bits"),
            Err(whole) => write!(f, "whole: {whole}"),
        }
    }
}

/// Replaces saved tensors by pruned copies where that is allowed and smaller.
///
/// The seed decides how values of i8 are rounded.
pub fn run(graph: &mut Graph, razor: &Razor, batch: u64, seed: u64) {
    let padding = padding(graph, razor, batch);
    for (saved, outcome) in outcomes(graph, razor, batch) {
        match outcome {
            Ok(sparsity) if razor.reference => mask(graph, saved, sparsity, razor, batch),
            Ok(sparsity) => {
                let mask = padding.as_ref().filter(|it| it.rows.contains(&saved)).map(|it| it.mask);
                prune(graph, saved, sparsity, mask, razor, batch, seed);
            }
            Err(_) => {}
        }
    }
}

/// What the pass makes of every saved tensor of a graph.
pub fn decisions(graph: &Graph, razor: &Razor, batch: u64) -> Vec<Decision> {
    let padding = padding(graph, razor, batch);
    let named = |(saved, outcome): (Value, Result<Sparsity, Whole>)| {
        let value = graph.name(saved).to_string();
        let values = razor.values_of(&value);
        let unpadded = padding.as_ref().is_some_and(|it| it.rows.contains(&saved));
        Decision { value, outcome: outcome.map(|sparsity| Saved::Pruned { sparsity, values, unpadded }) }
    };
    outcomes(graph, razor, batch).into_iter().map(named).collect()
}

/// What is known of padding, unless it counts like tokens do.
fn padding(graph: &Graph, razor: &Razor, batch: u64) -> Option<Padding> {
    if razor.padding || razor.reference { None } else { padding::find(graph, batch) }
}

fn outcomes(graph: &Graph, razor: &Razor, batch: u64) -> Vec<(Value, Result<Sparsity, Whole>)> {
    let globs = matchers(razor);
    let facts = Facts::new(graph, batch);
    graph.saves().into_iter().map(|saved| (saved, decide(graph, saved, razor, &globs, &facts))).collect()
}

fn matchers(razor: &Razor) -> Vec<(GlobMatcher, Sparsity)> {
    let globs = razor.sparsity_for.iter();
    globs.filter_map(|(glob, sparsity)| Some((Glob::new(glob).ok()?.compile_matcher(), *sparsity))).collect()
}

/// Whether `--sparsity-for` decides about a saved value.
pub(crate) fn is_asked_for(graph: &Graph, saved: Value, razor: &Razor) -> bool {
    let globs = matchers(razor);
    let names = layers(graph, saved).into_iter().map(|(_, weight)| graph.name(graph.root(weight)));
    names.into_iter().any(|name| globs.iter().any(|it| it.0.is_match(name)))
}

/// What decisions need to know of the whole graph.
struct Facts {
    batch: u64,
    together: HashSet<Value>,
    /// Values that no layer with weights lies before.
    before_layers: HashSet<Value>,
    /// Values that lead to nothing but the last layer.
    into_last: HashSet<Value>,
}

impl Facts {
    fn new(graph: &Graph, batch: u64) -> Facts {
        let is_layer = |node: NodeId| graph.node(node).op.weight.is_some();
        let mut before_layers: HashSet<Value> = graph.declared("input").into_iter().collect();
        for node in graph.phase(Phase::Forward) {
            let activations = graph.operands(node).into_iter().filter(|it| !is_weight(graph, *it));
            if !is_layer(node) && activations.into_iter().all(|it| before_layers.contains(&it)) {
                before_layers.extend(graph.results(node));
            }
        }
        let mut after_layers = HashSet::new();
        let mut into_last = HashSet::new();
        for node in graph.phase(Phase::Forward).rev() {
            for value in graph.results(node) {
                let readers = forward_readers(graph, value);
                let behind = |it: &NodeId| read(graph, *it).iter().all(|it| after_layers.contains(it));
                let into = |it: &NodeId| match (is_layer(*it), &read(graph, *it)[..]) {
                    (true, _) => behind(it),
                    (false, []) => false,
                    (false, results) => results.iter().all(|it| into_last.contains(it)),
                };
                let after = readers.iter().all(|it| !is_layer(*it) && behind(it));
                if !readers.is_empty() && readers.iter().all(into) {
                    into_last.insert(value);
                }
                if after {
                    after_layers.insert(value);
                }
            }
        }
        Facts { batch, together: samples::together(graph, batch), before_layers, into_last }
    }
}

fn forward_readers(graph: &Graph, value: Value) -> Vec<NodeId> {
    let readers = graph.readers(value).into_iter().map(|it| it.0);
    readers.filter(|it| graph.node(*it).phase == Phase::Forward).collect()
}

/// Results that the forward phase reads.
fn read(graph: &Graph, node: NodeId) -> Vec<Value> {
    graph.results(node).into_iter().filter(|it| !forward_readers(graph, *it).is_empty()).collect()
}

fn is_weight(graph: &Graph, value: Value) -> bool {
    graph.is_declared(graph.root(value)) && graph.node(graph.root(value).node).op.name != "input"
}

fn decide(
    graph: &Graph,
    saved: Value,
    razor: &Razor,
    globs: &[(GlobMatcher, Sparsity)],
    facts: &Facts,
) -> Result<Sparsity, Whole> {
    if !graph.ty(saved).is_f32() || graph.ty(saved).rank() == 0 {
        return Err(Whole::NotAnActivation);
    }
    if !accepts_estimate(graph, saved, razor) {
        return Err(Whole::ReadExactly);
    }
    if !facts.together.contains(&saved) {
        return Err(Whole::BatchInside);
    }
    if !razor.ends && facts.before_layers.contains(&saved) {
        return Err(Whole::Stem);
    }
    if !razor.ends && facts.into_last.contains(&saved) {
        return Err(Whole::Classifier);
    }
    let sparsity = match razor.choices.get(graph.name(saved)) {
        Some(Choice::Pruned(sparsity, _)) => *sparsity,
        Some(Choice::Whole | Choice::Rounded) => return Err(Whole::Chosen),
        None => sparsity_of(graph, &layers(graph, saved), razor, globs),
    };
    if sparsity == Sparsity::default() {
        return Err(Whole::Asked);
    }
    if !razor.reference && graph.ty(saved).bytes() <= packed(graph, saved, sparsity, razor, facts.batch).bytes() {
        return Err(Whole::NotSmaller);
    }
    Ok(sparsity)
}

/// Whether every backward reader takes an estimate, views seen through. By the published rule each layer saves a copy of
/// its own, so one reader is enough.
fn accepts_estimate(graph: &Graph, value: Value, razor: &Razor) -> bool {
    let mut readers = readers(graph, value, Phase::Backward).into_iter();
    match razor.reference {
        true => readers.any(|(it, slot)| takes_estimate(graph, it, slot, razor)),
        false => {
            readers.all(|(it, slot)| graph.node(it).op.lower == Lower::View || takes_estimate(graph, it, slot, razor))
        }
    }
}

fn takes_estimate(graph: &Graph, reader: NodeId, slot: usize, razor: &Razor) -> bool {
    graph.node(reader).op.estimate(slot).is_some_and(|it| match it {
        Estimate::Safe => true,
        Estimate::Rounded => false,
        Estimate::Forced | Estimate::Slope(_) => razor.smooth,
        Estimate::Published => razor.smooth || razor.reference,
    })
}

/// Whether a reader of a saved tensor reads the estimate instead: all do, but by the published rule.
fn reads_estimate(graph: &Graph, reader: NodeId, saved: Value, razor: &Razor) -> bool {
    if graph.node(reader).phase != Phase::Backward {
        return false;
    }
    let slots = graph.operands(reader).into_iter().enumerate().filter(|it| it.1 == saved).map(|it| it.0);
    match graph.node(reader).op.lower {
        _ if !razor.reference => true,
        Lower::View => accepts_estimate(graph, Value { node: reader, result: 0 }, razor),
        _ => slots.into_iter().all(|slot| takes_estimate(graph, reader, slot, razor)),
    }
}

/// Layers that read a value in the forward phase, views seen through, each with its weight.
pub(crate) fn layers(graph: &Graph, value: Value) -> Vec<(NodeId, Value)> {
    let readers = readers(graph, value, Phase::Forward).into_iter();
    readers.filter_map(|(it, _)| Some((it, graph.operands(it)[graph.node(it).op.weight?]))).collect()
}

/// Nodes of one phase that read a value, and views of it in that phase; those too that make such views.
pub(crate) fn readers(graph: &Graph, value: Value, phase: Phase) -> Vec<(NodeId, usize)> {
    let mut found: Vec<(NodeId, usize)> = vec![];
    // Without recursion: a file can have as many views of views as it likes.
    let mut values = vec![value];
    while let Some(value) = values.pop() {
        for reader in graph.readers(value).into_iter().filter(|it| graph.node(it.0).phase == phase) {
            if graph.node(reader.0).op.lower == Lower::View {
                values.push(Value { node: reader.0, result: 0 });
            }
            found.push(reader);
        }
    }
    found
}

/// The smallest fraction that any reading layer asks for.
fn sparsity_of(
    graph: &Graph,
    layers: &[(NodeId, Value)],
    razor: &Razor,
    globs: &[(GlobMatcher, Sparsity)],
) -> Sparsity {
    let asked = layers.iter().map(|&(_, weight)| {
        let name = graph.name(graph.root(weight));
        globs.iter().rev().find(|it| it.0.is_match(name)).map_or(razor.sparsity, |it| it.1)
    });
    asked.min().unwrap_or(razor.sparsity)
}

/// The type of the copy, with the smaller form of its index.
pub(crate) fn packed(graph: &Graph, saved: Value, sparsity: Sparsity, razor: &Razor, batch: u64) -> Type {
    let ty = graph.ty(saved);
    let n = ty.elements() / batch;
    let keep = sparsity.keep(n);
    let form = packed::smaller_form(n, keep);
    let values = razor.values_of(graph.name(saved));
    Type::TopK { dims: ty.dims().to_vec(), samples: batch, keep, values, form }
}

fn prune(
    graph: &mut Graph,
    saved: Value,
    sparsity: Sparsity,
    mask: Option<Value>,
    razor: &Razor,
    batch: u64,
    seed: u64,
) {
    let Type::TopK { keep, form, values, .. } = packed(graph, saved, sparsity, razor, batch) else { return };
    let name = graph.name(saved).to_string();
    let mut attrs = Attrs::new()
        .with("samples", batch as i64)
        .with("keep", keep as i64)
        .with("values", values.to_string().as_str());
    if form != IndexForm::Bitmap {
        attrs = attrs.with("form", form.word());
    }
    let mut operands = vec![saved];
    if values == DType::I8 {
        attrs = attrs.with("seed", step::seed_of(&name, seed));
        operands.push(step::scalar_step(graph));
    }
    operands.extend(mask);
    let copy = Copy { op: "compress", suffix: "topk", back: "decompress" };
    save_copy(graph, &operands, copy, attrs, |graph, it| reads_estimate(graph, it, saved, razor));
}

/// How a tensor is saved in another form.
pub(super) struct Copy {
    /// The op that makes the form.
    pub op: &'static str,
    /// What its result is called by, behind the tensor's name.
    pub suffix: &'static str,
    /// The op that makes a dense tensor of it again.
    pub back: &'static str,
}

/// Saves operand 0 in another form, made before its last reader of the forward phase; those readers that `which` says
/// read what is made of it directly before the first reader of the backward phase.
pub(super) fn save_copy(
    graph: &mut Graph,
    operands: &[Value],
    copy: Copy,
    attrs: Attrs,
    which: impl Fn(&Graph, NodeId) -> bool,
) {
    let saved = operands[0];
    let Some(first) = first_backward(graph, saved) else { return };
    let name = graph.name(saved).to_string();
    let last = last_forward(graph, saved);
    let made = append(graph, Phase::Forward, copy.op, operands, attrs, &format!("{name}.{}", copy.suffix));
    settle(graph, made.node, saved, last);
    let hat = append(graph, Phase::Backward, copy.back, &[made], Attrs::new(), &format!("{name}.hat"));
    graph.move_before(hat.node, first);
    graph.redirect(saved, hat, which);
}

/// By the published rule nothing is packed.
fn mask(graph: &mut Graph, saved: Value, sparsity: Sparsity, razor: &Razor, batch: u64) {
    if first_backward(graph, saved).is_none() {
        return;
    }
    let name = format!("{}.hat", graph.name(saved));
    let last = last_forward(graph, saved);
    let attrs = Attrs::new().with("sparsity_ppm", i64::from(sparsity.ppm())).with("samples", batch as i64);
    let hat = append(graph, Phase::Forward, "mask_topk", &[saved], attrs, &name);
    settle(graph, hat.node, saved, last);
    graph.redirect(saved, hat, |graph, it| reads_estimate(graph, it, saved, razor));
}

fn first_backward(graph: &Graph, saved: Value) -> Option<NodeId> {
    graph.readers(saved).into_iter().map(|it| it.0).find(|it| graph.node(*it).phase == Phase::Backward)
}

/// Puts a node of the forward phase that reads `saved`, or a view of it, directly before its last reader there, which can
/// then take over its bytes. Several nodes keep the order in which they are put.
pub(super) fn settle(graph: &mut Graph, node: NodeId, saved: Value, last: Option<NodeId>) {
    match last {
        Some(last) if last != saved.node => graph.move_before(node, last),
        Some(_) => graph.move_after(node, graph.operands(node)[0].node),
        None => {
            let head = graph.phase(Phase::Forward).next();
            head.into_iter().for_each(|it| graph.move_before(node, it));
        }
    }
}

/// The forward node after which nobody in that phase needs the value or a view of it; none for an unread input.
pub(crate) fn last_forward(graph: &Graph, value: Value) -> Option<NodeId> {
    let own = (graph.node(value.node).phase == Phase::Forward).then_some(value.node);
    let later = readers(graph, value, Phase::Forward).into_iter().map(|it| it.0);
    own.into_iter().chain(later).max_by_key(|&it| graph.position(it))
}

fn append(graph: &mut Graph, phase: Phase, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> Value {
    let node =
        graph.add(phase, ops::get(op), operands, attrs, name).unwrap_or_else(|e| panic!("{op} makes {name}: {e}"));
    Value { node, result: 0 }
}
