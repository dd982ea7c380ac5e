//! The program that another one's gradients are compared with: one that could run, on the same batches and weights.

use std::collections::HashMap;

use razorc_proto::program::{self as proto, Role};

use super::{Place, Program, Sequence};
use crate::error::ProgramError;
use crate::types::{DType, Type};

/// The exact program of `message`, if it has one, sound in itself and fit for what `outer` is fed and holds.
pub(super) fn check(message: &proto::Program, outer: &Program) -> Result<Option<Box<Program>>, ProgramError> {
    let Some(message) = &message.exact else { return Ok(None) };
    if message.exact.is_some() {
        return Err(ProgramError::Exact("has an exact program of its own".into()));
    }
    let exact = Program::check(message).map_err(|fault| ProgramError::Exact(format!("is damaged: {fault}")))?;
    if asked(&exact.task) != asked(&outer.task) {
        return Err(ProgramError::Exact("has another task".into()));
    }
    if fed(&exact) != fed(outer) {
        return Err(ProgramError::Exact("is fed other data".into()));
    }
    let held: HashMap<&str, _> = outer.residents.iter().map(|it| (it.name(), (it.ty(), it.role()))).collect();
    for (resident, message) in exact.residents.iter().zip(&message.residents) {
        let fault = |problem: &str| ProgramError::Exact(format!("has the resident `{}`, {problem}", resident.name()));
        if message.blob.is_some() {
            return Err(fault("which has a blob of its own"));
        }
        let is_held = |&(ty, role): &(&Type, Role)| {
            role == resident.role() && (ty == resident.ty() || role == Role::Frozen && begins(ty, resident.ty()))
        };
        if resident.role() != Role::State && !held.get(resident.name()).is_some_and(is_held) {
            return Err(fault("which the program itself does not have"));
        }
    }
    Ok(Some(Box::new(exact)))
}

/// Whether the bytes of a tensor begin with one of type `start`, which has fewer entries along the first axis.
fn begins(whole: &Type, start: &Type) -> bool {
    match (whole, start) {
        (Type::Dense(dtype, dims), Type::Dense(other, fewer)) => match (&dims[..], &fewer[..]) {
            ([n, rest @ ..], [m, others @ ..]) => dtype == other && m <= n && rest == others,
            _ => false,
        },
        _ => false,
    }
}

/// What decides how batches are made and what is right about them.
fn asked(task: &proto::Task) -> proto::Task {
    proto::Task {
        loss: task.loss,
        batch: task.batch,
        inputs: task.inputs.clone(),
        target: task.target.clone(),
        classes: task.classes,
        class_axis: task.class_axis,
        ignore_index: task.ignore_index,
        ..proto::Task::default()
    }
}

/// Element types, and elements in a whole batch, of inputs, targets and weights of rows.
fn fed(program: &Program) -> Vec<Option<(DType, u128)>> {
    let Sequence { values, ports, .. } = &program.train;
    let whole = |place: Place| match values[place.value()].ty() {
        Type::Dense(dtype, dims) => {
            // At most 2^40 elements in at most 2^64 parts.
            let elements = dims.iter().map(|&it| it as u128).product::<u128>();
            Some((*dtype, elements * program.parts() as u128))
        }
        _ => None,
    };
    let inputs = ports.inputs.iter().copied().map(Some);
    inputs.chain([ports.target, ports.rows]).map(|it| it.and_then(whole)).collect()
}
