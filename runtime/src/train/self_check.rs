//! Whether the first batch's gradient is like the exact one, before anything is trained with it.

use std::fmt;

use razorc_proto::TrainerFile;
use razorc_proto::program::{self as proto, Role, optimizer};

use super::{Observer, TrainError};
use crate::arena::Arena;
use crate::data::{Batch, Loader};
use crate::error::ArenaError;
use crate::fidelity::{Likeness, Sketch, last_layer};
use crate::memory::available;
use crate::program::Program;
use crate::trainer::{LoadError, Trainer};

/// Below this cosine transfer suffers, as far as it was measured.
const LEAST_COSINE: f64 = 0.5;
/// Above this ratio of lengths, too: estimates that are right on average only lose length.
const MOST_LENGTH: f64 = 1.3;

/// What came out of the comparison, for the body: every trained weight but those of the last layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    /// Both gradients were computed.
    Compared {
        /// Cosine of the angle between the trainer's and the exact one; to 0.004, or exact up to 131 072 weights.
        cosine: f64,
        /// Length of the trainer's over that of the exact one.
        norm_ratio: f64,
    },
    /// They were not.
    Skipped(Skipped),
}

/// Why gradients were not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The exact gradient takes more than the trainer was made to fit.
    Budget {
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that the trainer may take.
        budget: u64,
    },
    /// The exact gradient takes more than there is.
    Memory {
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there are, as far as is known.
        available: Option<u64>,
    },
}

impl Checked {
    /// Whether the trainer deserves a warning.
    pub fn is_doubtful(&self) -> bool {
        match *self {
            // What is not a number is not like anything.
            Checked::Compared { cosine, norm_ratio } => !(LEAST_COSINE <= cosine && norm_ratio <= MOST_LENGTH),
            Checked::Skipped(_) => false,
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skipped::Budget { needed, budget } => {
                write!(f, "the exact gradient takes {needed} bytes, and the trainer was made for {budget}")
            }
            Skipped::Memory { needed, available: Some(available) } => {
                write!(f, "the exact gradient takes {needed} bytes, and {available} are available")
            }
            Skipped::Memory { needed, available: None } => {
                write!(f, "the exact gradient takes {needed} bytes, which cannot be had")
            }
        }
    }
}

/// Loads a trainer, and on the way compares its gradient of the first batch with the exact one, if the trainer knows how.
/// One of the two is in memory at a time, and only some sums are carried from the one to the other.
pub(super) fn load(
    file: TrainerFile,
    loader: &mut Loader,
    threads: usize,
    observer: &mut dyn Observer,
) -> Result<Trainer, TrainError> {
    let program = Program::check(file.program()).map_err(LoadError::from)?;
    let body = program.exact().map(|exact| Body::of(exact, &program)).filter(|it| 0 < it.elements);
    let (Some(exact), Some(body)) = (program.exact().cloned(), body) else {
        return Ok(Trainer::load(file, threads)?);
    };
    drop(program);
    let exact = match load_exact(&file, exact, threads)? {
        Ok(exact) => exact,
        Err(skipped) => {
            observer.checked(&Checked::Skipped(skipped));
            return Ok(Trainer::load(file, threads)?);
        }
    };
    let Some(batch) = loader.peek()? else { return Err(TrainError::NoBatch) };
    let exact = body.gradient(exact, &batch).0;
    let (pruned, mut trainer) = body.gradient(Trainer::hold(&file, threads)?, &batch);
    trainer.settle(file)?;
    let likeness = Likeness::of_sketches(&exact, &pruned);
    // An estimate may leave the range.
    let cosine = likeness.cosine().clamp(-1.0, 1.0);
    observer.checked(&Checked::Compared { cosine, norm_ratio: likeness.norm_ratio() });
    Ok(trainer)
}

/// The exact program with the trainer's weights, if there is memory for it.
fn load_exact(file: &TrainerFile, exact: Program, threads: usize) -> Result<Result<Trainer, Skipped>, TrainError> {
    let (planned, budget) = ((exact.arena_bytes() + exact.scratch_bytes()) as u64, file.program().budget);
    if budget != 0 && budget < planned {
        return Ok(Err(Skipped::Budget { needed: planned, budget }));
    }
    let needed = Arena::bytes_for(&exact, threads).map_or(u64::MAX, |it| it as u64);
    let available = available();
    if available.is_some_and(|it| it < needed) {
        return Ok(Err(Skipped::Memory { needed, available }));
    }
    match Trainer::load_exact(file, exact, threads) {
        Ok(trainer) => Ok(Ok(trainer)),
        // The limit that was met is none that is known here.
        Err(LoadError::Arena(ArenaError::Map { .. })) => Ok(Err(Skipped::Memory { needed, available: None })),
        Err(error) => Err(error.into()),
    }
}

/// The weights whose gradients are compared, as one vector.
struct Body {
    /// Where each of them starts.
    weights: Vec<(String, usize)>,
    elements: usize,
}

impl Body {
    /// Of what is trained in both programs.
    fn of(exact: &Program, trainer: &Program) -> Body {
        let head = last_layer(exact);
        let mut body = Body { weights: vec![], elements: 0 };
        for weight in exact.residents().iter().filter(|it| it.role() == Role::Param && !head.contains(it.name())) {
            if [exact, trainer].iter().all(|it| it.average(weight.name()).is_some()) {
                body.weights.push((weight.name().to_string(), body.elements));
                body.elements += weight.ty().elements();
            }
        }
        body
    }

    /// The gradient of a batch. Leaves weights as a step at rate 0 does.
    fn gradient(&self, mut trainer: Trainer, batch: &Batch<'_>) -> (Sketch, Trainer) {
        trainer.forget_state();
        trainer.step(batch, 0.0, 1);
        let scale = 1.0 / share(trainer.program().task());
        let mut sketch = Sketch::new(self.elements);
        for (name, start) in &self.weights {
            let numbers = trainer.average(name).into_iter().flatten();
            sketch.put(*start, numbers.map(|it| it * scale));
        }
        (sketch, trainer)
    }
}

/// What is kept of the first gradient in the optimizer's average of gradients.
fn share(task: &proto::Task) -> f32 {
    let optimizer = task.optimizer.unwrap_or_default();
    match optimizer.kind() {
        optimizer::Kind::Adam | optimizer::Kind::Adamw => (1.0 - optimizer.beta1) as f32,
        optimizer::Kind::Sgd | optimizer::Kind::OptimizerUnspecified => 1.0,
    }
}
