//! From scheduled graphs to the program that a runtime executes.

use std::collections::{BTreeMap, HashMap};

use razorc_proto::program::{self, Instruction, Program, Resident, Role, Sequence, Task, value};
use razorc_proto::{NOT_WANTED, PROGRAM_VERSION};

use crate::attrs::Attr;
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::schedule::{ALIGN, Place, Schedule, arena_bytes};
use crate::types::Type;

/// A graph with its schedule.
#[derive(Clone, Copy)]
pub struct Scheduled<'a> {
    /// What runs.
    pub graph: &'a Graph,
    /// When, and where its values lie.
    pub schedule: &'a Schedule,
}

/// Values of a graph that the task reads after the last step, to be kept by its schedule.
///
/// Training reads no predictions, so their bytes are free for the backward phase.
pub fn kept(graph: &Graph, task: &Task, predicts: bool) -> Vec<Value> {
    let names =
        [&task.loss_value, &task.correct, &task.counted].into_iter().chain(predicts.then_some(&task.prediction));
    names.filter_map(|it| graph.value(it)).collect()
}

/// The program of a training step and its evaluation, apart from where it came from and what its memory is made of.
///
/// Residents are the weights and state of both graphs by name; `initializer` tells which tensor of the model fills one.
/// All but optimizer state have a blob, in the order of residents.
pub fn lower(
    train: Scheduled<'_>,
    eval: Scheduled<'_>,
    task: Task,
    initializer: impl Fn(&str) -> Option<String>,
) -> Program {
    let residents = residents(train.graph, eval.graph, initializer);
    let resident_bytes = residents.last().map_or(0, |it| it.0.offset + it.1);
    let residents: Vec<Resident> = residents.into_iter().map(|it| it.0).collect();
    let indices: HashMap<&str, u32> = residents.iter().zip(0..).map(|(it, idx)| (it.name.as_str(), idx)).collect();
    Program {
        version: PROGRAM_VERSION,
        name: train.graph.name.clone(),
        train: Some(sequence(train, &indices, resident_bytes)),
        eval: Some(sequence(eval, &indices, resident_bytes)),
        arena_bytes: resident_bytes + train.schedule.peak.max(eval.schedule.peak),
        scratch_bytes: scratch_bytes(train.graph).max(scratch_bytes(eval.graph)),
        task: Some(task),
        residents,
        ..Program::default()
    }
}

/// Residents with their bytes in the arena, one behind the other.
fn residents(train: &Graph, eval: &Graph, initializer: impl Fn(&str) -> Option<String>) -> Vec<(Resident, u64)> {
    let mut residents: Vec<(Resident, u64)> = vec![];
    let mut taken = BTreeMap::new();
    let mut end = 0;
    for graph in [train, eval] {
        for node in graph.phase(Phase::Declare) {
            let value = Value { node, result: 0 };
            let Some(role) = role(graph, value) else { continue };
            let (name, ty) = (graph.name(value), graph.ty(value));
            if let Some(other) = taken.insert(name.to_string(), ty.clone()) {
                assert_eq!(other, *ty, "{name} has another type in the evaluation of {}", graph.name);
                continue;
            }
            let bytes = arena_bytes(ty);
            let resident = Resident {
                name: name.to_string(),
                r#type: Some(lower_type(ty)),
                role: role.into(),
                offset: end,
                initializer: initializer(name).unwrap_or_default(),
                ..Resident::default()
            };
            residents.push((resident, bytes));
            end += bytes;
        }
    }
    lay_out_blobs(&mut residents);
    residents
}

/// Where blobs will be in the file; checksums come when their bytes are written.
fn lay_out_blobs(residents: &mut [(Resident, u64)]) {
    let mut end = 0;
    for (resident, bytes) in residents.iter_mut().filter(|it| it.0.role() != Role::State) {
        resident.blob = Some(end);
        end += *bytes;
    }
}

/// Role of a declaration in the arena; none for an input, which is dynamic.
fn role(graph: &Graph, declaration: Value) -> Option<Role> {
    match graph.node(declaration.node).op.name {
        "param" => Some(Role::Param),
        "frozen" => Some(Role::Frozen),
        "state" => Some(Role::State),
        "statistic" => Some(Role::Statistic),
        _ => None,
    }
}

