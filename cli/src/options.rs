//! Options that several commands share.

mod compile;
mod data;

pub use compile::CompileOptions;
pub use data::DataOptions;
