//! What stays in the arena.

use std::collections::HashSet;

use razorc_proto::program::{self as proto, Role};

use super::{Resident, range};
use crate::error::ProgramError;
use crate::types::{DType, Type};

/// Residents inside the arena and of distinct names; overlaps are found with those of the sequences.
pub(super) fn check(messages: &[proto::Resident], arena_bytes: usize) -> Result<Vec<Resident>, ProgramError> {
    let mut names = HashSet::new();
    messages
        .iter()
        .map(|it| {
            let fault = |problem: String| ProgramError::Resident { name: it.name.clone(), problem };
            if !names.insert(it.name.as_str()) {
                return Err(fault("is there twice".into()));
            }
            let message = it.r#type.as_ref().ok_or_else(|| fault("has no type".into()))?;
            let ty = Type::parse(message).map_err(|e| fault(format!("cannot be: {e}")))?;
            let role = Role::try_from(it.role).ok().filter(|&it| it != Role::Unspecified);
            let role = role.ok_or_else(|| fault(format!("has the unknown role {}", it.role)))?;
            match (&ty, role) {
                (Type::Dense(DType::F32, _), _)
                | (Type::Bf16(_) | Type::Dynamic(..), Role::State)
                | (Type::Dense(DType::I64 | DType::Bool, _), Role::Frozen) => {}
                _ => {
                    return Err(fault(format!(
                        "is {ty}; dense f32 tensors stay in the arena, frozen integers, and state of bf16 or 8 bits"
                    )));
                }
            }
            let place = range(it.offset, ty.bytes() as u64, arena_bytes);
            let place = place.ok_or_else(|| fault("is outside the arena, or not aligned".into()))?;
            Ok(Resident { name: it.name.clone(), ty, role, offset: place.start })
        })
        .collect()
}
