//! Dropout whose choices follow from seed, step and position alone.

use super::chunks::{CHUNK, each2};
use super::wide::wide;
use crate::arena::Reusable;
use crate::kernels::elementwise::Dropout;
use crate::pool::Pool;
use crate::rng::splitmix64;

/// y = x / (1 - ratio) where the bit is set, else 0. A result that nothing reads is empty.
pub fn dropout(pool: &Pool, with: &Dropout, x: Reusable<'_>, step: f32, y: &mut [f32], mask: &mut [u64]) {
    let key = with.seed ^ splitmix64(step as u64);
    // The share of hashes below is exact: both sides are multiples of 2^-53.
    let first_kept = (with.ratio * (1u64 << 53) as f64).ceil() as u64;
    let scale = (1.0 / (1.0 - with.ratio)) as f32;
    each2(pool, (y, CHUNK), (mask, CHUNK / 64), |idx, y, mask| {
        let start = idx * CHUNK;
        for group in 0..mask.len().max(y.len().div_ceil(64)) {
            let at = start + group * 64;
            let word = keep_word(key, at as u64, first_kept, with.n - at);
            if let Some(y) = y.chunks_mut(64).nth(group) {
                let mut held = [0.0; 64];
                let x = match x {
                    Reusable::Apart(x) => &x[at..],
                    Reusable::Within => {
                        held[..y.len()].copy_from_slice(y);
                        &held
                    }
                };
                scale_kept(word, x, y, scale);
            }
            if let Some(mask) = mask.get_mut(group) {
                *mask = word;
            }
        }
    });
}

wide! {
    fn keep_word(key: u64, start: u64, first_kept: u64, valid: usize) -> u64 {
        let mut kept = [0u8; 64];
        for (i, kept) in kept.iter_mut().enumerate() {
            let hash = splitmix64(key ^ splitmix64(start + i as u64));
            *kept = (first_kept <= hash >> 11) as u8;
        }
        let word = super::bits::gather(&kept);
        if valid < 64 { word & ((1 << valid) - 1) } else { word }
    }
}

wide! {
    fn scale_kept(word: u64, x: &[f32], y: &mut [f32], scale: f32) {
        let n = y.len();
        super::bits::select(word, &x[..n], y, |x| x * scale, |_| 0.0);
    }
}
