//! The training loop: epochs, evaluation, checkpoints.

mod checkpoint;
mod error;
mod observer;
mod self_check;
mod settings;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use razorc_proto::TrainerFile;
use razorc_proto::program::{Preprocess, Progress};

use crate::data::{Dataset, Loader, Order, Transform};
use crate::memory::Footprint;
use crate::metrics::{Measure, Score, StepStats, Tally, median};
use crate::schedule::Schedule;
use crate::trainer::Trainer;
use checkpoint::Checkpoints;
pub use checkpoint::{BEST, LAST, resumable};
pub use error::TrainError;
pub use observer::{EpochReport, Observer, Plan, StepReport};
pub use self_check::{Checked, Skipped};
pub use settings::{Length, Settings};

/// Step times that the median is taken of.
const TIMED_STEPS: usize = 4096;

/// Everything that a run starts from.
pub struct Run<'a> {
    /// A trainer as compiled, or, to go on where a run stopped, its last checkpoint.
    pub file: TrainerFile,
    /// Rows to train on; fewer than a batch at the end of an epoch are left out.
    pub data: &'a Dataset,
    /// Rows that every epoch is scored on.
    pub validation: Option<&'a Dataset>,
    /// How to train.
    pub settings: &'a Settings,
    /// Threads that compute; the bits do not depend on them.
    pub threads: usize,
}

/// What came out of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Over the last epoch, each batch scored just before it was trained on.
    pub train: Score,
    /// After the last step; `None` without validation rows, or if the run was stopped.
    pub validation: Option<Score>,
    /// Steps of the whole run so far.
    pub steps: u64,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
    /// Median time of a step of this process.
    pub step_time: Duration,
    /// Planned and measured memory.
    pub memory: Footprint,
    /// Bytes that the data takes beside the arena.
    pub data_bytes: usize,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
}

/// Trains until the end, an error, or `stop`. The trainer comes back with its tuned weights.
///
/// # Errors
/// If the trainer, the data or the settings do not fit each other, a checkpoint cannot be written, or the loss or a
/// weight is no longer finite; what was written before stays.
pub fn train(run: Run<'_>, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<(Trainer, Outcome), TrainError> {
    let Run { file, data, validation, settings, threads } = run;
    let batch = file.program().task.as_ref().map_or(0, |task| task.batch);
    let n_batches = data.len() as u64 / batch.max(1);
    let steps = settings.length.steps(n_batches)?;
    let text = settings.text(data, batch);
    let mut progress = checkpoint::start(file.program(), settings, &text)?;

    // Before the arena, so that the data's memory is not taken for the trainer's.
    let mut loader = loader(data, settings, batch, &progress)?;
    let mut trainer = match settings.self_check && !settings.resume {
        true => self_check::load(file, &mut loader, threads, observer)?,
        false => Trainer::load(file, threads)?,
    };
    trainer.describe(data.class_names(), Preprocess::from(&settings.transform));
    if !settings.resume {
        trainer.forget_state();
    }
    observer.started(&Plan { steps, n_batches, batch, done: progress.step });

    let mut fit = Fit {
        schedule: settings.schedule(steps),
        checkpoints: Checkpoints::new(settings),
        tally: Tally {
            loss_sum: progress.loss_sum,
            correct_sum: progress.correct_sum,
            rows: progress.rows,
            counts: trainer.counts(),
        },
        times: Vec::with_capacity(TIMED_STEPS),
        validated: None,
        data_bytes: loader.bytes(),
        trainer,
        progress: &mut progress,
        observer,
        stop,
        steps,
        n_batches,
    };
    let mut loader = Some(loader);
    while fit.goes_on() {
        let mut feed = match loader.take() {
            Some(loader) => loader,
            None => self::loader(data, settings, batch, fit.progress)?,
        };
        let finished = fit.epoch(&mut feed)?;
        // One loader at a time, so that memory is what one takes.
        drop(feed);
        if finished {
            fit.finish_epoch(validation, settings)?;
        }
    }
    fit.outcome(validation, settings)
}

/// Scores every row of `data` once.
///
/// # Errors
/// If the data does not fit the trainer, or cannot be read any more.
pub fn evaluate(
    trainer: &mut Trainer,
    data: &Dataset,
    transform: &Transform,
    threads: usize,
) -> Result<Score, TrainError> {
    let mut loader = Loader::new(data, transform, trainer.batch(), Order::Sequential, threads)?;
    let mut tally = Tally { counts: trainer.counts(), ..Tally::default() };
    let mut measure = Measure::new(trainer.program().task());
    while let Some(batch) = loader.next_batch()? {
        let stats = trainer.eval(&batch);
        tally.add(stats, batch.len);
        if let Some((predictions, dims)) = trainer.predictions() {
            measure.add(predictions, dims, batch.targets, batch.len);
        }
    }
    let score = tally.score();
    Ok(Score { measures: measure.measures(score.loss), ..score })
}

