//! From a forward graph to a whole training step: loss, gradients, updates.

use crate::attrs::Attrs;
use crate::autodiff;
use crate::graph::{Graph, Phase, Value};
use crate::ops;
use crate::options::{Loss, Optimizer, OptimizerKind, Options, StateForm, Task};
use crate::types::{DType, Type};

/// Values that the caller of a step fills or reads, apart from the model's own inputs.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Class indices, i64 of the prediction's shape without the axis of the classes, or f32 of the prediction's shape.
    /// None where the model computes its own loss without targets.
    pub target: Option<Value>,
    /// Weight of each row in the loss, `f32[B]`; none where the model computes its own loss.
    pub rows: Option<Value>,
    /// What the model says; none where it only says its loss.
    pub prediction: Option<Value>,
    /// Scalar.
    pub loss: Value,
    /// Weight of what was right, a scalar; none where right has no meaning.
    pub correct: Option<Value>,
    /// Weight of all that was counted, a scalar; none where `correct` is.
    pub counted: Option<Value>,
}

/// Name of the weight of all that counts in the loss of a batch that comes in parts.
pub const TOTAL: &str = "razorc.total";
/// Name of a number that is another for each part of a step.
pub const DRAW: &str = "razorc.draw";

/// Why a model's output does not fit a loss.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepError {
    /// The axis of the classes cannot be told, or is not there.
    #[error("the output `{name}` is {ty}, {}", .task.wants())]
    NotScores {
        /// Of the output.
        name: String,
        /// Of the output.
        ty: String,
        /// What it was taken for.
        task: Task,
    },
    /// A loss for other targets than those of the task.
    #[error("the task {} cannot have the loss {loss:?}; leave `--loss` or `--task` out", .task.word())]
    OtherLoss {
        /// Asked for.
        task: Task,
        /// Asked for.
        loss: Loss,
    },
    /// One weight is needed for each class.
    #[error("--class-weights has {found} entries, the model has {classes} classes; give one for each")]
    ClassWeights {
        /// Entries given.
        found: usize,
        /// Classes of the model.
        classes: u64,
    },
    /// The output is not a batch.
    #[error("the output `{name}` is {ty}: its first axis must be the batch of {batch}")]
    NotABatch {
        /// Of the output.
        name: String,
        /// Of the output.
        ty: String,
        /// Asked for.
        batch: u64,
    },
    /// Minimizing needs one number.
    #[error("the loss `{name}` is {ty} and must be one number; name a mean or a sum with `--loss-output`")]
    NotANumber {
        /// Of the loss.
        name: String,
        /// Of the loss.
        ty: String,
    },
    /// No input for targets.
    #[error("`{name}` is no input that the loss reads; the model's inputs are {}", .inputs.join(", "))]
    NoTarget {
        /// Asked for.
        name: String,
        /// Of the model.
        inputs: Vec<String>,
    },
    /// Nothing to do.
    #[error("nothing is trained: the loss depends on none of the weights that --train and --freeze leave")]
    NothingTrained,
}

/// Name of the class weights in the graph and among the weights.
pub const CLASS_WEIGHTS: &str = "razorc.class_weights";
/// Name of a loss that the model computes.
pub const OWN_LOSS: &str = "razorc.loss";
/// Name of the cotangent of a loss that the model computes, a one, in the graph and among the weights.
pub const ONE: &str = "razorc.one";

/// What inputs for targets are called, in the order in which they are looked for.
const TARGETS: [&str; 6] = ["labels", "label", "targets", "target", "y", "y_true"];

