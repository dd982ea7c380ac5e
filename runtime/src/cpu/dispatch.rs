//! Which function runs which kernel, on which operands and results.

use super::pack::Packed;
use super::quant::Rounded;
use super::state::Weight;
use super::{
    activation, attention, binary, broadcast, clip, conv, cross_entropy, dropout, elementwise, fold, index, layout,
    linear, logic, loss, lrn, norm, optimizer, pack, places, pool2d, quant, reduce, resize, row_norm, rows, slope,
    softmax, sparse, topk, unary, volume,
};
use crate::arena::{Element, Reusable, Step};
use crate::kernels::Kernel;
use crate::kernels::loss::{Correct, CrossEntropy};
use crate::kernels::optimizer::{Adam, Sgd};
use crate::kernels::pack::{Pack, Stored};
use crate::kernels::quant::Quant;
use crate::kernels::row_norm::{RowNorm, Rows};
use crate::kernels::rows::{AdamRows, SgdRows};
use crate::pool::{Pool, Team};
use crate::types::DType;

/// Says `$body` for the element type of a tensor.
macro_rules! each_type {
    ($element:expr, $T:ident => $body:expr) => {
        match $element {
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::I64 => {
                type $T = i64;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::U8 | DType::Bool => {
                type $T = u8;
                $body
            }
        }
    };
}

/// Runs one instruction.
pub fn compute(team: &Team<'_>, kernel: &Kernel, step: &Step<'_>) {
    let pool = team.pool;
    let x = |slot| step.operand::<f32>(slot);
    let from = |slot| step.reusable::<f32>(slot);
    let bits = |slot| step.operand::<u64>(slot);
    let bias = |has| if has { Some(x(2)) } else { None };
    let y = || step.result::<f32>(0);
    match kernel {
        Kernel::Linear(it) => match &it.x {
            Stored::Rounded(quant) => {
                linear::linear_rounded(team, it, rounded(quant, 1, step, 0), x(1), bias(it.bias), y());
            }
            _ => linear::linear(team, it, x(0), x(1), bias(it.bias), y()),
        },
        Kernel::LinearInputGrad(it) => linear::linear_input_grad(team, it, x(0), x(1), onto(pool, it.onto, step)),
        Kernel::LinearWeightGrad(it) => match &it.x {
            Stored::Dense => linear::linear_weight_grad(team, it, x(0), x(1), y()),
            Stored::Pruned(pack) => {
                sparse::linear::weight_grad(team, it, x(0), &pruned(pack, step, 1), sums(it.onto, y()));
            }
            Stored::Rounded(quant) => {
                linear::linear_weight_grad_rounded(team, it, x(0), rounded(quant, 1, step, 1), y());
            }
        },
        Kernel::Matmul(it) => linear::matmul(team, it, x(0), x(1), y()),
        Kernel::Attention(it) => {
            let mask = if it.mask.is_some() { x(3) } else { &[] };
            attention::attention(team, it, [x(0), x(1), x(2), mask], [any(step, 0), any(step, 1)]);
        }
        Kernel::AttentionGrad(it) => {
            let mask = if it.mask.is_some() { x(5) } else { &[] };
            attention::attention_grad(team, it, x(0), [x(1), x(2), x(3), mask], x(4), results(step));
        }
        Kernel::Conv(it) => conv::conv(team, it, x(0), x(1), bias(it.bias), y()),
        Kernel::ConvInputGrad(it) => conv::conv_input_grad(team, it, x(0), x(1), onto(pool, it.onto, step)),
        Kernel::ConvWeightGrad(it) => match &it.x {
            Stored::Dense => conv::conv_weight_grad(team, it, x(0), x(1), y()),
            Stored::Pruned(pack) => {
                conv::conv_weight_grad_kept(team, it, x(0), &pruned(pack, step, 1), sums(it.onto, y()));
            }
            Stored::Rounded(quant) => {
                let x1 = rounded(quant, it.n, step, 1);
                conv::conv_weight_grad_kept(team, it, x(0), &x1, sums(it.onto, y()));
            }
        },
        Kernel::MaxPool(it) if it.wide => pool2d::max_pool::<i32>(pool, it, x(0), step.wanted(0), step.wanted(1)),
        Kernel::MaxPool(it) => pool2d::max_pool::<u8>(pool, it, x(0), step.wanted(0), step.wanted(1)),
        Kernel::MaxPoolGrad(it) if it.wide => pool2d::max_pool_grad::<i32>(pool, it, x(0), step.operand(1), y()),
        Kernel::MaxPoolGrad(it) => pool2d::max_pool_grad::<u8>(pool, it, x(0), step.operand(1), y()),
        Kernel::AvgPool(it) => pool2d::avg_pool(pool, it, x(0), y()),
        Kernel::AvgPoolGrad(it) => pool2d::avg_pool_grad(pool, it, x(0), y()),
        Kernel::BatchNorm(it) => norm::batch_norm(pool, it, from(0), [x(1), x(2), x(3), x(4)], y()),
        Kernel::BatchNormInputGrad(it) => norm::batch_norm_input_grad(pool, it, from(0), [x(1), x(2)], y()),
        Kernel::BatchNormScaleGrad(it) => norm::batch_norm_scale_grad(pool, it, operands(step), y()),
        Kernel::BatchNormTrain(it) => norm::batch_norm_train(pool, it, operands(step), results(step)),
        Kernel::BatchNormTrainGrad(it) => norm::batch_norm_train_grad(pool, it, operands(step), results(step)),
        Kernel::Lrn(it) => lrn::lrn(pool, it, x(0), y()),
        Kernel::LrnGrad(it) => lrn::lrn_grad(pool, it, operands(step), y()),
        Kernel::Relu(_) => activation::relu(pool, from(0), any(step, 0), any(step, 1)),
        Kernel::LeakyRelu(it) => activation::leaky_relu(pool, it, from(0), any(step, 0), any(step, 1)),
        Kernel::Clip(it) => activation::clip(pool, it, from(0), any(step, 0), any(step, 1)),
        Kernel::HardSigmoid(it) => activation::hard_sigmoid(pool, it, from(0), any(step, 0), any(step, 1)),
        Kernel::Prelu(it) => broadcast::prelu(pool, it, operands(step), any(step, 0), any(step, 1)),
        Kernel::PreluInputGrad(it) => broadcast::prelu_input_grad(pool, it, [x(0), x(2)], bits(1), y()),
        Kernel::PreluSlopeGrad(it) => reduce::prelu_slope_grad(pool, it, operands(step), y()),
        Kernel::Sigmoid(_) => elementwise::sigmoid(pool, from(0), y()),
        Kernel::SigmoidGrad(_) => elementwise::sigmoid_grad(pool, [from(0), from(1)], y()),
        Kernel::Tanh(_) => elementwise::tanh(pool, from(0), y()),
        Kernel::TanhGrad(_) => elementwise::tanh_grad(pool, [from(0), from(1)], y()),
        Kernel::HardSwish(_) => elementwise::hard_swish(pool, from(0), y()),
        Kernel::HardSwishGrad(_) => elementwise::hard_swish_grad(pool, [from(0), from(1)], y()),
        Kernel::Add(it) => broadcast::binary(pool, it, [from(0), from(1)], y(), |a, b| a + b),
        Kernel::Sub(it) => broadcast::binary(pool, it, [from(0), from(1)], y(), |a, b| a - b),
        Kernel::Mul(it) => broadcast::binary(pool, it, [from(0), from(1)], y(), |a, b| a * b),
        Kernel::Div(it) => broadcast::binary(pool, it, [from(0), from(1)], y(), |a, b| a / b),
        Kernel::Scale(it) => elementwise::scale(pool, it, from(0), y()),
        Kernel::Unary(it) => unary::unary(pool, it, from(0), y()),
        Kernel::UnaryGrad(it) => unary::grad(pool, it.function, [from(0), from(1)], y()),
        Kernel::Binary(it) => binary::binary(pool, it, [from(0), from(1)], y()),
        Kernel::SlopeCodes(it) => slope::slope_codes(pool, it, x(0), step.result(0)),
        Kernel::ScaleByCodes(it) => slope::scale_by_codes(pool, it, from(0), bits(1), y()),
        Kernel::Gap(it) => activation::gap(pool, it, from(0), any(step, 0), any(step, 1)),
        Kernel::MaskedScale(it) => elementwise::masked_scale(pool, it, from(0), bits(1), y()),
        Kernel::Dropout(it) => dropout::dropout(pool, it, from(0), x(1)[0], any(step, 0), any(step, 1)),
        Kernel::Reduce(it) => reduce::reduce(pool, it, x(0), y()),
        Kernel::Expand(it) if it.element == DType::F32 => {
            let scale = it.scale as f32;
            broadcast::expand(pool, it, x(0), y(), move |x| x * scale);
        }
        Kernel::Expand(it) => each_type!(it.element, T => {
            broadcast::expand::<T>(pool, it, step.operand(0), step.result(0), |x| x);
        }),
        Kernel::Copy(it) => each_type!(it.element, T => layout::copy::<T>(pool, step.operand(0), step.result(0))),
        Kernel::StridedRead(it) => each_type!(it.element, T => {
            layout::strided_read::<T>(pool, it, step.operand(0), step.result(0));
        }),
        Kernel::StridedWrite(it) => each_type!(it.element, T => {
            layout::strided_write::<T>(pool, it, step.operand(0), step.result(0), it.value as T);
        }),
        Kernel::Concat(it) => each_type!(it.element, T => {
            layout::concat::<T>(pool, it, |slot| step.operand(slot), step.result(0));
        }),
        Kernel::Gather(it) => each_type!(it.element, T => {
            index::gather::<T>(pool, it, step.operand(0), step.operand(1), step.result(0));
        }),
        Kernel::GatherGrad(it) => index::gather_grad(pool, it, x(0), step.operand(1), y()),
        Kernel::Pick(it) => each_type!(it.element, T => {
            places::pick::<T>(pool, it, step.operand(0), step.operand(1), step.result(0));
        }),
        Kernel::PickGrad(it) => places::pick_grad(pool, it, x(0), step.operand(1), y()),
        Kernel::Put(it) => each_type!(it.element, T => {
            let updates = if step.operands() == 3 { step.operand::<T>(2) } else { &[] };
            places::put(pool, it, step.operand(0), step.operand(1), updates, step.result(0));
        }),
        Kernel::Cast(it) => logic::cast(pool, it, step),
        Kernel::Compare(it) => logic::compare(pool, it, step),
        Kernel::Connect(it) => logic::connect(pool, it, (step.operand(0), step.operand(1)), step.result(0)),
        Kernel::Not(_) => logic::not(pool, step.operand(0), step.result(0)),
        Kernel::Where(it) => each_type!(it.element, T => {
            let sides = [step.operand::<T>(1), step.operand(2)];
            logic::choose(pool, it, step.operand(0), sides, step.result(0));
        }),
        Kernel::Select(it) => logic::select(pool, it, x(0), step.operand(1), y()),
        Kernel::Integer(it) => logic::integer(pool, it, (step.operand(0), step.operand(1)), step.result(0)),
        Kernel::Fold(it) if it.element == DType::F32 => fold::fold(pool, it, x(0), y()),
        Kernel::Fold(it) => fold::fold::<i64>(pool, it, step.operand(0), step.result(0)),
        Kernel::ReduceProdGrad(it) => fold::reduce_prod_grad(pool, it, operands(step), y()),
        Kernel::Cumsum(it) if it.element == DType::F32 => fold::cumsum(pool, it, x(0), y()),
        Kernel::Cumsum(it) => fold::cumsum::<i64>(pool, it, step.operand(0), step.result(0)),
        Kernel::TopK(it) => fold::top_k(pool, it, x(0), any(step, 0), any(step, 1)),
        Kernel::ArgExtreme(it) if it.element == DType::F32 => fold::arg_extreme(pool, it, x(0), step.result(0)),
        Kernel::ArgExtreme(it) => fold::arg_extreme::<i64>(pool, it, step.operand(0), step.result(0)),
        Kernel::Softmax(it) => softmax::softmax(pool, it, from(0), y()),
        Kernel::SoftmaxGrad(it) => softmax::softmax_grad(pool, it, from(0), x(1), y()),
        Kernel::LogSoftmax(it) => softmax::log_softmax(pool, it, from(0), y()),
        Kernel::LogSoftmaxGrad(it) => softmax::log_softmax_grad(pool, it, from(0), x(1), y()),
        Kernel::SoftmaxCrossEntropy(it) => {
            cross_entropy::softmax_cross_entropy(pool, x(0), &targets(it, step, 1), any(step, 0), any(step, 1));
        }
        Kernel::SoftmaxCrossEntropyGrad(it) => {
            cross_entropy::softmax_cross_entropy_grad(pool, from(0), x(1), &targets(it, step, 2), y());
        }
        Kernel::Mse(_) => y()[0] = loss::mse(pool, pair(step)),
        Kernel::MseGrad(_) => loss::mse_grad(pool, pair(step), y()),
        Kernel::Mae(_) => y()[0] = loss::mae(pool, pair(step)),
        Kernel::MaeGrad(_) => loss::mae_grad(pool, pair(step), y()),
        Kernel::Huber(it) => y()[0] = loss::huber(pool, it.delta, pair(step)),
        Kernel::HuberGrad(it) => loss::huber_grad(pool, it.delta, pair(step), y()),
        Kernel::BceWithLogits(_) => y()[0] = loss::bce_with_logits(pool, pair(step)),
        Kernel::BceWithLogitsGrad(_) => loss::bce_with_logits_grad(pool, pair(step), y()),
        Kernel::Correct(Correct::Argmax(it)) => {
            scalars(step, cross_entropy::correct(pool, it, [x(0), x(2)], step.operand(1)));
        }
        Kernel::Correct(_) => scalars(step, loss::correct_threshold(pool, operands(step))),
        Kernel::Compress(it) => {
            let number = if it.step { x(1)[0] } else { 0.0 };
            let mask = it.rows.as_ref().map(|it| match it.dtype {
                DType::F32 => pack::Mask::Real(x(it.slot)),
                DType::I64 => pack::Mask::Whole(step.operand(it.slot)),
                _ => pack::Mask::Truths(step.operand(it.slot)),
            });
            pack::compress(pool, it, x(0), number, mask, step.result(0));
        }
        Kernel::Decompress(it) => pack::decompress(pool, it, step.operand(0), y()),
        Kernel::Quantize(it) => {
            let number = if it.step { x(1)[0] } else { 0.0 };
            quant::quantize(pool, it, x(0), number, step.result(0));
        }
        Kernel::Dequantize(it) => quant::dequantize(pool, it, step.operand(0), y()),
        Kernel::MaskTopk(it) => topk::mask_topk(pool, it, x(0), y()),
        Kernel::Sgd(it) => sgd(pool, it, step),
        Kernel::Decay(it) => optimizer::decay(pool, it, x(0), y()),
        Kernel::Accumulate(_) => optimizer::accumulate(pool, x(0), y()),
        Kernel::Descend(_) => optimizer::descend(pool, y(), x(1), x(2)[0]),
        Kernel::Adam(it) => adam(pool, it, step),
        Kernel::GradientNorm(_) => y()[0] = clip::norm(pool, x(0)),
        Kernel::ClipScale(it) => y()[0] = it.factor((0..it.count).map(|slot| x(slot)[0].into())) as f32,
        Kernel::SgdRows(SgdRows { sgd, rows }) => {
            let from = (x(1), step.operand(2));
            match 0.0 < sgd.momentum {
                false => {
                    let decays = sgd.weight_decay != 0.0;
                    rows::plain(team, rows, decays, y(), from, optimizer::SgdNumbers::new(sgd, x(3)[0], 1.0));
                }
                true => {
                    let weight = Weight::of(step, sgd.state, || x(5)[0]);
                    rows::momentum(team, rows, &weight, from, optimizer::SgdNumbers::new(sgd, x(4)[0], 1.0));
                }
            }
        }
        Kernel::AdamRows(AdamRows { adam, rows }) => {
            let weight = Weight::of(step, adam.state, || x(6)[0]);
            let numbers = optimizer::AdamNumbers::new(adam, [x(5)[0], x(6)[0]], 1.0);
            rows::adam(team, rows, &weight, (x(1), step.operand(2)), numbers);
        }
        Kernel::BatchNormUpdate(it) => optimizer::batch_norm_update(it, results(step), x(2), x(3)),
        Kernel::RowNorm(it) => row_norm(pool, it, step),
        Kernel::RowNormGrad(it) => {
            let mean = if it.centered { x(2) } else { &[] };
            let rstd = if it.centered { 3 } else { 2 };
            let source = row_norm::Source::Input { x: x(1), mean };
            row_norm_grad(team, it, source, rstd, step);
        }
        Kernel::RowNormGradFromOutput(it) => {
            let source = match &it.y {
                Stored::Dense => row_norm::Source::Output(x(1)),
                Stored::Pruned(pack) => row_norm::Source::Pruned(pruned(pack, step, 1)),
                Stored::Rounded(quant) => row_norm::Source::Rounded(rounded(quant, 1, step, 1)),
            };
            row_norm_grad(team, it, source, 2, step);
        }
        Kernel::ConvTransposeWeightGrad(it) => conv::conv_weight_grad(team, it, x(1), x(0), y()),
        Kernel::VolumeConv(it) => volume::conv(pool, it, x(0), x(1), bias(it.bias), y()),
        Kernel::VolumeConvInputGrad(it) => volume::conv_input_grad(pool, it, x(0), x(1), y()),
        Kernel::VolumeConvWeightGrad(it) => volume::conv_weight_grad(pool, it, x(it.slots[0]), x(it.slots[1]), y()),
        Kernel::VolumeMaxPool(it) if it.wide => {
            volume::max_pool::<i32>(pool, it, x(0), step.wanted(0), step.wanted(1));
        }
        Kernel::VolumeMaxPool(it) => volume::max_pool::<u8>(pool, it, x(0), step.wanted(0), step.wanted(1)),
        Kernel::VolumeMaxPoolGrad(it) if it.wide => {
            volume::max_pool_grad::<i32>(pool, it, x(0), step.operand(1), y());
        }
        Kernel::VolumeMaxPoolGrad(it) => volume::max_pool_grad::<u8>(pool, it, x(0), step.operand(1), y()),
        Kernel::VolumeAvgPool(it) => volume::avg_pool(pool, it, x(0), y()),
        Kernel::VolumeAvgPoolGrad(it) => volume::avg_pool_grad(pool, it, x(0), y()),
        Kernel::Resize(it) => resize::resize(pool, it, x(0), y()),
        Kernel::ResizeGrad(it) => resize::resize_grad(pool, it, x(0), y()),
    }
}

fn operands<'a, const N: usize>(step: &Step<'a>) -> [&'a [f32]; N] {
    std::array::from_fn(|slot| step.operand(slot))
}

