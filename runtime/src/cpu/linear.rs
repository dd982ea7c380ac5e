//! Linear layers, their gradients, and stacks of matrix products.

use crate::cpu::gemm::axis::Axis;
use crate::cpu::gemm::matrix::Matrix;
use crate::cpu::gemm::rounded::{ByColumn, ByRow};
use crate::cpu::gemm::{self, Bias, Factor, Gemm, Target};
use crate::cpu::nest::Nest;
use crate::cpu::quant::Rounded;
use crate::kernels::linear::{Linear, Matmul};
use crate::pool::{Disjoint, Team};

/// `y = x w + b`.
pub fn linear(team: &Team<'_>, sizes: &Linear, x: &[f32], w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    let Linear { rows, k, n, transpose, .. } = *sizes;
    let dims = [rows, k, n];
    let w = if transpose { down(w, k) } else { across(w, n) };
    product(team, 1, dims, |_| (down(x, k), w), b.map_or(Bias::None, Bias::Cols), y);
}

/// `y = x w + b` for an x that is rounded.
pub fn linear_rounded(team: &Team<'_>, sizes: &Linear, data: Rounded<'_>, w: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    let Linear { rows, k, n, transpose, .. } = *sizes;
    let w = if transpose { down(w, k) } else { across(w, n) };
    product(team, 1, [rows, k, n], |_| (ByRow { data, len: k }, w), b.map_or(Bias::None, Bias::Cols), y);
}

/// Gradient with respect to x, or that added onto `dx`.
pub fn linear_input_grad(team: &Team<'_>, sizes: &Linear, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let Linear { rows, k, n, transpose, onto, .. } = *sizes;
    let w = if transpose { across(w, k) } else { down(w, n) };
    let bias = if onto { Bias::Itself } else { Bias::None };
    product(team, 1, [rows, n, k], |_| (down(dy, n), w), bias, dx);
}

/// Gradient with respect to w, or that added onto `dw`.
pub fn linear_weight_grad(team: &Team<'_>, sizes: &Linear, dy: &[f32], x: &[f32], dw: &mut [f32]) {
    let Linear { rows, k, n, transpose, onto, .. } = *sizes;
    let (dy, x) = (across(dy, n), across(x, k));
    let bias = if onto { Bias::Itself } else { Bias::None };
    match transpose {
        true => product(team, 1, [n, rows, k], |_| (dy, x), bias, dw),
        false => product(team, 1, [k, rows, n], |_| (x, dy), bias, dw),
    }
}

/// Gradient with respect to w, or that added onto `dw`, from an x that is rounded.
pub fn linear_weight_grad_rounded(team: &Team<'_>, sizes: &Linear, dy: &[f32], data: Rounded<'_>, dw: &mut [f32]) {
    let Linear { rows, k, n, transpose, onto, .. } = *sizes;
    let (dy, x) = (across(dy, n), ByColumn { data, len: k });
    let bias = if onto { Bias::Itself } else { Bias::None };
    match transpose {
        true => product(team, 1, [n, rows, k], |_| (dy, x), bias, dw),
        false => product(team, 1, [k, rows, n], |_| (x, dy), bias, dw),
    }
}

/// A stack of products; of an operand that is repeated there is one copy.
pub fn matmul(team: &Team<'_>, sizes: &Matmul, a: &[f32], b: &[f32], y: &mut [f32]) {
    let Matmul { m, k, n, ta, tb, .. } = *sizes;
    let stack = Nest::over(&sizes.lead, [&sizes.a, &sizes.b]);
    let factors = |it: usize| {
        let [a_at, b_at] = stack.offsets(it);
        let (a, b) = (&a[a_at * m * k..][..m * k], &b[b_at * k * n..][..k * n]);
        (if ta { across(a, m) } else { down(a, k) }, if tb { down(b, k) } else { across(b, n) })
    };
    product(team, stack.points(), [m, k, n], factors, Bias::None, y);
}

fn product<A: Factor, B: Factor>(
    team: &Team<'_>,
    count: usize,
    [m, k, n]: [usize; 3],
    factors: impl Fn(usize) -> (A, B) + Sync,
    bias: Bias<'_>,
    out: &mut [f32],
) {
    let out = Disjoint::new(out);
    gemm::run(team, (m, n, k), count, |it| {
        let (a, b) = factors(it);
        Gemm { m, n, k, a, b, c: Target { out: &out, start: it * m * n, row: n, cols: Axis::flat(1) }, bias }
    });
}

/// A factor whose lines lie one after the other, `len` elements each.
fn down(data: &[f32], len: usize) -> Matrix<'_> {
    Matrix { data, lines: Axis::flat(len), ks: Axis::flat(1) }
}

/// A factor whose `count` lines lie side by side.
fn across(data: &[f32], count: usize) -> Matrix<'_> {
    Matrix { data, lines: Axis::flat(1), ks: Axis::flat(count) }
}
