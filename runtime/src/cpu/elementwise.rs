//! Kernels that make each element from the same element of one or two tensors.

use super::chunks::each_of;
use super::wide::wide;
use super::{bits, math};
use crate::arena::Reusable;
use crate::kernels::elementwise::{MaskedScale, Scale};
use crate::pool::Pool;

/// y = f(x).
pub fn map(pool: &Pool, x: Reusable<'_>, y: &mut [f32], f: impl Fn(f32) -> f32 + Copy + Sync) {
    each_of(pool, [x], y, |_, [x], y| map_slice(x, y, f));
}

/// z = f(x, y).
pub fn zip(pool: &Pool, operands: [Reusable<'_>; 2], z: &mut [f32], f: impl Fn(f32, f32) -> f32 + Copy + Sync) {
    each_of(pool, operands, z, |_, [x, y], z| zip_slice(x, y, z, f));
}

/// y = x * factor.
pub fn scale(pool: &Pool, scale: &Scale, x: Reusable<'_>, y: &mut [f32]) {
    let factor = scale.factor as f32;
    map(pool, x, y, move |x| x * factor);
}

/// y = dy * (bit ? on : off).
pub fn masked_scale(pool: &Pool, scale: &MaskedScale, dy: Reusable<'_>, mask: &[u64], y: &mut [f32]) {
    let (on, off) = (scale.on as f32, scale.off as f32);
    each_of(pool, [dy], y, |start, [dy], y| masked_scale_slice(dy, &mask[start / 64..], y, on, off));
}

/// dx from dy and y = sigmoid(x).
pub fn sigmoid_grad(pool: &Pool, operands: [Reusable<'_>; 2], dx: &mut [f32]) {
    zip(pool, operands, dx, |dy, y| dy * (y * (1.0 - y)));
}

/// dx from dy and y = tanh(x).
pub fn tanh_grad(pool: &Pool, operands: [Reusable<'_>; 2], dx: &mut [f32]) {
    zip(pool, operands, dx, |dy, y| dy * (1.0 - y * y));
}

/// dx from dy and x of hard_swish.
pub fn hard_swish_grad(pool: &Pool, operands: [Reusable<'_>; 2], dx: &mut [f32]) {
    zip(pool, operands, dx, |dy, x| {
        let slope = if x <= -3.0 { 0.0 } else { x * (1.0 / 3.0) + 0.5 };
        dy * if x >= 3.0 { 1.0 } else { slope }
    });
}

/// y = sigmoid(x).
pub fn sigmoid(pool: &Pool, x: Reusable<'_>, y: &mut [f32]) {
    map(pool, x, y, math::sigmoid);
}

/// y = tanh(x).
pub fn tanh(pool: &Pool, x: Reusable<'_>, y: &mut [f32]) {
    map(pool, x, y, math::tanh);
}

/// y = x * clip(x / 6 + 0.5, 0, 1).
pub fn hard_swish(pool: &Pool, x: Reusable<'_>, y: &mut [f32]) {
    map(pool, x, y, |x| x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0));
}

wide! {
    /// y = f(x) over slices of equal length.
    pub fn map_slice[T: Copy, U, F: Fn(T) -> U](x: &[T], y: &mut [U], f: F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x);
        }
    }
}

wide! {
    /// z = f(x, y) over slices of equal length.
    pub fn zip_slice[F: Fn(f32, f32) -> f32](x: &[f32], y: &[f32], z: &mut [f32], f: F) {
        for (z, (&x, &y)) in z.iter_mut().zip(x.iter().zip(y)) {
            *z = f(x, y);
        }
    }
}

wide! {
    fn masked_scale_slice(dy: &[f32], mask: &[u64], y: &mut [f32], on: f32, off: f32) {
        for ((y, dy), &word) in y.chunks_mut(64).zip(dy.chunks(64)).zip(mask) {
            bits::select(word, dy, y, |dy| dy * on, |dy| dy * off);
        }
    }
}