/// Adds targets, loss and count of what is right behind `prediction`. The loss of a part of a batch that is trained on is
/// its share of the whole batch's.
pub fn add_loss(graph: &mut Graph, prediction: Value, options: &Options, trains: bool) -> Result<Ends, StepError> {
    let (ty, task, loss) = (graph.ty(prediction).clone(), options.kind(), options.loss);
    let name = graph.name(prediction).to_string();
    let batch = options.rows();
    if ty.dims().first() != Some(&batch) {
        return Err(StepError::NotABatch { name, ty: ty.to_string(), batch });
    }
    let classes = loss == Loss::CrossEntropy;
    if classes != task.has_classes() || (task == Task::MultiLabel) != (loss == Loss::BinaryCrossEntropy) {
        return Err(StepError::OtherLoss { task, loss });
    }
    if classes {
        return cross_entropy(graph, prediction, options, trains);
    }
    let (op, attrs) = match loss {
        Loss::BinaryCrossEntropy => ("bce_with_logits", Attrs::new()),
        Loss::MeanAbsoluteError => ("mae", Attrs::new()),
        Loss::Huber => ("huber", Attrs::new().with("delta", options.huber_delta)),
        _ => ("mse", Attrs::new()),
    };
    let target = graph.declare("input", "target", ty);
    let rows = graph.declare("input", "rows", Type::f32(&[batch]));
    let operands = [prediction, target, rows];
    let whole = operands.into_iter().chain(total(graph, options, trains)).collect::<Vec<_>>();
    let loss = append(graph, op, &whole, attrs, "loss");
    let kind = || Attrs::new().with("kind", "threshold").with("axis", 1).with("ignore_index", -100);
    let correct = (op == "bce_with_logits").then(|| append(graph, "correct", &operands, kind(), "correct"));
    Ok(ends(prediction, target, rows, loss, correct))
}

/// The declared weight of a whole batch, where it comes in parts that are trained on.
fn total(graph: &mut Graph, options: &Options, trains: bool) -> Option<Value> {
    (trains && options.has_parts()).then(|| graph.declare("input", TOTAL, Type::f32(&[])))
}

fn cross_entropy(graph: &mut Graph, prediction: Value, options: &Options, trains: bool) -> Result<Ends, StepError> {
    let (ty, task) = (graph.ty(prediction).clone(), options.kind());
    let Some(axis) = task.class_axis(ty.rank()) else {
        let name = graph.name(prediction).to_string();
        return Err(StepError::NotScores { name, ty: ty.to_string(), task });
    };
    let mut positions = ty.dims().to_vec();
    let classes = positions.remove(axis);
    let found = options.class_weights.len();
    if found != 0 && found as u64 != classes {
        return Err(StepError::ClassWeights { found, classes });
    }
    let target = graph.declare("input", "target", Type::dense(DType::I64, &positions));
    let rows = graph.declare("input", "rows", Type::f32(&[options.rows()]));
    let mut operands = vec![prediction, target, rows];
    let ignore = options.ignore_index.unwrap_or(task.ignore_index());
    let attrs = Attrs::new().with("axis", axis as i64).with("ignore_index", ignore);
    if found != 0 {
        operands.push(graph.declare("frozen", CLASS_WEIGHTS, Type::f32(&[classes])));
    }
    operands.extend(total(graph, options, trains));
    let whole = attrs.clone().with("label_smoothing", options.label_smoothing).with("reduction", "mean");
    let loss = append(graph, "softmax_cross_entropy", &operands, whole, "loss");
    let correct = append(graph, "correct", &operands[..3], attrs.with("kind", "argmax"), "correct");
    Ok(ends(prediction, target, rows, loss, Some(correct)))
}

fn ends(prediction: Value, target: Value, rows: Value, loss: Value, correct: Option<Value>) -> Ends {
    let counted = correct.map(|it| Value { result: 1, ..it });
    Ends { target: Some(target), rows: Some(rows), prediction: Some(prediction), loss, correct, counted }
}

/// The ends of a model that computes its own `loss`.
pub fn own_loss(
    graph: &mut Graph,
    loss: Value,
    prediction: Option<Value>,
    inputs: &[Value],
    options: &Options,
) -> Result<Ends, StepError> {
    let ty = graph.ty(loss).clone();
    if !ty.is_f32() || ty.elements() != 1 {
        return Err(StepError::NotANumber { name: graph.name(loss).into(), ty: ty.to_string() });
    }
    let named = |graph: &Graph, name: &str| inputs.iter().copied().find(|it| graph.name(*it) == name);
    let target = match options.target_input.as_str() {
        "" => TARGETS.iter().find_map(|it| named(graph, it)),
        name => Some(named(graph, name).ok_or_else(|| {
            let inputs = inputs.iter().map(|it| graph.name(*it).to_string()).collect();
            StepError::NoTarget { name: name.into(), inputs }
        })?),
    };
    // A view of a name that passes know.
    let loss = append(graph, "reshape", &[loss], Attrs::new().with("shape", &[][..] as &[u64]), OWN_LOSS);
    Ok(Ends { target, rows: None, prediction, loss, correct: None, counted: None })
}

