//! The executor for processors: runs instructions one after the other, each on all threads.

use crate::arena::{Arena, Step};
use crate::kernels::Kernel;
use crate::pool::{Pool, Team};
use crate::program::{Instruction, Sequence};

pub mod activation;
pub mod bits;
pub mod broadcast;
pub mod channels;
pub mod chunks;
pub mod conv;
pub mod depthwise;
pub mod dropout;
pub mod elementwise;
pub mod gemm;
pub mod layout;
pub mod linear;
pub mod loss;
pub mod lrn;
pub mod math;
pub mod nest;
pub mod norm;
pub mod optimizer;
pub mod pack;
pub mod pool2d;
pub mod reduce;
pub mod softmax;
pub mod topk;
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
        compute(&Team::new(&self.pool, step.scratch()), instruction.kernel(), &step);
    }
}

fn compute(team: &Team<'_>, kernel: &Kernel, step: &Step<'_>) {
    let pool = team.pool;
    let x = |slot| step.operand::<f32>(slot);
    let bias = |has| if has { Some(x(2)) } else { None };
    let y = || step.result::<f32>(0);
    match kernel {
        Kernel::Linear(it) => linear::linear(team, it, x(0), x(1), bias(it.bias), y()),
        Kernel::LinearInputGrad(it) => linear::linear_input_grad(team, it, x(0), x(1), y()),
        Kernel::LinearWeightGrad(it) => linear::linear_weight_grad(team, it, x(0), x(1), y()),
        Kernel::Matmul(it) => linear::matmul(team, it, x(0), x(1), y()),
        Kernel::Conv(it) => conv::conv(team, it, x(0), x(1), bias(it.bias), y()),
        Kernel::ConvInputGrad(it) => conv::conv_input_grad(team, it, x(0), x(1), y()),
        Kernel::ConvWeightGrad(it) => conv::conv_weight_grad(team, it, x(0), x(1), y()),
        Kernel::MaxPool(it) if it.wide => pool2d::max_pool::<i32>(pool, it, x(0), step.wanted(0), step.wanted(1)),
        Kernel::MaxPool(it) => pool2d::max_pool::<u8>(pool, it, x(0), step.wanted(0), step.wanted(1)),
        Kernel::MaxPoolGrad(it) if it.wide => pool2d::max_pool_grad::<i32>(pool, it, x(0), step.operand(1), y()),
        Kernel::MaxPoolGrad(it) => pool2d::max_pool_grad::<u8>(pool, it, x(0), step.operand(1), y()),
        Kernel::AvgPool(it) => pool2d::avg_pool(pool, it, x(0), y()),
        Kernel::AvgPoolGrad(it) => pool2d::avg_pool_grad(pool, it, x(0), y()),
        other => unimplemented!("{other:?}"),
    }
}
