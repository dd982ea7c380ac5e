//! Finds the magnitude that separates what is kept from what is pruned, without sorting or copying.

use std::iter::once;

use super::bits;
use super::chunks::each;
use super::wide::wide;
use crate::kernels::pack::MaskTopk;
use crate::pool::Pool;

/// What a sample keeps: all magnitudes above a threshold and the first few equal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bits of the threshold's magnitude. Bits of magnitudes sort as the magnitudes do, NaN being the largest.
    pub threshold: u32,
    /// How many elements equal to the threshold are kept, those with the lowest indices.
    pub ties: usize,
}

/// Bits of |x|.
#[inline(always)]
pub fn magnitude(x: f32) -> u32 {
    x.to_bits() & 0x7fff_ffff
}

/// y = x where |x| is not below the `cut`-th smallest magnitude of its sample (1-based), else 0.
pub fn mask_topk(pool: &Pool, mask: &MaskTopk, x: &[f32], y: &mut [f32]) {
    let &MaskTopk { n, cut, .. } = mask;
    each(pool, y, n, |sample, y| {
        let x = &x[sample * n..][..n];
        let threshold = select(x, n - cut + 1).threshold;
        mask_slice(x, threshold, y);
    });
}

wide! {
    fn mask_slice(x: &[f32], threshold: u32, y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if threshold <= magnitude(x) { x } else { 0.0 };
        }
    }
}

/// The cut that keeps exactly `keep` elements, 1 to the length of x.
pub fn select(x: &[f32], keep: usize) -> Cut {
    select_of(once(x), 0, keep)
}

wide! {
    /// [`select`] of several parts and so many zeros beside them: a radix select of 11, 10 and 10 bits.
    pub fn select_of['a, I: Iterator<Item = &'a [f32]> + Clone](parts: I, zeros: usize, keep: usize) -> Cut {
        let mut left = keep;
        let top = find(&coarse(parts.clone(), zeros), &mut left);
        let middle = find(&fine(parts.clone(), zeros, top, 10), &mut left);
        let low = find(&fine(parts, zeros, top << 10 | middle, 0), &mut left);
        Cut { threshold: top << 20 | middle << 10 | low, ties: left }
    }
}

/// The bin, from above, that holds the `left`-th element; `left` becomes its rank within the bin.
#[inline(always)]
fn find(bins: &[u32], left: &mut usize) -> u32 {
    for (bin, &count) in bins.iter().enumerate().rev() {
        if *left <= count as usize {
            return bin as u32;
        }
        *left -= count as usize;
    }
    0
}

/// Counts of the highest 11 bits of the magnitudes.
#[inline(always)]
fn coarse<'a>(parts: impl Iterator<Item = &'a [f32]>, zeros: usize) -> [u32; 2048] {
    // Neighbors are often alike; four tables keep one count from waiting for another.
    let mut tables = [[0u32; 2048]; 4];
    tables[0][0] = zeros as u32;
    for x in parts {
        let (groups, rest) = x.as_chunks::<4>();
        for group in groups {
            for (table, &x) in tables.iter_mut().zip(group) {
                table[(magnitude(x) >> 20) as usize] += 1;
            }
        }
        for &x in rest {
            tables[0][(magnitude(x) >> 20) as usize] += 1;
        }
    }
    let [mut sum, tables @ ..] = tables;
    for table in &tables {
        sum.iter_mut().zip(table).for_each(|(sum, count)| *sum += count);
    }
    sum
}

/// Counts of the 10 bits from `shift` upwards of those magnitudes that have `prefix` above them.
#[inline(always)]
fn fine<'a>(parts: impl Iterator<Item = &'a [f32]>, zeros: usize, prefix: u32, shift: u32) -> [u32; 1024] {
    let mut counts = [0; 1024];
    if prefix == 0 {
        counts[0] = zeros as u32;
    }
    let mut count = |x: &[f32], mut found: u64| {
        while found != 0 {
            counts[(magnitude(x[found.trailing_zeros() as usize & 63]) >> shift) as usize & 1023] += 1;
            found &= found - 1;
        }
    };
    let is_candidate = |x| magnitude(x) >> (shift + 10) == prefix;
    for x in parts {
        let (groups, rest) = x.as_chunks::<64>();
        for group in groups {
            count(group, bits::word(group, is_candidate));
        }
        count(rest, bits::word(rest, is_candidate));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_sorting(x: &[f32], keep: usize) -> Cut {
        let mut sorted: Vec<_> = x.iter().map(|&x| magnitude(x)).collect();
        sorted.sort_by(|a, b| b.cmp(a));
        let threshold = sorted[keep - 1];
        Cut { threshold, ties: sorted[..keep].iter().filter(|&&it| it == threshold).count() }
    }

    #[test]
    fn select_agrees_with_sorting() {
        let mut state = 1u32;
        for n in [1, 2, 63, 64, 65, 1000, 4099] {
            for bits in [1, 3, 12, 32] {
                let x: Vec<f32> = (0..n)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        f32::from_bits(state & !(u32::MAX.checked_shr(bits).unwrap_or(0)))
                    })
                    .collect();
                for keep in [1, 2, n / 10, n / 2, n - 1, n] {
                    if (1..=n).contains(&keep) {
                        assert_eq!(select(&x, keep), by_sorting(&x, keep), "keep {keep} of {n}, {bits} bits");
                    }
                }
            }
        }
    }
}
