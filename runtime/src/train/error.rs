use std::path::PathBuf;

use razorc_proto::TrainerError;
use thiserror::Error;

use crate::data::DataError;
use crate::trainer::LoadError;

/// Why a run cannot start or go on.
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum TrainError {
    #[error(transparent)]
    Load(#[from] LoadError),

    #[error(transparent)]
    Data(#[from] DataError),

    #[error("the run has no steps; the length must be at least one step or epoch")]
    NoSteps,

    #[error("the run has more steps than can be counted")]
    TooManySteps,

    #[error("the data ended in the middle of training")]
    NoBatch,

    #[error("the learning rate must be a finite number above 0, not {0}")]
    Rate(f64),

    #[error("{} has no checkpoint of a run to resume", .folder.display())]
    NoCheckpoint { folder: PathBuf },

    #[error("the checkpoint was not written by a training run, so there is nothing to resume")]
    NoProgress,

    #[error("the run was started with `{was}`, and now has `{now}`; it can only be resumed with the same settings")]
    Settings { was: String, now: String },

    #[error("the progress in the checkpoint makes no sense: {0}")]
    Progress(String),

    #[error("the checkpoint in {} is of another trainer than the one given", .folder.display())]
    OtherTrainer { folder: PathBuf },

    #[error("{what} is not finite after step {step}; {}", kept(.checkpoint))]
    NotFinite { what: String, step: u64, checkpoint: Option<PathBuf> },

    #[error(transparent)]
    Checkpoint(#[from] TrainerError),

    #[error("{}: {source}", .path.display())]
    Folder { path: PathBuf, source: std::io::Error },
}

fn kept(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => format!("the last good weights are in {}", path.display()),
        None => "no checkpoint was written before".into(),
    }
}
