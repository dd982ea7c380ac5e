//! The executor that defines correct: plain loops in f64, one small function for each kernel, no arena.

use std::collections::HashMap;

use ndarray::Array1;

use crate::kernels::Kernel;
use crate::program::{Home, Instruction, Program, Sequence, Value};
use crate::types::Type;

mod attention;
mod binary;
mod conv;
mod elementwise;
mod fold;
pub(crate) mod function;
mod index;
mod layout;
mod linear;
mod logic;
mod loss;
mod norm;
mod optimizer;
mod pack;
mod places;
mod pool;
mod quant;
mod reduce;
mod resize;
mod row_norm;
mod rows;
mod softmax;
mod tensor;
#[cfg(test)]
mod tests;
mod unary;
mod volume;

use tensor::Args;
pub use tensor::Tensor;

/// Runs a checked program, slowly.
pub struct Reference<'a> {
    program: &'a Program,
    precision: Precision,
    residents: Vec<Tensor>,
    given: HashMap<String, Tensor>,
    /// What the last run made or was given, by name of the value.
    made: HashMap<String, Tensor>,
}

/// What floats are rounded to after each instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Not rounded, for finite differences.
    #[default]
    F64,
    /// To f32, to be compared with executors that compute in f32.
    F32,
}

/// One of a program's sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// An optimizer step.
    Train,
    /// Loss and predictions.
    Eval,
}

impl<'a> Reference<'a> {
    /// All residents are zeros until they are set.
    pub fn new(program: &'a Program) -> Reference<'a> {
        let residents = program.residents().iter().map(|it| Tensor::zeros_of(it.ty())).collect();
        Reference { program, precision: Precision::F64, residents, given: HashMap::new(), made: HashMap::new() }
    }

    /// Rounds after each instruction.
    pub fn with_precision(self, precision: Precision) -> Reference<'a> {
        Reference { precision, ..self }
    }

    /// Gives a resident or a port its value, until it is set again.
    ///
    /// # Panics
    /// When no sequence has a value of that name and type.
    pub fn set(&mut self, name: &str, tensor: impl Into<Tensor>) {
        let tensor = tensor.into();
        if let Some(index) = self.program.residents().iter().position(|it| it.name() == name) {
            assert!(tensor.is_a(self.program.residents()[index].ty()), "resident `{name}` has another type");
            self.residents[index] = tensor;
            return;
        }
        let sequences = [self.program.train(), self.program.eval()];
        let mut values = sequences.into_iter().flat_map(Sequence::values).filter(|it| it.name() == name);
        assert!(values.any(|it| tensor.is_a(it.ty())), "no value `{name}` of this type");
        self.given.insert(name.into(), tensor);
    }

    /// Runs a sequence from what was set; only in-place updates outlast it.
    ///
    /// # Panics
    /// When a port was not set.
    pub fn run(&mut self, which: Which) {
        let sequence = match which {
            Which::Train => self.program.train(),
            Which::Eval => self.program.eval(),
        };
        let mut storages = HashMap::new();
        self.made.clear();
        for value in sequence.ports().filled().map(|it| &sequence.values()[it.value()]) {
            let tensor = self.given.get(value.name()).unwrap_or_else(|| panic!("`{}` is not set", value.name()));
            self.made.insert(value.name().into(), tensor.clone());
            storages.insert(value.home(), tensor.clone());
        }
        for instruction in sequence.instructions() {
            self.step(sequence.values(), instruction, &mut storages);
        }
    }

