use clap::{Args, ValueEnum};
use razorc_compiler::options::{
    self, BatchNorm, Clip, ClipScope, Loss, Method, OptimizerKind, Options, Razor, Rounds, Scope, Sparsity, StateForm,
    Task,
};
use razorc_compiler::types::DType;

use crate::failure::{Failure, Result};

/// What decides how a model becomes a trainer.
#[derive(Args, Clone, Debug)]
pub struct CompileOptions {
    /// Rows of a step
    #[arg(long, value_name = "N", default_value_t = 8)]
    batch: u64,
    /// Rows of a step that are in memory at once; divides `--batch`, and changes nothing but memory and speed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    micro_batch: Option<u64>,
    /// Size of a named dynamic dimension; the batch is bound already
    #[arg(long, value_name = "NAME=N")]
    bind: Vec<String>,
    /// Dims of an input, where the model's own are not wanted; the batch included
    #[arg(long, value_name = "NAME=D,D,..")]
    input_shape: Vec<String>,
    /// Replace the final classifier by a fresh one of so many classes
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    classes: u64,
    /// Value at which the fresh classifier starts, instead of the final classifier's input
    #[arg(long, value_name = "VALUE", default_value = "", hide_default_value = true)]
    head_at: String,
    /// Train the fresh classifier alone
    #[arg(long)]
    head_only: bool,
    /// How memory is saved: backrazor prunes, mesa keeps 8 bits and actnn 2 of each saved number; bias, norm and last:N
    /// train only biases, only normalization, only the last N layers; full does nothing
    #[arg(long, value_name = "METHOD", default_value_t = Method::BackRazor)]
    method: Method,
    /// Decides the fresh classifier, dropout and rounding at random
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Look so many half seconds for a tighter plan of the memory, where there may be one; 0 takes the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=10_000))]
    plan_effort: u32,
    #[command(flatten)]
    loss: LossOptions,
    #[command(flatten)]
    update: UpdateOptions,
    #[command(flatten)]
    razor: RazorOptions,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Loss")]
