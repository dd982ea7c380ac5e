//! The text form of a training graph (`.razor`): one node a line, types last, names rather than numbers.
//!
//! `Display` and [`parse`] are inverse on canonical text. Weights are not in the text.

mod lex;
mod parse;
mod print;
pub(crate) use print::line;

pub use parse::{Parsed, parse};

/// What is wrong in one line of text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}
