//! A loaded trainer: one step, one evaluation, its weights, its checkpoint.

use std::collections::HashMap;
use std::path::Path;

use razorc_proto::program::task::{Kind, Loss};
use razorc_proto::program::{self as proto, Preprocess, Progress, Role, r#type::Kind as TypeKind};
use razorc_proto::{TrainerError, TrainerFile, write_trainer};
use thiserror::Error;

use crate::arena::{Arena, Element};
use crate::cpu::{Cpu, cross_entropy};
use crate::data::{Batch, Column, Expect, Input, Numbers, Target, Targets};
use crate::error::{ArenaError, ProgramError};
use crate::kernels::Kernel;
use crate::kernels::state::{BLOCK, Code, load};
use crate::memory::{Footprint, Meter};
use crate::metrics::StepStats;
use crate::program::{Instruction, Ports, Program, Resident};
use crate::types::Type;

/// A trainer in memory, ready to run. Nothing is allocated after it is loaded.
pub struct Trainer {
    message: proto::Program,
    program: Program,
    arena: Arena,
    cpu: Cpu,
    meter: Meter,
}

/// Why a trainer cannot be loaded.
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum LoadError {
    #[error(transparent)]
    File(#[from] TrainerError),

    #[error("the trainer is damaged: {0}")]
    Program(#[from] ProgramError),

    #[error("the trainer cannot be loaded: {0}")]
    Arena(#[from] ArenaError),

    #[error("the trainer is damaged: its {0} has no type that data could have")]
    Port(&'static str),
}

impl Trainer {
    /// Reads, checks and loads a trainer or checkpoint, to compute on `threads` threads.
    ///
    /// # Errors
    /// If the file is none, is damaged, or needs more memory than there is.
    pub fn open(path: &Path, threads: usize) -> Result<Trainer, LoadError> {
        Trainer::load(TrainerFile::open(path)?, threads)
    }

    /// Checks and loads a trainer; its file is let go.
    ///
    /// # Errors
    /// If it makes no sense, or needs more memory than there is.
    pub fn load(file: TrainerFile, threads: usize) -> Result<Trainer, LoadError> {
        let mut trainer = Trainer::hold(&file, threads)?;
        trainer.meter.let_go(file);
        Ok(trainer)
    }

    /// As [`Trainer::load`], but the file is only let go by [`Trainer::settle`].
    pub(crate) fn hold(file: &TrainerFile, threads: usize) -> Result<Trainer, LoadError> {
        let program = Program::check(file.program())?;
        // What it was compared with is of no use once it trains.
        let message = proto::Program { exact: None, ..file.program().clone() };
        let cpu = Cpu::new(threads);
        let meter = Meter::start();
        let mut arena = Arena::new(&program, cpu.threads())?;
        arena.load(&program, |idx| file.blob(idx))?;
        Ok(Trainer { message, program, arena, cpu, meter })
    }

    /// Takes everything from the file again, as if nothing had run, and lets it go.
    pub(crate) fn settle(&mut self, file: TrainerFile) -> Result<(), LoadError> {
        self.arena.load(&self.program, |idx| file.blob(idx))?;
        self.meter.let_go(file);
        Ok(())
    }

    /// The checked exact program of a trainer, with the trainer's weights; it has nothing to be saved.
    pub(crate) fn load_exact(file: &TrainerFile, program: Program, threads: usize) -> Result<Trainer, LoadError> {
        let cpu = Cpu::new(threads);
        let meter = Meter::start();
        let mut arena = Arena::new(&program, cpu.threads())?;
        let names = file.program().residents.iter().enumerate().map(|(idx, it)| (it.name.as_str(), idx));
        let indices: HashMap<&str, usize> = names.collect();
        let bytes = |resident: &Resident| {
            let blob = file.blob(*indices.get(resident.name())?).filter(|_| resident.role() != Role::State)?;
            // A constant may be of more rows there.
            blob.get(..resident.ty().bytes())
        };
        arena.load(&program, |idx| bytes(&program.residents()[idx]))?;
        Ok(Trainer { message: proto::Program::default(), program, arena, cpu, meter })
    }

    /// One optimizer step on a batch that fits the trainer's [`Expect`]; `number` is the step's, from 1.
    ///
    /// # Panics
    /// If the batch does not fit.
    pub fn step(&mut self, batch: &Batch<'_>, rate: f32, number: u64) -> StepStats {
        let Trainer { program, arena, cpu, .. } = self;
        let (ports, parts) = (program.train().ports(), program.parts());
        let total = total(program, arena, batch);
        let mut whole: Option<StepStats> = None;
        for part in 0..parts {
            fill_step(arena, ports, batch, Part { at: part, of: parts }, StepNumbers { rate, number, total });
            cpu.run_part(program.train().part(part == 0, part + 1 == parts), arena);
            let part = stats(arena, ports);
            whole = Some(whole.map_or(part, |it| it.joined(part)));
        }
        whole.unwrap_or(StepStats { loss: f32::NAN, correct: None, counted: None })
    }

    /// One step at rate 0 on the first part of a batch, in which `watch` sees the memory after every instruction.
    ///
    /// # Panics
    /// If the batch does not fit the trainer's [`Expect`].
    pub fn watch(&mut self, batch: &Batch<'_>, mut watch: impl FnMut(usize, &Instruction, &Arena)) {
        let Trainer { program, arena, cpu, .. } = self;
        let total = total(program, arena, batch);
        let part = Part { at: 0, of: program.parts() };
        fill_step(arena, program.train().ports(), batch, part, StepNumbers { rate: 0.0, number: 1, total });
        for (at, instruction) in program.train().instructions().iter().enumerate() {
            cpu.step(instruction, arena);
            watch(at, instruction, arena);
        }
    }

    /// Scores a batch; weights stay as they are.
    ///
    /// # Panics
    /// If the batch does not fit the trainer's [`Expect`].
    pub fn eval(&mut self, batch: &Batch<'_>) -> StepStats {
        let Trainer { program, arena, cpu, .. } = self;
        fill(arena, program.eval().ports(), batch, Part { at: 0, of: 1 });
        cpu.run(program.eval(), arena);
        stats(arena, program.eval().ports())
    }

    /// Scores a batch and gives the predictions, `[batch, ..]`.
    ///
    /// # Panics
    /// If the batch does not fit the trainer's [`Expect`].
    pub fn predict(&mut self, batch: &Batch<'_>) -> &[f32] {
        self.eval(batch);
        self.program.eval().ports().prediction.map_or(&[], |place| self.arena.value(place))
    }

    /// The predictions of the last evaluation, `[batch, ..]`, and their axes; none where the model only says its loss.
    pub fn predictions(&self) -> Option<(&[f32], &[usize])> {
        let place = self.program.eval().ports().prediction?;
        Some((self.arena.value(place), self.program.eval().values()[place.value()].ty().dims()))
    }

    /// Rows of a batch that is evaluated; where a step takes its batch in parts, rows of a part.
    pub fn batch(&self) -> usize {
        self.program.rows()
    }

    /// What the predictions are.
    pub fn kind(&self) -> Kind {
        kind(self.program.task())
    }

    /// Whether rows can be right or wrong.
    pub fn counts(&self) -> bool {
        self.program.train().ports().correct.is_some()
    }

    /// The checked program that it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Names and values of what stays in memory: weights, optimizer state, running statistics.
    pub fn residents(&self) -> impl Iterator<Item = (&str, Role, &[u8])> {
        let residents = self.program.residents().iter().enumerate();
        residents.map(|(idx, it)| (it.name(), it.role(), self.arena.resident(&self.program, idx)))
    }

    /// Values of a resident.
    pub fn resident(&self, name: &str) -> Option<Vec<f32>> {
        let idx = self.program.residents().iter().position(|it| it.name() == name)?;
        Some(self.numbers(idx).collect())
    }

    /// The average that the optimizer keeps of a weight's gradient: SGD's momentum, or Adam's mean.
    pub(crate) fn average(&self, weight: &str) -> Option<impl Iterator<Item = f32>> {
        self.program.average(weight).map(|idx| self.numbers(idx))
    }

    /// Values of what training has changed, by the names that they have in the ONNX model.
    pub fn tuned(&self) -> HashMap<String, Vec<f32>> {
        by_initializer(&self.message, |idx| Some(self.arena.resident(&self.program, idx)))
    }

    /// A trained weight, statistic or optimizer state with a value that is infinite or not a number.
    pub fn not_finite(&self) -> Option<&str> {
        let residents = self.program.residents();
        let wrong = |it: &usize| residents[*it].role() != Role::Frozen && !self.numbers(*it).all(f32::is_finite);
        (0..residents.len()).find(wrong).map(|it| residents[it].name())
    }

    /// Values of a resident of floats.
    fn numbers(&self, idx: usize) -> impl Iterator<Item = f32> {
        let (ty, bytes) = (self.program.residents()[idx].ty(), self.arena.resident(&self.program, idx));
        let number = move |at: usize| match ty {
            Type::Bf16(_) => load(u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]])),
            Type::Dynamic(signed, dims) => {
                let scales = dims.iter().product::<usize>().div_ceil(BLOCK) * 4;
                Code::of(*signed).load(bytes[scales + at], float(&bytes[at / BLOCK * 4..]))
            }
            _ => float(&bytes[4 * at..]),
        };
        (0..ty.elements()).map(number)
    }

    /// Forgets the optimizer's state, as if it had never stepped.
    pub fn forget_state(&mut self) {
        for (idx, resident) in self.program.residents().iter().enumerate() {
            if resident.role() == Role::State {
                self.arena.resident_mut(&self.program, idx).fill(0);
            }
        }
    }

    /// Remembers what training found out about the data, for checkpoints.
    pub fn describe(&mut self, class_names: &[String], preprocess: Preprocess) {
        if let Some(task) = &mut self.message.task {
            task.preprocess = Some(preprocess);
            if !class_names.is_empty() {
                task.class_names = class_names.to_vec();
            }
        }
    }

    /// Writes a checkpoint in place of `path`, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written; the old one is then as it was.
    pub fn save(&self, path: &Path, progress: &Progress) -> Result<(), TrainerError> {
        let message = proto::Program { progress: Some(progress.clone()), ..self.message.clone() };
        let blobs: Vec<_> = self.residents().map(|(.., bytes)| Some(bytes)).collect();
        write_trainer(path, &message, &blobs)
    }

    /// Planned memory, and what was measured since just before the arena was made.
    pub fn footprint(&self) -> Footprint {
        self.meter.footprint(self.arena.bytes() as u64)
    }
}

/// Values of what training has changed, by the names that they have in the ONNX model.
pub fn tuned(file: &TrainerFile) -> HashMap<String, Vec<f32>> {
    by_initializer(file.program(), |idx| file.blob(idx))
}

fn by_initializer<'a>(
    message: &proto::Program,
    bytes: impl Fn(usize) -> Option<&'a [u8]>,
) -> HashMap<String, Vec<f32>> {
    let residents = message.residents.iter().enumerate();
    let changed =
        residents.filter(|(_, it)| matches!(it.role(), Role::Param | Role::Statistic) && !it.initializer.is_empty());
    changed
        .map(|(idx, it)| {
            let elements = it.r#type.as_ref().and_then(proto::Type::elements).unwrap_or(0) as usize;
            (it.initializer.clone(), bytes(idx).map_or_else(|| vec![0.0; elements], floats))
        })
        .collect()
}

impl Expect {
    /// What a trainer wants of its data.
    ///
    /// # Errors
    /// If it makes no sense.
    pub fn of(program: &proto::Program) -> Result<Expect, LoadError> {
        let task = program.task.as_ref().ok_or(LoadError::Port("task"))?;
        let input = |(idx, name): (usize, &String)| {
            let (dims, dtype) = row(program, name).ok_or(LoadError::Port("input"))?;
            let end = task.bounds.get(idx).copied().filter(|&end| 0 < end);
            let numbers = match dtype {
                proto::DType::I64 => Numbers::Whole { end },
                proto::DType::Bool => Numbers::Truth,
                _ => Numbers::Real,
            };
            Ok(Input { name: name.clone(), dims, numbers })
        };
        let inputs = task.inputs.iter().enumerate().map(input).collect::<Result<Vec<_>, LoadError>>()?;
        let target = match task.target.is_empty() {
            true => Target::None,
            false => target(program, task)?,
        };
        Ok(Expect { inputs, target, kind: kind(task), padded: task.loss() != Loss::Own })
    }
}

fn target(program: &proto::Program, task: &proto::Task) -> Result<Target, LoadError> {
    let (dims, dtype) = row(program, &task.target).ok_or(LoadError::Port("target"))?;
    if dtype == proto::DType::I64 {
        let count = usize::try_from(task.classes).map_err(|_| LoadError::Port("classes"))?;
        // Trainers that name no axis of the classes ignore none.
        let ignore = if task.class_axis == 0 { -100 } else { task.ignore_index };
        return Ok(Target::Class { count, names: task.class_names.clone(), dims, ignore });
    }
    Ok(Target::Values { dims, unit: task.loss() == Loss::BinaryCrossEntropy })
}

/// What the predictions are.
pub(crate) fn kind(task: &proto::Task) -> Kind {
    match (task.kind(), task.loss()) {
        (Kind::Unspecified, Loss::CrossEntropy) => Kind::Classification,
        (Kind::Unspecified, Loss::BinaryCrossEntropy) => Kind::MultiLabel,
        (Kind::Unspecified, Loss::MeanSquaredError | Loss::MeanAbsoluteError | Loss::Huber) => Kind::Regression,
        (kind, _) => kind,
    }
}

/// Dims of a value of the eval sequence, less the batch, and its elements.
fn row(program: &proto::Program, name: &str) -> Option<(Vec<usize>, proto::DType)> {
    let value = program.eval.as_ref()?.values.iter().find(|it| it.name == name)?;
    let ty = value.r#type.as_ref().filter(|it| it.kind() == TypeKind::Dense)?;
    let dims: Option<Vec<usize>> = ty.dims.get(1..)?.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    Some((dims?, ty.dtype()))
}

/// Which part of a batch.
#[derive(Clone, Copy)]
struct Part {
    at: usize,
    of: usize,
}

impl Part {
    fn copy<T: Element>(self, from: &[T], to: &mut [T]) {
        assert_eq!(from.len(), to.len() * self.of, "the batch fits the trainer");
        to.copy_from_slice(self.of_slice(from));
    }

    fn of_slice<T>(self, whole: &[T]) -> &[T] {
        let len = whole.len() / self.of;
        &whole[self.at * len..][..len]
    }
}

/// What a step is told beside its batch.
#[derive(Clone, Copy)]
struct StepNumbers {
    rate: f32,
    number: u64,
    total: f32,
}

fn fill_step(arena: &mut Arena, ports: &Ports, batch: &Batch<'_>, part: Part, step: StepNumbers) {
    fill(arena, ports, batch, part);
    let StepNumbers { rate, number, total } = step;
    // Below 2^24, so that f32 tells them apart.
    let draw = (number.wrapping_sub(1).wrapping_mul(part.of as u64) + part.at as u64) % (1 << 24);
    let numbers =
        [(ports.learning_rate, rate), (ports.step, number as f32), (ports.total, total), (ports.draw, draw as f32)];
    for (port, number) in numbers {
        if let Some(place) = port {
            arena.value_mut(place)[0] = number;
        }
    }
}

/// What the port for the weight of a whole batch is filled with, if there is one.
fn total(program: &Program, arena: &Arena, batch: &Batch<'_>) -> f32 {
    if program.train().ports().total.is_some() { weight(program, arena, batch) as f32 } else { 0.0 }
}

/// The weight of all that counts in the loss of a batch.
fn weight(program: &Program, arena: &Arena, batch: &Batch<'_>) -> f64 {
    let instructions = program.train().instructions();
    let loss = instructions.iter().find_map(|it| match it.kernel() {
        Kernel::SoftmaxCrossEntropy(loss) if loss.total => Some((loss, it)),
        _ => None,
    });
    let (Some((loss, instruction)), Targets::Classes(target)) = (loss, batch.targets) else {
        return batch.rows.iter().map(|&it| f64::from(it)).sum();
    };
    let class_weight = loss.class_weight.then(|| arena.value(instruction.operands()[3]));
    let weight = |at: usize| {
        let part = Part { at, of: program.parts() };
        let (target, rows) = (part.of_slice(target), part.of_slice(batch.rows));
        cross_entropy::Targets { loss, target, rows, class_weight, total: None }.weight()
    };
    (0..program.parts()).map(weight).sum()
}

fn fill(arena: &mut Arena, ports: &Ports, batch: &Batch<'_>, part: Part) {
    for (place, numbers) in ports.inputs.iter().zip(batch.inputs) {
        match numbers {
            Column::Real(numbers) => part.copy(numbers, arena.value_mut(*place)),
            Column::Whole(numbers) => part.copy(numbers, arena.value_mut(*place)),
            Column::Truth(truths) => part.copy(truths, arena.value_mut(*place)),
        }
    }
    match (ports.target, batch.targets) {
        (Some(target), Targets::Classes(classes)) => part.copy(classes, arena.value_mut(target)),
        (Some(target), Targets::Values(values)) => part.copy(values, arena.value_mut(target)),
        (Some(_), Targets::None) => panic!("the batch has no targets"),
        (None, _) => {}
    }
    if let Some(rows) = ports.rows {
        part.copy(batch.rows, arena.value_mut(rows));
    }
}

fn stats(arena: &Arena, ports: &Ports) -> StepStats {
    let scalar = |place| arena.value::<f32>(place)[0];
    StepStats { loss: scalar(ports.loss), correct: ports.correct.map(scalar), counted: ports.counted.map(scalar) }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(float).collect()
}

fn float(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
