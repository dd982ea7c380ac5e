//! The program that a trainer's gradients are compared with before its first step.

use std::collections::BTreeMap;

use razorc_proto::Model;
use razorc_proto::program::{Program, Resident, Role};

use crate::compile::{Graphs, Planned, graphs};
use crate::import::Source;
use crate::lower::{Scheduled, kept, lower};
use crate::options::{BatchNorm, Optimizer, OptimizerKind, Options, Razor, Sparsity};
use crate::passes::back_razor::{Decision, Saved};
use crate::schedule::schedule_with;

impl Planned {
    /// Adds the exact program, where anything is pruned or rounded and the optimizer keeps an average of gradients to
    /// compare; notes what it takes in the plan. A model for which it cannot be made goes without.
    pub fn add_exact(&mut self, model: &Model, options: &Options) {
        let keeps = options.optimizer.kind != OptimizerKind::Sgd || options.optimizer.momentum != 0.0;
        let exact = |it: &Decision| matches!(it.outcome, Err(_) | Ok(Saved::Again));
        if !keeps || self.decisions.iter().all(exact) {
            return;
        }
        // Where sizes in the model depend on its batch, so may constants that are residents.
        let mut rows = vec![fewest_rows(options), options.micro_batch];
        rows.dedup();
        let exact = rows.into_iter().find_map(|rows| {
            let graphs = graphs(model, &exact_options(options, rows)).ok()?;
            Some(program(&graphs)).filter(|it| self.has_residents_of(it, &graphs))
        });
        if let (Some(exact), Some(memory)) = (&exact, &mut self.program.memory) {
            memory.self_check = Some(exact.arena_bytes + exact.scratch_bytes);
        }
        self.program.exact = exact.map(Box::new);
    }

    /// Whether all of a program's weights and constants are this one's, too. Constants that were made for fewer rows may be
    /// the first ones of those here.
    fn has_residents_of(&self, exact: &Program, graphs: &Graphs) -> bool {
        let residents = self.program.residents.iter().map(|it| (it.name.as_str(), it));
        let residents: BTreeMap<&str, &Resident> = residents.collect();
        exact.residents.iter().filter(|it| it.role() != Role::State).all(|it| {
            let weights = [&self.weights, &graphs.weights].map(|weights| weights.get(&it.name));
            let (Some(other), [Some(ours), Some(theirs)]) = (residents.get(it.name.as_str()), weights) else {
                return false;
            };
            let same = other.r#type == it.r#type;
            it.role == other.role
                && match (&ours.source, &theirs.source) {
                    (Source::Model { .. }, Source::Model { .. }) => same && ours.initializer == theirs.initializer,
                    (Source::Fill(our), Source::Fill(their)) if same => our == their,
                    _ if same || it.role() == Role::Frozen && begins(other, it) => {
                        let bytes = [ours, theirs].map(|it| it.bytes().unwrap_or_default());
                        !bytes[1].is_empty() && bytes[0].starts_with(&bytes[1])
                    }
                    _ => false,
                }
        })
    }
}

/// Whether the bytes of a resident could begin with those of `start`, which has fewer entries along the first axis.
fn begins(whole: &Resident, start: &Resident) -> bool {
    let (Some(whole), Some(start)) = (&whole.r#type, &start.r#type) else { return false };
    match (&whole.dims[..], &start.dims[..]) {
        ([n, rest @ ..], [m, others @ ..]) => m <= n && rest == others && whole.dtype == start.dtype,
        _ => false,
    }
}

/// One row at a time is exact and takes least. What needs the whole batch, or draws by its parts, takes its rows as the
/// trainer does.
fn fewest_rows(options: &Options) -> u64 {
    let whole = options.batch_norm == BatchNorm::Train || !options.loss_output.is_empty() || options.dropout;
    if whole { options.micro_batch } else { 1 }
}

/// SGD with momentum makes no gradients beside its state, which after a first step at rate 0 is the gradient; how it is
/// clipped, and what of the weights is added to it, is as in the trainer.
fn exact_options(options: &Options, micro_batch: u64) -> Options {
    let weight_decay = match options.optimizer.kind {
        OptimizerKind::AdamW => 0.0,
        OptimizerKind::Sgd | OptimizerKind::Adam => options.optimizer.weight_decay,
    };
    let clip = options.optimizer.clip;
    let optimizer = Optimizer { kind: OptimizerKind::Sgd, momentum: 0.9, weight_decay, clip, ..Optimizer::default() };
    let razor = Razor { sparsity: Sparsity::default(), slope_bits: 0, rounded_bits: 0, ..Razor::default() };
    Options { micro_batch, optimizer, razor, plan_effort: 0, ..options.clone() }
}

fn program(graphs: &Graphs) -> Program {
    let Graphs { train, eval, task, .. } = graphs;
    let [steps, scores] =
        [(train, false), (eval, true)].map(|(graph, predicts)| schedule_with(graph, &kept(graph, task, predicts), 0));
    let train = Scheduled { graph: train, schedule: &steps };
    let eval = Scheduled { graph: eval, schedule: &scores };
    let mut program = lower(train, eval, task.clone(), |_| None);
    program.residents.iter_mut().for_each(|it| it.blob = None);
    program
}
