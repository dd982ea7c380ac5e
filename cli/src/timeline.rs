//! What lives in a step's arena when, and why: worked out from the program alone, so a trainer tells it too.

use std::collections::HashMap;

use razorc_proto::program::value::Place;
use razorc_proto::program::{self, Role};
use razorc_runtime::program::Program;
use razorc_runtime::types::Type;

use crate::failure::Result;

/// A step of training as a table of what lives when.
pub struct Timeline {
    pub model: String,
    pub batch: u64,
    /// Bytes of weights, optimizer state and statistics, which lie at the bottom for as long as the trainer runs.
    pub weights: u64,
    pub state: u64,
    pub steps: Vec<Step>,
    pub storages: Vec<Storage>,
    /// Bytes that live at each step, residents apart; after the last step, what the caller reads.
    pub live: Vec<u64>,
    /// The step at which most bytes live.
    pub peak: usize,
    /// Where a step expands a packed copy, the step that reads the result.
    expanded: HashMap<usize, usize>,
}

/// An instruction.
pub struct Step {
    pub op: String,
    /// The first of its results.
    pub result: String,
}

/// Bytes that one tensor has for a while.
pub struct Storage {
    pub name: String,
    pub ty: String,
    pub kind: Kind,
    pub bytes: u64,
    /// From the start of the dynamic part.
    pub offset: u64,
    /// Steps `[first, end)`.
    pub first: usize,
    pub end: usize,
    /// The steps that read it.
    pub readers: Vec<usize>,
}

/// What bytes are kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Input,
    SavedPacked,
    SavedDense,
    Forward,
    Expanded,
    Gradient,
    Result,
}

impl Kind {
    /// Every kind with its key and its words, in the order in which they are shown.
    pub const WORDS: [(Kind, &str, &str); 7] = [
        (Kind::SavedPacked, "saved-packed", "saved, packed"),
        (Kind::SavedDense, "saved-dense", "saved, dense"),
        (Kind::Forward, "forward", "forward value"),
        (Kind::Expanded, "expanded", "expanded copy"),
        (Kind::Gradient, "gradient", "gradient"),
        (Kind::Input, "input", "input"),
        (Kind::Result, "result", "result"),
    ];

    fn row(self) -> (Kind, &'static str, &'static str) {
        Kind::WORDS.into_iter().find(|it| it.0 == self).unwrap_or(Kind::WORDS[0])
    }

    pub fn key(self) -> &'static str {
        self.row().1
    }

    pub fn words(self) -> &'static str {
        self.row().2
    }
}

impl Timeline {
    /// That of a program's training step; the program is checked first, as it may come from anywhere.
    pub fn of(message: &program::Program) -> Result<Timeline> {
        let program = Program::check(message)?;
        let bytes = |state: bool| {
            let residents = program.residents().iter().filter(|it| (it.role() == Role::State) == state);
            residents.map(|it| it.ty().bytes().next_multiple_of(razorc_runtime::program::ALIGN) as u64).sum()
        };
        let sequence = message.train.clone().unwrap_or_default();
        let mut steps: Vec<Step> = vec![];
        for it in &sequence.instructions {
            let result = it.results.iter().find_map(|it| sequence.values.get(*it as usize));
            steps.push(Step { op: it.op.clone(), result: result.map(|it| it.name.clone()).unwrap_or_default() });
        }
        let storages = storages(&sequence, &message.task.clone().unwrap_or_default(), weights_end(message));
        let mut live = vec![0u64; steps.len() + 2];
        for it in &storages {
            live[it.first] = live[it.first].wrapping_add(it.bytes);
            live[it.end] = live[it.end].wrapping_sub(it.bytes);
        }
        (1..live.len()).for_each(|step| live[step] = live[step].wrapping_add(live[step - 1]));
        live.pop();
        let expanded = storages.iter().filter(|it| it.kind == Kind::Expanded);
        let expanded = expanded.filter_map(|it| Some((it.first, *it.readers.first()?))).collect();
        let peak = (0..live.len()).rev().max_by_key(|&it| live[it]).unwrap_or(0);
        let batch = program.task().batch;
        let model = program.name().to_string();
        Ok(Timeline { model, batch, weights: bytes(false), state: bytes(true), steps, storages, live, peak, expanded })
    }

    /// What lives at a step, the largest first.
    pub fn alive(&self, step: usize) -> Vec<&Storage> {
        let mut alive: Vec<&Storage> = self.storages.iter().filter(|it| it.first <= step && step < it.end).collect();
        alive.sort_by_key(|it| std::cmp::Reverse(it.bytes));
        alive
    }

