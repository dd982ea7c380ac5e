//! Chooses what is kept of saved tensors, and how many rows run at once, so that the planned arena fits a budget.
//!
//! The order of preference, each with as little error in the gradient as fits:
//! 1. everything whole, the batch at once;
//! 2. tensors whole, rounded, or pruned up to 90 %, where no loss of accuracy was measured, the batch at once;
//! 3. the same in parts of a half, a quarter, .. of the batch: exact, but its matrix products are smaller and slower;
//! 4. tensors pruned up to 97 %, in the parts that leave the least error.
//!
//! What tensors take at which steps comes from a plan; the knapsack changes the choices; then it is planned again, until
//! what is *planned* fits, offsets and all.

pub mod edges;
pub mod knapsack;

use std::collections::BTreeMap;

pub use edges::{Calibration, SPARSITIES};

use crate::compile::{self, CompileError, Graphs, check_parts, packed, unpacked};
use crate::graph::{Graph, NodeId, Phase};
use crate::lower::{Scheduled, kept, lower};
use crate::options::{Choice, Options, Sparsity};
use crate::passes::back_razor::{last_forward, readers};
use crate::schedule::{Schedule, schedule};
use crate::types::DType;
use edges::{Edge, edges};
use knapsack::{Item, fill, give_back};

/// Percent up to which pruning comes before smaller parts of the batch.
const HARMLESS: u32 = 90;
/// Plans that are made to meet the budget, and to give back what is left of it.
const PLANS: [usize; 2] = [16, 8];

/// Why a budget cannot be met.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BudgetError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("{0}")]
    Infeasible(Infeasible),
}

/// What is known of a budget that is too small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Infeasible {
    /// Asked for, in bytes.
    pub budget: u64,
    /// The smallest one that can be met.
    pub smallest: u64,
    /// Of that, what lies in the arena all the time.
    pub residents: u64,
    /// Of that, what kernels work in.
    pub scratch: u64,
    /// What costs most at its fullest step, with bytes, largest first.
    pub costs: Vec<(String, u64)>,
    /// What to type instead.
    pub hints: Vec<String>,
}

impl std::fmt::Display for Infeasible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Infeasible { budget, smallest, residents, scratch, costs, hints } = self;
        write!(f, "{budget} bytes are not enough; the smallest budget that can be met is {smallest}, ")?;
        write!(f, "of which weights and optimizer state take {residents} and scratch {scratch}; most of the rest:")?;
        costs.iter().try_for_each(|(name, bytes)| write!(f, "\n  {bytes:>12}  {name}"))?;
        match hints.is_empty() {
            true => Ok(()),
            false => write!(f, "\ntry {}", hints.join(", or ")),
        }
    }
}

/// Options with which the planned peak of a model's trainer is at most `budget` bytes.
///
/// A pure function of its arguments. Of `options`, what is said of sparsity and types of values is not looked at, but what
/// `sparsity_for` says of single weights stays; a given `micro_batch` stays, too.
pub fn fit(
    model: &razorc_proto::Model,
    options: &Options,
    budget: u64,
    calibration: &Calibration,
) -> Result<Options, BudgetError> {
    let mut options = options.clone();
    options.razor.sparsity = Sparsity::percent(HARMLESS);
    options.razor.choices.clear();
    let whole = Job::new(model, &options)?;
    if compile::plan(&whole.graphs, &whole.graphs.dense, whole.eval(), 0).planned_peak <= budget
        && options.razor.sparsity_for.is_empty()
    {
        let mut dense = options.clone();
        dense.razor.sparsity = Sparsity::default();
        if compile::plans(&compile::graphs(model, &dense)?).1.planned_peak <= budget {
            return Ok(dense);
        }
    }
    let most = SPARSITIES[SPARSITIES.len() - 1];
    let parts = parts(&options);
    // Without smaller parts there is nothing to prefer to more pruning, once its error is known.
    let harmless = if parts.is_empty() && !calibration.errors.is_empty() { most } else { HARMLESS };
    let mut jobs = vec![whole];
    for rows in parts {
        // The last one that was made does not do.
        if let Some(found) = jobs.last().and_then(|it| it.solve(budget, calibration, harmless)) {
            return Ok(found.0);
        }
        jobs.push(Job::new(model, &Options { micro_batch: rows, ..options.clone() })?);
    }
    if let Some(found) = jobs.last().and_then(|it| it.solve(budget, calibration, harmless)) {
        return Ok(found.0);
    }
    let mut best: Option<(Options, f64)> = None;
    for found in jobs.iter().filter_map(|it| it.solve(budget, calibration, most)) {
        if best.as_ref().is_none_or(|it| found.1 < it.1) {
            best = Some(found);
        }
    }
    match best {
        Some(found) => Ok(found.0),
        None => Err(BudgetError::Infeasible(infeasible(&jobs, budget, most))),
    }
}

