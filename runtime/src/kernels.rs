//! The instruction set: what an instruction computes, with every size worked out and checked.

use razorc_proto::program::Attr;

use crate::error::KernelError;
use crate::types::Type;
use binary::Operator;
use call::Call;
use unary::{Function, Smooth};

pub mod activation;
pub mod attention;
pub mod binary;
mod call;
pub mod clip;
pub mod conv;
pub mod elementwise;
pub mod fold;
pub mod index;
pub mod layout;
pub mod linear;
pub mod logic;
pub mod loss;
pub mod norm;
pub mod optimizer;
pub mod pack;
pub mod places;
pub mod pool;
pub mod quant;
pub mod reduce;
pub mod resize;
pub mod row_norm;
pub mod rows;
pub mod slope;
pub mod softmax;
pub mod state;
mod strides;
pub mod unary;
pub mod volume;
mod window;

/// One instruction's computation. All sizes agree with the types of its operands and results.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is named after its op or by its parameters, which are documented")]
pub enum Kernel {
    Linear(linear::Linear),
    LinearInputGrad(linear::Linear),
    LinearWeightGrad(linear::Linear),
    Matmul(linear::Matmul),
    Attention(attention::Attention),
    AttentionGrad(attention::Attention),
    Conv(conv::Conv),
    ConvInputGrad(conv::Conv),
    ConvWeightGrad(conv::Conv),
    MaxPool(pool::MaxPool),
    MaxPoolGrad(pool::MaxPool),
    AvgPool(pool::AvgPool),
    AvgPoolGrad(pool::AvgPool),
    BatchNorm(norm::BatchNorm),
    BatchNormInputGrad(norm::BatchNorm),
    BatchNormScaleGrad(norm::BatchNorm),
    BatchNormTrain(norm::BatchNorm),
    BatchNormTrainGrad(norm::Channels),
    Lrn(norm::Lrn),
    LrnGrad(norm::Lrn),
    Relu(elementwise::Flat),
    LeakyRelu(elementwise::LeakyRelu),
    Clip(elementwise::Clip),
    Sigmoid(elementwise::Flat),
    SigmoidGrad(elementwise::Flat),
    Tanh(elementwise::Flat),
    TanhGrad(elementwise::Flat),
    HardSigmoid(elementwise::HardSigmoid),
    HardSwish(elementwise::Flat),
    HardSwishGrad(elementwise::Flat),
    Prelu(elementwise::Broadcast),
    PreluInputGrad(elementwise::Broadcast),
    PreluSlopeGrad(elementwise::Broadcast),
    Add(elementwise::Broadcast),
    Sub(elementwise::Broadcast),
    Mul(elementwise::Broadcast),
    Div(elementwise::Broadcast),
    Scale(elementwise::Scale),
    Unary(unary::Unary),
    UnaryGrad(unary::UnaryGrad),
    Binary(binary::Binary),
    SlopeCodes(slope::Slopes),
    ScaleByCodes(slope::Slopes),
    /// `thresholded_relu` and `shrink`.
    Gap(activation::Gap),
    MaskedScale(elementwise::MaskedScale),
    Dropout(elementwise::Dropout),
    /// `reduce_to`, `reduce_sum` and `reduce_mean`.
    Reduce(reduce::Reduce),
    Expand(reduce::Expand),
    /// `reshape` that could not share storage.
    Copy(layout::Copy),
    /// `transpose` and `slice`.
    StridedRead(layout::StridedRead),
    /// `pad` and `unslice`.
    StridedWrite(layout::StridedWrite),
    Concat(layout::Concat),
    Gather(index::Gather),
    GatherGrad(index::Gather),
    /// `gather_elements` and `gather_nd`.
    Pick(places::Pick),
    /// `gather_elements_grad` and `gather_nd_grad`.
    PickGrad(places::Places),
    /// `scatter_elements` and `scatter_nd`.
    Put(places::Put),
    Cast(logic::Cast),
    /// `equal`, `less`, `less_or_equal`, `greater` and `greater_or_equal`.
    Compare(logic::Compare),
    /// `and`, `or` and `xor`.
    Connect(logic::Connect),
    Not(elementwise::Flat),
    Where(logic::Where),
    Select(logic::Select),
    /// `add`, `sub`, `mul`, `div` and `mod` of integers.
    Integer(logic::Integer),
    /// `reduce_max`, `reduce_min`, `reduce_prod`, and `reduce_sum` of integers.
    Fold(fold::Fold),
    ReduceProdGrad(reduce::Reduce),
    Cumsum(fold::Cumsum),
    TopK(fold::Topk),
    ArgExtreme(fold::ArgExtreme),
    Softmax(softmax::Softmax),
    SoftmaxGrad(softmax::Softmax),
    LogSoftmax(softmax::Softmax),
    LogSoftmaxGrad(softmax::Softmax),
    SoftmaxCrossEntropy(loss::CrossEntropy),
    SoftmaxCrossEntropyGrad(loss::CrossEntropy),
    Mse(loss::Elementwise),
    MseGrad(loss::Elementwise),
    Mae(loss::Elementwise),
    MaeGrad(loss::Elementwise),
    Huber(loss::Huber),
    HuberGrad(loss::Huber),
    BceWithLogits(loss::Elementwise),
    BceWithLogitsGrad(loss::Elementwise),
    Correct(loss::Correct),
    Compress(pack::Compress),
    Decompress(pack::Pack),
    Quantize(quant::Quantize),
    Dequantize(quant::Quant),
    MaskTopk(pack::MaskTopk),
    /// `sgd` and `sgd_clipped`.
    Sgd(optimizer::Sgd),
    Decay(optimizer::Decay),
    Accumulate(elementwise::Flat),
    Descend(elementwise::Flat),
    /// `adam` and `adamw`, with clipped gradients too.
    Adam(optimizer::Adam),
    GradientNorm(elementwise::Flat),
    ClipScale(clip::ClipScale),
    SgdRows(rows::SgdRows),
    /// `adam_rows` and `adamw_rows`.
    AdamRows(rows::AdamRows),
    BatchNormUpdate(optimizer::BatchNormUpdate),
    /// `layer_norm` and `rms_norm`.
    RowNorm(row_norm::RowNorm),
    RowNormGrad(row_norm::Rows),
    RowNormGradFromOutput(row_norm::Rows),
    ConvTransposeWeightGrad(conv::Conv),
    VolumeConv(volume::Conv),
    VolumeConvInputGrad(volume::Conv),
    VolumeConvWeightGrad(volume::Conv),
    VolumeMaxPool(volume::Pool),
    VolumeMaxPoolGrad(volume::Pool),
    VolumeAvgPool(volume::Pool),
    VolumeAvgPoolGrad(volume::Pool),
    Resize(resize::Resize),
    ResizeGrad(resize::Resize),
}

