use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Args;
use razorc_compiler::options::{Options, Sparsity};
use razorc_compiler::{Compiled, compile};
use razorc_fixtures::{DIGITS_MODEL, Digits, digits};
use razorc_proto::program::{Preprocess, Program};
use razorc_proto::{Model, TrainerFile, write_trainer};
use razorc_runtime::data::{Dataset, Expect, Transform};
use razorc_runtime::memory::Footprint;
use razorc_runtime::metrics::Score;
use razorc_runtime::schedule::Decay;
use razorc_runtime::train::{Length, Run, Settings, train};
use razorc_runtime::trainer::Trainer;

use super::export::save_tuned;
use super::threads;
use crate::failure::Result;
use crate::report;

const CLASSES: [&str; 5] = ["5", "6", "7", "8", "9"];
const IMAGE: [usize; 3] = [1, 8, 8];
const BATCH: u64 = 32;

/// Teach a bundled network, which knows the digits 0 to 4, the digits 5 to 9: dense, and with 90 % pruned
#[derive(Args)]
pub struct Quickstart {
    /// The tuned ONNX model
    #[arg(short, long, value_name = "TUNED.onnx", default_value = "tuned.onnx")]
    output: PathBuf,
    /// Threads that compute; by default one for each processor
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// What came out of one way to save activations.
struct Tuned {
    program: Program,
    trainer: Trainer,
    before: Score,
    after: Score,
    memory: Footprint,
    seconds: f64,
}

impl Quickstart {
    pub fn run(&self) -> Result<()> {
        let model = Model::from_bytes(DIGITS_MODEL)?;
        let digits = digits().only(5..10);
        let (train, test) = (digits.train_y.len(), digits.test_y.len());
        report::say(format_args!(
            "A network that knows the handwritten digits 0 to 4 learns 5 to 9: {train} images, {test} for testing.\n"
        ));

        let dense = self.tune(&model, &digits, "0")?;
        let packed = self.tune(&model, &digits, "0.9")?;
        report::say(table(&dense, &packed));

        let names = CLASSES.map(String::from);
        save_tuned(&model, &packed.program, packed.trainer.tuned(), &names, &self.output)?;
        let output = self.output.display();
        report::say(format_args!("\nwrote {output}, an ordinary ONNX model with the weights of the second column"));
        report::say("next: `razorc compile --help` for a model of your own");
        Ok(())
    }

    fn tune(&self, model: &Model, digits: &Digits, sparsity: &str) -> Result<Tuned> {
        let threads = threads(self.threads);
        let file = trainer(model, sparsity)?;
        let program = file.program().clone();
        let (data, validation) = datasets(digits, &Expect::of(&program)?)?;
        let settings = Settings {
            length: Length::Epochs(10),
            rate: 0.002,
            decay: Decay::Linear,
            warmup: 0,
            seed: 0,
            transform: Transform::from(&Preprocess::default()),
            loader_threads: 1,
            checkpoints: None,
            resume: false,
            self_check: false,
        };
        let mut fresh = Trainer::load(file.clone(), threads)?;
        let before = razorc_runtime::train::evaluate(&mut fresh, &validation, &settings.transform, 1)?;
        drop(fresh);

        let began = Instant::now();
        let run = Run { file, data: &data, validation: Some(&validation), settings: &settings, threads };
        let (trainer, outcome) = train(run, &mut (), &AtomicBool::new(false))?;
        let after = outcome.validation.unwrap_or(outcome.train);
        Ok(Tuned { program, trainer, before, after, memory: outcome.memory, seconds: began.elapsed().as_secs_f64() })
    }
}

fn trainer(model: &Model, sparsity: &str) -> Result<TrainerFile> {
    let mut options = Options { batch: BATCH, classes: CLASSES.len() as u64, ..Options::default() };
    options.razor.sparsity = sparsity.parse::<Sparsity>()?;
    let Compiled { program, blobs, .. } = compile(model, &options)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("digits.trainer");
    let blobs: Vec<_> = blobs.iter().map(|blob| blob.as_deref()).collect();
    write_trainer(&path, &program, &blobs)?;
    Ok(TrainerFile::open(&path)?)
}

fn datasets(digits: &Digits, expect: &Expect) -> Result<(Dataset, Dataset)> {
    let data = Dataset::from_memory("the digits", &IMAGE, &digits.train_x, &digits.train_y, expect)?;
    let validation = Dataset::from_memory("the digits", &IMAGE, &digits.test_x, &digits.test_y, expect)?;
    Ok((data, validation))
}

fn table(dense: &Tuned, packed: &Tuned) -> String {
    let mut text = format!("{:<24}{:>14}{:>14}", "", "dense", "90 % pruned");
    for ((name, dense), (_, packed)) in rows(dense).into_iter().zip(rows(packed)) {
        text += &format!("\n{name:<24}{dense:>14}{packed:>14}");
    }
    text
}

fn rows(it: &Tuned) -> [(&'static str, String); 8] {
    let plan = it.program.memory.unwrap_or_default();
    let percent = |score: &Score| format!("{:.1} %", 100.0 * score.accuracy.unwrap_or(0.0));
    [
        ("accuracy before", percent(&it.before)),
        ("accuracy after", percent(&it.after)),
        ("saved activations", report::bytes(plan.saved_packed)),
        ("dynamic memory, peak", report::bytes(plan.dynamic_peak)),
        ("weights and optimizer", report::bytes(plan.weights + plan.optimizer)),
        ("all memory, planned", report::bytes(it.memory.planned)),
        ("all memory, measured", it.memory.measured.map_or("not known here".into(), report::bytes)),
        ("time", format!("{:.1} s", it.seconds)),
    ]
}
