//! Bounds of sizes: a runtime accepts what is within them, and sums of bytes do not overflow.

use crate::graph::Graph;
use crate::schedule::arena_bytes;
use crate::types::Type;

/// Axes of a value.
const MOST_AXES: usize = 8;
/// Elements along an axis.
const MOST_ALONG: u64 = (1 << 31) - 1;
/// Bytes of a value, 1 TiB.
const MOST_BYTES: u64 = 1 << 40;
/// Bytes of all values of a graph, 8 TiB.
const MOST_TOGETHER: u64 = 1 << 43;

/// Why a graph cannot be scheduled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No machine has such a value.
    #[error("`{name}` would be {ty}, which {why}; check the model's shapes, and the batch and the sizes you gave")]
    Value {
        /// Of the value.
        name: String,
        /// Of the value.
        ty: Type,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Each value is possible, but not all of them.
    #[error("one step would make more than 8 TiB, `{name}` the last of it; try a smaller `--batch`")]
    Together {
        /// The value with which it is too much.
        name: String,
    },
}

/// Refuses a graph with a value that cannot be, or with too many bytes in all.
pub fn check(graph: &Graph) -> Result<(), SizeError> {
    let mut together = 0;
    for value in graph.order().iter().flat_map(|it| graph.results(*it)) {
        let (name, ty) = (graph.name(value).to_string(), graph.ty(value));
        if let Some(why) = fault(ty) {
            return Err(SizeError::Value { name, ty: ty.clone(), why });
        }
        together += arena_bytes(ty);
        if MOST_TOGETHER < together {
            return Err(SizeError::Together { name });
        }
    }
    Ok(())
}

fn fault(ty: &Type) -> Option<&'static str> {
    let dims = ty.dims();
    if dims.contains(&0) {
        Some("is empty")
    } else if MOST_AXES < dims.len() {
        Some("has more than 8 axes")
    } else if dims.iter().any(|&it| MOST_ALONG < it) {
        Some("has an axis of 2^31 or more")
    } else if MOST_BYTES < ty.bytes() {
        Some("is more than 1 TiB")
    } else {
        None
    }
}