/// Adds the backward phase and the updates; returns the number of weights that are trained. The seed decides how state that
/// is not of f32 is rounded.
pub fn add_backward(graph: &mut Graph, loss: Value, optimizer: &Optimizer, seed: u64) -> Result<usize, StepError> {
    let params = graph.declared("param");
    // A loss that is made by an op that is no loss itself needs a cotangent to start from.
    let loss = graph.root(loss);
    let is_loss = ops::family(graph.node(loss.node).op) == "loss";
    let ty = graph.ty(loss).clone();
    let one = (!is_loss).then(|| graph.declare("frozen", ONE, ty));
    let gradients = autodiff::differentiate_from(graph, loss, one, &params);
    if gradients.is_empty() {
        return Err(StepError::NothingTrained);
    }
    let lr = graph.declare("input", "learning_rate", Type::f32(&[]));
    let has_state = optimizer.kind != OptimizerKind::Sgd || optimizer.momentum != 0.0;
    let seed = (has_state && optimizer.state != StateForm::F32).then_some(seed);
    let step = (optimizer.kind != OptimizerKind::Sgd || seed.is_some()).then(|| scalar_step(graph));
    for &(param, gradient) in &gradients {
        update(graph, param, gradient, [Some(lr), step], optimizer, seed);
    }
    Ok(gradients.len())
}

/// The declared number of the step, which dropout and Adam read.
pub fn scalar_step(graph: &mut Graph) -> Value {
    graph.value("step").unwrap_or_else(|| graph.declare("input", "step", Type::f32(&[])))
}

fn update(
    graph: &mut Graph,
    param: Value,
    gradient: Value,
    numbers: [Option<Value>; 2],
    optimizer: &Optimizer,
    seed: Option<u64>,
) {
    let name = graph.name(param).to_string();
    let dims = graph.ty(param).dims().to_vec();
    let mut state = |suffix: &str| {
        let ty = match optimizer.state {
            StateForm::F32 => Type::f32(&dims),
            StateForm::Bf16 => Type::dense(DType::Bf16, &dims),
            StateForm::Bits8 => Type::Dynamic { dims: dims.clone(), signed: suffix != "variance" },
        };
        graph.declare("state", &format!("{name}.{suffix}"), ty)
    };
    let (op, states, attrs) = match optimizer.kind {
        OptimizerKind::Sgd => {
            let attrs = Attrs::new()
                .with("momentum", optimizer.momentum)
                .with("nesterov", i64::from(optimizer.nesterov))
                .with("weight_decay", optimizer.weight_decay);
            ("sgd", (optimizer.momentum != 0.0).then(|| state("momentum")).into_iter().collect::<Vec<_>>(), attrs)
        }
        kind => {
            let attrs = Attrs::new()
                .with("beta1", optimizer.betas[0])
                .with("beta2", optimizer.betas[1])
                .with("epsilon", optimizer.epsilon)
                .with("weight_decay", optimizer.weight_decay);
            (if kind == OptimizerKind::AdamW { "adamw" } else { "adam" }, vec![state("mean"), state("variance")], attrs)
        }
    };
    let attrs = match seed {
        Some(seed) => attrs.with("seed", seed_of(&name, seed)),
        None => attrs,
    };
    let operands: Vec<Value> =
        [param, gradient].into_iter().chain(states).chain(numbers.into_iter().flatten()).collect();
    graph
        .add(Phase::Update, ops::get(op), &operands, attrs, &name)
        .unwrap_or_else(|e| panic!("the update of {name}: {e}"));
}

/// Another seed for every value, the same on every machine and in every version (FNV-1a).
pub(crate) fn seed_of(name: &str, seed: u64) -> i64 {
    let hash =
        name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    ((hash ^ seed) & i64::MAX as u64) as i64
}

fn append(graph: &mut Graph, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> Value {
    let node = graph
        .add(Phase::Forward, ops::get(op), operands, attrs, name)
        .unwrap_or_else(|e| panic!("{op} makes {name}: {e}"));
    Value { node, result: 0 }
}
