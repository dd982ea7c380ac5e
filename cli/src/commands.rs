//! The commands, a file each.

mod compile;
mod doctor;
mod eval;
mod export;
mod inspect;
mod quickstart;
mod train;

use clap::Subcommand;
use razorc_compiler::options::Options;
use razorc_compiler::{Planned, dense_single, planned};
use razorc_proto::Model;

use crate::failure::Result;

#[derive(Subcommand)]
pub enum Command {
    Compile(Box<compile::Compile>),
    Doctor(doctor::Doctor),
    Train(train::Train),
    Eval(eval::Eval),
    Export(export::Export),
    Inspect(Box<inspect::Inspect>),
    Quickstart(quickstart::Quickstart),
}

impl Command {
    /// Does what was asked.
    pub fn run(&self) -> Result<()> {
        match self {
            Command::Compile(it) => it.run(),
            Command::Doctor(it) => it.run(),
            Command::Train(it) => it.run(),
            Command::Eval(it) => it.run(),
            Command::Export(it) => it.run(),
            Command::Inspect(it) => it.run(),
            Command::Quickstart(it) => it.run(),
        }
    }
}

/// What a model becomes, with the program that it is compared with before the first step, and what a dense trainer would
/// take for one row noted beside its plan.
fn complete(model: &Model, options: &Options) -> Result<Planned> {
    let mut planned = planned(model, options)?;
    planned.add_exact(model, options);
    if let Some(memory) = &mut planned.program.memory {
        memory.dense_single = dense_single(model, options).ok();
    }
    Ok(planned)
}

/// Threads that a command computes on, unless told otherwise: one for each processor.
fn threads(given: Option<usize>) -> usize {
    given.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |it| it.get()))
}
