//! What can be wrong with a program.

use thiserror::Error;

use crate::types::{MAX_DIM, MAX_ELEMENTS, MAX_RANK};

/// A type that no value can have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TypeError {
    /// An enum value that this version does not know.
    #[error("the kind {0} is not known; the trainer may need a newer razorc")]
    Kind(i32),
    /// An enum value that this version does not know.
    #[error("the element type {0} is not known; the trainer may need a newer razorc")]
    UnknownDType(i32),
    /// A known element type where it cannot be.
    #[error("the element type {0} cannot be used here")]
    DType(&'static str),
    /// Too many axes.
    #[error("{0} axes, and at most {MAX_RANK} are possible")]
    Rank(usize),
    /// An empty or a huge axis.
    #[error("an axis of {0} elements, and 1 to {MAX_DIM} are possible")]
    Dim(u64),
    /// Too large a tensor.
    #[error("more than {MAX_ELEMENTS} elements")]
    Elements,
    /// A pruned copy whose samples are of unequal size.
    #[error("{0} samples do not divide the elements")]
    Samples(u64),
    /// A pruned copy that keeps nothing, or more than there is.
    #[error("keeps {0} values of each sample, which must be 1 to the sample's elements")]
    Keep(u64),
}

/// An instruction that no kernel can run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KernelError {
    /// No row of that name.
    #[error("the op is not known; the trainer may need a newer razorc")]
    Unknown,
    /// Too few or too many operands.
    #[error("has {found} operands and should have {expected}")]
    Operands {
        /// Operands of the instruction.
        found: usize,
        /// Operands that the op takes.
        expected: String,
    },
    /// An operand of the wrong type.
    #[error("operand {slot} is {found} and should be {expected}")]
    Operand {
        /// Position among the operands.
        slot: usize,
        /// Its type.
        found: String,
        /// What the op takes there.
        expected: String,
    },
    /// Too few or too many results.
    #[error("has {found} results and should have {expected}")]
    Results {
        /// Results of the instruction.
        found: usize,
        /// Results that the op makes.
        expected: usize,
    },
    /// A result of the wrong type.
    #[error("result {slot} is {found} and should be {expected}")]
    Result {
        /// Position among the results.
        slot: usize,
        /// Its type.
        found: String,
        /// What the op makes there.
        expected: String,
    },
    /// An attr that the op needs.
    #[error("the attr `{0}` is missing")]
    MissingAttr(&'static str),
    /// An attr that the op does not know, or that is there twice.
    #[error("the attr `{0}` is not known to this op, or is there twice")]
    SurplusAttr(String),
    /// An attr of the wrong kind or outside its range.
    #[error("the attr `{name}` should be {expected}")]
    Attr {
        /// Name of the attr.
        name: &'static str,
        /// What it should be.
        expected: String,
    },
    /// Sizes that do not fit together in another way.
    #[error("{0}")]
    Sizes(String),
    /// A shape outside the bounds of tensors.
    #[error(transparent)]
    Type(#[from] TypeError),
}
