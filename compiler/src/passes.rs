//! Rewrites of the training graph, a pass a file.

pub mod accumulate;
pub mod back_razor;
pub mod batch_statistics;
pub mod clip_gradients;
pub mod dead_code;
pub mod evaluation;
pub mod fold_transposes;
pub mod join_slices;
pub mod lift_attention;
pub mod lift_gelu;
pub mod lift_layer_norm;
pub mod lift_rms_norm;
pub mod lift_silu;
pub mod norm_from_output;
mod padding;
mod pattern;
pub mod read_packed;
pub mod rebuild_views;
pub mod recompute;
pub mod recompute_cheap;
pub mod round_saves;
pub mod samples;
pub mod scope;
pub mod slope_codes;
pub mod sparse_rows;
pub mod sum_onto;

use crate::graph::{Graph, Phase, Value};
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

/// Passes that make one op of what exporters wrote as several, over the forward phase of training and of evaluation.
pub const LIFTS: &[Pass] = &[
    Pass { name: "lift-layer-norm", run: |graph, _| lift_layer_norm::run(graph) },
    Pass { name: "lift-rms-norm", run: |graph, _| lift_rms_norm::run(graph) },
    Pass { name: "lift-gelu", run: |graph, _| lift_gelu::run(graph) },
    Pass { name: "lift-silu", run: |graph, _| lift_silu::run(graph) },
    Pass {
        name: "lift-attention",
        // The published rule prunes q, k, v and the probabilities, so they have to be there.
        run: |graph, options| {
            if !options.razor.reference {
                lift_attention::run(graph);
            }
        },
    },
    Pass { name: "fold-transposes", run: |graph, _| fold_transposes::run(graph) },
];

/// Passes over the whole step before anything is pruned, in order.
pub const CLEANING: &[Pass] = &[
    Pass { name: "rebuild-views", run: |graph, _| rebuild_views::run(graph) },
    Pass {
        name: "sparse-rows",
        // The norm of a gradient that is rows, which may repeat, is not the norm of the rows.
        run: |graph, options| {
            if options.optimizer.clip.is_none() {
                sparse_rows::run(graph);
            }
        },
    },
    Pass { name: "join-slices", run: |graph, _| join_slices::run(graph) },
    Pass { name: "sum-onto", run: |graph, _| sum_onto::run(graph) },
    Pass { name: "dead-code", run: |graph, _| dead_code::run(graph, &ends(graph)) },
];

/// Passes over the whole step that let gradients read what takes less memory, in order.
pub const SAVES: &[Pass] = &[
    Pass { name: "norm-from-output", run: |graph, options| norm_from_output::run(graph, &options.razor) },
    Pass { name: "recompute", run: |graph, options| recompute::run(graph, &options.razor) },
];

/// Passes over the whole step that make less of what is saved, and what comes after, in order.
pub const STEP: &[Pass] = &[
    Pass { name: "slope-codes", run: |graph, options| slope_codes::run(graph, &options.razor) },
    Pass {
        name: "back-razor",
        run: |graph, options| back_razor::run(graph, &options.razor, options.rows(), options.seed),
    },
    Pass { name: "round-saves", run: |graph, options| round_saves::run(graph, &options.razor, options.seed) },
    Pass { name: "recompute-cheap", run: |graph, options| recompute_cheap::run(graph, &options.razor) },
    Pass { name: "read-packed", run: |graph, _| read_packed::run(graph) },
    ACCUMULATE,
    CLIP,
];

/// The passes over gradients on their way into updates; also of a step that saves everything whole.
pub(crate) const UPDATES: &[Pass] = &[ACCUMULATE, CLIP];

const ACCUMULATE: Pass = Pass {
    name: "accumulate",
    run: |graph, options| accumulate::run(graph, options.has_parts(), options.optimizer.clip.is_some()),
};

const CLIP: Pass = Pass {
    name: "clip-gradients",
    run: |graph, options| {
        if let Some(clip) = options.optimizer.clip {
            clip_gradients::run(graph, clip);
        }
    },
};

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
    apply(std::slice::from_ref(pass), graph, options, &mut |_, _| {});
    Ok(())
}

fn all() -> impl Iterator<Item = &'static Pass> {
    [FORWARD, LIFTS, CLEANING, SAVES, STEP, EVALUATION].into_iter().flatten()
}

/// Runs passes one after the other and shows `watch` the graph after each.
///
/// In debug builds a graph that breaks a rule then is a bug of the pass.
pub(crate) fn apply(passes: &[Pass], graph: &mut Graph, options: &Options, watch: &mut dyn FnMut(&str, &Graph)) {
    for pass in passes {
        (pass.run)(graph, options);
        if cfg!(debug_assertions) {
            let faults = verify(graph);
            assert!(faults.is_empty(), "after {}: {faults:#?}\n{graph}", pass.name);
        }
        watch(pass.name, graph);
    }
}

/// What the caller of a step reads: numbers of the forward phase that nothing else does, as the loss and counts are.
fn ends(graph: &Graph) -> Vec<Value> {
    let made = graph.phase(Phase::Forward).flat_map(|it| graph.results(it));
    made.filter(|it| graph.ty(*it).rank() == 0 && graph.readers(*it).is_empty()).collect()
}