    /// `step 12 of 40: conv of %y`.
    pub fn step(&self, step: usize) -> String {
        match self.steps.get(step) {
            Some(it) => format!("step {} of {}: {} of {}", step + 1, self.steps.len(), it.op, it.result),
            None => "after the last step".into(),
        }
    }

    /// Why a storage lives at a step.
    pub fn why(&self, it: &Storage, step: usize) -> String {
        let next = self.next_reader(it, step).map(|it| format!("{} of {}", it.op, it.result));
        match (it.kind, next) {
            (Kind::SavedPacked | Kind::SavedDense, Some(next)) => format!("saved for {next}"),
            (Kind::Gradient, next) => {
                let of = it
                    .name
                    .rsplit_once(".grad")
                    .filter(|it| it.1.trim_matches(|c: char| c == '.' || c.is_ascii_digit()).is_empty());
                let what = of.map_or("backward value".into(), |it| format!("gradient of {}", it.0));
                next.map(|next| format!("{what}, for {next}")).unwrap_or(what)
            }
            (kind, Some(next)) => format!("{}, for {next}", kind.words()),
            (Kind::Result, None) => "read after the step".into(),
            (kind, None) => kind.words().into(),
        }
    }

    /// The first from a step on that reads a storage; of a packed copy, the one that its expanded copy is made for.
    fn next_reader(&self, it: &Storage, step: usize) -> Option<&Step> {
        let next = it.readers.get(it.readers.partition_point(|reader| *reader < step))?;
        self.steps.get(*self.expanded.get(next).unwrap_or(next))
    }
}

/// Where the residents end and the dynamic part begins.
fn weights_end(program: &program::Program) -> u64 {
    let bytes = |it: &program::Resident| it.r#type.as_ref().and_then(|it| it.bytes()).unwrap_or(0);
    let end = program.residents.iter().map(|it| it.offset.saturating_add(bytes(it))).max().unwrap_or(0);
    end.next_multiple_of(razorc_runtime::program::ALIGN as u64)
}

/// The storages of a checked sequence. What is made after the loss belongs to the backward phase, and what lives from
/// before it until later is saved.
fn storages(sequence: &program::Sequence, task: &program::Task, base: u64) -> Vec<Storage> {
    let storage = |value: u32| match sequence.values.get(value as usize)?.place? {
        Place::Storage(idx) => Some(idx as usize),
        Place::Resident(_) => None,
    };
    let mut owners: HashMap<usize, &program::Value> = HashMap::new();
    let mut makers: HashMap<usize, &str> = HashMap::new();
    let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut turn = 0;
    for (step, it) in sequence.instructions.iter().enumerate() {
        for idx in it.operands.iter().filter_map(|it| storage(*it)) {
            readers.entry(idx).or_default().push(step);
        }
        for &result in &it.results {
            let Some(value) = sequence.values.get(result as usize) else { continue };
            if let Some(idx) = storage(result) {
                owners.entry(idx).or_insert(value);
                makers.entry(idx).or_insert(&it.op);
            }
            if value.name == task.loss_value {
                turn = step;
            }
        }
    }
    for (value, idx) in sequence.values.iter().zip(0..) {
        if let Some(idx) = storage(idx) {
            owners.entry(idx).or_insert(value);
        }
    }
    let row = |(idx, it): (usize, &program::Storage)| {
        let owner = owners.get(&idx);
        let ty = owner.and_then(|it| Type::parse(it.r#type.as_ref()?).ok());
        let (first, end) = (it.first as usize, it.end as usize);
        let is_dense = ty.as_ref().is_none_or(|it| matches!(it, Type::Dense(..)));
        let saved = first <= turn && turn + 1 < end;
        let kind = match makers.get(&idx) {
            _ if sequence.instructions.len() < end => Kind::Result,
            _ if saved && !is_dense => Kind::SavedPacked,
            _ if saved => Kind::SavedDense,
            None => Kind::Input,
            Some(&"decompress") => Kind::Expanded,
            Some(_) if turn < first => Kind::Gradient,
            Some(_) => Kind::Forward,
        };
        Storage {
            name: owner.map(|it| it.name.clone()).unwrap_or_default(),
            ty: ty.map(|it| it.to_string()).unwrap_or_default(),
            kind,
            bytes: it.bytes,
            offset: it.offset.saturating_sub(base),
            first,
            end: end.min(sequence.instructions.len() + 1),
            readers: readers.get(&idx).cloned().unwrap_or_default(),
        }
    };
    sequence.storages.iter().enumerate().map(row).collect()
}
