//! The commands behind the `razorc` binary.

mod commands;
mod failure;
mod fidelity;
mod options;
mod page;
mod progress;
mod report;
mod timeline;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use failure::Failure;

/// Compile a pretrained ONNX model into a trainer, fine-tune it, and get an ONNX file back.
#[derive(Parser)]
#[command(name = "razorc", bin_name = "razorc", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Runs the command that the process was started with. Exits with 0, or with 1 for bad input, 2 for bad usage, 70 for a
/// bug.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(|| cli.command.run()));
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(),
        Err(panic) => Failure::bug(&*panic).report(),
    }
}
