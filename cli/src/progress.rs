//! How a run is shown while it goes.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use razorc_runtime::train::{Checked, EpochReport, Observer, Plan, StepReport};
use serde_json::json;

use crate::report;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows a run on stderr: one moving line on a terminal, a line now and then elsewhere, and one for each epoch.
pub struct Display {
    line: Option<ProgressBar>,
    plan: Plan,
    began: Instant,
    rows: usize,
    printed: Instant,
}

impl Display {
    /// Begins to count.
    pub fn new() -> Display {
        let now = Instant::now();
        let plan = Plan { steps: 0, n_batches: 0, batch: 0, done: 0 };
        Display { line: None, plan, began: now, rows: 0, printed: now }
    }

    fn text(&self, it: &StepReport) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        let done = (it.step - self.plan.done) as f64;
        let left = (self.plan.steps - it.step) as f64 * seconds / done.max(1.0);
        let epoch = it.epoch + 1;
        let score = report::score(&it.so_far);
        format!("epoch {epoch}: {score}, {:.0} rows/s, {} left", self.rows as f64 / seconds, report::clock(left))
    }

    fn say(&self, text: &str) {
        match &self.line {
            Some(line) => line.println(text),
            None => eprintln!("{text}"),
        }
    }
}

impl Observer for Display {
    fn checked(&mut self, it: &Checked) {
        self.say(&report::checked(it));
    }

    fn started(&mut self, plan: &Plan) {
        (self.plan, self.began) = (*plan, Instant::now());
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}");
            let line = ProgressBar::new(plan.steps).with_position(plan.done);
            self.line = Some(line.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
        }
    }

    fn step(&mut self, it: &StepReport) {
        self.rows += it.rows;
        if let Some(line) = &self.line {
            line.set_position(it.step);
            line.set_message(self.text(it));
        } else if LINE_EVERY <= self.printed.elapsed() {
            self.printed = Instant::now();
            eprintln!("step {}/{}, {}", it.step, self.plan.steps, self.text(it));
        }
    }

    fn epoch(&mut self, it: &EpochReport) {
        let validation = it.validation.map(|score| format!("; validation {}", report::score(&score)));
        let best = if it.best { " (best)" } else { "" };
        let train = report::score(&it.train);
        self.say(&format!("epoch {}: {train}{}{best}", it.epoch + 1, validation.unwrap_or_default()));
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

/// Writes a JSON object a line to stdout, for machines.
pub struct JsonLines;

impl Observer for JsonLines {
    fn checked(&mut self, it: &Checked) {
        report::say(report::checked_json(it));
    }

    fn step(&mut self, it: &StepReport) {
        report::say(json!({
            "event": "step",
            "step": it.step,
            "epoch": it.epoch,
            "loss": it.stats.loss,
            "accuracy": it.stats.accuracy(it.rows),
            "learning_rate": it.rate,
            "step_ms": it.time.as_secs_f64() * 1e3,
        }));
    }

    fn epoch(&mut self, it: &EpochReport) {
        let mut object = json!({ "event": "epoch", "epoch": it.epoch });
        report::add_score(&mut object, "train_", Some(&it.train));
        report::add_score(&mut object, "val_", it.validation.as_ref());
        report::say(object);
    }
}

/// Both at once.
pub struct Both<'a>(pub &'a mut dyn Observer, pub &'a mut dyn Observer);

impl Observer for Both<'_> {
    fn checked(&mut self, checked: &Checked) {
        self.0.checked(checked);
        self.1.checked(checked);
    }

    fn started(&mut self, plan: &Plan) {
        self.0.started(plan);
        self.1.started(plan);
    }

    fn step(&mut self, report: &StepReport) {
        self.0.step(report);
        self.1.step(report);
    }

    fn epoch(&mut self, report: &EpochReport) {
        self.0.epoch(report);
        self.1.epoch(report);
    }
}
