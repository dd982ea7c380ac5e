//! From a forward graph to a whole training step: loss, gradients, updates.

use crate::attrs::Attrs;
use crate::autodiff;
use crate::graph::{Graph, Phase, Value};
use crate::ops;
use crate::options::{Loss, Optimizer, OptimizerKind, Options};
use crate::types::{DType, Type};

/// Values that the caller of a step fills or reads, apart from the model's own inputs.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Class indices `i64[B]`, or f32 of the prediction's shape.
    pub target: Value,
    /// Weight of each row in the loss, `f32[B]`.
    pub rows: Value,
    /// What the model says.
    pub prediction: Value,
    /// Scalar.
    pub loss: Value,
    /// Count of right rows, a scalar; none where right has no meaning.
    pub correct: Option<Value>,
}

/// Why a model's output does not fit a loss.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepError {
    /// Cross entropy needs `[B,C]`.
    #[error("cross entropy needs an output of [batch, classes], `{name}` is {ty}; choose another --loss")]
    NotScores {
        /// Of the output.
        name: String,
        /// Of the output.
        ty: String,
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
    /// Nothing to do.
    #[error("nothing is trained: the loss depends on none of the weights that --train and --freeze leave")]
    NothingTrained,
}

/// Name of the class weights in the graph and among the weights.
pub const CLASS_WEIGHTS: &str = "razorc.class_weights";

/// Adds targets, loss and count of right rows behind `prediction`.
pub fn add_loss(graph: &mut Graph, prediction: Value, options: &Options) -> Result<Ends, StepError> {
    let ty = graph.ty(prediction).clone();
    let name = graph.name(prediction).to_string();
    if ty.dims().first() != Some(&options.batch) {
        return Err(StepError::NotABatch { name, ty: ty.to_string(), batch: options.batch });
    }
    let (target_ty, op, right) = match options.loss {
        Loss::CrossEntropy => {
            let &[_, classes] = ty.dims() else {
                return Err(StepError::NotScores { name, ty: ty.to_string() });
            };
            let found = options.class_weights.len();
            if found != 0 && found as u64 != classes {
                return Err(StepError::ClassWeights { found, classes });
            }
            (Type::dense(DType::I64, &[options.batch]), "softmax_cross_entropy", Some("argmax"))
        }
        Loss::MeanSquaredError => (ty.clone(), "mse", None),
        Loss::BinaryCrossEntropy => (ty.clone(), "bce_with_logits", Some("threshold")),
    };
    let target = graph.declare("input", "target", target_ty);
    let rows = graph.declare("input", "rows", Type::f32(&[options.batch]));
    let mut operands = vec![prediction, target, rows];
    let mut attrs = Attrs::new();
    if options.loss == Loss::CrossEntropy {
        attrs = attrs.with("label_smoothing", options.label_smoothing);
        if !options.class_weights.is_empty() {
            let ty = Type::f32(&[options.class_weights.len() as u64]);
            operands.push(graph.declare("frozen", CLASS_WEIGHTS, ty));
        }
    }
    let loss = append(graph, Phase::Forward, op, &operands, attrs, "loss");
    let correct = right.map(|kind| {
        let attrs = Attrs::new().with("kind", kind);
        append(graph, Phase::Forward, "correct", &[prediction, target, rows], attrs, "correct")
    });
    Ok(Ends { target, rows, prediction, loss, correct })
}

/// Adds the backward phase and the updates; returns the number of weights that are trained.
pub fn add_backward(graph: &mut Graph, loss: Value, optimizer: &Optimizer) -> Result<usize, StepError> {
    let params = graph.declared("param");
    let gradients = autodiff::differentiate(graph, loss, &params);
    if gradients.is_empty() {
        return Err(StepError::NothingTrained);
    }
    let lr = graph.declare("input", "learning_rate", Type::f32(&[]));
    let step = (optimizer.kind != OptimizerKind::Sgd).then(|| scalar_step(graph));
    for &(param, gradient) in &gradients {
        update(graph, param, gradient, lr, step, optimizer);
    }
    Ok(gradients.len())
}

/// The declared number of the step, which dropout and Adam read.
pub fn scalar_step(graph: &mut Graph) -> Value {
    graph.value("step").unwrap_or_else(|| graph.declare("input", "step", Type::f32(&[])))
}

fn update(graph: &mut Graph, param: Value, gradient: Value, lr: Value, step: Option<Value>, optimizer: &Optimizer) {
    let name = graph.name(param).to_string();
    let ty = graph.ty(param).clone();
    let mut state = |suffix: &str| graph.declare("state", &format!("{name}.{suffix}"), ty.clone());
    let (op, operands, attrs) = match (optimizer.kind, step) {
        (OptimizerKind::Sgd, _) | (_, None) => {
            let attrs = Attrs::new()
                .with("momentum", optimizer.momentum)
                .with("nesterov", i64::from(optimizer.nesterov))
                .with("weight_decay", optimizer.weight_decay);
            let momentum = (optimizer.momentum != 0.0).then(|| state("momentum"));
            let operands = [param, gradient].into_iter().chain(momentum).chain([lr]).collect::<Vec<_>>();
            ("sgd", operands, attrs)
        }
        (kind, Some(step)) => {
            let attrs = Attrs::new()
                .with("beta1", optimizer.betas[0])
                .with("beta2", optimizer.betas[1])
                .with("epsilon", optimizer.epsilon)
                .with("weight_decay", optimizer.weight_decay);
            let operands = vec![param, gradient, state("mean"), state("variance"), lr, step];
            (if kind == OptimizerKind::AdamW { "adamw" } else { "adam" }, operands, attrs)
        }
    };
    graph
        .add(Phase::Update, ops::get(op), &operands, attrs, &name)
        .unwrap_or_else(|e| panic!("the update of {name}: {e}"));
}

fn append(graph: &mut Graph, phase: Phase, op: &str, operands: &[Value], attrs: Attrs, name: &str) -> Value {
    let node =
        graph.add(phase, ops::get(op), operands, attrs, name).unwrap_or_else(|e| panic!("{op} makes {name}: {e}"));
    Value { node, result: 0 }
}