fn sequence(scheduled: Scheduled<'_>, residents: &HashMap<&str, u32>, base: u64) -> Sequence {
    let Scheduled { graph, schedule } = scheduled;
    let mut values = Values { scheduled, residents, list: vec![], indices: HashMap::new() };
    for input in graph.declared("input") {
        values.index(input);
    }
    let instructions = schedule.steps.iter().map(|&node| instruction(graph, node, &mut values)).collect();
    // A kept view may be read by no instruction.
    for &kept in &schedule.kept {
        values.index(kept);
    }
    let storages = schedule.storages.iter().map(|it| program::Storage {
        offset: base + it.offset,
        bytes: it.buffer.bytes,
        first: it.buffer.first,
        end: it.buffer.end,
    });
    let [opening, closing] = [Phase::Opening, Phase::Update].map(|phase| match graph.has_parts() {
        true => schedule.steps.iter().filter(|it| graph.node(**it).phase == phase).count() as u32,
        false => 0,
    });
    Sequence { storages: storages.collect(), values: values.list, instructions, opening, closing }
}

fn instruction(graph: &Graph, node: NodeId, values: &mut Values<'_>) -> Instruction {
    let row = graph.node(node);
    let attrs = row.attrs.iter().filter(|(name, _)| match row.op.name {
        // The rest is told by the type of the copy.
        "compress" | "quantize" => *name == "seed",
        // Of training only.
        "batch_norm" => *name != "momentum",
        _ => true,
    });
    Instruction {
        op: row.op.name.to_string(),
        operands: graph.operands(node).into_iter().map(|it| values.index(it)).collect(),
        results: graph.writes(node).into_iter().chain(graph.results(node)).map(|it| values.index(it)).collect(),
        attrs: attrs.map(|(name, it)| lower_attr(name, it)).collect(),
    }
}

/// Values of a sequence, numbered as they are met.
struct Values<'a> {
    scheduled: Scheduled<'a>,
    residents: &'a HashMap<&'a str, u32>,
    list: Vec<program::Value>,
    indices: HashMap<Value, u32>,
}

impl Values<'_> {
    /// Index of a value; [`NOT_WANTED`] for one that is nowhere.
    fn index(&mut self, value: Value) -> u32 {
        let Scheduled { graph, schedule } = self.scheduled;
        let place = match schedule.places.get(&value) {
            None => return NOT_WANTED,
            Some(Place::Storage(idx)) => value::Place::Storage(*idx as u32),
            Some(Place::Resident(declaration)) => value::Place::Resident(self.residents[graph.name(*declaration)]),
        };
        *self.indices.entry(value).or_insert_with(|| {
            self.list.push(program::Value {
                name: graph.name(value).to_string(),
                r#type: Some(lower_type(graph.ty(value))),
                place: Some(place),
            });
            self.list.len() as u32 - 1
        })
    }
}

/// Scratch of one thread: 16 columns of the largest convolution, and what the runtime needs to read packed operands; at
/// least 1 MiB.
fn scratch_bytes(graph: &Graph) -> u64 {
    let columns = graph.order().iter().filter_map(|&node| {
        let weight = match graph.node(node).op.name {
            "conv" | "conv_input_grad" => graph.operands(node)[1],
            "conv_weight_grad" => *graph.writes(node).first().unwrap_or(&Value { node, result: 0 }),
            _ => return None,
        };
        // Channels of a group times the window.
        Some(graph.ty(weight).dims()[1..].iter().product::<u64>())
    });
    let packed = graph.order().iter().filter_map(|&node| {
        let x = graph.operands(node).get(1).map(|it| graph.ty(*it)).filter(|it| it.is_packed())?;
        match (graph.node(node).op.name, x.dims()) {
            ("conv_weight_grad", [_, _, plane @ ..]) => Some(4 * plane.iter().product::<u64>() + 80 * 1024),
            ("linear_weight_grad", [.., columns]) => Some(6 * columns + 41 * 1024),
            _ => None,
        }
    });
    let floats = (16 * columns.max().unwrap_or(0)).max(packed.max().unwrap_or(0));
    (4 * floats).max(1 << 20).next_multiple_of(ALIGN)
}

fn lower_type(ty: &Type) -> program::Type {
    match ty {
        Type::Dense { dtype, dims } => program::Type::dense(dtype.proto(), dims),
        Type::Bits { dims } => program::Type::bits(dims),
        Type::Codes { dims, bits } => program::Type::codes(dims, *bits as u32),
        Type::Quant { dims, bits, block } => program::Type::quant(dims, *bits as u32, *block as u32),
        Type::Dynamic { dims, signed } => program::Type::dynamic(dims, *signed),
        Type::TopK { dims, samples, keep, values, form } => {
            program::Type::topk(dims, *samples, *keep, values.proto()).with_form(*form)
        }
    }
}

fn lower_attr(name: &str, attr: &Attr) -> program::Attr {
    match attr {
        Attr::Int(n) => program::Attr::int(name, *n),
        Attr::Float(x) => program::Attr::float(name, *x),
        Attr::Word(word) => program::Attr::word(name, word),
        Attr::Ints(list) => program::Attr::ints(name, list),
    }
}
