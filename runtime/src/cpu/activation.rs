//! Activations that remember one bit an element: which side of a kink it was on.
//!
//! An empty result is one that nothing reads.

use super::bits;
use super::chunks::{CHUNK, each2, pieces};
use super::elementwise::map_slice;
use super::wide::wide;
use crate::arena::Reusable;
use crate::kernels::activation::Gap;
use crate::kernels::elementwise::{Clip, HardSigmoid, LeakyRelu};
use crate::pool::Pool;

/// y = max(x, 0); bits: x > 0.
pub fn relu(pool: &Pool, x: Reusable<'_>, y: &mut [f32], mask: &mut [u64]) {
    activate(pool, x, y, mask, |x| if x <= 0.0 { 0.0 } else { x }, is_positive);
}

/// y = x > 0 ? x : alpha * x; bits: x > 0.
pub fn leaky_relu(pool: &Pool, relu: &LeakyRelu, x: Reusable<'_>, y: &mut [f32], mask: &mut [u64]) {
    let alpha = relu.alpha as f32;
    activate(pool, x, y, mask, move |x| if 0.0 < x { x } else { x * alpha }, is_positive);
}

/// y = min(max(x, low), high); bits: low < x < high.
pub fn clip(pool: &Pool, clip: &Clip, x: Reusable<'_>, y: &mut [f32], mask: &mut [u64]) {
    let (low, high) = (clip.min as f32, clip.max as f32);
    let clip = move |x| {
        let x = if x < low { low } else { x };
        if high < x { high } else { x }
    };
    activate(pool, x, y, mask, clip, move |x| (low < x) & (x < high));
}

/// y = clip(alpha * x + beta, 0, 1); bits: where it is not cut off.
pub fn hard_sigmoid(pool: &Pool, with: &HardSigmoid, x: Reusable<'_>, y: &mut [f32], mask: &mut [u64]) {
    let (alpha, beta) = (with.alpha as f32, with.beta as f32);
    let linear = move |x: f32| alpha * x + beta;
    activate(
        pool,
        x,
        y,
        mask,
        move |x| linear(x).clamp(0.0, 1.0),
        move |x| {
            let y = linear(x);
            (0.0 < y) & (y < 1.0)
        },
    );
}

/// y = x < low ? x + bias : x > high ? x - bias : 0; bits: where it is outside of the gap.
pub fn gap(pool: &Pool, gap: &Gap, x: Reusable<'_>, y: &mut [f32], mask: &mut [u64]) {
    let (low, high, bias) = (gap.low as f32, gap.high as f32, gap.bias as f32);
    let f = move |x| {
        let y = if high < x { x - bias } else { 0.0 };
        if x < low { x + bias } else { y }
    };
    activate(pool, x, y, mask, f, move |x| (x < low) | (high < x));
}

/// Bit i: `x[i] > 0`.
pub fn positive_bits(pool: &Pool, x: &[f32], mask: &mut [u64]) {
    activate(pool, Reusable::Apart(x), &mut [], mask, |x| x, is_positive);
}

fn is_positive(x: f32) -> bool {
    0.0 < x
}

fn activate(
    pool: &Pool,
    x: Reusable<'_>,
    y: &mut [f32],
    mask: &mut [u64],
    f: impl Fn(f32) -> f32 + Copy + Sync,
    is_set: impl Fn(f32) -> bool + Copy + Sync,
) {
    each2(pool, (y, CHUNK), (mask, CHUNK / 64), |idx, y, mask| {
        match x {
            Reusable::Apart(x) => mask_slice(&x[idx * CHUNK..], mask, is_set),
            Reusable::Within => mask_slice(y, mask, is_set),
        }
        pieces([x], idx * CHUNK, y, |_, [x], y| map_slice(x, y, f));
    });
}

wide! {
    fn mask_slice[F: Fn(f32) -> bool + Copy](x: &[f32], mask: &mut [u64], is_set: F) {
        for (word, x) in mask.iter_mut().zip(x.chunks(64)) {
            // A whole group has a length that the compiler knows.
            *word = match <&[f32; 64]>::try_from(x) {
                Ok(x) => bits::word(x, is_set),
                Err(_) => bits::word(x, is_set),
            };
        }
    }
}
