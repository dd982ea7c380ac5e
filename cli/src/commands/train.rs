use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use razorc_proto::TrainerFile;
use razorc_proto::program::{Program, optimizer};
use razorc_runtime::data::Dataset;
use razorc_runtime::schedule::Decay;
use razorc_runtime::train::{Length, Outcome, Run, Settings, resumable, train};
use serde_json::json;

use super::export::{find_model, save_tuned};
use super::threads;
use crate::failure::{Failure, Result};
use crate::options::DataOptions;
use crate::progress::{Both, Display, JsonLines};
use crate::report;

/// Fine-tune a trainer on data
#[derive(Args)]
pub struct Train {
    /// The trainer, as `razorc compile` made it, or a checkpoint to start from
    #[arg(value_name = "MODEL.trainer")]
    trainer: PathBuf,
    /// Rows to score every epoch on, of the same kind as `--data`
    #[arg(long, value_name = "PATH", conflicts_with = "val_split")]
    val: Option<PathBuf>,
    /// Array file with a target for each row of `--val`
    #[arg(long, value_name = "Y.npy", requires = "val")]
    val_targets: Option<PathBuf>,
    /// Fraction of `--data` that is set apart to score every epoch on
    #[arg(long, value_name = "X")]
    val_split: Option<f64>,
    /// Threads that compute; by default one for each processor. The result does not depend on them
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Folder for `last.trainer` and `best.trainer`, written after every epoch and on Ctrl-C
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Go on where the run that wrote `--checkpoint` stopped, to the same bits
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Do not compare the gradient of the first batch with the exact one
    #[arg(long)]
    no_self_check: bool,
    /// The tuned ONNX model
    #[arg(short, long, value_name = "TUNED.onnx")]
    output: Option<PathBuf>,
    /// The original model, if it is not where it was compiled
    #[arg(long, value_name = "MODEL.onnx", requires = "output")]
    model: Option<PathBuf>,
    /// Write a JSON object a line to stdout, the last with the final numbers
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    course: Course,
    #[command(flatten)]
    data: DataOptions,
}

/// How long and how fast.
#[derive(Args)]
#[command(next_help_heading = "Course")]
struct Course {
    /// Passes over the data [default: 3]
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    epochs: Option<u64>,
    /// Batches in all
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Learning rate after the warm-up [default: 0.001 for Adam and AdamW, 0.01 for SGD]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// How the learning rate falls
    #[arg(long, value_enum, default_value_t = ScheduleWord::Linear)]
    schedule: ScheduleWord,
    /// Steps between two drops of `--schedule step`
    #[arg(long, value_name = "STEPS", default_value_t = 1000)]
    drop_every: u64,
    /// What the learning rate is multiplied by at each drop
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    drop_factor: f64,
    /// Steps in which the learning rate rises from zero
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    warmup: u64,
    /// Decides the order of the rows, their augmentation, and `--val-split`
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum ScheduleWord {
    Constant,
    Linear,
    Step,
    Cosine,
}

impl Train {
    pub fn run(&self) -> Result<()> {
        let threads = threads(self.threads);
        let mut file = TrainerFile::open(&self.trainer)?;
        if let (true, Some(folder)) = (self.resume, &self.checkpoint) {
            file = resumable(folder, &file)?;
        }
        let program = file.program().clone();
        let settings = self.settings(&program, threads)?;
        // Before training rather than after it.
        let model = match &self.output {
            Some(_) => Some(find_model(&program, &self.trainer, self.model.as_deref())?),
            None => None,
        };
        let (data, validation) = self.datasets(&program, threads)?;
        let stop = stop_on_interrupt()?;

        let mut display = Display::new();
        let mut both = Both(&mut display, &mut JsonLines);
        let run = Run { file, data: &data, validation: validation.as_ref(), settings: &settings, threads };
        let (trainer, outcome) =
            if self.json { train(run, &mut both, &stop)? } else { train(run, &mut display, &stop)? };
        drop(display);

        let tuned = self.output.as_deref().filter(|_| !outcome.stopped).zip(model.as_ref());
        if let Some((output, model)) = tuned {
            save_tuned(model, &program, trainer.tuned(), data.class_names(), output)?;
        }
        if self.json {
            report::say(end(&outcome));
        } else {
            report::say(summary(&outcome));
            if let Some((output, _)) = tuned {
                report::say(format_args!("wrote {}", output.display()));
            }
        }
        Ok(())
    }