fn results<'a, const N: usize>(step: &Step<'a>) -> [&'a mut [f32]; N] {
    std::array::from_fn(|slot| any(step, slot))
}

/// An operand that is saved as a pruned copy.
fn pruned<'a>(pack: &'a Pack, step: &Step<'a>, slot: usize) -> Packed<'a> {
    Packed::new(pack, step.operand(slot))
}

/// An operand that is saved in few bits, seen as so many samples.
fn rounded<'a>(quant: &'a Quant, samples: usize, step: &Step<'a>, slot: usize) -> Rounded<'a> {
    Rounded::new(quant, samples, step.operand(slot))
}

/// What a sum is added to: what is there, or zeros.
fn sums(onto: bool, sums: &mut [f32]) -> &mut [f32] {
    if !onto {
        sums.fill(0.0);
    }
    sums
}

/// The only result; where the kernel adds onto operand 2, it is that at the start.
fn onto<'a>(pool: &Pool, onto: bool, step: &Step<'a>) -> &'a mut [f32] {
    let y = step.result(0);
    if onto && let Reusable::Apart(x) = step.reusable(2) {
        layout::copy(pool, x, y);
    }
    y
}

/// A result, empty where it is not wanted.
fn any<'a, T: Element>(step: &Step<'a>, slot: usize) -> &'a mut [T] {
    step.wanted(slot).unwrap_or_default()
}

