//! The executor for processors: runs instructions one after the other, each on all threads.

use crate::arena::Arena;
use crate::pool::{Pool, Team};
use crate::program::{Instruction, Sequence};

pub mod activation;
pub mod attention;
pub mod binary;
pub mod bits;
pub mod broadcast;
pub mod channels;
pub mod chunks;
pub mod conv;
pub mod cross_entropy;
pub mod depthwise;
mod dispatch;
pub mod dropout;
pub mod elementwise;
pub mod fold;
pub mod gemm;
pub mod index;
pub mod layout;
pub mod linear;
pub mod logic;
pub mod loss;
pub mod lrn;
pub mod math;
pub mod nest;
pub mod norm;
pub mod optimizer;
pub mod pack;
pub mod places;
pub mod pool2d;
pub mod reduce;
pub mod resize;
pub mod row_norm;
pub mod rows;
pub mod slope;
pub mod smooth;
pub mod softmax;
pub mod sparse;
pub mod topk;
pub mod unary;
pub mod volume;
pub mod wide;
pub mod window;

/// Bytes of scratch without which a thread cannot run every kernel. More lets tiles be larger, up to 1 MiB.
pub const SCRATCH: usize = gemm::SCRATCH;

/// Threads that run instructions. The bits of the results do not depend on how many there are.
pub struct Cpu {
    pool: Pool,
}

impl Cpu {
    /// Starts the threads, of which the caller is one; an [`Arena`] must have scratch for as many.
    pub fn new(threads: usize) -> Cpu {
        Cpu { pool: Pool::new(threads) }
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Runs a sequence of the program that the arena was made for. Allocates nothing.
    ///
    /// # Panics
    /// When the arena was made for another program or for fewer threads.
    pub fn run(&self, sequence: &Sequence, arena: &mut Arena) {
        sequence.instructions().iter().for_each(|it| self.step(it, arena));
    }

    /// Runs one instruction; otherwise like [`Cpu::run`].
    ///
    /// # Panics
    /// As [`Cpu::run`] does.
    pub fn step(&self, instruction: &Instruction, arena: &mut Arena) {
        let step = arena.step(instruction);
        dispatch::compute(&Team::new(&self.pool, step.scratch()), instruction.kernel(), &step);
    }
}
