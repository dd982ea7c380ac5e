//! What goes wrong, in words for the person who typed the command.

use std::any::Any;
use std::error::Error;
use std::process::ExitCode;

use razorc_runtime::train::TrainError;

/// An error, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: String,
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Input = 1,
    Bug = 70,
}

/// What every command ends with.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Something is wrong with what the user gave.
    pub fn input(error: impl Into<String>) -> Failure {
        Failure { kind: Kind::Input, error: error.into(), hint: None }
    }

    /// Says what to type next.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// Something is wrong with razorc.
    pub fn bug(panic: &(dyn Any + Send)) -> Failure {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| it.to_string()));
        let error = format!("razorc itself failed: {}", text.unwrap_or_else(|| "no reason was given".into()));
        Failure { kind: Kind::Bug, error, hint: Some("this is a bug; please report the command and the model".into()) }
    }

    /// Prints the failure and gives the exit code of the process.
    pub fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.error);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.kind as u8)
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Failure { kind: Kind::Input, error: text, hint: hint(&error) }
    }
}

fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    let hint = match error.downcast_ref::<TrainError>()? {
        TrainError::NotFinite { .. } => "a smaller `--lr`, or a `--warmup` of some steps, often helps",
        TrainError::Rate(_) => "`--lr 0.001` is a good start for Adam, `--lr 0.01` for SGD",
        TrainError::NoCheckpoint { .. } => "leave `--resume` out to start a new run there",
        TrainError::OtherTrainer { .. } => "give the trainer that the run was started with, or another `--checkpoint`",
        TrainError::Settings { .. } => "give the options that the run was started with, or leave `--resume` out",
        _ => return None,
    };
    Some(hint.into())
}