/// What scores are compared with; the classes are operand `slot`.
fn targets<'a>(loss: &'a CrossEntropy, step: &Step<'a>, slot: usize) -> cross_entropy::Targets<'a> {
    let class_weight = loss.class_weight.then(|| step.operand(slot + 2));
    let total = loss.total.then(|| step.operand(step.operands() - 1)[0]);
    cross_entropy::Targets { loss, target: step.operand(slot), rows: step.operand(slot + 1), class_weight, total }
}

/// Prediction, target, weights of rows and the total, which is empty where there is none.
fn pair<'a>(step: &Step<'a>) -> [&'a [f32]; 4] {
    std::array::from_fn(|slot| if slot < step.operands() { step.operand(slot) } else { &[] })
}

/// Writes results that are numbers, as far as they are wanted.
fn scalars<const N: usize>(step: &Step<'_>, values: [f32; N]) {
    for (slot, value) in values.into_iter().enumerate() {
        any(step, slot).iter_mut().for_each(|it| *it = value);
    }
}

fn sgd(pool: &Pool, sgd: &Sgd, step: &Step<'_>) {
    let scalar = |slot| step.operand::<f32>(slot)[0];
    let clip = if sgd.clipped { scalar(step.operands() - 1) } else { 1.0 };
    match 0.0 < sgd.momentum {
        false => {
            let with = optimizer::SgdNumbers::new(sgd, scalar(2), clip);
            optimizer::plain(pool, step.result(0), step.operand(1), with);
        }
        true => {
            let weight = Weight::of(step, sgd.state, || scalar(4));
            optimizer::momentum(pool, &weight, step.operand(1), optimizer::SgdNumbers::new(sgd, scalar(3), clip));
        }
    }
}

