//! Why a model cannot become a trainer, or a trainer's weights no model.

use std::fmt;

use razorc_proto::TensorError;

/// Why a model cannot be imported.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ImportError {
    #[error(
        "the model cannot be trained:{}\n`--classes N --head-at VALUE` puts a fresh head before such nodes and leaves them out",
        Lines(.0)
    )]
    Unsupported(Vec<Refusal>),
    #[error("the model leaves sizes open:{}", Lines(.0))]
    OpenSizes(Vec<String>),
    #[error(
        "the model was exported with a fixed batch of {baked} and cannot run with {asked}; use `--batch {baked}`, or export it with a dynamic batch axis ({fault})"
    )]
    FixedBatch { baked: u64, asked: u64, fault: String },
    #[error("the shapes of the model `{model}` cannot be worked out; it makes no sense, or is damaged ({reason})")]
    Analysis { model: String, reason: String },
    #[error("the model's shapes do not fit together: {0}")]
    Shapes(String),
    #[error(
        "opset {0} is not supported; razorc reads opsets 7 to 28 (convert the model with `onnx.version_converter`)"
    )]
    Opset(i64),
    #[error("the model's functions and branches unfold to more than {most} nodes, or to more than 1 GiB")]
    Unfolded { most: usize },
    #[error("the model has sparse initializers, which are not supported")]
    Sparse,
    #[error("the nodes of the model form a cycle through `{0}`")]
    Cycle(String),
    #[error("node {node} reads `{value}`, which nothing makes")]
    Undefined { node: String, value: String },
    #[error("`{0}` is made more than once")]
    MadeTwice(String),
    #[error("the model has no output; export it with its scores as the first one")]
    NoOutput,
    #[error("the model's output is `{0}`, which nothing makes")]
    UndefinedOutput(String),
    #[error("the model's output `{0}` does not depend on its input")]
    ConstantOutput(String),
    #[error("the model's output `{name}` is {found}; razorc needs floats with the batch of {batch} as the first axis")]
    OutputType { name: String, found: String, batch: u64 },
    #[error("initializer `{name}` has impossible dimensions {dims:?}")]
    WeightDims { name: String, dims: Vec<i64> },
    #[error("`{name}` is no input of the model; its inputs are {}", .inputs.join(", "))]
    NoSuchInput { name: String, inputs: Vec<String> },
    #[error("input `{name}` has {axes} axes, the batch included, but `--input-shape` gives it {given:?}")]
    InputRank { name: String, axes: usize, given: Vec<u64> },
    #[error(
        "input `{name}` cannot have the sizes {dims:?}; each must be 1 or more, and all together at most 2^40 elements"
    )]
    InputDims { name: String, dims: Vec<u64> },
    #[error("`{name}` names no size that the model's inputs leave open; {}", Named(.open))]
    NoSuchSize { name: String, open: Vec<String> },
    #[error("`{name}` is the model's batch; use `--batch`")]
    BindsBatch { name: String },
    #[error("`{pattern}` is not a pattern for names: {source}")]
    Pattern { pattern: String, source: globset::Error },
    #[error("`{option} {pattern}` matches no weight that can be trained; {hint}")]
    NoMatch { option: &'static str, pattern: String, hint: String },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// A node that cannot be trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the node, or of its first output where it has none.
    pub node: String,
    /// ONNX operator.
    pub op: String,
    /// Version of the operator set.
    pub opset: i64,
    /// What is wrong.
    pub reason: String,
}

/// Why a model cannot get a fresh head.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PrepareError {
    #[error(
        "cannot replace the classifier: {node} ({op}) {reason}; `--head-at VALUE` puts a fresh head at a value, and `razorc inspect MODEL --after import` lists the values"
    )]
    Head { node: String, op: String, reason: String },
    #[error(
        "no node of the model makes `{0}`, so no head can start there; `razorc inspect MODEL --after import` lists the values"
    )]
    NoSuchValue(String),
    #[error("a head cannot start at `{value}`, which is {found}; it needs floats with axes [N, C] or [N, C, ...]")]
    HeadShape { value: String, found: String },
    #[error("a head at `{0}` needs a number of classes (`--classes N`)")]
    NoClasses(String),
    #[error("a head with weights {dims:?} is too large for an ONNX file; use fewer `--classes`")]
    TooLarge { dims: Vec<u64> },
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Why tuned weights cannot go back into a model.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExportError {
    #[error("the model has no weight `{0}`; is this the model that the trainer was compiled from?")]
    NoSuchWeight(String),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} (opset {}) {}", self.node, self.op, self.opset, self.reason)
    }
}

/// Says which sizes have names, if any have.
struct Named<'a>(&'a [String]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("they leave none open but the batch"),
            names => write!(f, "those are {}", names.join(", ")),
        }
    }
}

/// Prints each item on a line of its own, below what came before.
struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|it| write!(f, "\n  {it}"))
    }
}
