//! Runs compiled trainers: checks them, executes them, feeds them data, keeps checkpoints.

pub mod error;
pub mod kernels;
pub mod pool;
pub mod types;