impl Kernel {
    /// Checks an instruction: op, types of operands and results (`None`: not wanted) and attrs.
    pub fn parse(
        op: &str,
        operands: &[&Type],
        results: &[Option<&Type>],
        attrs: &[Attr],
    ) -> Result<Kernel, KernelError> {
        let (_, names, parse) = ROWS.iter().find(|(name, ..)| *name == op).ok_or(KernelError::Unknown)?;
        let call = Call { operands, results, attrs };
        call.only(names)?;
        parse(&call)
    }

    /// Names of all ops.
    pub fn ops() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.0)
    }

    /// For an in-place update, the operand that each result is; empty for all other kernels.
    pub fn in_place(&self) -> &'static [usize] {
        match self {
            Kernel::Sgd(sgd) if 0.0 < sgd.momentum => &[0, 2],
            Kernel::Sgd(_) => &[0],
            Kernel::Adam(_) => &[0, 2, 3],
            Kernel::SgdRows(it) if 0.0 < it.sgd.momentum => &[0, 3],
            Kernel::SgdRows(_) => &[0],
            Kernel::AdamRows(_) => &[0, 3, 4],
            Kernel::BatchNormUpdate(_) => &[0, 1],
            Kernel::Descend(_) => &[0],
            Kernel::Decay(_) | Kernel::Accumulate(_) => &[1],
            Kernel::Reduce(it) if it.onto => &[1],
            Kernel::LinearWeightGrad(it) if it.onto => &[2],
            Kernel::ConvWeightGrad(it) | Kernel::ConvTransposeWeightGrad(it) if it.onto => &[2],
            Kernel::VolumeConvWeightGrad(it) if it.onto => &[2],
            Kernel::GatherGrad(it) if it.onto => &[2],
            _ => &[],
        }
    }

    /// Operands in whose bytes the first result may be made, if it has as many elements: kernels take these as a
    /// [`Reusable`](crate::arena::Reusable), and all others must be apart from every result.
    pub fn reuses(&self) -> &'static [usize] {
        match self {
            Kernel::Relu(_)
            | Kernel::LeakyRelu(_)
            | Kernel::Clip(_)
            | Kernel::HardSigmoid(_)
            | Kernel::Gap(_)
            | Kernel::Sigmoid(_)
            | Kernel::Tanh(_)
            | Kernel::HardSwish(_)
            | Kernel::Scale(_)
            | Kernel::Unary(_)
            | Kernel::MaskedScale(_)
            | Kernel::ScaleByCodes(_)
            | Kernel::Dropout(_)
            | Kernel::BatchNorm(_)
            | Kernel::BatchNormInputGrad(_)
            | Kernel::Softmax(_)
            | Kernel::SoftmaxGrad(_)
            | Kernel::LogSoftmax(_)
            | Kernel::LogSoftmaxGrad(_)
            | Kernel::SoftmaxCrossEntropyGrad(_)
            | Kernel::RowNorm(_)
            | Kernel::RowNormGrad(_)
            | Kernel::RowNormGradFromOutput(_) => &[0],
            Kernel::Add(_)
            | Kernel::Sub(_)
            | Kernel::Mul(_)
            | Kernel::Div(_)
            | Kernel::Binary(_)
            | Kernel::SigmoidGrad(_)
            | Kernel::TanhGrad(_)
            | Kernel::HardSwishGrad(_)
            | Kernel::UnaryGrad(_) => &[0, 1],
            Kernel::LinearInputGrad(it) if it.onto => &[2],
            Kernel::ConvInputGrad(it) if it.onto => &[2],
            _ => &[],
        }
    }
}