/// Rows of smaller and smaller parts of a batch, each with the same result; none where the caller has chosen.
fn parts(options: &Options) -> Vec<u64> {
    let halves = std::iter::successors(Some(options.batch), |it| (it % 2 == 0).then_some(it / 2)).skip(1);
    let is_exact = |rows: &u64| check_parts(&Options { micro_batch: *rows, ..options.clone() }).is_ok();
    if options.micro_batch == 0 { halves.filter(is_exact).collect() } else { vec![] }
}

/// A model that is compiled up to the choices, for one number of rows.
struct Job {
    options: Options,
    graphs: Graphs,
    eval: Schedule,
}

/// A plan, and what it is of.
struct Plan {
    graph: Graph,
    schedule: Schedule,
    /// Of the whole arena, in bytes.
    planned: u64,
    /// Of that, the dynamic part.
    dynamic: u64,
    /// Of that, a thread's scratch.
    scratch: u64,
}

impl Job {
    fn new(model: &razorc_proto::Model, options: &Options) -> Result<Job, CompileError> {
        let graphs = unpacked(model, options, &mut |_, _| {})?;
        let eval = schedule(&graphs.eval, &kept(&graphs.eval, &graphs.task, true));
        Ok(Job { options: options.clone(), graphs, eval })
    }

    fn eval(&self) -> Scheduled<'_> {
        Scheduled { graph: &self.graphs.eval, schedule: &self.eval }
    }

    fn edges(&self, calibration: &Calibration, most: u32) -> Vec<Edge> {
        edges(&self.graphs.train, &self.options, calibration, most)
    }

    fn with(&self, edges: &[Edge], levels: &[usize]) -> Options {
        let mut options = self.options.clone();
        let choices = edges.iter().zip(levels).map(|(it, &level)| (it.name.clone(), it.choices[level]));
        options.razor.choices = choices.collect::<BTreeMap<String, Choice>>();
        options
    }

    fn plan(&self, edges: &[Edge], levels: &[usize]) -> Option<Plan> {
        let graphs = packed(self.graphs.clone(), &self.with(edges, levels), &mut |_, _| {}).ok()?;
        let schedule = schedule(&graphs.train, &kept(&graphs.train, &graphs.task, false));
        let train = Scheduled { graph: &graphs.train, schedule: &schedule };
        let program = lower(train, self.eval(), graphs.task.clone(), |_| None);
        let planned = program.arena_bytes + program.scratch_bytes;
        let dynamic = schedule.peak.max(self.eval.peak);
        Some(Plan { graph: graphs.train, schedule, planned, dynamic, scratch: program.scratch_bytes })
    }

    /// The smaller plan of two: everything at its smallest, and the same without values of i8, which need the number of the
    /// step and so a few bytes more where copies do not decide the peak.
    fn smallest(&self, edges: &[Edge]) -> Option<(Vec<usize>, Plan)> {
        let is_i8 = |it: &Choice| matches!(it, Choice::Pruned(_, DType::I8));
        let last: Vec<usize> = edges.iter().map(|it| it.levels.len() - 1).collect();
        let other = edges.iter().map(|it| it.choices.iter().rposition(|it| !is_i8(it)).unwrap_or(0)).collect();
        let plans = [last, other].into_iter().filter_map(|levels| self.plan(edges, &levels).map(|it| (levels, it)));
        plans.min_by_key(|it| it.1.planned)
    }

    /// Choices that fit, with their error; none where not even the smallest ones do.
    fn solve(&self, budget: u64, calibration: &Calibration, most: u32) -> Option<(Options, f64)> {
        let edges = self.edges(calibration, most);
        // The incumbent always fits.
        let mut incumbent = self.smallest(&edges).filter(|it| it.1.planned <= budget)?;
        let mut levels = vec![0; edges.len()];
        let mut margin = 0;
        for _ in 0..PLANS[0] {
            let plan = self.plan(&edges, &levels)?;
            if plan.planned <= budget {
                incumbent = (levels, plan);
                break;
            }
            let limit = plan.limit(budget) - margin;
            let (mut live, mut items) = plan.items(&edges, &levels);
            let before = items.clone();
            let filled = fill(&mut live, &mut items, limit);
            // What the knapsack does not see of a plan is left out of its limit.
            margin += if items == before { (plan.planned - budget) as i64 } else { 0 };
            if !filled && items == before {
                break;
            }
            levels = items.iter().map(|it| it.level).collect();
        }
        let mut margin = 0;
        for _ in 0..PLANS[1] {
            let limit = incumbent.1.limit(budget) - margin;
            let (mut live, mut items) = incumbent.1.items(&edges, &incumbent.0);
            if !give_back(&mut live, &mut items, limit) {
                break;
            }
            let levels: Vec<usize> = items.iter().map(|it| it.level).collect();
            let plan = self.plan(&edges, &levels)?;
            match plan.planned.checked_sub(budget) {
                None | Some(0) => incumbent = (levels, plan),
                Some(over) => margin += over as i64,
            }
        }
        let error = edges.iter().zip(&incumbent.0).map(|(it, &level)| it.levels[level].error).sum();
        Some((self.with(&edges, &incumbent.0), error))
    }
}

