//! What a run measures: loss, accuracy, what else the task calls for, and time.

mod measure;

use std::time::Duration;

pub use measure::{Measure, Measures};

/// What one step or one evaluated batch had to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepStats {
    /// Mean loss of the batch.
    pub loss: f32,
    /// Rows, tokens or pixels that were right; `None` where right and wrong have no meaning.
    pub correct: Option<f32>,
    /// Rows, tokens or pixels that counted; `None`: the batch's rows.
    pub counted: Option<f32>,
}

impl StepStats {
    /// Of two parts of one batch, whose losses are shares of the batch's.
    pub fn joined(self, other: StepStats) -> StepStats {
        let sum = |a: Option<f32>, b: Option<f32>| Some(a? + b?);
        StepStats {
            loss: self.loss + other.loss,
            correct: sum(self.correct, other.correct),
            counted: sum(self.counted, other.counted),
        }
    }

    /// Share that was right, of a batch of `rows` rows.
    pub fn accuracy(&self, rows: usize) -> Option<f64> {
        let counted = self.counted.map_or(rows as f64, f64::from);
        self.correct.map(|correct| f64::from(correct) / counted.max(1.0))
    }
}

/// Loss and accuracy over many rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss of a row, token or pixel.
    pub loss: f64,
    /// Share that was right, 0 to 1; `None` where right and wrong have no meaning.
    pub accuracy: Option<f64>,
    /// What counted: rows, or tokens, or pixels.
    pub rows: u64,
    /// What else was measured.
    pub measures: Measures,
}

impl Score {
    /// The number by which runs are compared; the larger the better.
    pub fn metric(&self) -> f64 {
        match (self.measures.miou, self.measures.perplexity, self.accuracy) {
            (Some(miou), ..) => miou,
            (None, None, Some(accuracy)) => accuracy,
            _ => -self.loss,
        }
    }
}

/// Sums batches up to a [`Score`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Sum of the rows' losses.
    pub loss_sum: f64,
    /// Sum of the right rows.
    pub correct_sum: f64,
    /// Rows, tokens or pixels so far, what does not count excluded.
    pub rows: u64,
    /// Whether `correct_sum` has a meaning.
    pub counts: bool,
}

impl Tally {
    /// Adds a batch of `rows` real rows.
    pub fn add(&mut self, stats: StepStats, rows: usize) {
        let counted = stats.counted.map_or(rows as f64, f64::from);
        self.loss_sum += f64::from(stats.loss) * counted;
        self.correct_sum += f64::from(stats.correct.unwrap_or(0.0));
        self.rows += counted as u64;
        self.counts |= stats.correct.is_some();
    }

    /// Means so far; zero rows have loss 0.
    pub fn score(&self) -> Score {
        let rows = self.rows.max(1) as f64;
        let accuracy = self.counts.then_some(self.correct_sum / rows);
        Score { loss: self.loss_sum / rows, accuracy, rows: self.rows, measures: Measures::default() }
    }
}

/// The middle of `times` (the upper one of two); zero when there are none.
pub fn median(times: &mut [Duration]) -> Duration {
    let middle = times.len() / 2;
    if times.is_empty() { Duration::ZERO } else { *times.select_nth_unstable(middle).1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_weigh_batches_by_their_rows() {
        let mut tally = Tally::default();
        tally.add(StepStats { loss: 1.0, correct: Some(3.0), counted: None }, 3);
        tally.add(StepStats { loss: 5.0, correct: Some(0.0), counted: None }, 1);
        let expected = Score { loss: 2.0, accuracy: Some(0.75), rows: 4, measures: Measures::default() };
        assert_eq!(tally.score(), expected);
    }

    #[test]
    fn scores_weigh_batches_by_what_counted_in_them() {
        let mut tally = Tally::default();
        tally.add(StepStats { loss: 1.0, correct: Some(2.0), counted: Some(9.0) }, 2);
        tally.add(StepStats { loss: 11.0, correct: Some(0.0), counted: Some(1.0) }, 2);
        assert_eq!((tally.score().loss, tally.score().accuracy, tally.rows), (2.0, Some(0.2), 10));
    }

    #[test]
    fn a_loss_without_right_and_wrong_has_no_accuracy() {
        let mut tally = Tally::default();
        tally.add(StepStats { loss: 1.0, correct: None, counted: None }, 3);
        assert_eq!(tally.score().accuracy, None);
    }

    #[test]
    fn median_takes_the_middle() {
        let mut times = [5, 1, 9, 3].map(Duration::from_millis);
        assert_eq!(median(&mut times), Duration::from_millis(5));
        assert_eq!(median(&mut []), Duration::ZERO);
    }
}
