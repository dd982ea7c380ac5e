//! The learning rate of every step.

use std::f64::consts::PI;

/// How the learning rate moves over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Learning rate at the end of the warm-up.
    pub rate: f64,
    /// Steps that rise linearly to `rate` before the decay begins.
    pub warmup: u64,
    /// Steps of the whole run, warm-up included.
    pub steps: u64,
    /// What happens after the warm-up.
    pub decay: Decay,
}

/// How the learning rate falls once the warm-up is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// It doesn't.
    Constant,
    /// In equal parts, to zero just after the last step.
    Linear,
    /// Half a cosine, to zero just after the last step.
    Cosine,
    /// Times `factor` after every `every` steps.
    Step {
        /// Steps between two drops; 0 counts as 1.
        every: u64,
        /// What the rate is multiplied by.
        factor: f64,
    },
}

impl Schedule {
    /// Learning rate of step `step`, the first of which is 0.
    pub fn at(&self, step: u64) -> f32 {
        if step < self.warmup {
            return (self.rate * (step + 1) as f64 / self.warmup as f64) as f32;
        }
        let (done, length) = (step - self.warmup, self.steps.saturating_sub(self.warmup));
        let part = if done < length { done as f64 / length as f64 } else { 1.0 };
        let factor = match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - part,
            Decay::Cosine => 0.5 * (1.0 + (PI * part).cos()),
            Decay::Step { every, factor } => factor.powi((done / every.max(1)).min(1 << 20) as i32),
        };
        (self.rate * factor) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(decay: Decay, warmup: u64, steps: u64) -> Vec<f32> {
        let schedule = Schedule { rate: 1.0, warmup, steps, decay };
        (0..steps).map(|step| schedule.at(step)).collect()
    }

    #[test]
    fn linear_starts_at_the_rate_and_never_reaches_zero() {
        assert_eq!(rates(Decay::Linear, 0, 4), [1.0, 0.75, 0.5, 0.25]);
    }

    #[test]
    fn warmup_rises_to_the_rate_before_the_decay() {
        assert_eq!(rates(Decay::Linear, 2, 4), [0.5, 1.0, 1.0, 0.5]);
        assert_eq!(rates(Decay::Constant, 4, 5), [0.25, 0.5, 0.75, 1.0, 1.0]);
    }

    #[test]
    fn cosine_is_symmetric_about_its_middle() {
        let rates = rates(Decay::Cosine, 0, 10);
        assert_eq!(rates[0], 1.0);
        assert!((rates[5] - 0.5).abs() < 1e-6);
        assert!((rates[2] + rates[8] - 1.0).abs() < 1e-6);
        assert!(rates.is_sorted_by(|a, b| b < a));
    }

    #[test]
    fn step_drops_by_its_factor() {
        let decay = Decay::Step { every: 2, factor: 0.5 };
        assert_eq!(rates(decay, 1, 6), [1.0, 1.0, 1.0, 0.5, 0.5, 0.25]);
        assert_eq!(rates(Decay::Step { every: 0, factor: 0.5 }, 0, 2), [1.0, 0.5]);
    }

    #[test]
    fn steps_beyond_the_end_stay_finite() {
        for decay in [Decay::Constant, Decay::Linear, Decay::Cosine] {
            let schedule = Schedule { rate: 1.0, warmup: 9, steps: 3, decay };
            assert!(schedule.at(u64::MAX).is_finite());
            assert!(schedule.at(5).is_finite());
        }
    }
}
