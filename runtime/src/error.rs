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
    /// An enum value that this version does not know.
    #[error("the form of the index {0} is not known; the trainer may need a newer razorc")]
    Form(i32),
    /// A rounded tensor that cannot be.
    #[error("rounds to {bits} bits in blocks of {block}; bits are 2, 4 or 8, and blocks a multiple of 16 up to 65536")]
    Quant {
        /// Of an element.
        bits: u32,
        /// Elements of a block.
        block: u32,
    },
    /// Codes of too few or too many bits.
    #[error("codes of {0} bits, and 2 to 4 are possible")]
    Bits(u32),
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

/// A program that cannot be trusted to stay within its arena, or that makes no sense.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProgramError {
    /// A part of the message that must be there.
    #[error("the program has no {0}")]
    Missing(&'static str),
    /// An arena or scratch that is too large or not a multiple of 64 bytes.
    #[error("{bytes} bytes of {what} are too many, or not a multiple of 64")]
    Size {
        /// Arena or scratch.
        what: &'static str,
        /// Its size.
        bytes: u64,
    },
    /// A resident that is not where or what it can be.
    #[error("resident `{name}` {problem}")]
    Resident {
        /// Name of the resident.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A value that is not where or what it can be.
    #[error("{sequence}: value `{name}` {problem}")]
    Value {
        /// `train` or `eval`.
        sequence: &'static str,
        /// Name of the value.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A storage outside the arena or the sequence.
    #[error("{sequence}: storage {index} {problem}")]
    Storage {
        /// `train` or `eval`.
        sequence: &'static str,
        /// Index of the storage.
        index: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two places with common bytes at the same time.
    #[error("{sequence}: {first} and {second} overlap in the arena")]
    Overlap {
        /// `train` or `eval`.
        sequence: &'static str,
        /// A resident or a storage.
        first: String,
        /// A resident or a storage.
        second: String,
    },
    /// An instruction that no kernel can run.
    #[error("{sequence}: instruction {step} ({op}): {source}")]
    Kernel {
        /// `train` or `eval`.
        sequence: &'static str,
        /// Index of the instruction.
        step: usize,
        /// Name of its op.
        op: String,
        /// What is wrong.
        source: KernelError,
    },
    /// An instruction with an operand or a result that it cannot have.
    #[error("{sequence}: instruction {step} ({op}): {value} {problem}")]
    Instruction {
        /// `train` or `eval`.
        sequence: &'static str,
        /// Index of the instruction.
        step: usize,
        /// Name of its op.
        op: String,
        /// Name of the value, or its index.
        value: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// More instructions for the first and the last part of a batch than there are.
    #[error("{sequence}: more instructions open and close a step than there are")]
    Parts {
        /// `train` or `eval`.
        sequence: &'static str,
    },
    /// A value that the task names and that is not as it must be.
    #[error("{sequence}: the {role}, `{name}`, {problem}")]
    Port {
        /// `train` or `eval`.
        sequence: &'static str,
        /// What the value is to the task.
        role: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A task that makes no sense.
    #[error("the task {0}")]
    Task(&'static str),
    /// A program to compare with that is unsound, or does not fit.
    #[error("the exact program {0}")]
    Exact(String),
}

/// An arena that cannot be had or filled.
#[derive(Debug, Error)]
pub enum ArenaError {
    /// More bytes than can be addressed.
    #[error("the arena and its scratch are larger than any memory; use fewer threads")]
    TooLarge,
    /// The system gives no memory.
    #[error("{bytes} bytes of memory cannot be had; compile for a smaller batch or a higher sparsity")]
    Map {
        /// What was asked for.
        bytes: usize,
        /// Why not.
        source: std::io::Error,
    },
    /// Weights of the wrong size.
    #[error("resident `{name}` has {found} bytes in the file and should have {expected}")]
    Blob {
        /// Name of the resident.
        name: String,
        /// Bytes in the file.
        found: usize,
        /// Bytes in the arena.
        expected: usize,
    },
}