    /// A resident, or a value that the last run made. Values outlive their storages here.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        let resident = self.program.residents().iter().position(|it| it.name() == name);
        resident.map(|it| &self.residents[it]).or_else(|| self.made.get(name))
    }

    fn step(&mut self, values: &[Value], instruction: &Instruction, storages: &mut HashMap<Home, Tensor>) {
        let operands = instruction.operands().iter().map(|it| {
            let value = &values[it.value()];
            let tensor = match value.home() {
                Home::Resident(index) => &self.residents[index],
                home => &storages[&home],
            };
            match (tensor, value.ty()) {
                // Everyone else reads a packed operand as the dense tensor that it stands for.
                (Tensor::Topk(kept), Type::Topk(ty)) if !matches!(instruction.kernel(), Kernel::Decompress(_)) => {
                    pack::expand(ty.n(), kept).with_dims(&ty.dims)
                }
                (Tensor::Quant(values), _) if !matches!(instruction.kernel(), Kernel::Dequantize(_)) => {
                    Tensor::from(Array1::from(values.clone())).with_dims(value.ty().dims())
                }
                _ => tensor.with_dims(value.ty().dims()),
            }
        });
        let args = Args(operands.collect());
        let results = compute(instruction.kernel(), &args);
        for (tensor, place) in results.into_iter().zip(instruction.results()) {
            let Some(value) = place.map(|it| &values[it.value()]) else { continue };
            let tensor = self.rounded(tensor).with_dims(value.ty().dims());
            debug_assert!(tensor.is_a(value.ty()), "{} made something else than {}", instruction.op(), value.ty());
            match value.home() {
                Home::Resident(index) => {
                    self.residents[index] = tensor.with_dims(self.program.residents()[index].ty().dims());
                }
                home => drop(storages.insert(home, tensor.clone())),
            }
            self.made.insert(value.name().into(), tensor);
        }
    }

    fn rounded(&self, tensor: Tensor) -> Tensor {
        match tensor {
            Tensor::Float(it) if self.precision == Precision::F32 => Tensor::Float(it.mapv(|it| it as f32 as f64)),
            other => other,
        }
    }
}

