//! Convolutions and their gradients, as products with the matrix of windows.

use crate::cpu::depthwise;
use crate::cpu::gemm::axis::Axis;
use crate::cpu::gemm::matrix::Matrix;
use crate::cpu::gemm::{self, Bias, Gemm, Target};
use crate::cpu::sparse::{self, Sparse};
use crate::cpu::window::{all_reached, phases};
use crate::kernels::conv::Conv;
use crate::pool::{Disjoint, Team};
use gather::{ByTap, ByWindow, Windows};

mod expand;
mod gather;

/// Bytes of scratch that a thread needs for this convolution and its gradients; with 1 MiB they run fastest.
pub fn scratch_need(_: &Conv) -> usize {
    gemm::SCRATCH
}

/// `y = x * w + b`.
pub fn conv(team: &Team<'_>, conv: &Conv, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    let conv = &conv.flat();
    if depthwise::fits(conv) {
        return depthwise::conv(team, conv, x, w, b, y);
    }
    let size = Sizes::of(conv);
    let (m, n, k) = (size.o, conv.n * size.out, size.c * size.taps);
    let y = Disjoint::new(y);
    gemm::run(team, (m, n, k), conv.groups, |group| {
        let x = &x[group * size.c * size.input..];
        let windows = Windows { data: x, samples: conv.n, sample: conv.c * size.input, y: conv.rows(), x: conv.cols() };
        let w = &w[group * m * k..][..m * k];
        let start = group * m * size.out;
        let cols = Axis::pairs(size.out, conv.o * size.out, 1);
        Gemm {
            m,
            n,
            k,
            a: Matrix { data: w, lines: Axis::flat(k), ks: Axis::flat(1) },
            b: ByWindow(windows),
            c: Target { out: &y, start, row: size.out, cols },
            bias: b.map_or(Bias::None, |b| Bias::Rows(&b[group * m..])),
        }
    });
}

/// Gradient with respect to x, or that added onto `dx`. The pixels of x fall into `sh * sw` phases; all pixels of a phase are reached by the
/// same taps, so that each phase is a convolution of dy with stride 1.
pub fn conv_input_grad(team: &Team<'_>, conv: &Conv, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let conv = &conv.flat();
    if depthwise::fits(conv) && !conv.onto {
        return depthwise::conv_input_grad(team, conv, dy, w, dx);
    }
    let size = Sizes::of(conv);
    if !all_reached(conv) && !conv.onto {
        team.pool.chunks(dx, size.input, |_, plane| plane.fill(0.0));
    }
    let dx = Disjoint::new(dx);
    for (rows, cols) in phases(conv) {
        let (y, x) = (rows.window, cols.window);
        let dims = (size.c, conv.n * y.count * x.count, size.o * y.taps * x.taps);
        gemm::run(team, dims, conv.groups, |group| {
            let dy = &dy[group * size.o * size.out..];
            let w = &w[group * size.o * size.c * size.taps..][..size.o * size.c * size.taps];
            let taps = [size.c * size.taps, rows.tap_step * conv.kw, cols.tap_step];
            let strides = [conv.c * size.input, conv.sh * conv.iw, conv.sw];
            Gemm {
                m: dims.0,
                n: dims.1,
                k: dims.2,
                a: Matrix {
                    data: &w[rows.tap * conv.kw + cols.tap..],
                    lines: Axis::flat(size.taps),
                    ks: Axis::pixels(y.taps, x.taps, taps),
                },
                b: ByWindow(Windows { data: dy, samples: conv.n, sample: conv.o * size.out, y, x }),
                c: Target {
                    out: &dx,
                    start: group * size.c * size.input + rows.start * conv.iw + cols.start,
                    row: size.input,
                    cols: Axis::pixels(y.count, x.count, strides),
                },
                bias: if conv.onto { Bias::Itself } else { Bias::None },
            }
        });
    }
}

/// Gradient with respect to w, or that added onto `dw`.
pub fn conv_weight_grad(team: &Team<'_>, conv: &Conv, dy: &[f32], x: &[f32], dw: &mut [f32]) {
    let conv = &conv.flat();
    if depthwise::fits(conv) {
        return depthwise::conv_weight_grad(team, conv, dy, x, dw);
    }
    let size = Sizes::of(conv);
    let (m, n, k) = (size.o, size.c * size.taps, conv.n * size.out);
    let dw = Disjoint::new(dw);
    gemm::run(team, (m, n, k), conv.groups, |group| {
        let x = &x[group * size.c * size.input..];
        let windows = Windows { data: x, samples: conv.n, sample: conv.c * size.input, y: conv.rows(), x: conv.cols() };
        let dy = &dy[group * size.o * size.out..];
        Gemm {
            m,
            n,
            k,
            a: Matrix { data: dy, lines: Axis::flat(size.out), ks: Axis::pairs(size.out, conv.o * size.out, 1) },
            b: ByTap(windows),
            c: Target { out: &dw, start: group * m * n, row: n, cols: Axis::flat(1) },
            bias: if conv.onto { Bias::Itself } else { Bias::None },
        }
    });
}

/// Adds the gradient with respect to w to dw, of x only what was kept.
pub fn conv_weight_grad_kept(team: &Team<'_>, conv: &Conv, dy: &[f32], kept: &impl Sparse, dw: &mut [f32]) {
    if depthwise::fits(conv) {
        return depthwise::conv_weight_grad_kept(team, conv, dy, kept, dw);
    }
    // Where more is kept, products with zeros take less time than going around them.
    let few = 2 * kept.count(0, 0..kept.elements()) <= kept.elements();
    match few && sparse::conv::fits(conv) {
        true => sparse::conv::weight_grad(team, conv, dy, kept, dw),
        false => expand::weight_grad(team, &conv.flat(), dy, kept, dw),
    }
}

/// Elements of scratch that the gradient from kept elements needs, whichever way it is computed: the other ways need a
/// plane and panels.
pub fn kept_scratch(conv: &Conv) -> usize {
    sparse::conv::scratch(conv)
}

/// Sizes of one group.
struct Sizes {
    c: usize,
    o: usize,
    input: usize,
    out: usize,
    taps: usize,
}

impl Sizes {
    fn of(conv: &Conv) -> Sizes {
        Sizes {
            c: conv.c / conv.groups,
            o: conv.o / conv.groups,
            input: conv.ih * conv.iw,
            out: conv.oh * conv.ow,
            taps: conv.kh * conv.kw,
        }
    }
}
