//! What a program's memory is made of, in bytes.

pub mod counter;

use std::collections::BTreeSet;

use razorc_proto::program::{Memory, Program, Role};

use crate::graph::{Graph, Value};
use crate::lower::Scheduled;
use crate::schedule::arena::{self, Buffer};
use crate::schedule::{ALIGN, Place, arena_bytes};

/// Planned memory of `program`, lowered from `train` and `eval`; `dense` is the training graph before pruning.
///
/// Every number but the last, `paper_counter`, is bytes of the arena: weights, optimizer and dynamic peak add up to the
/// planned peak.
pub fn memory(
    program: &Program,
    train: Scheduled<'_>,
    eval: Scheduled<'_>,
    dense: &Graph,
    paper_counter: u64,
) -> Memory {
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
        paper_counter,
        dense_single: None,
        self_check: None,
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
