//! Runs compiled trainers: checks them, executes them, feeds them data, keeps checkpoints.

pub mod arena;
pub mod cpu;
pub mod data;
pub mod error;
pub mod fidelity;
pub mod kernels;
pub mod memory;
pub mod metrics;
pub mod pool;
pub mod program;
pub mod reference;
pub mod rng;
pub mod schedule;
pub mod train;
pub mod trainer;
pub mod types;
