//! Losses, their gradients, and the count of right predictions.

use super::Kernel;
use super::call::{Call, Result, wrong};
use crate::types::{DType, Type};

/// Softmax cross entropy of logits`[batch, classes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Rows.
    pub batch: usize,
    /// Columns.
    pub classes: usize,
    /// Whether there is a fourth operand, a weight for each class.
    pub class_weight: bool,
    /// Share of the target that is spread over all classes, 0 to 1.
    pub label_smoothing: f64,
}

/// A mean over elements of a loss of prediction`[batch, per_row]` and a target of that shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Elementwise {
    /// Rows.
    pub batch: usize,
    /// Elements of a row.
    pub per_row: usize,
}

/// Count of right rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Correct {
    /// Rows.
    pub batch: usize,
    /// Elements of a row of the prediction.
    pub per_row: usize,
    /// Whether the target is a class (the largest element is right) or a tensor (signs are right).
    pub argmax: bool,
}

pub(super) fn softmax_cross_entropy(call: &Call<'_>) -> Result<Kernel> {
    let loss = cross_entropy(call)?;
    call.results(&[Type::f32(&[]), Type::f32(&[loss.batch, loss.classes])])?;
    Ok(Kernel::SoftmaxCrossEntropy(loss))
}

pub(super) fn softmax_cross_entropy_grad(call: &Call<'_>) -> Result<Kernel> {
    let loss = cross_entropy(call)?;
    call.result(&[loss.batch, loss.classes])?;
    Ok(Kernel::SoftmaxCrossEntropyGrad(loss))
}

pub(super) fn mse(call: &Call<'_>) -> Result<Kernel> {
    let loss = elementwise(call)?;
    call.result(&[])?;
    Ok(Kernel::Mse(loss))
}

pub(super) fn mse_grad(call: &Call<'_>) -> Result<Kernel> {
    let loss = elementwise(call)?;
    call.result(call.f32(0)?)?;
    Ok(Kernel::MseGrad(loss))
}

pub(super) fn bce_with_logits(call: &Call<'_>) -> Result<Kernel> {
    let loss = elementwise(call)?;
    call.result(&[])?;
    Ok(Kernel::BceWithLogits(loss))
}

pub(super) fn bce_with_logits_grad(call: &Call<'_>) -> Result<Kernel> {
    let loss = elementwise(call)?;
    call.result(call.f32(0)?)?;
    Ok(Kernel::BceWithLogitsGrad(loss))
}

pub(super) fn correct(call: &Call<'_>) -> Result<Kernel> {
    call.operands(3..=3)?;
    call.result(&[])?;
    let argmax = match call.word("kind")? {
        "argmax" => true,
        "threshold" => false,
        _ => return Err(wrong("kind", "`argmax` or `threshold`".into())),
    };
    if argmax {
        let (batch, per_row) = matrix(call)?;
        call.expect(1, &Type::Dense(DType::I64, vec![batch]))?;
        call.f32_of(2, &[batch])?;
        return Ok(Kernel::Correct(Correct { batch, per_row, argmax }));
    }
    let Elementwise { batch, per_row } = elementwise(call)?;
    Ok(Kernel::Correct(Correct { batch, per_row, argmax }))
}

fn cross_entropy(call: &Call<'_>) -> Result<CrossEntropy> {
    let class_weight = call.operands(3..=4)? == 4;
    let (batch, classes) = matrix(call)?;
    call.expect(1, &Type::Dense(DType::I64, vec![batch]))?;
    call.f32_of(2, &[batch])?;
    if class_weight {
        call.f32_of(3, &[classes])?;
    }
    Ok(CrossEntropy { batch, classes, class_weight, label_smoothing: call.float_in("label_smoothing", 0.0..=1.0)? })
}

fn matrix(call: &Call<'_>) -> Result<(usize, usize)> {
    match *call.f32(0)? {
        [batch, classes] => Ok((batch, classes)),
        _ => Err(call.wrong_operand(0, "f32[batch, classes]")),
    }
}

fn elementwise(call: &Call<'_>) -> Result<Elementwise> {
    call.operands(3..=3)?;
    let dims = call.f32(0)?;
    let (&batch, row) = dims.split_first().ok_or_else(|| call.wrong_operand(0, "f32[batch, ..]"))?;
    call.f32_of(1, dims)?;
    call.f32_of(2, &[batch])?;
    Ok(Elementwise { batch, per_row: row.iter().product() })
}
