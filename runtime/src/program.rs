//! The checked form of a program: what is in one of these cannot step outside its arena.

use razorc_proto::program as proto;
use razorc_proto::program::Role;

use crate::error::ProgramError;
use crate::kernels::Kernel;
use crate::types::Type;

mod exact;
mod overlap;
mod residents;
mod sequence;
mod task;

/// Of every offset in the arena, in bytes.
pub const ALIGN: usize = 64;
/// Largest arena, and largest scratch of a thread, in bytes.
pub const MAX_ARENA: u64 = 1 << 44;

/// A program whose instructions are well typed, read only what is written, and stay within the arena.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    residents: Vec<Resident>,
    train: Sequence,
    eval: Sequence,
    arena_bytes: usize,
    scratch_bytes: usize,
    task: proto::Task,
    exact: Option<Box<Program>>,
}

/// What is in the arena for as long as the trainer runs.
#[derive(Clone, Debug)]
pub struct Resident {
    name: String,
    ty: Type,
    role: Role,
    offset: usize,
}

/// Instructions in the order in which they run.
#[derive(Clone, Debug)]
pub struct Sequence {
    values: Vec<Value>,
    instructions: Vec<Instruction>,
    opening: usize,
    closing: usize,
    ports: Ports,
}

/// A tensor of a sequence.
#[derive(Clone, Debug)]
pub struct Value {
    name: String,
    ty: Type,
    home: Home,
    place: Place,
}

/// What a value's bytes belong to, by index; values of one home are views of the same tensor, or of one that took its
/// bytes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// For as long as the trainer runs, and in both sequences.
    Resident(usize),
    /// For some steps of a sequence.
    Storage(usize),
}

/// Where a value is in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    offset: usize,
    bytes: usize,
    value: usize,
}

/// One step: a kernel, and where its operands and results are.
#[derive(Clone, Debug)]
pub struct Instruction {
    op: String,
    kernel: Kernel,
    operands: Vec<Place>,
    results: Vec<Option<Place>>,
    reused: Option<usize>,
}

/// What the trainer fills before a sequence runs, and reads after it.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The model's inputs, f32 or i64, in the order of the task.
    pub inputs: Vec<Place>,
    /// Class indices, i64 of the prediction's shape without the axis of the classes, or f32 of the prediction's shape.
    /// Where the model computes its own loss: whatever it compares with, absent if that is nothing.
    pub target: Option<Place>,
    /// Weight of each row in the loss, f32`[batch]`; absent where the model computes its own loss.
    pub rows: Option<Place>,
    /// f32`[]`; absent in the eval sequence, or where nothing is trained.
    pub learning_rate: Option<Place>,
    /// 1-based number of the step, f32`[]`; absent where nothing reads it.
    pub step: Option<Place>,
    /// Weight of all that counts in the loss of a whole batch, f32`[]`; absent where a step has no parts.
    pub total: Option<Place>,
    /// Another number for each part of a step, f32`[]`; absent where nothing reads it.
    pub draw: Option<Place>,
    /// f32`[]`.
    pub loss: Place,
    /// Weight of what is right, f32`[]`; absent where it has no meaning.
    pub correct: Option<Place>,
    /// Weight of all that counts, f32`[]`; absent where that is the rows.
    pub counted: Option<Place>,
    /// f32`[batch, ..]`; in the eval sequence absent only where the model computes its own loss.
    pub prediction: Option<Place>,
}

impl Program {
    /// Checks a program that comes from a file; the first fault is told.
    pub fn check(message: &proto::Program) -> Result<Program, ProgramError> {
        let arena_bytes = size("arena", message.arena_bytes)?;
        let scratch_bytes = message.scratch_bytes.saturating_add(ALIGN as u64 - 1) / ALIGN as u64 * ALIGN as u64;
        let scratch_bytes = size("scratch", scratch_bytes)?;
        let residents = residents::check(&message.residents, arena_bytes)?;
        let task = message.task.as_ref().ok_or(ProgramError::Missing("task"))?;
        task::check(task)?;
        let part = |name, part: &Option<proto::Sequence>| {
            let part = part.as_ref().ok_or(ProgramError::Missing(name))?;
            sequence::check(name, part, &residents, arena_bytes, task)
        };
        let (train, eval) = (part("train", &message.train)?, part("eval", &message.eval)?);
        let mut program = Program {
            name: message.name.clone(),
            train,
            eval,
            residents,
            arena_bytes,
            scratch_bytes,
            task: task.clone(),
            exact: None,
        };
        program.exact = exact::check(message, &program)?;
        Ok(program)
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Weights, optimizer state and running statistics, by the index that [`Home::Resident`] has.
    pub fn residents(&self) -> &[Resident] {
        &self.residents
    }

    /// One optimizer step.
    pub fn train(&self) -> &Sequence {
        &self.train
    }

    /// Loss and predictions with evaluation semantics; leaves the residents as they are.
    pub fn eval(&self) -> &Sequence {
        &self.eval
    }

    /// Bytes of the arena without scratch, a multiple of 64.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Bytes of scratch for each thread, a multiple of 64.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch_bytes
    }