fn adam(pool: &Pool, adam: &Adam, step: &Step<'_>) {
    let scalar = |slot| step.operand::<f32>(slot)[0];
    let clip = if adam.clipped { scalar(step.operands() - 1) } else { 1.0 };
    let weight = Weight::of(step, adam.state, || scalar(5));
    optimizer::adam(pool, &weight, step.operand(1), optimizer::AdamNumbers::new(adam, [scalar(4), scalar(5)], clip));
}

/// Scale and bias from `slot` on.
fn affine<'a>(rows: &Rows, slot: usize, step: &Step<'a>) -> row_norm::Affine<'a> {
    let of = |has, slot| if has { step.operand(slot) } else { &[] };
    row_norm::Affine { scale: of(rows.scale, slot), bias: of(rows.bias, slot + 1) }
}

fn row_norm(pool: &Pool, norm: &RowNorm, step: &Step<'_>) {
    let rstd = if norm.rows.centered { 2 } else { 1 };
    let mean = if norm.rows.centered { any(step, 1) } else { &mut [] };
    let affine = affine(&norm.rows, 1, step);
    row_norm::norm(pool, norm, step.reusable(0), affine, [any(step, 0), mean, any(step, rstd)]);
}

fn row_norm_grad(team: &Team<'_>, rows: &Rows, source: row_norm::Source<'_>, rstd: usize, step: &Step<'_>) {
    let dscale = if rows.scale { any(step, 1) } else { &mut [] };
    let dbias = if rows.scale && rows.centered { any(step, 2) } else { &mut [] };
    let affine = affine(rows, rstd + 1, step);
    row_norm::grad(team, rows, step.reusable(0), step.operand(rstd), source, affine, [any(step, 0), dscale, dbias]);
}