    fn datasets(&self, program: &Program, threads: usize) -> Result<(Dataset, Option<Dataset>)> {
        let data = self.data.open(program, threads)?;
        if let Some(path) = &self.val {
            let mut program = program.clone();
            // Validation classes are those of the training data.
            if let Some(task) = &mut program.task {
                task.class_names = data.class_names().to_vec();
            }
            let validation = self.data.open_at(path, self.val_targets.as_deref(), &program, threads)?;
            return Ok((data, Some(validation)));
        }
        match self.val_split {
            None => Ok((data, None)),
            Some(fraction) => {
                let (data, validation) = data.split(fraction, self.course.seed)?;
                Ok((data, Some(validation)))
            }
        }
    }

    fn settings(&self, program: &Program, threads: usize) -> Result<Settings> {
        let course = &self.course;
        let task = program.task.as_ref();
        let kind = task.and_then(|task| task.optimizer.as_ref()).map(|it| it.kind());
        let rate = if kind == Some(optimizer::Kind::Sgd) { 0.01 } else { 0.001 };
        Ok(Settings {
            length: match course.steps {
                Some(steps) => Length::Steps(steps),
                None => Length::Epochs(course.epochs.unwrap_or(3)),
            },
            rate: course.lr.unwrap_or(rate),
            decay: match course.schedule {
                ScheduleWord::Constant => Decay::Constant,
                ScheduleWord::Linear => Decay::Linear,
                ScheduleWord::Cosine => Decay::Cosine,
                ScheduleWord::Step => Decay::Step { every: course.drop_every, factor: course.drop_factor },
            },
            warmup: course.warmup,
            seed: course.seed,
            transform: self.data.transform(task)?,
            loader_threads: threads,
            checkpoints: self.checkpoint.clone(),
            resume: self.resume,
            self_check: !self.no_self_check,
        })
    }
}

/// A flag that Ctrl-C raises; the second Ctrl-C ends the process at once.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .map_err(|error| Failure::input(format!("Ctrl-C cannot be watched: {error}")))?;
    Ok(stop)
}

fn summary(outcome: &Outcome) -> String {
    let mut text = format!("trained {} steps: {}", outcome.steps, report::score(&outcome.train));
    if let Some(score) = &outcome.validation {
        text += &format!("\nvalidation: {}", report::score(score));
    }
    text += &format!("\nstep time: {:.1} ms", outcome.step_time.as_secs_f64() * 1e3);
    text += &format!("\nmemory: {}", report::footprint(&outcome.memory));
    match &outcome.checkpoint {
        Some(path) if outcome.stopped => text += &format!("\nstopped; `--resume` goes on from {}", path.display()),
        Some(path) => text += &format!("\ncheckpoint: {}", path.display()),
        None if outcome.stopped => text += "\nstopped; nothing was saved, as no `--checkpoint` was given",
        None => {}
    }
    text
}

fn end(outcome: &Outcome) -> serde_json::Value {
    let mut object = json!({
        "event": "end",
        "steps": outcome.steps,
        "stopped": outcome.stopped,
        "step_ms": outcome.step_time.as_secs_f64() * 1e3,
        "planned_peak": outcome.memory.planned,
        "measured_peak": outcome.memory.measured,
        "file_pages": outcome.memory.files,
        "process_peak": outcome.memory.process,
        "data_bytes": outcome.data_bytes,
    });
    report::add_score(&mut object, "train_", Some(&outcome.train));
    report::add_score(&mut object, "val_", outcome.validation.as_ref());
    object
}
