//! Rewrites of the training graph, a pass a file.

pub mod back_razor;
pub mod batch_statistics;
pub mod dead_code;
pub mod evaluation;
pub mod rebuild_views;
pub mod samples;

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

/// Passes over the whole step, in order.
pub const STEP: &[Pass] = &[
    Pass { name: "rebuild-views", run: |graph, _| rebuild_views::run(graph) },
    Pass {
        name: "back-razor",
        run: |graph, options| {
            back_razor::run(graph, &options.razor, options.batch);
        },
    },
    Pass { name: "dead-code", run: |graph, _| dead_code::run(graph, &ends(graph)) },
];

/// Passes that make the evaluation graph of a forward phase.
pub const EVALUATION: &[Pass] = &[Pass { name: "evaluation", run: |graph, _| evaluation::run(graph) }];

/// There is no such pass.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{name}` is not a pass; there are {}", names().join(", "))]
pub struct UnknownPass {
    name: String,
}

/// Names of all passes, in the order in which they run.
pub fn names() -> Vec<&'static str> {
    [FORWARD, STEP, EVALUATION].iter().flat_map(|it| it.iter()).map(|it| it.name).collect()
}

/// Runs one pass by its name.
pub fn run(name: &str, graph: &mut Graph, options: &Options) -> Result<(), UnknownPass> {
    let all = [FORWARD, STEP, EVALUATION];
    let pass = all.iter().flat_map(|it| it.iter()).find(|it| it.name == name);
    let pass = pass.ok_or_else(|| UnknownPass { name: name.to_string() })?;
    apply(pass, graph, options);
    Ok(())
}

/// Runs a pass. In debug builds a graph that breaks a rule afterwards is a bug of the pass.
pub(crate) fn apply(pass: &Pass, graph: &mut Graph, options: &Options) {
    (pass.run)(graph, options);
    if cfg!(debug_assertions) {
        let faults = verify(graph);
        assert!(faults.is_empty(), "after {}: {faults:#?}\n{graph}", pass.name);
    }
}

/// What the caller of a step reads.
fn ends(graph: &Graph) -> Vec<Value> {
    ["loss", "correct"].iter().filter_map(|it| graph.value(it)).collect()
}
