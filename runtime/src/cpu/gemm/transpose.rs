//! Interleaving of lines, the heart of packing.

use std::ops::Range;

use super::DEPTH;

/// Most lines that are interleaved at a time.
pub const LINES: usize = 8;

/// `out[k * width + line] = rows[line][k]` for all `k < depth`. Packed widths are multiples of 4, so there are 4 or 8 rows.
pub fn interleave(rows: &[[f32; DEPTH]], depth: usize, out: &mut [f32], width: usize) {
    assert!(depth == 0 || depth <= DEPTH && (depth - 1) * width + rows.len() <= out.len());
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if let Ok(rows) = rows.try_into()
        && is_x86_feature_detected!("avx2")
    {
        while done + LINES <= depth {
            // SAFETY: the instructions are there, and the assertion bounds `out`.
            unsafe { avx::interleave_8(rows, done, out.as_mut_ptr().add(done * width), width) };
            done += LINES;
        }
    }
    for four in 0..rows.len() / 4 {
        interleave_4(&rows[4 * four..], done..depth, &mut out[4 * four..], width);
    }
}

fn interleave_4(rows: &[[f32; DEPTH]], ks: Range<usize>, out: &mut [f32], width: usize) {
    let [a, b, c, d] = [0, 1, 2, 3].map(|it| &rows[it]);
    for k in ks {
        out[k * width..][..4].copy_from_slice(&[a[k], b[k], c[k], d[k]]);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx {
    use std::arch::x86_64::*;

    use super::{DEPTH, LINES};

    /// # Safety
    /// `k + 8 <= DEPTH`, and 8 rows of 8 elements, `width` apart, may be written at `out`.
    #[target_feature(enable = "avx2")]
    pub unsafe fn interleave_8(rows: &[[f32; DEPTH]; LINES], k: usize, out: *mut f32, width: usize) {
        // SAFETY: `k + 8 <= DEPTH`.
        let load = |line: usize| unsafe { _mm256_loadu_ps(rows[line].as_ptr().add(k)) };
        let mut pairs = [_mm256_setzero_ps(); 8];
        for i in 0..4 {
            let (a, b) = (load(2 * i), load(2 * i + 1));
            pairs[2 * i] = _mm256_unpacklo_ps(a, b);
            pairs[2 * i + 1] = _mm256_unpackhi_ps(a, b);
        }
        let mut fours = [_mm256_setzero_ps(); 8];
        for i in 0..2 {
            for high in 0..2 {
                let (a, b) = (pairs[4 * i + high], pairs[4 * i + 2 + high]);
                fours[4 * i + 2 * high] = _mm256_shuffle_ps::<0x44>(a, b);
                fours[4 * i + 2 * high + 1] = _mm256_shuffle_ps::<0xee>(a, b);
            }
        }
        for i in 0..4 {
            let low = _mm256_permute2f128_ps::<0x20>(fours[i], fours[4 + i]);
            let high = _mm256_permute2f128_ps::<0x31>(fours[i], fours[4 + i]);
            // SAFETY: rows `i` and `i + 4` of the eight.
            unsafe {
                _mm256_storeu_ps(out.add(i * width), low);
                _mm256_storeu_ps(out.add((i + 4) * width), high);
            }
        }
    }
}