impl Plan {
    /// Bytes that may live at any step, by what this plan loses between its buffers.
    fn limit(&self, budget: u64) -> i64 {
        let fixed = (self.planned - self.dynamic) as i64;
        budget as i64 - fixed - (self.schedule.peak - self.schedule.bound) as i64
    }

    /// Bytes that live at each step.
    fn live(&self) -> Vec<i64> {
        let mut live = vec![0; self.schedule.steps.len() + 1];
        for storage in &self.schedule.storages {
            let span = storage.buffer.first as usize..(storage.buffer.end as usize).min(live.len());
            live[span].iter_mut().for_each(|it| *it += storage.buffer.bytes as i64);
        }
        live
    }

    /// The knapsack that this plan is.
    fn items(&self, edges: &[Edge], levels: &[usize]) -> (Vec<i64>, Vec<Item>) {
        let steps: BTreeMap<NodeId, usize> = self.schedule.steps.iter().copied().zip(0..).collect();
        let item = |(edge, &level): (&Edge, &usize)| {
            let span = self.span(&steps, &edge.name);
            Item { levels: edge.levels.clone(), level, span }
        };
        (self.live(), edges.iter().zip(levels).map(item).collect())
    }

    /// Steps between the last reader of the forward phase and the last one of the backward phase.
    fn span(&self, steps: &BTreeMap<NodeId, usize>, name: &str) -> std::ops::Range<usize> {
        let graph = &self.graph;
        let copies = ["topk", "quant"].map(|it| graph.value(&format!("{name}.{it}")));
        let copy = copies.into_iter().flatten().next();
        let Some(value) = copy.or_else(|| graph.value(name)) else { return 0..0 };
        let made = if copy.is_some() { Some(value.node) } else { last_forward(graph, value) };
        let first = made.and_then(|it| steps.get(&it)).map_or(0, |it| it + 1);
        let read = readers(graph, value, Phase::Backward).into_iter().filter_map(|it| steps.get(&it.0)).max();
        first..read.map_or(first, |it| it + 1)
    }

    /// What lives at the fullest step, largest first.
    fn costs(&self) -> Vec<(String, u64)> {
        let live = self.live();
        let step = live.iter().enumerate().max_by_key(|it| (*it.1, usize::MAX - it.0)).map_or(0, |it| it.0) as u32;
        let storages = self.schedule.storages.iter();
        let mut found: Vec<(String, u64)> = storages
            .filter(|it| it.buffer.first <= step && step < it.buffer.end)
            .map(|it| (format!("{} : {}", self.graph.name(it.value), self.graph.ty(it.value)), it.buffer.bytes))
            .collect();
        found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found
    }
}

/// What to say of a budget that none of the jobs meets.
fn infeasible(jobs: &[Job], budget: u64, most: u32) -> Infeasible {
    let plans = jobs.iter().filter_map(|job| Some((job, job.smallest(&job.edges(&Calibration::default(), most))?.1)));
    let Some((job, plan)) = plans.min_by_key(|it| it.1.planned) else {
        return Infeasible { budget, smallest: budget, residents: 0, scratch: 0, costs: vec![], hints: vec![] };
    };
    let mut costs = plan.costs();
    costs.truncate(5);
    let Plan { planned, dynamic, scratch, .. } = plan;
    let residents = planned - dynamic - scratch;
    Infeasible { budget, smallest: planned, residents, scratch, costs, hints: hints(&job.options) }
}

fn hints(options: &Options) -> Vec<String> {
    use crate::options::{ClipScope, OptimizerKind, StateForm};
    let mut hints = vec![];
    if 1 < options.rows() {
        let parts = check_parts(&Options { micro_batch: 1, ..options.clone() }).is_ok();
        hints.push(if parts { "`--micro-batch 1`".into() } else { format!("`--batch {}`", options.rows() / 2) });
    }
    if options.optimizer.kind != OptimizerKind::Sgd {
        hints.push("`--optimizer sgd`, which has less state".into());
        if options.optimizer.state != StateForm::Bits8 {
            hints.push("`--optimizer-state 8bit`".into());
        }
    }
    if options.optimizer.clip.is_some_and(|it| it.scope == ClipScope::Global) && !options.has_parts() {
        hints.push("`--clip per-weight`".into());
    }
    if !options.head_only {
        let classes = if options.classes == 0 { " with `--classes N`" } else { "" };
        hints.push(format!("`--head-only`{classes}, which trains the last layer alone"));
    }
    hints
}
