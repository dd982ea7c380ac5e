//! Rewrites of the training graph, a pass a file.

pub mod back_razor;
pub mod batch_statistics;
pub mod dead_code;
pub mod evaluation;
pub mod rebuild_views;
pub mod samples;
pub mod slope_codes;

use crate::graph::{Graph, Value};
use crate::options::Options;
use crate::verify::verify;

/// A rewrite, and the name that the command line and tests call it by.
pub struct Pass {
    /// In words with dashes.
    pub name: &'static str,
    /// Total and deterministic; what it does not understand it leaves alone.
    pub run: fn(&mut Graph, &Options),
}

/// Passes over the forward phase, in order.
pub const FORWARD: &[Pass] = &[Pass {
    name: "batch-statistics",
    run: |graph, options| {
        if options.batch_norm == crate::options::BatchNorm::Train {
            batch_statistics::run(graph);
        }
    },
}];

/// Passes over the whole step before anything is pruned, in order.
pub const CLEANING: &[Pass] = &[
    Pass { name: "rebuild-views", run: |graph, _| rebuild_views::run(graph) },
    Pass { name: "dead-code", run: |graph, _| dead_code::run(graph, &ends(graph)) },
];

/// Passes that make less of what is saved, in order.
pub const STEP: &[Pass] = &[
    Pass {
        name: "slope-codes",
        run: |graph, options| {
            slope_codes::run(graph, &options.razor);
        },
    },
    Pass {
        name: "back-razor",
        run: |graph, options| {
            back_razor::run(graph, &options.razor, options.batch);
        },
    },
];

/// Passes that make the evaluation graph of a forward phase.
pub const EVALUATION: &[Pass] = &[Pass { name: "evaluation", run: |graph, _| evaluation::run(graph) }];

/// There is no such pass.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{name}` is no stage of compiling; there are import, autodiff, {}", names().join(", "))]
pub struct UnknownPass {
    name: String,
}

impl UnknownPass {
    pub(crate) fn new(name: &str) -> UnknownPass {
        UnknownPass { name: name.to_string() }
    }
}

/// Names of all passes, in the order in which they run.
pub fn names() -> Vec<&'static str> {
    all().map(|it| it.name).collect()
}

/// Runs one pass by its name.
pub fn run(name: &str, graph: &mut Graph, options: &Options) -> Result<(), UnknownPass> {
    let pass = all().find(|it| it.name == name).ok_or_else(|| UnknownPass::new(name))?;
    apply(pass, graph, options);
    Ok(())
}

fn all() -> impl Iterator<Item = &'static Pass> {
    [FORWARD, CLEANING, STEP, EVALUATION].into_iter().flatten()
}

/// Runs a pass. In debug builds a graph that breaks a rule afterwards is a bug of the pass.
pub(crate) fn apply(pass: &Pass, graph: &mut Graph, options: &Options) {
    (pass.run)(graph, options);
    check(pass.name, graph);
}

/// In debug builds, panics if a graph breaks a rule after `stage`.
pub(crate) fn check(stage: &str, graph: &Graph) {
    if cfg!(debug_assertions) {
        let faults = verify(graph);
        assert!(faults.is_empty(), "after {stage}: {faults:#?}\n{graph}");
    }
}

/// What the caller of a step reads.
fn ends(graph: &Graph) -> Vec<Value> {
    ["loss", "correct"].iter().filter_map(|it| graph.value(it)).collect()
}
