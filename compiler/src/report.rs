//! What a program's memory is made of, in bytes.

use std::collections::BTreeSet;

use razorc_proto::program::{Memory, Program, Role};

use crate::graph::{Graph, NodeId, Phase, Value};
use crate::lower::Scheduled;
use crate::ops;
use crate::schedule::arena::{self, Buffer};
use crate::schedule::{ALIGN, Place, arena_bytes};
use crate::types::Type;

/// Planned memory of `program`, lowered from `train` and `eval`; `dense` is the training graph before pruning.
///
/// Every number but the last is bytes of the arena: weights, optimizer and dynamic peak add up to the planned peak.
pub fn memory(program: &Program, train: Scheduled<'_>, eval: Scheduled<'_>, dense: &Graph) -> Memory {
    let weights = resident_bytes(program, |role| role != Role::State);
    let optimizer = resident_bytes(program, |role| role == Role::State);
    let always = weights + optimizer + program.scratch_bytes;
    let planned_peak = program.arena_bytes + program.scratch_bytes;
    Memory {
        weights,
        optimizer,
        saved_dense: saved_bytes(dense),
        saved_packed: saved_bytes(train.graph),
        transient: transient(train),
        dynamic_peak: planned_peak - weights - optimizer,
        planned_peak,
        lower_bound: always + train.schedule.bound.max(eval.schedule.bound),
        paper_counter: paper_counter(train.graph),
        dense_single: None,
    }
}

fn resident_bytes(program: &Program, which: impl Fn(Role) -> bool) -> u64 {
    let residents = program.residents.iter().filter(|it| which(it.role()));
    residents.filter_map(|it| it.r#type.as_ref()?.bytes()).map(|it| it.next_multiple_of(ALIGN)).sum()
}

/// Bytes that a graph carries from forward to backward; a tensor that is saved under several views counts once.
fn saved_bytes(graph: &Graph) -> u64 {
    saved_storages(graph).into_iter().map(|it| arena_bytes(graph.ty(it))).sum()
}

/// Values whose bytes are saved; views of weights are not among them.
fn saved_storages(graph: &Graph) -> BTreeSet<Value> {
    let storages = graph.saves().into_iter().map(|it| graph.root(it));
    storages.filter(|&it| !graph.is_declared(it) || graph.node(it.node).op.name == "input").collect()
}

/// Largest sum, over the steps, of what lives and is not saved: activations in passing, cotangents, gradients.
fn transient(train: Scheduled<'_>) -> u64 {
    let places = saved_storages(train.graph).into_iter().filter_map(|it| train.schedule.places.get(&it));
    let saved: BTreeSet<usize> = places
        .filter_map(|it| match it {
            Place::Storage(idx) => Some(*idx),
            Place::Resident(_) => None,
        })
        .collect();
    let storages = train.schedule.storages.iter().enumerate();
    let others = storages.filter(|(idx, _)| !saved.contains(idx)).map(|(_, it)| it.buffer);
    arena::bound(&others.collect::<Vec<Buffer>>())
}

/// The counter behind the "memory" that the method's authors publish for convolutional networks.
///
/// It is `params + max over forward modules of (what the module reads and makes + what those before it saved)`. Params
/// are 4 bytes each, frozen ones 1. Gradients, optimizer state, cotangents and expanded copies are not in it, nor is the
/// input of an enclosing residual block, which a graph does not show: read it beside their tables, not as memory.
fn paper_counter(graph: &Graph) -> u64 {
    let elements = |role: &str| graph.declared(role).into_iter().map(|it| graph.ty(it).elements()).sum::<u64>();
    let mut saved = 0;
    let mut most = 0;
    for node in graph.phase(Phase::Forward) {
        let Some(module) = module(graph, node) else { continue };
        most = most.max(module.temporary + saved);
        saved += module.saved;
    }
    4 * elements("param") + elements("frozen") + most
}

/// What the counter adds for a module, in bytes for the whole batch.
struct Module {
    temporary: u64,
    saved: u64,
}

/// The counter's row for a node; none for nodes that it does not count.
fn module(graph: &Graph, node: NodeId) -> Option<Module> {
    let op = graph.node(node).op;
    let operands = graph.operands(node);
    let results = graph.results(node);
    let x = *operands.first()?;
    let trained = operands[1..].iter().any(|&it| graph.node(graph.root(it).node).op.name == "param");
    let n = graph.ty(x).elements();
    Some(match (op.name, ops::family(op)) {
        ("conv" | "linear", _) => {
            let groups = graph.node(node).attrs.int_or("groups", 1).max(1) as u64;
            let made = graph.ty(results[0]).elements() / groups;
            let saved = if trained { pruned(graph, x).unwrap_or(4 * n) } else { 0 };
            Module { temporary: 4 * (n + made), saved }
        }
        ("batch_norm_train", _) => Module { temporary: 4 * n, saved: 4 * n },
        ("batch_norm", _) => Module { temporary: 4 * n, saved: if trained { 4 * n } else { 0 } },
        // Its masks are not counted.
        ("dropout", _) => return None,
        (_, "activation" | "smooth") => {
            let has_mask = results.iter().any(|it| matches!(graph.ty(*it), Type::Bits { .. }));
            Module { temporary: 4 * n, saved: if has_mask { n.div_ceil(8) } else { 4 * n } }
        }
        _ => return None,
    })
}

/// Bytes of a bitmap and the kept values in f32, where a pruned copy of `x` is saved.
fn pruned(graph: &Graph, x: Value) -> Option<u64> {
    let storage = graph.root(x);
    let n = graph.ty(x).elements();
    graph.phase(Phase::Forward).find_map(|node| {
        if graph.operands(node).first().is_none_or(|&it| graph.root(it) != storage) {
            return None;
        }
        let attrs = &graph.node(node).attrs;
        let kept = match (graph.node(node).op.name, graph.ty(graph.results(node)[0])) {
            (_, Type::TopK { samples, keep, .. }) => samples * keep,
            ("mask_topk", _) => n - (n as f64 * attrs.int_or("sparsity_ppm", 0) as f64 / 1e6) as u64,
            _ => return None,
        };
        Some(4 * kept + n.div_ceil(8))
    })
}
