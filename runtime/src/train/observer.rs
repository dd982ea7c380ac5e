use std::time::Duration;

use super::Checked;
use crate::metrics::{Score, StepStats};

/// Hears how a run goes. Every method does nothing unless it is given.
pub trait Observer {
    /// The gradient of the first batch was compared with the exact one, or not; not told where nothing is to compare.
    fn checked(&mut self, _checked: &Checked) {}
    /// The trainer is loaded, and the first step comes next.
    fn started(&mut self, _plan: &Plan) {}
    /// A step is done.
    fn step(&mut self, _report: &StepReport) {}
    /// An epoch is done, scored and saved; the last one may be shorter than the others.
    fn epoch(&mut self, _report: &EpochReport) {}
}

/// Hears nothing.
impl Observer for () {}

/// What a run is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Steps of the whole run.
    pub steps: u64,
    /// Batches of an epoch.
    pub n_batches: u64,
    /// Rows of a batch.
    pub batch: u64,
    /// Steps that were done before this process.
    pub done: u64,
}

/// A step that is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// Its epoch, from 0.
    pub epoch: u64,
    /// Of its batch.
    pub stats: StepStats,
    /// Of the epoch up to here.
    pub so_far: Score,
    /// Rows of its batch.
    pub rows: usize,
    /// Learning rate.
    pub rate: f32,
    /// What the step took, data apart.
    pub time: Duration,
}

/// An epoch that is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// Each batch scored just before it was trained on.
    pub train: Score,
    /// After the epoch.
    pub validation: Option<Score>,
    /// Whether no epoch before it was better in validation.
    pub best: bool,
}
