use std::fs;
use std::path::{Path, PathBuf};

use razorc_proto::TrainerFile;
use razorc_proto::program::{Preprocess, Program, Progress};

use super::settings::difference;
use super::{Settings, TrainError};
use crate::metrics::Score;
use crate::trainer::Trainer;

/// Name of the checkpoint that a run is resumed from.
pub const LAST: &str = "last.trainer";
/// Name of the checkpoint that was best in validation.
pub const BEST: &str = "best.trainer";

/// The last checkpoint in `folder`, if it is of the same trainer as `file`.
///
/// # Errors
/// If there is none, it is damaged, or it is of another trainer.
pub fn resumable(folder: &Path, file: &TrainerFile) -> Result<TrainerFile, TrainError> {
    let path = folder.join(LAST);
    if !path.exists() {
        return Err(TrainError::NoCheckpoint { folder: folder.into() });
    }
    let checkpoint = TrainerFile::open(&path)?;
    if plain(checkpoint.program()) != plain(file.program()) {
        return Err(TrainError::OtherTrainer { folder: folder.into() });
    }
    Ok(checkpoint)
}

/// A program without what training writes into it.
fn plain(program: &Program) -> Program {
    let mut program = Program { progress: None, exact: None, ..program.clone() };
    for resident in &mut program.residents {
        (resident.blob, resident.checksum) = (None, 0);
    }
    if let Some(task) = &mut program.task {
        task.class_names.clear();
        task.preprocess = None::<Preprocess>;
    }
    program
}

/// Where a run begins: at its first step, or where the checkpoint was written.
pub(super) fn start(program: &Program, settings: &Settings, text: &str) -> Result<Progress, TrainError> {
    if !(settings.rate.is_finite() && 0.0 < settings.rate) {
        return Err(TrainError::Rate(settings.rate));
    }
    if !settings.resume {
        let (seed, settings) = (settings.seed, text.as_bytes().to_vec());
        return Ok(Progress { seed, settings, best_metric: f64::NEG_INFINITY, ..Progress::default() });
    }
    let progress = program.progress.clone().ok_or(TrainError::NoProgress)?;
    let was = String::from_utf8_lossy(&progress.settings);
    if let Some((was, now)) = difference(&was, text) {
        return Err(TrainError::Settings { was: was.into(), now: now.into() });
    }
    if progress.step < progress.batch_in_epoch || !progress.loss_sum.is_finite() {
        return Err(TrainError::Progress(format!("step {}, batch {}", progress.step, progress.batch_in_epoch)));
    }
    Ok(progress)
}

/// Whether `score` is the best so far, and from now on the one to beat.
pub(super) fn improves(progress: &mut Progress, score: &Score) -> bool {
    let metric = score.metric();
    let better = progress.best_metric < metric;
    if better {
        progress.best_metric = metric;
    }
    better
}

/// Writes checkpoints into a folder, or nowhere.
pub(super) struct Checkpoints {
    folder: Option<PathBuf>,
    written: bool,
}

impl Checkpoints {
    pub fn new(settings: &Settings) -> Checkpoints {
        Checkpoints { folder: settings.checkpoints.clone(), written: settings.resume }
    }

    /// The checkpoint that this run would be resumed from.
    pub fn written(&self) -> Option<PathBuf> {
        self.folder.as_ref().filter(|_| self.written).map(|folder| folder.join(LAST))
    }

    pub fn save(&mut self, trainer: &Trainer, progress: &Progress, best: bool) -> Result<(), TrainError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        fs::create_dir_all(folder).map_err(|source| TrainError::Folder { path: folder.clone(), source })?;
        if best {
            trainer.save(&folder.join(BEST), progress)?;
        }
        trainer.save(&folder.join(LAST), progress)?;
        self.written = true;
        Ok(())
    }
}
