//! Interleaving of lines, the heart of packing.

/// Most lines that are interleaved at a time.
pub const LINES: usize = 8;

/// `out[k * width + line] = lines[line][k]` for all k of the lines, which are equally long. Packed widths are multiples
/// of 4, so there are 4 or 8 lines.
pub fn interleave(lines: &[&[f32]], out: &mut [f32], width: usize) {
    let depth = lines[0].len();
    assert!(lines.iter().all(|it| it.len() == depth));
    assert!(depth == 0 || (depth - 1) * width + lines.len() <= out.len());
    #[cfg(target_arch = "x86_64")]
    if let Ok(lines) = lines.try_into()
        && is_x86_feature_detected!("avx2")
    {
        // SAFETY: the instructions are there, and the assertions bound all lines and `out`.
        let done = unsafe { avx::interleave_8(lines, depth, out.as_mut_ptr(), width) };
        return (done..depth).for_each(|k| one(lines, k, out, width));
    }
    (0..depth).for_each(|k| one(lines, k, out, width));
}

#[inline(always)]
fn one(lines: &[&[f32]], k: usize, out: &mut [f32], width: usize) {
    for (out, line) in out[k * width..].iter_mut().zip(lines) {
        *out = line[k];
    }
}

#[cfg(target_arch = "x86_64")]
mod avx {
    use std::arch::x86_64::*;

    use super::LINES;

    /// Interleaves whole blocks of 8 elements and says how many elements that were.
    ///
    /// # Safety
    /// All lines have `depth` elements, and `depth` rows of 8 elements, `width` apart, may be written at `out`.
    #[target_feature(enable = "avx2")]
    pub unsafe fn interleave_8(lines: &[&[f32]; LINES], depth: usize, out: *mut f32, width: usize) -> usize {
        let mut k = 0;
        while k + LINES <= depth {
            // SAFETY: `k + 8 <= depth`.
            let load = |line: usize| unsafe { _mm256_loadu_ps(lines[line].as_ptr().add(k)) };
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
                // SAFETY: rows `k + i` and `k + i + 4`.
                unsafe {
                    _mm256_storeu_ps(out.add((k + i) * width), low);
                    _mm256_storeu_ps(out.add((k + i + 4) * width), high);
                }
            }
            k += LINES;
        }
        k
    }
}