type Parse = fn(&Call<'_>) -> Result<Kernel, KernelError>;

const CONV: &[&str] = &["strides", "pads", "dilations", "groups"];
const CONV_GRAD: &[&str] = &["strides", "pads", "dilations", "groups", "shape"];
const MAX_POOL: &[&str] = &["kernel", "strides", "pads", "dilations", "ceil"];
const MAX_POOL_GRAD: &[&str] = &["kernel", "strides", "pads", "dilations", "ceil", "shape"];
const AVG_POOL: &[&str] = &["kernel", "strides", "pads", "dilations", "ceil", "count_include_pad"];
const AVG_POOL_GRAD: &[&str] = &["kernel", "strides", "pads", "dilations", "ceil", "count_include_pad", "shape"];
const RESIZE: &[&str] = &[
    "axis",
    "size",
    "scale",
    "mode",
    "coordinates",
    "cubic",
    "exclude_outside",
    "antialias",
    "start",
    "end",
    "outside",
];
const RESIZE_GRAD: &[&str] = &[
    "axis",
    "size",
    "scale",
    "mode",
    "coordinates",
    "cubic",
    "exclude_outside",
    "antialias",
    "start",
    "end",
    "outside",
    "shape",
];
const LRN: &[&str] = &["size", "alpha", "beta", "bias"];
const ATTENTION: &[&str] = &["scale", "causal", "safe"];
const CROSS_ENTROPY: &[&str] = &["axis", "ignore_index", "label_smoothing", "reduction"];
const SGD: &[&str] = &["momentum", "nesterov", "weight_decay", "seed"];
const ADAM: &[&str] = &["beta1", "beta2", "epsilon", "weight_decay", "seed"];

/// Every op: its name, the attrs that it has (all of them, and no others), and how an instruction is checked.
const ROWS: &[(&str, &[&str], Parse)] = &[
    ("linear", &["transpose"], linear::linear),
    ("linear_input_grad", &["transpose"], linear::linear_input_grad),
    ("linear_weight_grad", &["transpose"], linear::linear_weight_grad),
    ("matmul", &["ta", "tb"], linear::matmul),
    ("attention", ATTENTION, attention::attention),
    ("attention_grad", ATTENTION, attention::attention_grad),
    ("conv", CONV, conv::conv),
    ("conv_input_grad", CONV_GRAD, conv::conv_input_grad),
    ("conv_weight_grad", CONV_GRAD, conv::conv_weight_grad),
    ("max_pool", MAX_POOL, pool::max_pool),
    ("max_pool_grad", MAX_POOL_GRAD, pool::max_pool_grad),
    ("avg_pool", AVG_POOL, pool::avg_pool),
    ("avg_pool_grad", AVG_POOL_GRAD, pool::avg_pool_grad),
    // The momentum says how running statistics would move if they were trained.
    ("batch_norm", &["epsilon", "momentum"], norm::batch_norm),
    ("batch_norm_input_grad", &["epsilon"], norm::batch_norm_input_grad),
    ("batch_norm_scale_grad", &["epsilon"], norm::batch_norm_scale_grad),
    ("batch_norm_train", &["epsilon"], norm::batch_norm_train),
    ("batch_norm_train_grad", &[], norm::batch_norm_train_grad),
    ("lrn", LRN, norm::lrn),
    ("lrn_grad", LRN, norm::lrn_grad),
    ("relu", &[], elementwise::relu),
    ("leaky_relu", &["alpha"], elementwise::leaky_relu),
    ("clip", &["min", "max"], elementwise::clip),
    ("sigmoid", &[], elementwise::sigmoid),
    ("sigmoid_grad", &[], elementwise::sigmoid_grad),
    ("tanh", &[], elementwise::tanh),
    ("tanh_grad", &[], elementwise::tanh_grad),
    ("hard_sigmoid", &["alpha", "beta"], elementwise::hard_sigmoid),
    ("hard_swish", &[], elementwise::hard_swish),
    ("hard_swish_grad", &[], elementwise::hard_swish_grad),
    ("prelu", &[], elementwise::prelu),
    ("prelu_input_grad", &[], elementwise::prelu_input_grad),
    ("prelu_slope_grad", &["shape"], elementwise::prelu_slope_grad),
    ("add", &[], elementwise::add),
    ("sub", &[], elementwise::sub),
    ("mul", &[], elementwise::mul),
    ("div", &[], elementwise::div),
    ("scale", &["factor"], elementwise::scale),
    ("shift", &["offset"], unary::shift),
    ("power", &["exponent"], unary::power),
    ("reciprocal", &[], |call| unary::unary(call, Function::Reciprocal)),
    ("exp", &[], |call| unary::unary(call, Function::Exp)),
    ("log", &[], |call| unary::unary(call, Function::Log)),
    ("sqrt", &[], |call| unary::unary(call, Function::Sqrt)),
    ("abs", &[], |call| unary::unary(call, Function::Abs)),
    ("sign", &[], |call| unary::unary(call, Function::Sign)),
    ("floor", &[], |call| unary::unary(call, Function::Floor)),
    ("ceil", &[], |call| unary::unary(call, Function::Ceil)),
    ("round", &[], |call| unary::unary(call, Function::Round)),
    ("sin", &[], |call| unary::unary(call, Function::Sin)),
    ("cos", &[], |call| unary::unary(call, Function::Cos)),
    ("tan", &[], |call| unary::unary(call, Function::Tan)),
    ("asin", &[], |call| unary::unary(call, Function::Asin)),
    ("acos", &[], |call| unary::unary(call, Function::Acos)),
    ("atan", &[], |call| unary::unary(call, Function::Atan)),
    ("sinh", &[], |call| unary::unary(call, Function::Sinh)),
    ("cosh", &[], |call| unary::unary(call, Function::Cosh)),
    ("asinh", &[], |call| unary::unary(call, Function::Asinh)),
    ("acosh", &[], |call| unary::unary(call, Function::Acosh)),
    ("atanh", &[], |call| unary::unary(call, Function::Atanh)),
    ("erf", &[], |call| unary::unary(call, Function::Erf)),
    ("silu", &[], |call| unary::unary(call, Function::Smooth(Smooth::Silu))),
    ("silu_grad", &[], |call| unary::grad(call, Smooth::Silu)),
    ("mish", &[], |call| unary::unary(call, Function::Smooth(Smooth::Mish))),
    ("mish_grad", &[], |call| unary::grad(call, Smooth::Mish)),
    ("softplus", &[], |call| unary::unary(call, Function::Smooth(Smooth::Softplus))),
    ("softplus_grad", &[], |call| unary::grad(call, Smooth::Softplus)),
    ("softsign", &[], |call| unary::unary(call, Function::Smooth(Smooth::Softsign))),
    ("softsign_grad", &[], |call| unary::grad(call, Smooth::Softsign)),
    ("gelu", &["approximate"], unary::gelu),
    ("gelu_grad", &["approximate"], unary::gelu_grad),
    ("elu", &["alpha"], unary::elu),
    ("elu_grad", &["alpha"], unary::elu_grad),
    ("thresholded_relu", &["alpha"], activation::thresholded_relu),
    ("shrink", &["lambda", "bias"], activation::shrink),
    ("pow", &[], |call| binary::binary(call, Operator::Pow)),
    ("max", &[], |call| binary::binary(call, Operator::Max)),
    ("min", &[], |call| binary::binary(call, Operator::Min)),
    ("round_f16", &[], |call| unary::unary(call, Function::RoundF16)),
    ("slope_codes", &["function", "bits", "alpha", "approximate"], slope::slope_codes),
    ("scale_by_codes", &["function", "alpha", "approximate"], slope::scale_by_codes),
    ("max_share", &[], |call| binary::binary(call, Operator::MaxShare)),
    ("fmod", &[], |call| binary::binary(call, Operator::Fmod)),
    ("pow_base_slope", &[], |call| binary::binary(call, Operator::PowBaseSlope)),
    ("pow_exponent_slope", &[], |call| binary::binary(call, Operator::PowExponentSlope)),
    ("masked_scale", &["on", "off"], elementwise::masked_scale),
    ("dropout", &["ratio", "seed"], elementwise::dropout),
    ("reduce_to", &["shape"], reduce::reduce_to),
    ("reduce_sum", &["axes", "keepdims"], reduce::reduce_sum),
    ("reduce_mean", &["axes", "keepdims"], reduce::reduce_mean),
    ("expand", &["shape", "scale"], reduce::expand),
    ("reshape", &["shape"], layout::reshape),
    ("transpose", &["perm"], layout::transpose),
    ("slice", &["starts", "ends", "steps"], layout::slice),
    ("unslice", &["shape", "starts", "steps"], layout::unslice),
    ("pad", &["pads", "value"], layout::pad),
    ("concat", &["axis"], layout::concat),
    ("gather", &["axis"], index::gather),
    ("gather_grad", &["axis", "shape"], index::gather_grad),
    ("gather_elements", &["axis"], places::gather_elements),
    ("gather_elements_grad", &["axis", "shape"], places::gather_elements_grad),
    ("gather_nd", &["batch_dims"], places::gather_nd),
    ("gather_nd_grad", &["batch_dims", "shape"], places::gather_nd_grad),
    ("scatter_elements", &["axis", "reduction"], places::scatter_elements),
    ("scatter_nd", &["reduction"], places::scatter_nd),
    ("cast", &["to"], logic::cast),
    ("equal", &[], logic::equal),
    ("less", &[], logic::less),
    ("less_or_equal", &[], logic::less_or_equal),
    ("greater", &[], logic::greater),
    ("greater_or_equal", &[], logic::greater_or_equal),
    ("and", &[], logic::and),
    ("or", &[], logic::or),
    ("xor", &[], logic::xor),
    ("not", &[], logic::not),
    ("where", &[], logic::choose),
    ("select", &["when"], logic::select),
    ("mod", &["fmod"], logic::modulo),
    ("reduce_max", &["axes", "keepdims"], fold::reduce_max),
    ("reduce_min", &["axes", "keepdims"], fold::reduce_min),
    ("reduce_prod", &["axes", "keepdims"], fold::reduce_prod),
    ("reduce_prod_grad", &["axes"], fold::reduce_prod_grad),
    ("cumsum", &["axis", "exclusive", "reverse"], fold::cumsum),
    ("top_k", &["axis", "k", "largest"], fold::top_k),
    ("arg_extreme", &["axis", "largest", "last"], fold::arg_extreme),
    ("softmax", &["axis"], softmax::softmax),
    ("softmax_grad", &["axis"], softmax::softmax_grad),
    ("log_softmax", &["axis"], softmax::log_softmax),
    ("log_softmax_grad", &["axis"], softmax::log_softmax_grad),
    ("softmax_cross_entropy", CROSS_ENTROPY, loss::softmax_cross_entropy),
    ("softmax_cross_entropy_grad", CROSS_ENTROPY, loss::softmax_cross_entropy_grad),
    ("mse", &[], loss::mse),
    ("mse_grad", &[], loss::mse_grad),
    ("mae", &[], loss::mae),
    ("mae_grad", &[], loss::mae_grad),
    ("huber", &["delta"], loss::huber),
    ("huber_grad", &["delta"], loss::huber_grad),
    ("bce_with_logits", &[], loss::bce_with_logits),
    ("bce_with_logits_grad", &[], loss::bce_with_logits_grad),
    ("correct", &["kind", "axis", "ignore_index"], loss::correct),
    ("compress", &["seed"], pack::compress),
    ("decompress", &[], pack::decompress),
    ("quantize", &["seed"], quant::quantize),
    ("dequantize", &[], quant::dequantize),
    ("mask_topk", &["sparsity_ppm", "samples"], pack::mask_topk),
    ("sgd", SGD, optimizer::sgd),
    ("decay", &["momentum", "weight_decay"], optimizer::decay),
    ("accumulate", &[], optimizer::accumulate),
    ("descend", &[], optimizer::descend),
    ("adam", ADAM, optimizer::adam),
    ("adamw", ADAM, optimizer::adamw),
    ("gradient_norm", &[], clip::gradient_norm),
    ("clip_scale", &["norm"], clip::clip_scale),
    ("sgd_clipped", SGD, |call| clip::clipped(call, optimizer::sgd)),
    ("adam_clipped", ADAM, |call| clip::clipped(call, optimizer::adam)),
    ("adamw_clipped", ADAM, |call| clip::clipped(call, optimizer::adamw)),
    ("sgd_rows", SGD, rows::sgd_rows),
    ("adam_rows", ADAM, rows::adam_rows),
    ("adamw_rows", ADAM, rows::adamw_rows),
    ("batch_norm_update", &["momentum", "epsilon", "count"], optimizer::batch_norm_update),
    ("layer_norm", &["axis", "epsilon"], row_norm::layer_norm),
    ("layer_norm_grad", &[], row_norm::layer_norm_grad),
    ("layer_norm_grad_from_output", &[], row_norm::layer_norm_grad_from_output),
    ("rms_norm", &["axis", "epsilon"], row_norm::rms_norm),
    ("rms_norm_grad", &[], row_norm::rms_norm_grad),
    ("rms_norm_grad_from_output", &[], row_norm::rms_norm_grad_from_output),
    ("conv_transpose", CONV_GRAD, conv::conv_input_grad),
    ("conv_transpose_weight_grad", CONV_GRAD, conv::conv_transpose_weight_grad),
    ("resize", RESIZE, resize::resize),
    ("resize_grad", RESIZE_GRAD, resize::resize_grad),
];
