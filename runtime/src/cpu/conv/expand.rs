//! The weight's gradient of a convolution whose input is saved packed, some planes of which are expanded at a time.
//!
//! For windows and densities that `sparse` is not made for: groups, strides, and tensors of which much was kept.

use super::gather::{ByTap, Windows};
use super::{Axis, Bias, Gemm, Matrix, Sizes, Target, gemm};
use crate::cpu::sparse::Kept;
use crate::kernels::conv::Conv;
use crate::pool::{Disjoint, Team};

/// Elements of scratch with which the gradient can be computed. More lets more planes be expanded at a time.
pub fn scratch(conv: &Conv) -> usize {
    conv.ih * conv.iw + gemm::PANELS
}

/// `dw += dy * x`. Every task has some channels of x, and goes through all samples.
pub fn weight_grad(team: &Team<'_>, conv: &Conv, dy: &[f32], kept: &impl Kept, dw: &mut [f32]) {
    const COLUMNS: usize = 48;
    let size = Sizes::of(conv);
    let fit = (team.scratch_len() - gemm::PANELS) / size.input;
    let wanted = COLUMNS.div_ceil(size.taps).max(size.c.div_ceil(8));
    let together = wanted.min(fit).clamp(1, size.c);
    let chunks = size.c.div_ceil(together);
    let (m, all) = (size.o, size.c * size.taps);
    let dw = Disjoint::new(dw);
    team.run(conv.groups * chunks, |task, scratch| {
        let (group, first) = (task / chunks, task % chunks * together);
        let channels = together.min(size.c - first);
        let (planes, scratch) = scratch.split_at_mut(channels * size.input);
        for sample in 0..conv.n {
            let start = (group * size.c + first) * size.input;
            kept.read(sample, start..start + planes.len(), planes);
            let data = &*planes;
            let windows = Windows { data, samples: 1, sample: planes.len(), y: conv.rows(), x: conv.cols() };
            let dy = &dy[(sample * conv.groups + group) * m * size.out..][..m * size.out];
            let product = Gemm {
                m,
                n: channels * size.taps,
                k: size.out,
                a: Matrix { data: dy, lines: Axis::flat(size.out), ks: Axis::flat(1) },
                b: ByTap(windows),
                c: Target { out: &dw, start: group * m * all + first * size.taps, row: all, cols: Axis::flat(1) },
                bias: Bias::None,
            };
            product.alone(true, scratch);
        }
    });
}
