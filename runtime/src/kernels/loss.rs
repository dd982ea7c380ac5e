//! Losses, their gradients, and the count of right predictions.

use super::Kernel;
use super::call::{Call, Result, wrong};
use crate::types::{DType, Type};

/// Scores with an axis of classes, seen as `[outer, classes, inner]`: `outer * inner` positions, each of which has a
/// class.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    /// All axes before that of the classes; a multiple of the batch.
    pub outer: usize,
    /// The axis of the classes.
    pub classes: usize,
    /// All axes behind it.
    pub inner: usize,
    /// Rows.
    pub batch: usize,
    /// A class that counts nothing, as do those that are not there.
    pub ignore_index: i64,
}

/// Softmax cross entropy of scores.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Sizes.
    pub at: Classes,
    /// Axes of the positions.
    pub positions: Vec<usize>,
    /// Whether there is an operand with a weight for each class.
    pub class_weight: bool,
    /// Whether the last operand is the weight that a mean is over, f32`[]`, rather than that of these rows.
    pub total: bool,
    /// Share of the target that is spread over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// What becomes of the losses of the positions.
    pub reduction: Reduction,
}

/// What becomes of the losses of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum over the sum of their weights; 0 where nothing counts.
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are.
    None,
}

/// A mean over elements of a loss of prediction`[batch, per_row]` and a target of that shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Elementwise {
    /// Rows.
    pub batch: usize,
    /// Elements of a row.
    pub per_row: usize,
    /// Whether the last operand is the weight that the mean is over, f32`[]`, rather than that of these rows.
    pub total: bool,
}

/// An [`Elementwise`] loss that turns from a square into a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Huber {
    /// Sizes.
    pub of: Elementwise,
    /// Distance from the target at which it turns, above 0.
    pub delta: f64,
}

/// Weight of what is right, and of all that counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Correct {
    /// Positions whose largest score is that of the target, the first of equal ones.
    Argmax(Classes),
    /// Elements whose sign agrees with the target; each row has its share.
    Threshold(Elementwise),
}

impl Classes {
    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.outer * self.inner
    }

    /// Row of a position.
    pub fn row(&self, position: usize) -> usize {
        position / (self.positions() / self.batch)
    }

    /// The class of a position, if it counts.
    pub fn class(&self, target: i64) -> Option<usize> {
        usize::try_from(target).ok().filter(|&it| it < self.classes && target != self.ignore_index)
    }
}

pub(super) fn softmax_cross_entropy(call: &Call<'_>) -> Result<Kernel> {
    let loss = cross_entropy(call, 1)?;
    let first = if loss.reduction == Reduction::None { &loss.positions[..] } else { &[] };
    call.results(&[Type::f32(first), Type::f32(&loss.positions)])?;
    Ok(Kernel::SoftmaxCrossEntropy(loss))
}

pub(super) fn softmax_cross_entropy_grad(call: &Call<'_>) -> Result<Kernel> {
    let loss = cross_entropy(call, 2)?;
    call.f32_of(1, &loss.positions)?;
    call.result(call.f32(0)?)?;
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

pub(super) fn mae(call: &Call<'_>) -> Result<Kernel> {
    let loss = elementwise(call)?;
    call.result(&[])?;
    Ok(Kernel::Mae(loss))
}

pub(super) fn mae_grad(call: &Call<'_>) -> Result<Kernel> {
    let loss = elementwise(call)?;
    call.result(call.f32(0)?)?;
    Ok(Kernel::MaeGrad(loss))
}

pub(super) fn huber(call: &Call<'_>) -> Result<Kernel> {
    let loss = Huber { of: elementwise(call)?, delta: delta(call)? };
    call.result(&[])?;
    Ok(Kernel::Huber(loss))
}

pub(super) fn huber_grad(call: &Call<'_>) -> Result<Kernel> {
    let loss = Huber { of: elementwise(call)?, delta: delta(call)? };
    call.result(call.f32(0)?)?;
    Ok(Kernel::HuberGrad(loss))
}

fn delta(call: &Call<'_>) -> Result<f64> {
    let delta = call.float("delta")?;
    if 0.0 < delta && delta.is_finite() { Ok(delta) } else { Err(wrong("delta", "a float above 0".into())) }
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
    call.results(&[Type::f32(&[]), Type::f32(&[])])?;
    match call.word("kind")? {
        "argmax" => Ok(Kernel::Correct(Correct::Argmax(classes(call, 1)?.0))),
        "threshold" => Ok(Kernel::Correct(Correct::Threshold(elementwise(call)?))),
        _ => Err(wrong("kind", "`argmax` or `threshold`".into())),
    }
}

/// Targets are operand `slot`; behind them are the weights of rows and, where they are given, of classes and of all.
fn cross_entropy(call: &Call<'_>, slot: usize) -> Result<CrossEntropy> {
    let count = call.operands(slot + 2..=slot + 4)?;
    let total = slot + 2 < count && *call.operand(count - 1)? == Type::f32(&[]);
    let class_weight = slot + 2 + usize::from(total) < count;
    if class_weight && !total {
        call.operands(slot + 2..=slot + 3)?;
    }
    let (at, positions) = classes(call, slot)?;
    if class_weight {
        call.f32_of(slot + 2, &[at.classes])?;
    }
    let reduction = match call.word("reduction")? {
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        _ => return Err(wrong("reduction", "`mean`, `sum` or `none`".into())),
    };
    if total && reduction != Reduction::Mean {
        return Err(wrong("reduction", "`mean`, where there is a total".into()));
    }
    let label_smoothing = call.float_in("label_smoothing", 0.0..=1.0)?;
    Ok(CrossEntropy { at, positions, class_weight, total, label_smoothing, reduction })
}

/// Checks scores, targets (operand `slot`) and the weights of the rows behind them.
fn classes(call: &Call<'_>, slot: usize) -> Result<(Classes, Vec<usize>)> {
    let scores = call.f32(0)?;
    let axis = call.size("axis", 1)?;
    if scores.len() <= axis {
        return Err(call.wrong_operand(0, format!("f32[batch, ..] with an axis {axis} of classes")));
    }
    let mut positions = scores.to_vec();
    let classes = positions.remove(axis);
    call.expect(slot, &Type::Dense(DType::I64, positions.clone()))?;
    call.f32_of(slot + 1, &scores[..1])?;
    let (outer, inner) = (scores[..axis].iter().product(), scores[axis + 1..].iter().product());
    let ignore_index = call.int("ignore_index", i64::MIN..=i64::MAX)?;
    Ok((Classes { outer, classes, inner, batch: scores[0], ignore_index }, positions))
}

fn elementwise(call: &Call<'_>) -> Result<Elementwise> {
    let total = call.operands(3..=4)? == 4;
    if total {
        call.f32_of(3, &[])?;
    }
    let dims = call.f32(0)?;
    let (&batch, row) = dims.split_first().ok_or_else(|| call.wrong_operand(0, "f32[batch, ..]"))?;
    call.f32_of(1, dims)?;
    call.f32_of(2, &[batch])?;
    Ok(Elementwise { batch, per_row: row.iter().product(), total })
}