struct LossOptions {
    /// What the model predicts: decides the loss, the targets and what is measured [default: classification]
    #[arg(long, value_enum)]
    task: Option<TaskWord>,
    /// What is minimized, where the task's own loss is not wanted
    #[arg(long, value_enum)]
    loss: Option<LossWord>,
    /// Share of the target that is spread over all classes
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    label_smoothing: f64,
    /// Weight of each class in cross entropy
    #[arg(long, value_name = "W,..", value_delimiter = ',')]
    class_weights: Vec<f32>,
    /// Class index that counts nothing [default: 255 for segmentation, else -100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    ignore_index: Option<i64>,
    /// Distance from the target where the Huber loss turns from a square into a line
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    huber_delta: f64,
    /// Minimize this value of the model, which computes its own loss
    #[arg(long, value_name = "NAME", conflicts_with = "loss")]
    loss_output: Option<String>,
    /// Input of the model that takes the targets of `--loss-output` [default: the one that is called like labels]
    #[arg(long, value_name = "NAME", requires = "loss_output")]
    target_input: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Weights")]
struct UpdateOptions {
    /// Train only weights whose names match
    #[arg(long, value_name = "GLOB")]
    train: Vec<String>,
    /// Do not train weights whose names match; wins over `--train`
    #[arg(long, value_name = "GLOB")]
    freeze: Vec<String>,
    /// What is trained in batch normalization: nothing, scale and bias, or also the statistics
    #[arg(long, value_enum, default_value_t = BatchNormWord::Frozen)]
    batch_norm: BatchNormWord,
    /// Give every node that reads a shared weight its own copy, instead of training it as one
    #[arg(long)]
    untie_shared: bool,
    /// Let the model's dropout layers drop
    #[arg(long)]
    dropout: bool,
    /// How weights are updated
    #[arg(long, value_enum, default_value_t = OptimizerWord::Adam)]
    optimizer: OptimizerWord,
    /// Share of the last update that is kept (SGD)
    #[arg(long, value_name = "X", default_value_t = 0.9)]
    momentum: f64,
    /// Use Nesterov's momentum (SGD)
    #[arg(long)]
    nesterov: bool,
    /// Added to the gradient (SGD, Adam), or applied to the weight (AdamW)
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    weight_decay: f64,
    /// Of the average of the gradient (Adam, AdamW)
    #[arg(long, value_name = "X", default_value_t = 0.9)]
    beta1: f64,
    /// Of the average of the gradient's square (Adam, AdamW)
    #[arg(long, value_name = "X", default_value_t = 0.999)]
    beta2: f64,
    /// Added to the divisor (Adam, AdamW)
    #[arg(long, value_name = "X", default_value = "1e-8")]
    epsilon: f64,
    /// How momentum and Adam's averages are stored; bf16 takes half of the memory, 8bit a quarter; both round at random
    #[arg(long, value_enum, default_value_t = StateWord::F32)]
    optimizer_state: StateWord,
    /// Make gradients shorter that are longer than this, as PyTorch's clip_grad_norm_ does
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// Whose norm that is: of all gradients together, which then are in memory at once, or of each weight's gradient
    #[arg(long, value_enum, requires = "clip_norm", default_value_t = ClipWord::Global)]
    clip: ClipWord,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Back Razor")]
struct RazorOptions {
    /// Fraction of saved activations that is pruned; 0 saves everything densely [default: 0.9; 0 with another `--method`]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    sparsity: Option<String>,
    /// Another fraction for the saved inputs of weights whose names match; the last match counts
    #[arg(long, value_name = "GLOB=X")]
    sparsity_for: Vec<String>,
    /// Type of the values that are kept; i8 rounds at random, with a scale for 256 values
    #[arg(long, value_enum, default_value_t = Values::F16)]
    values: Values,
    /// Prune the inputs of the first and the last layer too
    #[arg(long)]
    prune_ends: bool,
    /// Prune what smooth activations and normalization read, though gradients suffer much
    #[arg(long)]
    prune_smooth: bool,
    /// Bits of a smooth activation's slope (GELU, SiLU) that are saved instead of its input; 0 saves the input whole
    #[arg(long, value_name = "N", default_value = "3", value_parser = ["0", "2", "3", "4"])]
    slope_bits: String,
    /// Keep what the published rule keeps, without packing; for comparison only
    #[arg(long)]
    reference_mask: bool,
    /// Let padded tokens compete with others for what is kept, where an attention mask tells them apart
    #[arg(long)]
    keep_padding: bool,
    /// Compute gradients of normalization from its exact input, not from its pruned output
    #[arg(long)]
    exact_norm: bool,
    /// Save what would be computed again: queries, keys and values of attention, and cheap functions of what is saved anyway
    #[arg(long)]
    no_recompute: bool,
    /// Bits of each element that is saved neither pruned nor needs to be exact, as what attention reads; 0 saves it whole
    #[arg(long, value_name = "N", default_value = "8", value_parser = ["0", "4", "8"])]
    rounded_bits: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LossWord {
    CrossEntropy,
    Mse,
    Mae,
    Huber,
    #[value(alias = "bce")]
    BceWithLogits,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TaskWord {
    /// A class for each row: scores [batch, classes]
    Classification,
    /// A class for each token: scores [batch, tokens, classes]
    TokenClassification,
    /// The token that comes next: scores [batch, tokens, vocabulary]
    CausalLm,
    /// Tokens that were masked: scores [batch, tokens, vocabulary]
    MaskedLm,
    /// A class for each pixel: scores [batch, classes, height, width]
    Segmentation,
    /// Numbers
    Regression,
    /// Labels that do not exclude each other
    MultiLabel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BatchNormWord {
    Frozen,
    Affine,
    Train,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OptimizerWord {
    Sgd,
    Adam,
    Adamw,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateWord {
    F32,
    Bf16,
    #[value(name = "8bit")]
    Bits8,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClipWord {
    Global,
    PerWeight,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Values {
    F32,
    F16,
    Bf16,
    I8,
}

impl CompileOptions {
    /// The compiler's options.
    pub fn parse(&self) -> Result<Options> {
        let mut options = Options {
            batch: self.batch,
            micro_batch: self.micro_batch.unwrap_or(0),
            bind: self.bind.iter().map(|it| pair("--bind", it, |n| n.parse().ok())).collect::<Result<_>>()?,
            input_shapes: self.input_shape.iter().map(|it| pair("--input-shape", it, dims)).collect::<Result<_>>()?,
            classes: self.classes,
            head_at: self.head_at.clone(),
            head_only: self.head_only,
            untie_shared: self.update.untie_shared,
            task: self.loss.task(),
            loss: self.loss.loss(),
            huber_delta: self.loss.delta()?,
            ignore_index: self.loss.ignore_index,
            loss_output: self.loss.loss_output.clone().unwrap_or_default(),
            target_input: self.loss.target_input.clone().unwrap_or_default(),
            label_smoothing: self.loss.label_smoothing,
            class_weights: self.loss.class_weights.clone(),
            optimizer: self.update.optimizer()?,
            train: self.update.train.clone(),
            freeze: self.update.freeze.clone(),
            batch_norm: match self.update.batch_norm {
                BatchNormWord::Frozen => BatchNorm::Frozen,
                BatchNormWord::Affine => BatchNorm::Affine,
                BatchNormWord::Train => BatchNorm::Train,
            },
            scope: Scope::All,
            dropout: self.update.dropout,
            razor: self.razor.parse(self.method)?,
            plan_effort: self.plan_effort,
            seed: self.seed,
        };
        self.method.apply(&mut options);
        Ok(options)
    }

    /// Refuses what compares sparsities, for methods that have none.
    pub fn check_prunes(&self, option: &str) -> Result<()> {
        match self.method.prunes() {
            true => Ok(()),
            false => Err(Failure::input(format!(
                "`{option}` compares sparsities, and `--method {}` prunes nothing",
                self.method
            ))
            .hint("leave `--method` out")),
        }
    }

    /// What the packed plan is called in tables, such as `90 % pruned` or `mesa`.
    pub fn method_label(&self) -> String {
        if self.method != Method::BackRazor {
            return self.method.to_string();
        }
        let sparsity = self.razor.sparsity(self.method).parse::<f64>().unwrap_or(0.0);
        format!("{} % pruned", (sparsity * 1e6).round() / 1e4)
    }
}

impl LossOptions {
    fn task(&self) -> Option<Task> {
        self.task.map(|it| match it {
            TaskWord::Classification => Task::Classification,
            TaskWord::TokenClassification => Task::TokenClassification,
            TaskWord::CausalLm => Task::CausalLm,
            TaskWord::MaskedLm => Task::MaskedLm,
            TaskWord::Segmentation => Task::Segmentation,
            TaskWord::Regression => Task::Regression,
            TaskWord::MultiLabel => Task::MultiLabel,
        })
    }

    /// The one that is asked for, or that of the task.
    fn loss(&self) -> Loss {
        match (self.loss, self.task()) {
            (Some(LossWord::CrossEntropy), _) => Loss::CrossEntropy,
            (Some(LossWord::Mse), _) | (None, Some(Task::Regression)) => Loss::MeanSquaredError,
            (Some(LossWord::Mae), _) => Loss::MeanAbsoluteError,
            (Some(LossWord::Huber), _) => Loss::Huber,
            (Some(LossWord::BceWithLogits), _) | (None, Some(Task::MultiLabel)) => Loss::BinaryCrossEntropy,
            (None, _) => Loss::CrossEntropy,
        }
    }

    fn delta(&self) -> Result<f64> {
        match self.huber_delta {
            delta if 0.0 < delta && delta.is_finite() => Ok(delta),
            delta => Err(Failure::input(format!("`--huber-delta {delta}` must be a number above 0"))),
        }
    }
}

impl UpdateOptions {
    fn optimizer(&self) -> Result<options::Optimizer> {
        Ok(options::Optimizer {
            kind: match self.optimizer {
                OptimizerWord::Sgd => OptimizerKind::Sgd,
                OptimizerWord::Adam => OptimizerKind::Adam,
                OptimizerWord::Adamw => OptimizerKind::AdamW,
            },
            momentum: self.momentum,
            nesterov: self.nesterov,
            weight_decay: self.weight_decay,
            betas: [self.beta1, self.beta2],
            epsilon: self.epsilon,
            state: match self.optimizer_state {
                StateWord::F32 => StateForm::F32,
                StateWord::Bf16 => StateForm::Bf16,
                StateWord::Bits8 => StateForm::Bits8,
            },
            clip: self.clip()?,
        })
    }

    fn clip(&self) -> Result<Option<Clip>> {
        let scope = match self.clip {
            ClipWord::Global => ClipScope::Global,
            ClipWord::PerWeight => ClipScope::PerWeight,
        };
        match self.clip_norm {
            None => Ok(None),
            Some(norm) if 0.0 < norm && norm.is_finite() => Ok(Some(Clip { norm, scope })),
            Some(norm) => Err(Failure::input(format!("`--clip-norm {norm}` must be a number above 0"))),
        }
    }
}

impl RazorOptions {
    /// The fraction that was asked for, or that of the method.
    fn sparsity(&self, method: Method) -> &str {
        let default = if method == Method::BackRazor { "0.9" } else { "0" };
        self.sparsity.as_deref().unwrap_or(default)
    }

    fn parse(&self, method: Method) -> Result<Razor> {
        let prunes = self.sparsity.is_some() || !self.sparsity_for.is_empty() || self.reference_mask;
        if prunes && !method.prunes() {
            return Err(Failure::input(format!("`--method {method}` prunes nothing")).hint(
                "leave `--sparsity`, `--sparsity-for` and `--reference-mask` out, or choose `--method backrazor`",
            ));
        }
        let sparsity = |text: &str| text.parse::<Sparsity>().ok();
        Ok(Razor {
            sparsity: self.sparsity(method).parse::<Sparsity>()?,
            sparsity_for: self
                .sparsity_for
                .iter()
                .map(|it| pair("--sparsity-for", it, sparsity))
                .collect::<Result<_>>()?,
            values: match self.values {
                Values::F32 => DType::F32,
                Values::F16 => DType::F16,
                Values::Bf16 => DType::Bf16,
                Values::I8 => DType::I8,
            },
            ends: self.prune_ends,
            smooth: self.prune_smooth,
            slope_bits: self.slope_bits.parse().unwrap_or(0),
            reference: self.reference_mask,
            padding: self.keep_padding,
            exact_norm: self.exact_norm,
            recompute: !self.no_recompute,
            rounded_bits: self.rounded_bits.parse().unwrap_or(8),
            rounds: Rounds::Spared,
            ..Razor::default()
        })
    }
}

/// Splits `NAME=VALUE` at its last `=`, as names may contain one.
fn pair<T>(option: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<(String, T)> {
    let parsed = text.rsplit_once('=').and_then(|(name, value)| Some((name.to_string(), parse(value)?)));
    parsed.ok_or_else(|| {
        let example = match option {
            "--bind" => "--bind seq=128",
            "--input-shape" => "--input-shape input=8,3,96,96",
            _ => "--sparsity-for 'blocks.3.*=0.95'",
        };
        Failure::input(format!("`{option} {text}` cannot be understood")).hint(format!("write `{example}`"))
    })
}

fn dims(text: &str) -> Option<Vec<u64>> {
    text.split(',').map(|dim| dim.parse().ok().filter(|dim| *dim > 0)).collect()
}
