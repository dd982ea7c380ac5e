//! Runs: the same bits on any number of threads and after any stop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use razorc_compiler::options::{BatchNorm, Options};
use razorc_fixtures::{cnn, mobile};
use razorc_proto::program::Preprocess;
use razorc_proto::{Model, TrainerFile};
use razorc_runtime::data::{Expect, Transform};
use razorc_runtime::schedule::Decay;
use razorc_runtime::train::{LAST, Length, Observer, Outcome, Run, Settings, StepReport, TrainError, train};
use razorc_runtime::trainer::Trainer;
use razorc_tests::{noise, trainer};
use tempfile::TempDir;

const ROWS: usize = 37;

fn settings(folder: Option<&Path>) -> Settings {
    Settings { decay: Decay::Cosine, warmup: 2, ..razorc_tests::settings(folder, Length::Epochs(3)) }
}

fn compiled(model: &Model) -> TrainerFile {
    let options = Options { batch: 8, classes: 2, batch_norm: BatchNorm::Train, ..Options::default() };
    trainer(model, &options)
}

/// All weights, statistics and optimizer state.
fn residents(trainer: &Trainer) -> Vec<(String, Vec<u8>)> {
    trainer.residents().map(|(name, _, bytes)| (name.into(), bytes.to_vec())).collect()
}

fn run(file: TrainerFile, threads: usize, settings: &Settings, stop_after: u64) -> (Trainer, Outcome) {
    let data = noise(&Expect::of(file.program()).unwrap(), ROWS);
    let stop = AtomicBool::new(false);
    let mut stopper = Stopper { after: stop_after, stop: &stop };
    train(Run { file, data: &data, validation: Some(&data), settings, threads }, &mut stopper, &stop).unwrap()
}

/// Asks a run to stop after a number of steps.
struct Stopper<'a> {
    after: u64,
    stop: &'a AtomicBool,
}

impl Observer for Stopper<'_> {
    fn step(&mut self, report: &StepReport) {
        self.stop.store(report.step == self.after, Ordering::Relaxed);
    }
}

#[test]
fn the_number_of_threads_does_not_show_in_the_bits() {
    for model in [cnn(), mobile()] {
        let [one, two, five] = [1, 2, 5].map(|it| run(compiled(&model), it, &settings(None), u64::MAX));
        assert!(one.1.validation.unwrap().loss < one.1.train.loss, "nothing was learned: {:?}", one.1);
        assert!(residents(&one.0) == residents(&two.0), "two threads");
        assert!(residents(&one.0) == residents(&five.0), "five threads");
        assert_eq!(one.1.validation, two.1.validation);
        assert_eq!(one.1.train, five.1.train);
    }
}

#[test]
fn a_run_that_stops_anywhere_resumes_to_the_same_bits() {
    let file = compiled(&cnn());
    let straight = TempDir::new().unwrap();
    let (trainer, outcome) = run(file.clone(), 2, &settings(Some(straight.path())), u64::MAX);
    assert_eq!((outcome.steps, outcome.stopped), (12, false));
    // In the middle of an epoch, at its end, in the last one, and at the end of all.
    for stop_after in [1, 4, 6, 11, 12] {
        let broken = TempDir::new().unwrap();
        let last = broken.path().join(LAST);
        let (_, stopped) = run(file.clone(), 1, &settings(Some(broken.path())), stop_after);
        assert_eq!((stopped.steps, stopped.stopped), (stop_after, stop_after < 12));
        assert_eq!(stopped.checkpoint.as_deref(), Some(&*last));

        let resume = Settings { resume: true, ..settings(Some(broken.path())) };
        let (resumed, end) = run(TrainerFile::open(&last).unwrap(), 2, &resume, u64::MAX);
        assert!(residents(&resumed) == residents(&trainer), "stopped after {stop_after}");
        assert_eq!((end.train, end.validation), (outcome.train, outcome.validation), "stopped after {stop_after}");
        if stop_after < 12 {
            let files = [straight.path().join(LAST), last].map(|it| std::fs::read(it).unwrap());
            assert!(files[0] == files[1], "stopped after {stop_after}");
        }
    }
}

#[test]
fn a_run_is_only_resumed_with_its_own_settings() {
    let file = compiled(&cnn());
    let folder = TempDir::new().unwrap();
    run(file.clone(), 2, &settings(Some(folder.path())), 5);
    let data = noise(&Expect::of(file.program()).unwrap(), ROWS);
    let attempt = |settings: &Settings| {
        let file = TrainerFile::open(folder.path().join(LAST)).unwrap();
        let run = Run { file, data: &data, validation: None, settings, threads: 1 };
        train(run, &mut (), &AtomicBool::new(true)).map(|_| ())
    };
    let same = Settings { resume: true, ..settings(None) };
    attempt(&same).unwrap();
    attempt(&Settings { loader_threads: 1, ..same.clone() }).unwrap();
    for other in [
        Settings { rate: 0.02, ..same.clone() },
        Settings { seed: 8, ..same.clone() },
        Settings { length: Length::Epochs(4), ..same.clone() },
        Settings { decay: Decay::Linear, ..same.clone() },
        Settings { transform: Transform::from(&Preprocess::default()), ..same.clone() },
    ] {
        assert!(matches!(attempt(&other), Err(TrainError::Settings { .. })), "{other:?}");
    }
    let fresh = Run { file, data: &data, validation: None, settings: &same, threads: 1 };
    assert!(matches!(train(fresh, &mut (), &AtomicBool::new(true)), Err(TrainError::NoProgress)));
}
