use std::fmt::Write;
use std::path::PathBuf;

use super::TrainError;
use crate::data::{Dataset, Transform};
use crate::schedule::{Decay, Schedule};

/// How to train.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When the run ends.
    pub length: Length,
    /// Learning rate after the warm-up.
    pub rate: f64,
    /// How it falls.
    pub decay: Decay,
    /// Steps until it is reached.
    pub warmup: u64,
    /// Decides the order of the rows and their augmentation.
    pub seed: u64,
    /// How rows become input.
    pub transform: Transform,
    /// Threads that prepare batches; the bits do not depend on them.
    pub loader_threads: usize,
    /// Folder of checkpoints; none are written without.
    pub checkpoints: Option<PathBuf>,
    /// The trainer is a checkpoint; go on where it was written.
    pub resume: bool,
    /// Compare the gradient of the first batch with the exact one, where the trainer knows how. The bits do not depend
    /// on it.
    pub self_check: bool,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After so many passes over the data.
    Epochs(u64),
    /// After so many batches.
    Steps(u64),
}

impl Length {
    pub(super) fn steps(self, n_batches: u64) -> Result<u64, TrainError> {
        let steps = match self {
            // Data that does not fill a batch is refused where batches are made, with more to say.
            Length::Epochs(epochs) => epochs.checked_mul(n_batches.max(1)).ok_or(TrainError::TooManySteps)?,
            Length::Steps(steps) => steps,
        };
        if steps == 0 { Err(TrainError::NoSteps) } else { Ok(steps) }
    }
}

impl Settings {
    pub(super) fn schedule(&self, steps: u64) -> Schedule {
        Schedule { rate: self.rate, warmup: self.warmup, steps, decay: self.decay }
    }

    /// One line for each setting that decides the run's bits; numbers are printed so that different ones differ.
    pub(super) fn text(&self, data: &Dataset, batch: u64) -> String {
        let Settings { length, rate, decay, warmup, seed, transform, .. } = self;
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Debug| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} {value:?}");
        };
        line("length", length);
        line("learning rate", rate);
        line("schedule", decay);
        line("warm-up", warmup);
        line("seed", seed);
        line("rows", &data.len());
        line("batch", &batch);
        line("preparation of rows", transform);
        text
    }
}

/// The first line in which two texts of settings differ, of each.
pub(super) fn difference<'a>(was: &'a str, now: &'a str) -> Option<(&'a str, &'a str)> {
    let missing = "(nothing)";
    let length = was.lines().count().max(now.lines().count());
    let lines = |text: &'a str| text.lines().chain(std::iter::repeat(missing)).take(length);
    lines(was).zip(lines(now)).find(|(was, now)| was != now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_steps() {
        assert_eq!(Length::Epochs(3).steps(7).unwrap(), 21);
        assert_eq!(Length::Steps(5).steps(7).unwrap(), 5);
        assert!(matches!(Length::Epochs(0).steps(7), Err(TrainError::NoSteps)));
        assert!(matches!(Length::Epochs(u64::MAX).steps(2), Err(TrainError::TooManySteps)));
    }

    #[test]
    fn a_difference_is_the_first_line_that_is_not_the_same() {
        assert_eq!(difference("a 1\nb 2\n", "a 1\nb 2\n"), None);
        assert_eq!(difference("a 1\nb 2\n", "a 1\nb 3\n"), Some(("b 2", "b 3")));
        assert_eq!(difference("a 1\n", "a 1\nb 3\n"), Some(("(nothing)", "b 3")));
    }
}
