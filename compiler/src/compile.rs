//! The pipeline: each stage takes what the one before gives.

use std::collections::{BTreeMap, BTreeSet};

use razorc_proto::program::{self, Memory, Program, Role, Task};
use razorc_proto::{Model, TensorError};

use crate::error::{ImportError, PrepareError};
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::import::{Imported, Source, Weight, examples, import};
use crate::lower::{Scheduled, kept, lower};
use crate::options::{self, BatchNorm, Loss, OptimizerKind, Options, Sparsity};
use crate::passes::back_razor::{self, Decision, Saved};
use crate::passes::scope::{self, ScopeError};
use crate::passes::{self, norm_from_output, round_saves, slope_codes};
use crate::prepare::{Prepared, prepare};
use crate::schedule::{schedule, schedule_with};
use crate::sizes::{self, SizeError};
use crate::step::{self, CLASS_WEIGHTS, DRAW, Ends, ONE, StepError, TOTAL};
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
    /// What the gradient of every normalization reads.
    pub norms: Vec<norm_from_output::Decision>,
}

/// A trainer without the bytes of its weights, which nothing up to here needs.
pub struct Planned {
    /// The program; offsets and checksums of blobs come when they are written.
    pub program: Program,
    /// The plan of the same trainer if it saved every tensor whole.
    pub dense: Memory,
    /// What became of every saved tensor.
    pub decisions: Vec<Decision>,
    /// What the gradient of every normalization reads.
    pub norms: Vec<norm_from_output::Decision>,
    /// What residents are filled with.
    pub(crate) weights: BTreeMap<String, Weight>,
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
    /// A fresh head has no part in the model's own loss.
    #[error("--classes puts a fresh head on the model, which its own loss does not see; leave --loss-output out")]
    HeadBesideLoss,
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    UnknownPass(#[from] passes::UnknownPass),
    /// A glob of `--sparsity-for`.
    #[error("--sparsity-for `{0}` is not a glob: {1}")]
    Glob(String, globset::Error),
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A batch that does not come in equal parts.
    #[error("--micro-batch {micro} does not divide the batch of {batch}; choose a divisor of it, or another --batch")]
    MicroBatch {
        /// Asked for.
        micro: u64,
        /// Asked for.
        batch: u64,
    },
    /// What a batch in parts cannot have.
    #[error(
        "--micro-batch takes the same steps as the whole batch, and {0} needs all of the batch at once; leave one out"
    )]
    Whole(&'static str),
    /// A weight that cannot be read.
    #[error(transparent)]
    Weight(#[from] TensorError),
    /// A model that was stripped of its weights.
    #[error("the model has no values for `{0}`; it was saved without its weights, so there is nothing to fine-tune")]
    NoValues(String),
}

/// The graphs of a trainer before they are scheduled.
#[derive(Clone)]
pub struct Graphs {
    /// A whole step that saves every tensor whole.
    pub dense: Graph,
    /// A whole step after all passes.
    pub train: Graph,
    /// The forward phase with evaluation semantics.
    pub eval: Graph,
    /// What became of every saved tensor.
    pub decisions: Vec<Decision>,
    /// What the gradient of every normalization reads.
    pub norms: Vec<norm_from_output::Decision>,
    /// Bytes by the authors' counter: if everything was saved whole, and at the sparsity asked for.
    pub counters: [u64; 2],
    /// What declarations are filled with.
    pub weights: BTreeMap<String, Weight>,
    /// Names that tie the graphs to their caller.
    pub task: Task,
    /// See [`Options::plan_effort`].
    pub plan_effort: u32,
}

/// Compiles a model into a trainer. A pure function of the model's bytes and the options.
pub fn compile(model: &Model, options: &Options) -> Result<Compiled, CompileError> {
    planned(model, options)?.fill()
}

/// Compiles all but the bytes of the weights, which may be missing.
pub fn planned(model: &Model, options: &Options) -> Result<Planned, CompileError> {
    let graphs = graphs(model, options)?;
    let train = schedule_with(&graphs.train, &kept(&graphs.train, &graphs.task, false), options.plan_effort);
    let eval = schedule(&graphs.eval, &kept(&graphs.eval, &graphs.task, true));
    let initializer = |name: &str| graphs.weights.get(name)?.initializer.clone();
    let train = Scheduled { graph: &graphs.train, schedule: &train };
    let eval = Scheduled { graph: &graphs.eval, schedule: &eval };
    let mut program = lower(train, eval, graphs.task.clone(), initializer);
    program.memory = Some(report::memory(&program, train, eval, &graphs.dense, graphs.counters[1]));
    let dense = plan(&graphs, &graphs.dense, eval, graphs.counters[0]);
    program.origin = Some(origin(model, options));
    program.saved = graphs.decisions.iter().map(|it| saved(it, options)).collect();
    let Graphs { decisions, norms, weights, .. } = graphs;
    Ok(Planned { program, dense, decisions, norms, weights })
}

impl Planned {
    /// Reads the weights.
    ///
    /// # Errors
    /// If one of them is not there.
    pub fn fill(self) -> Result<Compiled, CompileError> {
        let Planned { program, dense, decisions, norms, weights } = self;
        Ok(Compiled { blobs: blobs(&program, &weights)?, program, dense, decisions, norms })
    }
}

/// What memory the trainer would take if it saved everything whole, and what it takes; weights need no values for that.
pub fn plans(graphs: &Graphs) -> (Memory, Memory) {
    let eval = schedule(&graphs.eval, &kept(&graphs.eval, &graphs.task, true));
    let eval = Scheduled { graph: &graphs.eval, schedule: &eval };
    let [dense, asked] = graphs.counters;
    (plan(graphs, &graphs.dense, eval, dense), plan(graphs, &graphs.train, eval, asked))
}

/// What memory the trainer takes; weights need no values for that.
pub fn memory(graphs: &Graphs) -> Memory {
    plan_alone(graphs, &graphs.train, graphs.counters[1])
}

/// Dynamic peak of the same trainer for one row that saves every tensor whole: the honest rival of a packed plan, as
/// momentum can collect the gradients of such steps. An error where the model has no batch of one.
pub fn dense_single(model: &Model, options: &Options) -> Result<u64, CompileError> {
    let graphs = unpacked(model, &Options { batch: 1, ..options.clone() }, &mut |_, _| {})?;
    Ok(plan_alone(&graphs, &graphs.dense, graphs.counters[0]).dynamic_peak)
}

/// What memory a step takes, with the evaluation that nobody has scheduled yet.
fn plan_alone(graphs: &Graphs, step: &Graph, counter: u64) -> Memory {
    let eval = schedule(&graphs.eval, &kept(&graphs.eval, &graphs.task, true));
    plan(graphs, step, Scheduled { graph: &graphs.eval, schedule: &eval }, counter)
}

/// What memory a step takes beside its evaluation.
pub(crate) fn plan(graphs: &Graphs, step: &Graph, eval: Scheduled<'_>, counter: u64) -> Memory {
    let schedule = schedule_with(step, &kept(step, &graphs.task, false), graphs.plan_effort);
    let train = Scheduled { graph: step, schedule: &schedule };
    report::memory(&lower(train, eval, graphs.task.clone(), |_| None), train, eval, &graphs.dense, counter)
}

/// The graphs that a model becomes.
pub fn graphs(model: &Model, options: &Options) -> Result<Graphs, CompileError> {
    staged(model, options, &mut |_, _| {})
}

/// Text of the graph after a stage: `import`, a pass, or `autodiff`. A fault of later stages is none of this one.
pub fn text_after(model: &Model, options: &Options, stage: &str) -> Result<String, CompileError> {
    let mut text = None;
    let graphs = staged(model, options, &mut |name, graph| {
        if name == stage {
            text = Some(graph.to_string());
        }
    });
    match (text, graphs) {
        (Some(text), _) => Ok(text),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(passes::UnknownPass::new(stage).into()),
    }
}

/// The stages in order. `watch` is shown the graph after each of them.
fn staged(model: &Model, options: &Options, watch: &mut dyn FnMut(&str, &Graph)) -> Result<Graphs, CompileError> {
    packed(unpacked(model, options, watch)?, options, watch)
}

/// The graphs before it is decided what is kept of saved tensors: `train` saves each of them whole.
pub(crate) fn unpacked(
    model: &Model,
    options: &Options,
    watch: &mut dyn FnMut(&str, &Graph),
) -> Result<Graphs, CompileError> {
    check_globs(options)?;
    check_parts(options)?;
    let (imported, head) = prepared_import(model, options)?;
    watch("import", &imported.graph);
    sizes::check(&imported.graph)?;
    check_matches(&imported.graph, options)?;

    let mut eval = imported.graph.clone();
    let result = |it| passes::evaluation::result(&eval, it);
    let (output, prediction) = (result(imported.output), imported.prediction.map(result));
    passes::apply(passes::EVALUATION, &mut eval, options, watch);
    passes::apply(passes::LIFTS, &mut eval, options, &mut |_, _| {});
    let ends = add_ends(&mut eval, output, prediction, &imported.inputs, options, false)?;
    let task = task(&eval, &imported.inputs, &ends, options);
    let read = kept(&eval, &task, true);
    passes::dead_code::run(&mut eval, &read);

    let mut dense = imported.graph;
    passes::apply(passes::FORWARD, &mut dense, options, watch);
    passes::apply(passes::LIFTS, &mut dense, options, watch);
    let counters =
        [Sparsity::default(), options.razor.sparsity].map(|it| report::counter::bytes(&dense, options.rows(), it));
    scope::run(&mut dense, options.scope, &head)?;
    let ends = add_ends(&mut dense, imported.output, imported.prediction, &imported.inputs, options, true)?;
    step::add_backward(&mut dense, ends.loss, &options.optimizer, options.seed)?;
    watch(autodiff::STAGE, &dense);
    passes::apply(passes::CLEANING, &mut dense, options, watch);

    let norms = norm_from_output::decisions(&dense, &options.razor);
    let mut train = dense.clone();
    passes::apply(passes::SAVES, &mut train, options, watch);
    passes::apply(passes::UPDATES, &mut dense, options, &mut |_, _| {});
    let (weights, plan_effort) = (imported.weights, options.plan_effort);
    Ok(Graphs { dense, train, eval, decisions: vec![], norms, counters, weights, task, plan_effort })
}

/// The graphs after the passes that make less of what is saved.
pub(crate) fn packed(
    unpacked: Graphs,
    options: &Options,
    watch: &mut dyn FnMut(&str, &Graph),
) -> Result<Graphs, CompileError> {
    let Graphs { dense, mut train, eval, norms, counters, mut weights, mut task, plan_effort, .. } = unpacked;
    let coded = slope_codes::decisions(&train, &options.razor);
    let mut decisions = back_razor::decisions(&train, &options.razor, options.rows());
    let rounded = round_saves::decisions(&train, &options.razor);
    for decision in &mut decisions {
        let whole = decision.outcome.is_err();
        let found = coded.iter().chain(rounded.iter().filter(|_| whole)).find(|it| it.value == decision.value);
        found.into_iter().for_each(|it| decision.clone_from(it));
    }
    passes::apply(passes::STEP, &mut train, options, watch);
    let saves = train.saves();
    let left: BTreeSet<&str> = saves.iter().map(|it| train.name(*it)).collect();
    for decision in decisions.iter_mut().filter(|it| it.outcome.is_err() && !left.contains(it.value.as_str())) {
        decision.outcome = Ok(Saved::Again);
    }
    if train.value("step").is_none() {
        task.step.clear();
    }
    if options.has_parts() {
        task.micro_batch = options.micro_batch;
        task.total = TOTAL.into();
        task.draw = if train.value(DRAW).is_some() { DRAW.into() } else { String::new() };
    }
    [&dense, &train, &eval].into_iter().try_for_each(sizes::check)?;

    if let Some(one) = train.value(ONE) {
        let dims = train.ty(one).dims().to_vec();
        weights.insert(ONE.into(), Weight { dims, source: Source::Fill(1.0), initializer: None });
    }
    if !options.class_weights.is_empty() {
        weights.insert(CLASS_WEIGHTS.into(), Weight::vector(options.class_weights.clone()));
    }
    Ok(Graphs { dense, train, eval, decisions, norms, counters, weights, task, plan_effort })
}

/// The imported model, and the names of a fresh head's weights.
fn prepared_import(model: &Model, options: &Options) -> Result<(Imported, Vec<String>), CompileError> {
    let (Prepared { model, head }, options) = prepared(model, options)?;
    Ok((import(&model, &options)?, head))
}

/// What is imported, and with which options.
pub(crate) fn prepared(model: &Model, options: &Options) -> Result<(Prepared, Options), CompileError> {
    if 0 < options.classes && !options.loss_output.is_empty() {
        return Err(CompileError::HeadBesideLoss);
    }
    let prepared = prepare(model, &preparation(options))?;
    let mut options = options.clone();
    if options.head_only {
        if prepared.head.is_empty() {
            return Err(CompileError::NoHead);
        }
        options.train = prepared.head.iter().map(|it| globset::escape(it)).collect();
    }
    Ok((prepared, options))
}

/// The loss that was asked for, or the model's own.
fn add_ends(
    graph: &mut Graph,
    output: Value,
    prediction: Option<Value>,
    inputs: &[Value],
    options: &Options,
    trains: bool,
) -> Result<Ends, StepError> {
    match options.loss_output.is_empty() {
        true => step::add_loss(graph, output, options, trains),
        false => step::own_loss(graph, output, prediction, inputs, options),
    }
}

/// Refuses parts that are not equal, and what is not the same in parts.
pub(crate) fn check_parts(options: &Options) -> Result<(), CompileError> {
    let Options { batch, micro_batch: micro, .. } = *options;
    match () {
        () if micro == 0 => Ok(()),
        () if !batch.is_multiple_of(micro) => Err(CompileError::MicroBatch { micro, batch }),
        () if !options.has_parts() => Ok(()),
        () if options.batch_norm == BatchNorm::Train => Err(CompileError::Whole("--batch-norm train")),
        () if !options.loss_output.is_empty() => Err(CompileError::Whole("--loss-output")),
        () => Ok(()),
    }
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

fn task(graph: &Graph, inputs: &[Value], ends: &Ends, options: &Options) -> Task {
    let name = |value| graph.name(value).to_string();
    let optional = |value: Option<Value>| value.map(name).unwrap_or_default();
    let optimizer = &options.optimizer;
    let kind = match optimizer.kind {
        OptimizerKind::Sgd => program::optimizer::Kind::Sgd,
        OptimizerKind::Adam => program::optimizer::Kind::Adam,
        OptimizerKind::AdamW => program::optimizer::Kind::Adamw,
    };
    let inputs = inputs.iter().copied().filter(|it| Some(*it) != ends.target);
    let mut task = Task {
        batch: options.batch,
        bounds: inputs.clone().map(|it| bound(graph, it)).collect(),
        inputs: inputs.map(name).collect(),
        target: optional(ends.target),
        rows: optional(ends.rows),
        learning_rate: "learning_rate".into(),
        step: "step".into(),
        loss_value: name(ends.loss),
        correct: optional(ends.correct),
        counted: optional(ends.counted),
        prediction: optional(ends.prediction),
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
    };
    describe(&mut task, graph, ends, options);
    task
}

/// What the targets are, as far as the graph tells.
fn describe(task: &mut Task, graph: &Graph, ends: &Ends, options: &Options) {
    use program::task::{Kind, Loss as Minimized};
    let loss = match options.loss {
        _ if !options.loss_output.is_empty() => Minimized::Own,
        Loss::CrossEntropy => Minimized::CrossEntropy,
        Loss::MeanSquaredError => Minimized::MeanSquaredError,
        Loss::MeanAbsoluteError => Minimized::MeanAbsoluteError,
        Loss::Huber => Minimized::Huber,
        Loss::BinaryCrossEntropy => Minimized::BinaryCrossEntropy,
    };
    let kind = match options.kind() {
        // A loss of the model's own suggests nothing.
        _ if loss == Minimized::Own && options.task.is_none() => Kind::Unspecified,
        options::Task::Classification => Kind::Classification,
        options::Task::TokenClassification => Kind::TokenClassification,
        options::Task::CausalLm => Kind::CausalLm,
        options::Task::MaskedLm => Kind::MaskedLm,
        options::Task::Segmentation => Kind::Segmentation,
        options::Task::Regression => Kind::Regression,
        options::Task::MultiLabel => Kind::MultiLabel,
    };
    task.set_loss(loss);
    task.set_kind(kind);
    let readers = ends.target.map(|it| graph.readers(it)).unwrap_or_default();
    let cross_entropy = |&(node, _): &(NodeId, usize)| graph.node(node).op.name == "softmax_cross_entropy";
    if let Some((node, _)) = readers.into_iter().find(cross_entropy) {
        let attrs = &graph.node(node).attrs;
        let axis = attrs.int_or("axis", 1);
        task.classes = graph.ty(graph.operands(node)[0]).dims()[axis as usize];
        task.class_axis = axis as u32;
        task.ignore_index = attrs.int_or("ignore_index", -100);
    }
}

/// The end of the whole numbers that an input may hold, where the tables that it picks from tell; 0 where they do not.
fn bound(graph: &Graph, input: Value) -> u64 {
    let (mut least, mut todo) = (None, vec![input]);
    while let Some(value) = todo.pop() {
        for (node, slot) in graph.readers(value) {
            let (op, operands) = (graph.node(node).op.name, graph.operands(node));
            match op {
                "reshape" | "transpose" | "slice" | "cast" => todo.extend(graph.results(node)),
                "gather" if slot == 1 => {
                    let axis = graph.node(node).attrs.int_or("axis", 0) as usize;
                    let size = graph.ty(operands[0]).dims().get(axis).copied();
                    least = least.into_iter().chain(size).min();
                }
                _ => {}
            }
        }
    }
    least.unwrap_or(0)
}

fn origin(model: &Model, options: &Options) -> program::Origin {
    program::Origin {
        file: model.path().map(|it| it.display().to_string()).unwrap_or_default(),
        digest: model.digest().to_vec(),
        preparation: Some(preparation(options)),
    }
}

fn saved(decision: &Decision, options: &Options) -> program::Saved {
    let (name, kept) = (decision.value.clone(), decision.to_string());
    program::Saved { chosen: options.razor.choices.contains_key(&name), name, kept }
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
        let bytes = weight.bytes().map_err(|e| match e {
            TensorError::Length { tensor, has: 0, .. } => CompileError::NoValues(tensor),
            other => other.into(),
        })?;
        Ok(Some(bytes))
    };
    program.residents.iter().map(blob).collect()
}
