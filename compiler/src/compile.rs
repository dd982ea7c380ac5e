//! The pipeline: each stage takes what the one before gives.

use std::collections::{BTreeMap, BTreeSet};

use razorc_proto::Model;
use razorc_proto::program::{self, Memory, Program, Role, Task};

use crate::error::{ImportError, PrepareError};
use crate::graph::{Graph, Phase};
use crate::import::{Imported, Weight, examples, import};
use crate::lower::{Scheduled, kept, lower};
use crate::options::{Loss, OptimizerKind, Options};
use crate::passes::back_razor::{self, Decision};
use crate::passes::{self, Pass};
use crate::prepare::prepare;
use crate::schedule::schedule;
use crate::sizes::{self, SizeError};
use crate::step::{self, CLASS_WEIGHTS, StepError};
use crate::{autodiff, report};

/// A trainer, ready to be written.
pub struct Compiled {
    /// The program; offsets and checksums of blobs come when they are written.
    pub program: Program,
    /// Bytes of each resident, in their order; none for what starts at zero.
    pub blobs: Vec<Option<Vec<u8>>>,
    /// The plan of the same trainer if it saved every tensor whole.
    pub dense: Memory,
    /// What became of every saved tensor.
    pub decisions: Vec<Decision>,
}

/// Why a model cannot become a trainer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CompileError {
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// There is no head to train alone.
    #[error("--head-only needs a fresh head; add --classes N")]
    NoHead,
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    UnknownPass(#[from] passes::UnknownPass),
    /// A glob of `--sparsity-for`.
    #[error("--sparsity-for `{0}` is not a glob: {1}")]
    Glob(String, globset::Error),
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A weight that cannot be read.
    #[error("weight `{0}`: {1}")]
    Weight(String, razorc_proto::TensorError),
}

/// The graphs of a trainer before they are scheduled.
pub struct Graphs {
    /// A whole step that saves every tensor whole.
    pub dense: Graph,
    /// A whole step after all passes.
    pub train: Graph,
    /// The forward phase with evaluation semantics.
    pub eval: Graph,
    /// What became of every saved tensor.
    pub decisions: Vec<Decision>,
    /// What declarations are filled with.
    pub weights: BTreeMap<String, Weight>,
    /// Names that tie the graphs to their caller.
    pub task: Task,
}

/// Compiles a model into a trainer. A pure function of the model's bytes and the options.
pub fn compile(model: &Model, options: &Options) -> Result<Compiled, CompileError> {
    let graphs = graphs(model, options)?;
    let train = schedule(&graphs.train, &kept(&graphs.train, &graphs.task, false));
    let eval = schedule(&graphs.eval, &kept(&graphs.eval, &graphs.task, true));
    let initializer = |name: &str| graphs.weights.get(name)?.initializer.clone();
    let train = Scheduled { graph: &graphs.train, schedule: &train };
    let eval = Scheduled { graph: &graphs.eval, schedule: &eval };
    let mut program = lower(train, eval, graphs.task.clone(), initializer);
    program.memory = Some(report::memory(&program, train, eval, &graphs.dense));
    let dense_schedule = schedule(&graphs.dense, &kept(&graphs.dense, &graphs.task, false));
    let dense = Scheduled { graph: &graphs.dense, schedule: &dense_schedule };
    let dense = report::memory(&lower(dense, eval, graphs.task.clone(), |_| None), dense, eval, &graphs.dense);
    program.origin = Some(origin(model, options));
    let blobs = blobs(&program, &graphs.weights)?;
    Ok(Compiled { program, blobs, dense, decisions: graphs.decisions })
}