fn compute(kernel: &Kernel, args: &Args) -> Vec<Tensor> {
    match kernel {
        Kernel::Linear(it) => vec![linear::linear(it, args)],
        Kernel::LinearInputGrad(it) => vec![linear::input_grad(it, args)],
        Kernel::LinearWeightGrad(it) => vec![onto(it.onto, 2, linear::weight_grad(it, args), args)],
        Kernel::Matmul(it) => vec![linear::matmul(it, args)],
        Kernel::Attention(it) => attention::attention(it, args),
        Kernel::AttentionGrad(it) => attention::attention_grad(it, args),
        Kernel::Conv(it) => vec![conv::conv(it, args)],
        Kernel::ConvInputGrad(it) => vec![conv::input_grad(it, args)],
        Kernel::ConvWeightGrad(it) => vec![onto(it.onto, 2, conv::weight_grad(it, args), args)],
        Kernel::MaxPool(it) => pool::max(it, args),
        Kernel::MaxPoolGrad(it) => vec![pool::max_grad(it, args)],
        Kernel::AvgPool(it) => vec![pool::avg(it, args)],
        Kernel::AvgPoolGrad(it) => vec![pool::avg_grad(it, args)],
        Kernel::BatchNorm(it) => vec![norm::batch_norm(it, args)],
        Kernel::BatchNormInputGrad(it) => vec![norm::batch_norm_input_grad(it, args)],
        Kernel::BatchNormScaleGrad(it) => vec![norm::batch_norm_scale_grad(it, args)],
        Kernel::BatchNormTrain(it) => norm::batch_norm_train(it, args),
        Kernel::BatchNormTrainGrad(it) => norm::batch_norm_train_grad(it, args),
        Kernel::Lrn(it) => vec![norm::lrn(it, args)],
        Kernel::LrnGrad(it) => vec![norm::lrn_grad(it, args)],
        Kernel::Relu(_) => elementwise::relu(args),
        Kernel::LeakyRelu(it) => elementwise::leaky_relu(it, args),
        Kernel::Clip(it) => elementwise::clip(it, args),
        Kernel::Sigmoid(_) => vec![elementwise::sigmoid(args)],
        Kernel::SigmoidGrad(_) => vec![elementwise::sigmoid_grad(args)],
        Kernel::Tanh(_) => vec![elementwise::tanh(args)],
        Kernel::TanhGrad(_) => vec![elementwise::tanh_grad(args)],
        Kernel::HardSigmoid(it) => elementwise::hard_sigmoid(it, args),
        Kernel::HardSwish(_) => vec![elementwise::hard_swish(args)],
        Kernel::HardSwishGrad(_) => vec![elementwise::hard_swish_grad(args)],
        Kernel::Prelu(it) => elementwise::prelu(it, args),
        Kernel::PreluInputGrad(it) => vec![elementwise::prelu_input_grad(it, args)],
        Kernel::PreluSlopeGrad(it) => vec![elementwise::prelu_slope_grad(it, args)],
        Kernel::Add(it) => vec![elementwise::binary(it, args, |a, b| a + b)],
        Kernel::Sub(it) => vec![elementwise::binary(it, args, |a, b| a - b)],
        Kernel::Mul(it) => vec![elementwise::binary(it, args, |a, b| a * b)],
        Kernel::Div(it) => vec![elementwise::binary(it, args, |a, b| a / b)],
        Kernel::Scale(it) => vec![elementwise::scale(it, args)],
        Kernel::Unary(it) => vec![unary::unary(it, args)],
        Kernel::UnaryGrad(it) => vec![unary::grad(it.function, args)],
        Kernel::Binary(it) => vec![binary::binary(it, args)],
        Kernel::SlopeCodes(it) => vec![unary::slope_codes(it, args)],
        Kernel::ScaleByCodes(it) => vec![unary::scale_by_codes(it, args)],
        Kernel::Gap(it) => unary::gap(it, args),
        Kernel::MaskedScale(it) => vec![elementwise::masked_scale(it, args)],
        Kernel::Dropout(it) => elementwise::dropout(it, args),
        Kernel::Reduce(it) => vec![onto(it.onto, 1, reduce::reduce(it, args), args)],
        Kernel::Expand(it) => vec![reduce::expand(it, args)],
        Kernel::Copy(_) => vec![args.0[0].clone()],
        Kernel::StridedRead(it) => vec![layout::strided_read(it, args)],
        Kernel::StridedWrite(it) => vec![layout::strided_write(it, args)],
        Kernel::Concat(it) => vec![layout::concat(it, args)],
        Kernel::Gather(it) => vec![index::gather(it, args)],
        Kernel::GatherGrad(it) => vec![onto(it.onto, 2, index::gather_grad(it, args), args)],
        Kernel::Pick(it) => vec![places::pick(it, args)],
        Kernel::PickGrad(it) => vec![places::pick_grad(it, args)],
        Kernel::Put(it) => vec![places::put(it, args)],
        Kernel::Cast(it) => vec![logic::cast(it, args)],
        Kernel::Compare(it) => vec![logic::compare(it, args)],
        Kernel::Connect(it) => vec![logic::connect(it, args)],
        Kernel::Not(_) => vec![logic::not(args)],
        Kernel::Where(it) => vec![logic::choose(it, args)],
        Kernel::Select(it) => vec![logic::select(it, args)],
        Kernel::Integer(it) => vec![logic::integer(it, args)],
        Kernel::Fold(it) => vec![fold::fold(it, args)],
        Kernel::ReduceProdGrad(it) => vec![fold::reduce_prod_grad(it, args)],
        Kernel::Cumsum(it) => vec![fold::cumsum(it, args)],
        Kernel::TopK(it) => fold::top_k(it, args),
        Kernel::ArgExtreme(it) => vec![fold::arg_extreme(it, args)],
        Kernel::Softmax(it) => vec![softmax::softmax(it, args)],
        Kernel::SoftmaxGrad(it) => vec![softmax::softmax_grad(it, args)],
        Kernel::LogSoftmax(it) => vec![softmax::log_softmax(it, args)],
        Kernel::LogSoftmaxGrad(it) => vec![softmax::log_softmax_grad(it, args)],
        Kernel::SoftmaxCrossEntropy(it) => loss::softmax_cross_entropy(it, args),
        Kernel::SoftmaxCrossEntropyGrad(it) => vec![loss::softmax_cross_entropy_grad(it, args)],
        Kernel::Mse(it) => vec![loss::mse(it, args)],
        Kernel::MseGrad(it) => vec![loss::mse_grad(it, args)],
        Kernel::Mae(it) => vec![loss::mae(it, args)],
        Kernel::MaeGrad(it) => vec![loss::mae_grad(it, args)],
        Kernel::Huber(it) => vec![loss::huber(it, args)],
        Kernel::HuberGrad(it) => vec![loss::huber_grad(it, args)],
        Kernel::BceWithLogits(it) => vec![loss::bce_with_logits(it, args)],
        Kernel::BceWithLogitsGrad(it) => vec![loss::bce_with_logits_grad(it, args)],
        Kernel::Correct(it) => loss::correct(it, args),
        Kernel::Compress(it) => vec![pack::compress(it, args)],
        Kernel::Decompress(it) => vec![pack::decompress(it, args)],
        Kernel::Quantize(it) => vec![quant::quantize(it, args)],
        Kernel::Dequantize(_) => vec![quant::dequantize(args)],
        Kernel::MaskTopk(it) => vec![pack::mask_topk(it, args)],
        Kernel::Sgd(it) => optimizer::sgd(it, args),
        Kernel::Decay(it) => vec![optimizer::decay(it, args)],
        Kernel::Accumulate(_) => vec![(&args.flat(0) + &args.flat(1)).into()],
        Kernel::Descend(_) => vec![(&args.flat(0) - &(&args.flat(1) * args.scalar(2))).into()],
        Kernel::Adam(it) => optimizer::adam(it, args),
        Kernel::GradientNorm(_) => vec![optimizer::gradient_norm(args)],
        Kernel::ClipScale(it) => vec![optimizer::clip_scale(it, args)],
        Kernel::SgdRows(it) => rows::sgd_rows(it, args),
        Kernel::AdamRows(it) => rows::adam_rows(it, args),
        Kernel::BatchNormUpdate(it) => optimizer::batch_norm_update(it, args),
        Kernel::RowNorm(it) => row_norm::norm(it, args),
        Kernel::RowNormGrad(it) => row_norm::grad(it, args),
        Kernel::RowNormGradFromOutput(it) => row_norm::grad_from_output(it, args),
        Kernel::ConvTransposeWeightGrad(it) => vec![onto(it.onto, 2, conv::transpose_weight_grad(it, args), args)],
        Kernel::VolumeConv(it) => vec![volume::conv(it, args)],
        Kernel::VolumeConvInputGrad(it) => vec![volume::input_grad(it, args)],
        Kernel::VolumeConvWeightGrad(it) => vec![onto(it.onto, 2, volume::weight_grad(it, args), args)],
        Kernel::VolumeMaxPool(it) => volume::max(it, args),
        Kernel::VolumeMaxPoolGrad(it) => vec![volume::max_grad(it, args)],
        Kernel::VolumeAvgPool(it) => vec![volume::avg(it, args)],
        Kernel::VolumeAvgPoolGrad(it) => vec![volume::avg_grad(it, args)],
        Kernel::Resize(it) => vec![resize::resize(it, args)],
        Kernel::ResizeGrad(it) => vec![resize::grad(it, args)],
    }
}

/// What is made, or, if it is added `onto` the operand at `slot`, the sum.
fn onto(onto: bool, slot: usize, made: Tensor, args: &Args) -> Tensor {
    match made {
        Tensor::Float(made) if onto => (made.flatten().to_owned() + args.flat(slot)).into(),
        made => made,
    }
}
