//! What a caller may choose. The defaults are the measured ones.

mod method;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use self::method::{Method, MethodError};
use crate::types::DType;

/// Everything that decides how a model becomes a trainer. Compiling is a pure function of the model and these.
#[derive(Debug, Clone)]
pub struct Options {
    /// Samples in a step.
    pub batch: u64,
    /// Samples of a step that are in memory at once, a divisor of `batch`; 0: all.
    pub micro_batch: u64,
    /// Sizes of named dynamic dimensions, the batch apart.
    pub bind: BTreeMap<String, u64>,
    /// Dims of inputs that are not those of the model, the batch included.
    pub input_shapes: BTreeMap<String, Vec<u64>>,
    /// Classes of a fresh head; 0 keeps the model's own.
    pub classes: u64,
    /// Value at which the fresh head starts; empty: the input of the model's final classifier.
    pub head_at: String,
    /// Train the fresh head alone.
    pub head_only: bool,
    /// Give every node that reads a shared weight its own copy.
    pub untie_shared: bool,
    /// What the model predicts; none: what the loss suggests.
    pub task: Option<Task>,
    /// What is minimized.
    pub loss: Loss,
    /// Where the Huber loss turns from a square into a line.
    pub huber_delta: f64,
    /// Class index that counts nothing; none: that of the task.
    pub ignore_index: Option<i64>,
    /// Value of the model that is minimized instead of `loss`; empty: none.
    pub loss_output: String,
    /// Input of the model that is fed the targets of `loss_output`; empty: the one that is called like labels.
    pub target_input: String,
    /// Share of the target spread over all classes, for cross entropy.
    pub label_smoothing: f64,
    /// Weight of each class in cross entropy; empty: all one.
    pub class_weights: Vec<f32>,
    /// How weights are updated.
    pub optimizer: Optimizer,
    /// Globs of the initializers that are trained; empty: all that carry gradients, but what `batch_norm` fixes.
    pub train: Vec<String>,
    /// Globs of the initializers that are not trained; they win over `train`.
    pub freeze: Vec<String>,
    /// Which of these are trained after all.
    pub scope: Scope,
    /// What is fixed in batch normalization.
    pub batch_norm: BatchNorm,
    /// Whether the model's dropout layers drop.
    pub dropout: bool,
    /// What is pruned and how.
    pub razor: Razor,
    /// How long a tighter plan of the memory is looked for, as [`crate::schedule::arena::plan`] counts it.
    pub plan_effort: u32,
    /// Of the fresh head, of dropout and of rounding to 8 bits.
    pub seed: u64,
}

/// What a model predicts: decides the shape of the targets, how data is read and what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Scores `[B,C]`, a class for each row.
    Classification,
    /// Scores `[B,T,C]`, a class for each token.
    TokenClassification,
    /// Scores `[B,T,V]`, of the token that comes next.
    CausalLm,
    /// Scores `[B,T,V]`, of the tokens that were masked.
    MaskedLm,
    /// Scores `[B,C,H,W]`, a class for each pixel.
    Segmentation,
    /// Numbers.
    Regression,
    /// Scores of labels that do not exclude each other.
    MultiLabel,
}

impl Task {
    /// Axis of the classes in scores of this rank; none where targets are no class indices or the rank does not fit.
    pub fn class_axis(self, rank: usize) -> Option<usize> {
        match self {
            Task::Classification => (rank == 2).then_some(1),
            Task::TokenClassification | Task::CausalLm | Task::MaskedLm => (3 <= rank).then(|| rank - 1),
            Task::Segmentation => (3 <= rank).then_some(1),
            Task::Regression | Task::MultiLabel => None,
        }
    }

    /// What it is called on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Task::Classification => "classification",
            Task::TokenClassification => "token-classification",
            Task::CausalLm => "causal-lm",
            Task::MaskedLm => "masked-lm",
            Task::Segmentation => "segmentation",
            Task::Regression => "regression",
            Task::MultiLabel => "multi-label",
        }
    }

    /// What its predictions must be, and what to type if they are not.
    pub fn wants(self) -> &'static str {
        match self {
            Task::Classification => {
                "and classification needs [batch, classes]; `--task segmentation` takes [batch, classes, height, width], and `--task token-classification`, `causal-lm` or `masked-lm` [batch, tokens, classes]"
            }
            Task::TokenClassification | Task::CausalLm | Task::MaskedLm => {
                "and the task needs [batch, tokens, classes]; choose another `--task`"
            }
            Task::Segmentation => "and segmentation needs [batch, classes, height, width]; choose another `--task`",
            Task::Regression | Task::MultiLabel => "which does not fit; choose another `--task`",
        }
    }

    /// Whether targets are class indices.
    pub fn has_classes(self) -> bool {
        !matches!(self, Task::Regression | Task::MultiLabel)
    }

    /// The class index that counts nothing, unless another one is asked for. Masks are bytes, the rest follows PyTorch.
    pub fn ignore_index(self) -> i64 {
        if self == Task::Segmentation { 255 } else { -100 }
    }
}