/// What memory the trainer would take if it saved everything whole, and what it takes; weights need no values for that.
pub fn plans(graphs: &Graphs) -> (Memory, Memory) {
    let eval = schedule(&graphs.eval, &kept(&graphs.eval, &graphs.task, true));
    let eval = Scheduled { graph: &graphs.eval, schedule: &eval };
    let plan = |graph| {
        let schedule = schedule(graph, &kept(graph, &graphs.task, false));
        let train = Scheduled { graph, schedule: &schedule };
        report::memory(&lower(train, eval, graphs.task.clone(), |_| None), train, eval, &graphs.dense)
    };
    (plan(&graphs.dense), plan(&graphs.train))
}

/// The graphs that a model becomes.
pub fn graphs(model: &Model, options: &Options) -> Result<Graphs, CompileError> {
    check_globs(options)?;
    let imported = prepared_import(model, options)?;
    sizes::check(&imported.graph)?;
    check_matches(&imported.graph, options)?;

    let mut eval = imported.graph.clone();
    let output = passes::evaluation::result(&eval, imported.output);
    run(passes::EVALUATION, &mut eval, options);
    let ends = step::add_loss(&mut eval, output, options)?;
    let mut task = task(&eval, &imported.inputs, &ends, options);

    let mut dense = imported.graph;
    run(passes::FORWARD, &mut dense, options);
    let ends = step::add_loss(&mut dense, imported.output, options)?;
    step::add_backward(&mut dense, ends.loss, &options.optimizer)?;
    run(passes::CLEANING, &mut dense, options);
    if dense.value("step").is_none() {
        task.step.clear();
    }

    let mut train = dense.clone();
    let decisions = back_razor::run(&mut train, &options.razor, options.batch);
    passes::check("back-razor", &train);
    let kept = kept(&eval, &task, true);
    passes::dead_code::run(&mut eval, &kept);
    [&dense, &train, &eval].into_iter().try_for_each(sizes::check)?;

    let mut weights = imported.weights;
    if !options.class_weights.is_empty() {
        weights.insert(CLASS_WEIGHTS.into(), Weight::vector(options.class_weights.clone()));
    }
    Ok(Graphs { dense, train, eval, decisions, weights, task })
}

/// Text of the training graph after a stage: `import`, a pass, `autodiff`; or of `evaluation`.
pub fn text_after(model: &Model, options: &Options, stage: &str) -> Result<String, CompileError> {
    let imported = prepared_import(model, options)?;
    let mut graph = imported.graph;
    if stage == "import" {
        return Ok(graph.to_string());
    }
    if let Some(pass) = passes::EVALUATION.iter().find(|it| it.name == stage) {
        passes::apply(pass, &mut graph, options);
        return Ok(graph.to_string());
    }
    for pass in passes::FORWARD {
        passes::apply(pass, &mut graph, options);
        if pass.name == stage {
            return Ok(graph.to_string());
        }
    }
    let ends = step::add_loss(&mut graph, imported.output, options)?;
    step::add_backward(&mut graph, ends.loss, &options.optimizer)?;
    if stage == autodiff::STAGE {
        return Ok(graph.to_string());
    }
    for pass in passes::CLEANING.iter().chain(passes::STEP) {
        passes::apply(pass, &mut graph, options);
        if pass.name == stage {
            return Ok(graph.to_string());
        }
    }
    Err(passes::UnknownPass::new(stage).into())
}

fn prepared_import(model: &Model, options: &Options) -> Result<Imported, CompileError> {
    let (model, options) = prepared(model, options)?;
    Ok(import(&model, &options)?)
}

/// What is imported of a model, and with which options.
pub(crate) fn prepared(model: &Model, options: &Options) -> Result<(Model, Options), CompileError> {
    let prepared = prepare(model, &preparation(options))?;
    let mut options = options.clone();
    if options.head_only {
        if prepared.head.is_empty() {
            return Err(CompileError::NoHead);
        }
        options.train = prepared.head.iter().map(|it| globset::escape(it)).collect();
    }
    Ok((prepared.model, options))
}

fn run(passes: &[Pass], graph: &mut Graph, options: &Options) {
    passes.iter().for_each(|pass| passes::apply(pass, graph, options));
}

