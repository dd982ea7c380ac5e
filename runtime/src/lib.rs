//! Runs compiled trainers: checks them, executes them, feeds them data, keeps checkpoints.

pub mod pool;
