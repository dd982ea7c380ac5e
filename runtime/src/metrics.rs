//! What a run measures: loss, accuracy and time.

use std::time::Duration;

/// What one step or one evaluated batch had to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepStats {
    /// Mean loss of the batch's rows.
    pub loss: f32,
    /// Rows that were right; `None` where right and wrong have no meaning.
    pub correct: Option<f32>,
}

/// Loss and accuracy over many rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss of a row.
    pub loss: f64,
    /// Share of rows that were right, 0 to 1; `None` where right and wrong have no meaning.
    pub accuracy: Option<f64>,
    /// Rows behind the two.
    pub rows: u64,
}

/// Sums batches up to a [`Score`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Sum of the rows' losses.
    pub loss_sum: f64,
    /// Sum of the right rows.
    pub correct_sum: f64,
    /// Rows so far, padding excluded.
    pub rows: u64,
    /// Whether `correct_sum` has a meaning.
    pub counts: bool,
}

impl Tally {
    /// Adds a batch of `rows` real rows.
    pub fn add(&mut self, stats: StepStats, rows: usize) {
        self.loss_sum += f64::from(stats.loss) * rows as f64;
        self.correct_sum += f64::from(stats.correct.unwrap_or(0.0));
        self.rows += rows as u64;
        self.counts |= stats.correct.is_some();
    }

    /// Means so far; zero rows have loss 0.
    pub fn score(&self) -> Score {
        let rows = self.rows.max(1) as f64;
        let accuracy = self.counts.then_some(self.correct_sum / rows);
        Score { loss: self.loss_sum / rows, accuracy, rows: self.rows }
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
        tally.add(StepStats { loss: 1.0, correct: Some(3.0) }, 3);
        tally.add(StepStats { loss: 5.0, correct: Some(0.0) }, 1);
        assert_eq!(tally.score(), Score { loss: 2.0, accuracy: Some(0.75), rows: 4 });
    }

    #[test]
    fn a_loss_without_right_and_wrong_has_no_accuracy() {
        let mut tally = Tally::default();
        tally.add(StepStats { loss: 1.0, correct: None }, 3);
        assert_eq!(tally.score().accuracy, None);
    }

    #[test]
    fn median_takes_the_middle() {
        let mut times = [5, 1, 9, 3].map(Duration::from_millis);
        assert_eq!(median(&mut times), Duration::from_millis(5));
        assert_eq!(median(&mut []), Duration::ZERO);
    }
}