/// What is minimized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Between scores and class indices.
    CrossEntropy,
    /// Between the output and a target of its shape.
    MeanSquaredError,
    /// As `MeanSquaredError`.
    MeanAbsoluteError,
    /// As `MeanSquaredError`: squares near the target, lines farther away.
    Huber,
    /// Between scores and targets of 0 to 1, each element apart.
    BinaryCrossEntropy,
}

/// Which of the weights that may be trained are; a fresh head is always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// What is added, one number for each channel or feature; those of frozen batch normalization too.
    Biases,
    /// Scales and biases of normalization, batch normalization's too.
    Norms,
    /// So many layers at the end, and what is read behind the first of them.
    Last(u64),
}

/// What is rounded to `rounded_bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// Beside pruned tensors, what is not pruned but need not be exact.
    Spared,
    /// Every saved activation, but what a gradient reads that takes nothing else than the exact one.
    Everything,
    /// The same, up or down at random.
    EverythingAtRandom,
}

/// What is fixed in batch normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchNorm {
    /// Statistics, scale and bias.
    Frozen,
    /// Statistics.
    Affine,
    /// Nothing: statistics are the batch's, and running ones are updated.
    Train,
}

/// How weights are updated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimizer {
    /// The rule.
    pub kind: OptimizerKind,
    /// Of SGD.
    pub momentum: f64,
    /// Of SGD.
    pub nesterov: bool,
    /// Added to the gradient (SGD, Adam) or applied to the weight (AdamW).
    pub weight_decay: f64,
    /// Adam's averages of the gradient and its square.
    pub betas: [f64; 2],
    /// Adam's divisor guard.
    pub epsilon: f64,
    /// How momentum and averages are stored.
    pub state: StateForm,
    /// Whether, and how, gradients are made shorter before they are used.
    pub clip: Option<Clip>,
}

/// How optimizer state is stored. What is not f32 is rounded at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateForm {
    /// As it is computed.
    F32,
    /// In half of the bytes.
    Bf16,
    /// In a dynamic code with a scale for each 256 elements: a little more than a byte an element.
    Bits8,
}

/// Gradients whose norm is above `norm` are made as long as that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// Above 0.
    pub norm: f64,
    /// What has a norm.
    pub scope: ClipScope,
}

/// Whose norm is compared with the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipScope {
    /// All gradients, as one vector: they are all in memory until the last one is there.
    Global,
    /// Each weight's gradient on its own.
    PerWeight,
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OptimizerKind {
    Sgd,
    Adam,
    AdamW,
}

/// What the Back Razor pass prunes.
#[derive(Debug, Clone)]
pub struct Razor {
    /// Fraction pruned; 0 saves everything densely.
    pub sparsity: Sparsity,
    /// Other fractions for saved inputs of weights whose names match a glob; the last match counts.
    pub sparsity_for: Vec<(String, Sparsity)>,
    /// Type of the kept values.
    pub values: DType,
    /// Prune the inputs of the first and the last layer too.
    pub ends: bool,
    /// Prune what smooth activations and normalization read.
    pub smooth: bool,
    /// Bits of a smooth activation's slope that are saved instead of its input: 2 to 4; 0 saves the input whole.
    pub slope_bits: u64,
    /// The published mask rule (all ties kept, f32), for comparison; nothing is packed.
    pub reference: bool,
    /// Let padded tokens compete with others for what is kept.
    pub padding: bool,
    /// Compute gradients of normalization from its exact input, never from its pruned output.
    pub exact_norm: bool,
    /// Compute in the backward phase again what takes less memory so: attention's queries, keys and values, and cheap
    /// functions of what is saved whole anyway.
    pub recompute: bool,
    /// Bits of what is saved neither pruned nor needs to be exact; 0 saves it whole.
    pub rounded_bits: u64,
    /// What is rounded to so many bits.
    pub rounds: Rounds,
    /// What is kept of single saved values, by name, where a budget or a calibration has decided; it wins over the rest.
    pub choices: BTreeMap<String, Choice>,
}

/// What is kept of one saved value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// All of it.
    Whole,
    /// The bits of [`Razor::rounded_bits`] of each element.
    Rounded,
    /// All but this fraction of each sample, in values of this type.
    Pruned(Sparsity, DType),
}

