//! Losses that a model computes itself.

use super::node::{At, Refused, refuse};
use super::weights::{Source, Weight};
use crate::attrs::Attrs;
use crate::graph::Value;
use crate::types::{DType, Type};

/// SoftmaxCrossEntropyLoss: the loss, and if asked for the logarithms of the probabilities.
pub fn softmax_cross_entropy_loss(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let scores = at.input(0)?;
    cross_entropy(at, scores)?;
    if at.makes(1) {
        at.make_output(1, "log_softmax", &[scores], Attrs::new().with("axis", 1))?;
    }
    Ok(())
}

/// NegativeLogLikelihoodLoss behind a LogSoftmax: the two are one loss of the scores, with one gradient.
pub fn negative_log_likelihood_loss(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let input = at.input(0)?;
    let scores = match at.made_by(input, "log_softmax") {
        Some((scores, attrs)) if attrs.int_or("axis", -1) == 1 => scores,
        _ => return refuse("of an input that is not made by LogSoftmax over axis 1 is not supported"),
    };
    cross_entropy(at, scores)
}

fn cross_entropy(at: &mut At<'_, '_>, scores: Value) -> Result<(), Refused> {
    let dims = at.dims(scores);
    let labels = at.input_of(1, DType::I64)?;
    if dims.len() < 2 || at.dims(labels) != [&dims[..1], &dims[2..]].concat() {
        let labels = Type::dense(DType::I64, &at.dims(labels));
        return refuse(format!("has scores {} and labels {labels}, which do not fit", Type::f32(&dims)));
    }
    let reduction = at.word("reduction", "mean");
    if !["mean", "sum", "none"].contains(&reduction.as_str()) {
        return refuse(format!("has the reduction `{reduction}`; there are mean, sum and none"));
    }
    // Every row counts.
    let ones = Weight { dims: dims[..1].to_vec(), source: Source::Fill(1.0), initializer: None };
    let mut operands = vec![scores, labels, at.declare("rows", ones)];
    if at.has(2) {
        operands.push(at.constant(2)?);
    }
    // No class has the index that stands for an absent one.
    let attrs = Attrs::new()
        .with("axis", 1)
        .with("ignore_index", at.int("ignore_index", -100))
        .with("label_smoothing", 0.0)
        .with("reduction", reduction.as_str());
    at.make("softmax_cross_entropy", &operands, attrs)?;
    Ok(())
}
