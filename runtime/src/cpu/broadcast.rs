//! Arithmetic between tensors whose shapes are stretched to each other.

use super::activation;
use super::chunks::{CHUNK, each, pieces};
use super::elementwise::{map_slice, zip_slice};
use super::nest::Nest;
use super::wide::wide;
use crate::arena::{Element, Reusable};
use crate::kernels::elementwise::Broadcast;
use crate::kernels::reduce::Expand;
use crate::pool::Pool;

/// y = f(a, b) where each may be stretched to the other.
pub fn binary(
    pool: &Pool,
    sizes: &Broadcast,
    [a, b]: [Reusable<'_>; 2],
    y: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Copy + Sync,
) {
    use Reusable::{Apart, Within};
    let nest = Nest::over(&sizes.dims, [&sizes.a, &sizes.b]);
    each(pool, y, CHUNK, |idx, y| {
        let start = idx * CHUNK;
        match (a, b) {
            (Apart(a), Apart(b)) => chunk(&nest, start, [(a, 0), (b, 0)], y, f),
            (Within, Apart(b)) => pieces([a], start, y, |at, [a], y| chunk(&nest, at, [(a, at), (b, 0)], y, f)),
            (Apart(a), Within) => pieces([b], start, y, |at, [b], y| chunk(&nest, at, [(a, 0), (b, at)], y, f)),
            (Within, Within) => pieces([a], start, y, |at, [a], y| chunk(&nest, at, [(a, at), (a, at)], y, f)),
        }
    });
}

/// y = x > 0 ? x : slope * x with the slope broadcast to x; bits: x > 0.
pub fn prelu(pool: &Pool, sizes: &Broadcast, [x, slope]: [&[f32]; 2], y: &mut [f32], mask: &mut [u64]) {
    binary(pool, sizes, [x, slope].map(Reusable::Apart), y, |x, slope| if 0.0 < x { x } else { slope * x });
    activation::positive_bits(pool, x, mask);
}

/// dx = bit ? dy : slope * dy with the slope broadcast to dy.
pub fn prelu_input_grad(pool: &Pool, sizes: &Broadcast, [dy, slope]: [&[f32]; 2], mask: &[u64], dx: &mut [f32]) {
    binary(pool, sizes, [dy, slope].map(Reusable::Apart), dx, |dy, slope| slope * dy);
    each(pool, dx, CHUNK, |idx, dx| keep_slice(&dy[idx * CHUNK..], &mask[idx * CHUNK / 64..], dx));
}

/// y = f(x), x being repeated along the axes where it has no stride.
pub fn expand<T: Element>(pool: &Pool, expand: &Expand, x: &[T], y: &mut [T], f: impl Fn(T) -> T + Copy + Sync) {
    let nest = Nest::over(&expand.dims, [&expand.strides]);
    let [stride] = nest.inner_strides();
    each(pool, y, CHUNK, |idx, y| {
        let mut done = 0;
        nest.runs(idx * CHUNK..idx * CHUNK + y.len(), |[at], n| {
            let y = &mut y[done..][..n];
            match stride {
                0 => y.fill(f(x[at])),
                _ => map_slice(&x[at..][..n], y, f),
            }
            done += n;
        });
    });
}

/// Each operand comes with the position of its first element in the whole of it.
fn chunk(
    nest: &Nest<2>,
    start: usize,
    [(a, a_first), (b, b_first)]: [(&[f32], usize); 2],
    y: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Copy,
) {
    let strides = nest.inner_strides();
    let mut done = 0;
    nest.runs(start..start + y.len(), |[a_at, b_at], n| {
        let y = &mut y[done..][..n];
        let (a_at, b_at) = (a_at - a_first, b_at - b_first);
        match strides {
            [0, 0] => y.fill(f(a[a_at], b[b_at])),
            [0, _] => with_scalar(&b[b_at..][..n], a[a_at], y, move |b, a| f(a, b)),
            [_, 0] => with_scalar(&a[a_at..][..n], b[b_at], y, f),
            _ => zip_slice(&a[a_at..][..n], &b[b_at..][..n], y, f),
        }
        done += n;
    });
}

wide! {
    fn with_scalar[F: Fn(f32, f32) -> f32](x: &[f32], scalar: f32, y: &mut [f32], f: F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x, scalar);
        }
    }
}

wide! {
    /// dx = bit ? dy : dx.
    fn keep_slice(dy: &[f32], mask: &[u64], dx: &mut [f32]) {
        for ((dx, dy), &word) in dx.chunks_mut(64).zip(dy.chunks(64)).zip(mask) {
            for (i, (dx, &dy)) in dx.iter_mut().zip(dy).enumerate() {
                *dx = if (word >> i) & 1 != 0 { dy } else { *dx };
            }
        }
    }
}
