//! Declarations: what is in memory before the first instruction.

use super::{Batch, Gradient, Import, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    // Filled by the caller before each step.
    source("input"),
    // Trained.
    source("param"),
    // Loaded, never updated.
    OpDef { import: CONSTANTS, ..source("frozen") },
    // The optimizer's memory of a param; zero at the start.
    source("state"),
    // Running statistics, updated by the step itself.
    source("statistic"),
];

const CONSTANTS: Import =
    &[("ConstantOfShape", rules::constant_of_shape), ("Range", rules::range), ("EyeLike", rules::eye_like)];

const fn source(name: &'static str) -> OpDef {
    OpDef {
        name,
        results: &["value"],
        import: &[],
        shape: declared,
        gradient: Gradient::Stops,
        weight: None,
        estimates: &[],
        batch: Batch::Loses,
        reuses: &[],
        writes: nothing,
        lower: Lower::Declaration,
    }
}

fn declared(_: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    Err(ShapeError("is declared with its type".into()))
}