    /// Rows that a run of a sequence takes.
    pub fn rows(&self) -> usize {
        task::rows(&self.task)
    }

    /// Parts of a step's batch, one after the other.
    pub fn parts(&self) -> usize {
        self.task.batch as usize / self.rows()
    }

    /// Index of the state that is an average of a weight's gradient: SGD's momentum, or Adam's mean.
    pub fn average(&self, weight: &str) -> Option<usize> {
        let of = |name: &str| {
            let state = name.strip_prefix(weight).and_then(|it| it.strip_prefix('.'));
            state.is_some_and(|it| ["momentum", "mean"].contains(&it))
        };
        self.residents.iter().position(|it| it.role == Role::State && of(&it.name))
    }

    /// The same network and task with nothing pruned or rounded, for batches and weights of this one.
    pub fn exact(&self) -> Option<&Program> {
        self.exact.as_deref()
    }

    /// What is learned, and the names of the ports.
    pub fn task(&self) -> &proto::Task {
        &self.task
    }
}

impl Resident {
    /// Its name, unique among the residents.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Always dense f32.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Who changes it.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its first byte in the arena.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl Sequence {
    /// All tensors, by the index that [`Place::value`] gives.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The steps in order.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The steps for one part of a batch: what opens runs for the first part alone, what closes for the last.
    pub fn part(&self, first: bool, last: bool) -> &[Instruction] {
        let start = if first { 0 } else { self.opening };
        let end = self.instructions.len() - if last { 0 } else { self.closing };
        &self.instructions[start..end]
    }

    /// What is filled and read.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }
}

impl Value {
    /// Its name, unique in the sequence.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type, whose bytes are those of its place.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// What its bytes belong to.
    pub fn home(&self) -> Home {
        self.home
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Place {
    /// First byte in the arena, a multiple of 64.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes of the value.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Index of the value in its sequence.
    pub fn value(&self) -> usize {
        self.value
    }
}

impl Instruction {
    /// Name of the op.
    pub fn op(&self) -> &str {
        &self.op
    }

    /// What is computed.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Where the operands are; for an in-place update some are also results ([`Kernel::in_place`]).
    pub fn operands(&self) -> &[Place] {
        &self.operands
    }

    /// Where the results are, `None` for those that are not wanted. None overlaps another, or an operand but for what
    /// an update changes and for the operand that is [`reused`](Instruction::reused).
    pub fn results(&self) -> &[Option<Place>] {
        &self.results
    }

    /// The operand whose very bytes the first result is made in, one of [`Kernel::reuses`].
    pub fn reused(&self) -> Option<usize> {
        self.reused
    }
}

impl Ports {
    /// What is written before step 0.
    pub fn filled(&self) -> impl Iterator<Item = Place> {
        let scalars = [self.target, self.rows, self.learning_rate, self.step, self.total, self.draw];
        self.inputs.iter().copied().chain(scalars.into_iter().flatten())
    }

    /// What is read after the last step.
    pub fn read(&self) -> impl Iterator<Item = Place> {
        [Some(self.loss), self.correct, self.counted, self.prediction].into_iter().flatten()
    }
}

fn size(what: &'static str, bytes: u64) -> Result<usize, ProgramError> {
    if MAX_ARENA < bytes || !bytes.is_multiple_of(ALIGN as u64) {
        return Err(ProgramError::Size { what, bytes });
    }
    usize::try_from(bytes).map_err(|_| ProgramError::Size { what, bytes })
}

/// A byte range of the arena, if that is where it lies and starts aligned.
fn range(offset: u64, bytes: u64, arena_bytes: usize) -> Option<std::ops::Range<usize>> {
    let end = offset.checked_add(bytes).filter(|&it| it <= arena_bytes as u64)?;
    let aligned = offset.is_multiple_of(ALIGN as u64) && bytes != 0;
    aligned.then_some(offset as usize..end as usize)
}
