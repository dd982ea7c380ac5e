//! The executor for processors: runs instructions one after the other, each on all threads.

use crate::arena::Arena;
use crate::kernels::Kernel;
use crate::kernels::pack::Stored;
use crate::pool::{Pool, Team};
use crate::program::{Instruction, Program, Sequence};

pub mod activation;
pub mod attention;
pub mod binary;
pub mod bits;
pub mod broadcast;
pub mod channels;
pub mod chunks;
pub mod clip;
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
pub mod quant;
pub mod reduce;
pub mod resize;
pub mod row_norm;
pub mod rows;
pub mod slope;
pub mod smooth;
pub mod softmax;
pub mod sparse;
pub mod state;
pub mod topk;
pub mod unary;
mod vectors;
pub mod volume;
pub mod wide;
pub mod window;

/// Bytes of scratch without which a thread cannot run every kernel. More lets tiles be larger, up to 1 MiB.
pub const SCRATCH: usize = gemm::SCRATCH;

/// Bytes of scratch without which a thread cannot run a program: [`SCRATCH`], or what the largest packed operand takes.
pub fn scratch(program: &Program) -> usize {
    let instructions = [program.train(), program.eval()].into_iter().flat_map(Sequence::instructions);
    let needs = instructions.map(|it| match it.kernel() {
        Kernel::LinearWeightGrad(it) if matches!(it.x, Stored::Pruned(_)) => sparse::linear::scratch(it.k),
        Kernel::ConvWeightGrad(it) if it.x != Stored::Dense => conv::kept_scratch(it),
        _ => 0,
    });
    (4 * needs.max().unwrap_or(0)).next_multiple_of(64).max(SCRATCH)
}

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

    /// Runs the instructions for a part of a batch; otherwise like [`Cpu::run`].
    ///
    /// # Panics
    /// As [`Cpu::run`] does.
    pub fn run_part(&self, part: &[Instruction], arena: &mut Arena) {
        part.iter().for_each(|it| self.step(it, arena));
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