fn loader(data: &Dataset, settings: &Settings, batch: u64, progress: &Progress) -> Result<Loader, TrainError> {
    let order = Order::Shuffled { seed: settings.seed, epoch: progress.epoch, batch: progress.batch_in_epoch };
    Ok(Loader::new(data, &settings.transform, batch as usize, order, settings.loader_threads)?)
}

struct Fit<'a> {
    trainer: Trainer,
    schedule: Schedule,
    checkpoints: Checkpoints,
    progress: &'a mut Progress,
    tally: Tally,
    times: Vec<Duration>,
    validated: Option<Score>,
    data_bytes: usize,
    observer: &'a mut dyn Observer,
    stop: &'a AtomicBool,
    steps: u64,
    n_batches: u64,
}

impl Fit<'_> {
    fn goes_on(&self) -> bool {
        self.progress.step < self.steps && !self.stopped()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Steps to the end of the epoch or of the run; false if stopped before.
    fn epoch(&mut self, loader: &mut Loader) -> Result<bool, TrainError> {
        if self.progress.batch_in_epoch == 0 {
            self.tally = Tally { counts: self.trainer.counts(), ..Tally::default() };
        }
        while self.goes_on() {
            let Some(batch) = loader.next_batch()? else { return Err(TrainError::NoBatch) };
            let rate = self.schedule.at(self.progress.step);
            let began = Instant::now();
            let stats = self.trainer.step(&batch, rate, self.progress.step + 1);
            let time = began.elapsed();
            self.progress.step += 1;
            self.progress.batch_in_epoch += 1;
            self.record(stats, batch.len, rate, time)?;
            if self.progress.batch_in_epoch == self.n_batches || self.progress.step == self.steps {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn record(&mut self, stats: StepStats, rows: usize, rate: f32, time: Duration) -> Result<(), TrainError> {
        if !stats.loss.is_finite() {
            return Err(self.not_finite("the loss".into()));
        }
        self.tally.add(stats, rows);
        if self.times.len() < TIMED_STEPS {
            self.times.push(time);
        }
        self.observer.step(&StepReport {
            step: self.progress.step,
            epoch: self.progress.epoch,
            stats,
            so_far: self.tally.score(),
            rows,
            rate,
            time,
        });
        Ok(())
    }

    fn finish_epoch(&mut self, validation: Option<&Dataset>, settings: &Settings) -> Result<(), TrainError> {
        let epoch = self.progress.epoch;
        if self.progress.batch_in_epoch == self.n_batches {
            self.progress.epoch += 1;
            self.progress.batch_in_epoch = 0;
        }
        self.check_weights()?;
        self.validated = self.validate(validation, settings)?;
        let best = self.validated.is_some_and(|score| checkpoint::improves(self.progress, &score));
        self.save(best)?;
        self.observer.epoch(&EpochReport { epoch, train: self.tally.score(), validation: self.validated, best });
        Ok(())
    }

    fn validate(&mut self, data: Option<&Dataset>, settings: &Settings) -> Result<Option<Score>, TrainError> {
        let Some(data) = data else { return Ok(None) };
        let score = evaluate(&mut self.trainer, data, &settings.transform, settings.loader_threads)?;
        if score.loss.is_finite() { Ok(Some(score)) } else { Err(self.not_finite("the validation loss".into())) }
    }

    fn check_weights(&self) -> Result<(), TrainError> {
        match self.trainer.not_finite() {
            None => Ok(()),
            Some(name) => Err(self.not_finite(format!("the weight `{name}`"))),
        }
    }

    fn not_finite(&self, what: String) -> TrainError {
        TrainError::NotFinite { what, step: self.progress.step, checkpoint: self.checkpoints.written() }
    }

    fn save(&mut self, best: bool) -> Result<(), TrainError> {
        let Tally { loss_sum, correct_sum, rows, .. } = self.tally;
        let progress = Progress { loss_sum, correct_sum, rows, ..self.progress.clone() };
        self.checkpoints.save(&self.trainer, &progress, best)
    }

    fn outcome(mut self, validation: Option<&Dataset>, settings: &Settings) -> Result<(Trainer, Outcome), TrainError> {
        let stopped = self.progress.step < self.steps;
        if stopped && 0 < self.progress.batch_in_epoch {
            self.check_weights()?;
            self.save(false)?;
        }
        // A run that was resumed at its end has not been scored yet.
        if !stopped && self.validated.is_none() {
            self.validated = self.validate(validation, settings)?;
        }
        let outcome = Outcome {
            train: self.tally.score(),
            validation: self.validated.filter(|_| !stopped),
            steps: self.progress.step,
            stopped,
            step_time: median(&mut self.times),
            memory: self.trainer.footprint(),
            data_bytes: self.data_bytes,
            checkpoint: self.checkpoints.written(),
        };
        Ok((self.trainer, outcome))
    }
}