fn check_globs(options: &Options) -> Result<(), CompileError> {
    for (glob, _) in &options.razor.sparsity_for {
        globset::Glob::new(glob).map_err(|e| CompileError::Glob(glob.clone(), e))?;
    }
    Ok(())
}

/// Refuses a glob of `--sparsity-for` that no layer's weight is called by.
fn check_matches(graph: &Graph, options: &Options) -> Result<(), CompileError> {
    let layers = graph.phase(Phase::Forward).filter_map(|it| Some(graph.operands(it)[graph.node(it).op.weight?]));
    let names: BTreeSet<String> = layers.map(|it| graph.name(graph.root(it)).to_string()).collect();
    for (pattern, _) in &options.razor.sparsity_for {
        let glob = globset::Glob::new(pattern).map_err(|e| CompileError::Glob(pattern.clone(), e))?.compile_matcher();
        if !names.iter().any(|it| glob.is_match(it)) {
            let (option, hint) = ("--sparsity-for", examples(&names));
            return Err(ImportError::NoMatch { option, pattern: pattern.clone(), hint }.into());
        }
    }
    Ok(())
}

fn task(graph: &Graph, inputs: &[crate::graph::Value], ends: &step::Ends, options: &Options) -> Task {
    let name = |value| graph.name(value).to_string();
    let optimizer = &options.optimizer;
    let kind = match optimizer.kind {
        OptimizerKind::Sgd => program::optimizer::Kind::Sgd,
        OptimizerKind::Adam => program::optimizer::Kind::Adam,
        OptimizerKind::AdamW => program::optimizer::Kind::Adamw,
    };
    let loss = match options.loss {
        Loss::CrossEntropy => program::task::Loss::CrossEntropy,
        Loss::MeanSquaredError => program::task::Loss::MeanSquaredError,
        Loss::BinaryCrossEntropy => program::task::Loss::BinaryCrossEntropy,
    };
    let classes = match options.loss {
        Loss::CrossEntropy => graph.ty(ends.prediction).dims().last().copied().unwrap_or(0),
        _ => 0,
    };
    Task {
        loss: loss.into(),
        batch: options.batch,
        inputs: inputs.iter().map(|it| name(*it)).collect(),
        target: name(ends.target),
        rows: name(ends.rows),
        learning_rate: "learning_rate".into(),
        step: "step".into(),
        loss_value: name(ends.loss),
        correct: ends.correct.map(name).unwrap_or_default(),
        prediction: name(ends.prediction),
        classes,
        optimizer: Some(program::Optimizer {
            kind: kind.into(),
            momentum: optimizer.momentum,
            nesterov: optimizer.nesterov,
            weight_decay: optimizer.weight_decay,
            beta1: optimizer.betas[0],
            beta2: optimizer.betas[1],
            epsilon: optimizer.epsilon,
        }),
        ..Task::default()
    }
}

fn origin(model: &Model, options: &Options) -> program::Origin {
    program::Origin {
        file: model.path().map(|it| it.display().to_string()).unwrap_or_default(),
        digest: model.digest().to_vec(),
        preparation: Some(preparation(options)),
    }
}

fn preparation(options: &Options) -> program::Preparation {
    program::Preparation {
        classes: options.classes,
        head_at: options.head_at.clone(),
        seed: options.seed,
        untie_shared: options.untie_shared,
    }
}

fn blobs(program: &Program, weights: &BTreeMap<String, Weight>) -> Result<Vec<Option<Vec<u8>>>, CompileError> {
    let blob = |resident: &program::Resident| {
        if resident.role() == Role::State {
            return Ok(None);
        }
        let weight = &weights[&resident.name];
        let values = weight.values().map_err(|e| CompileError::Weight(resident.name.clone(), e))?;
        let mut bytes = Vec::with_capacity(4 * values.len());
        values.iter().for_each(|it| bytes.extend_from_slice(&it.to_le_bytes()));
        Ok(Some(bytes))
    };
    program.residents.iter().map(blob).collect()
}
