//! When instructions run, how long tensors live, and where in the arena they lie.
//!
//! A schedule knows only what is dynamic: offsets count from the end of the residents.

pub mod arena;
pub mod check;
mod liveness;
mod order;
mod text;

use std::collections::BTreeMap;

use crate::graph::{Graph, NodeId, Value};
use crate::types::Type;
use arena::Buffer;

/// Of every offset and size in the arena, in bytes.
pub const ALIGN: u64 = 64;

/// A graph's instructions in order, and the memory that they need.
pub struct Schedule {
    /// Nodes by step. Updates come as early as they may, so gradients never all live together.
    pub steps: Vec<NodeId>,
    /// What shares the dynamic part of the arena, by the step at which it becomes live.
    pub storages: Vec<Storage>,
    /// Where each value is; a result that nothing reads is nowhere.
    pub places: BTreeMap<Value, Place>,
    /// Values that can be read after the last step.
    pub kept: Vec<Value>,
    /// Bytes of the dynamic part.
    pub peak: u64,
    /// Largest sum of live bytes of any step: no placement has a smaller peak.
    pub bound: u64,
}

/// Bytes that belong to one value, and to the views of it, for a while; then to one that takes them over, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The first value that the bytes are made for.
    pub value: Value,
    /// From the start of the dynamic part, a multiple of [`ALIGN`].
    pub offset: u64,
    /// Size and lifetime.
    pub buffer: Buffer,
}

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In this declaration's bytes.
    Resident(Value),
    /// In the storage of this index.
    Storage(usize),
}

/// Schedules a graph with ordinary effort; `kept` values can be read after the last step.
pub fn schedule(graph: &Graph, kept: &[Value]) -> Schedule {
    schedule_with(graph, kept, arena::EFFORT)
}

/// Schedules a graph; `effort` is that of [`arena::plan`].
pub fn schedule_with(graph: &Graph, kept: &[Value], effort: u32) -> Schedule {
    let steps = order::order(graph);
    let (lives, places) = liveness::lifetimes(graph, &steps, kept);
    let buffers: Vec<Buffer> = lives.iter().map(|it| it.1).collect();
    let plan = arena::plan(&buffers, effort);
    let peak = check::check(&buffers, &plan.offsets).unwrap_or_else(|e| panic!("the plan of {}: {e}", graph.name));
    let storages = lives.into_iter().zip(&plan.offsets);
    let storages = storages.map(|((value, buffer), &offset)| Storage { value, offset, buffer }).collect();
    Schedule { steps, storages, places, kept: kept.to_vec(), peak, bound: plan.bound }
}

/// Bytes that a value of this type takes in the arena.
pub fn arena_bytes(ty: &Type) -> u64 {
    ty.bytes().next_multiple_of(ALIGN)
}
