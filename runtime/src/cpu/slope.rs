//! Slopes of smooth activations in a few bits.

use super::bits;
use super::chunks::{CHUNK, each, each_of};
use super::smooth::with_slope;
use super::wide::wide;
use crate::arena::Reusable;
use crate::kernels::slope::{Levels, Slopes};
use crate::kernels::unary::Smooth;
use crate::pool::Pool;

/// The code of the level nearest to the slope at each x: for each 64 elements a word of every bit.
pub fn slope_codes(pool: &Pool, slopes: &Slopes, x: &[f32], codes: &mut [u64]) {
    let (levels, bits) = (slopes.levels, slopes.bits);
    with_slope!(slopes.function, slope => {
        each(pool, codes, CHUNK / 64 * bits, |idx, codes| encode(&x[idx * CHUNK..], codes, bits, levels, slope));
    });
}

/// dx = dy * level.
pub fn scale_by_codes(pool: &Pool, slopes: &Slopes, dy: Reusable<'_>, codes: &[u64], dx: &mut [f32]) {
    let levels = slopes.levels;
    each_of(pool, [dy], dx, |start, [dy], dx| {
        let codes = &codes[start / 64 * slopes.bits..];
        match slopes.bits {
            2 => scale(dy, codes.as_chunks::<2>().0, dx, levels),
            3 => scale(dy, codes.as_chunks::<3>().0, dx, levels),
            _ => scale(dy, codes.as_chunks::<4>().0, dx, levels),
        }
    });
}

wide! {
    fn encode[F: Fn(f32) -> f32](x: &[f32], codes: &mut [u64], bits: usize, levels: Levels, slope: F) {
        // Adding 1.5 * 2^23 rounds to an integer, which is then the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        let (first, per_one, most) = (levels.first as f32, levels.per_one as f32, ((1 << bits) - 1) as f32);
        for (words, x) in codes.chunks_mut(bits).zip(x.chunks(64)) {
            let mut group = [0.0; 64];
            group[..x.len()].copy_from_slice(x);
            let mut found = [0u8; 64];
            for (code, x) in found.iter_mut().zip(group) {
                let at = slope(x) * per_one - first;
                let at = if at < 0.0 { 0.0 } else { at };
                let at = if most < at { most } else { at };
                *code = (at + ROUND).to_bits() as u8 & 15;
            }
            // Beyond the end there is nothing.
            found[x.len()..].fill(0);
            for (plane, word) in words.iter_mut().enumerate() {
                *word = bits::gather(&found.map(|code| (code >> plane) & 1));
            }
        }
    }
}

wide! {
    fn scale[const BITS: usize](dy: &[f32], codes: &[[u64; BITS]], dx: &mut [f32], levels: Levels) {
        let per_one = levels.per_one as f32;
        let level = |words: [u32; BITS], i: usize| {
            let mut code = 0;
            for (plane, word) in words.into_iter().enumerate() {
                code |= ((word >> i) & 1) << plane;
            }
            (levels.first + code as i32) as f32 / per_one
        };
        for ((dx, dy), words) in dx.chunks_mut(64).zip(dy.chunks(64)).zip(codes) {
            for (half, (dx, dy)) in dx.chunks_mut(32).zip(dy.chunks(32)).enumerate() {
                let words = words.map(|it| (it >> (32 * half)) as u32);
                // A whole half has a length that the compiler knows.
                match (<&mut [f32; 32]>::try_from(&mut *dx), <&[f32; 32]>::try_from(dy)) {
                    (Ok(dx), Ok(dy)) => (0..32).for_each(|i| dx[i] = dy[i] * level(words, i)),
                    _ => dx.iter_mut().zip(dy).enumerate().for_each(|(i, (dx, dy))| *dx = dy * level(words, i)),
                }
            }
        }
    }
}