impl Razor {
    /// Type of the values that are kept of a saved value.
    pub fn values_of(&self, name: &str) -> DType {
        match self.choices.get(name) {
            Some(Choice::Pruned(_, values)) => *values,
            _ => self.values,
        }
    }
}

/// A fraction in parts per million, so that counts of kept elements are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sparsity(u32);

impl Sparsity {
    /// The fraction in parts per million.
    pub fn ppm(self) -> u32 {
        self.0
    }

    /// A fraction of whole percents below 100.
    pub const fn percent(percent: u32) -> Sparsity {
        assert!(percent < 100);
        Sparsity(percent * 10_000)
    }

    /// Elements kept of `n`: `n − ⌊n·s⌋`.
    pub fn keep(self, n: u64) -> u64 {
        let pruned = u128::from(n) * u128::from(self.0) / 1_000_000;
        n - pruned as u64
    }
}

/// Why a text is not a sparsity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sparsity must be a decimal in [0, 1) with at most 6 places, such as 0.9; found `{0}`")]
pub struct SparsityError(String);

impl FromStr for Sparsity {
    type Err = SparsityError;

    fn from_str(text: &str) -> Result<Sparsity, SparsityError> {
        let error = || SparsityError(text.to_string());
        let (whole, places) = text.split_once('.').unwrap_or((text, ""));
        let digits = |it: &str| it.bytes().all(|b| b.is_ascii_digit());
        let zero = whole.bytes().all(|b| b == b'0');
        if !zero || !digits(places) || 6 < places.len() || (whole.is_empty() && places.is_empty()) {
            return Err(error());
        }
        format!("{places:0<6}").parse().map(Sparsity).map_err(|_| error())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("full"),
            Scope::Biases => f.write_str("bias"),
            Scope::Norms => f.write_str("norm"),
            Scope::Last(layers) => write!(f, "last:{layers}"),
        }
    }
}

impl fmt::Display for Sparsity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1e6)
    }
}

impl Options {
    /// Samples that a graph is of.
    pub fn rows(&self) -> u64 {
        if self.micro_batch == 0 { self.batch } else { self.micro_batch }
    }

    /// Whether a step runs on one part of its batch after the other.
    pub fn has_parts(&self) -> bool {
        self.rows() != self.batch
    }

    /// What the model predicts.
    pub fn kind(&self) -> Task {
        self.task.unwrap_or(match self.loss {
            Loss::CrossEntropy => Task::Classification,
            Loss::BinaryCrossEntropy => Task::MultiLabel,
            Loss::MeanSquaredError | Loss::MeanAbsoluteError | Loss::Huber => Task::Regression,
        })
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            batch: 8,
            micro_batch: 0,
            bind: BTreeMap::new(),
            input_shapes: BTreeMap::new(),
            classes: 0,
            head_at: String::new(),
            head_only: false,
            untie_shared: false,
            task: None,
            loss: Loss::CrossEntropy,
            huber_delta: 1.0,
            ignore_index: None,
            loss_output: String::new(),
            target_input: String::new(),
            label_smoothing: 0.0,
            class_weights: vec![],
            optimizer: Optimizer::default(),
            train: vec![],
            freeze: vec![],
            scope: Scope::All,
            batch_norm: BatchNorm::Frozen,
            dropout: false,
            razor: Razor::default(),
            plan_effort: crate::schedule::arena::EFFORT,
            seed: 0,
        }
    }
}

impl Default for Optimizer {
    fn default() -> Optimizer {
        Optimizer {
            kind: OptimizerKind::Adam,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            state: StateForm::F32,
            clip: None,
        }
    }
}

impl Default for Razor {
    fn default() -> Razor {
        Razor {
            sparsity: Sparsity(900_000),
            sparsity_for: vec![],
            values: DType::F16,
            ends: false,
            smooth: false,
            slope_bits: 3,
            reference: false,
            padding: false,
            exact_norm: false,
            recompute: true,
            rounded_bits: 8,
            rounds: Rounds::Spared,
            choices: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_counts_are_exact() {
        let keep = |s: &str, n| s.parse::<Sparsity>().unwrap().keep(n);
        // 100 · 0.29 is 28.999… in binary floating point.
        assert_eq!(keep("0.29", 100), 71);
        assert_eq!(keep("0.58", 50), 21);
        assert_eq!(keep("0.9", 784), 79);
        assert_eq!(keep("0", 10), 10);
        assert_eq!(keep(".5", 3), 2);
        assert_eq!(keep("0.999999", 5), 1);
    }

    #[test]
    fn texts_that_are_no_sparsity_are_refused() {
        for text in ["1", "1.0", "-0.1", "0.1234567", "", ".", "nan", "0,9", "0.9e0", "00.9x"] {
            assert!(text.parse::<Sparsity>().is_err(), "{text}");
        }
    }
}
