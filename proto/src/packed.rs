//! Sizes of what is packed: the one place where compiler and runtime agree on them.

use crate::program::DType;
use crate::program::r#type::IndexForm;

/// Values that share a scale in a pruned copy of I8 values.
pub const SCALED: u64 = 256;

/// Bytes of the index of one sample that keeps `keep` of `n` elements, a multiple of 8; none where they overflow.
pub fn index_bytes(form: IndexForm, n: u64, keep: u64) -> Option<u64> {
    let words = match form {
        IndexForm::Bitmap => n.div_ceil(64),
        IndexForm::Gaps => {
            let low = low_bits(n, keep);
            let high = keep.checked_add(n.div_ceil(1 << low))?;
            low_words(n, keep)?.checked_add(high.div_ceil(64))?
        }
    };
    words.checked_mul(8)
}

/// The form whose index of one sample is smaller; the bitmap where they are alike.
pub fn smaller_form(n: u64, keep: u64) -> IndexForm {
    match (index_bytes(IndexForm::Gaps, n, keep), index_bytes(IndexForm::Bitmap, n, keep)) {
        (Some(gaps), Some(bitmap)) if gaps < bitmap => IndexForm::Gaps,
        _ => IndexForm::Bitmap,
    }
}

/// Bits of a position that an index of gaps stores as they are: the smallest number that makes the index smallest.
///
/// It is near log2(n / keep).
pub fn low_bits(n: u64, keep: u64) -> u32 {
    let bits = |low: &u32| u128::from(keep) * u128::from(low + 1) + u128::from(n.div_ceil(1 << low));
    (0..56).min_by_key(bits).unwrap_or(0)
}

/// 64-bit words of the low bits of one sample's positions; none where they overflow.
pub fn low_words(n: u64, keep: u64) -> Option<u64> {
    Some(keep.checked_mul(low_bits(n, keep).into())?.div_ceil(64))
}

/// Bytes of one sample's values, scales included; none where they overflow or no pruned copy has such values.
pub fn value_bytes(values: DType, keep: u64) -> Option<u64> {
    match values {
        DType::F32 | DType::F16 | DType::Bf16 => keep.checked_mul(values.width()?),
        DType::I8 => keep.checked_add(scale_bytes(values, keep)),
        _ => None,
    }
}

/// Bytes of one sample's scales.
pub fn scale_bytes(values: DType, keep: u64) -> u64 {
    if values == DType::I8 { keep.div_ceil(SCALED) * 4 } else { 0 }
}

/// Bytes of the scale and the offset of a block of a rounded tensor.
pub const BLOCK_BYTES: u64 = 4;

/// Whether a tensor can be rounded to so many bits in blocks of so many elements.
pub fn can_quantize(bits: u64, block: u64) -> bool {
    matches!(bits, 2 | 4 | 8) && (16..=1 << 16).contains(&block) && block.is_multiple_of(16)
}

/// Bytes of the scales and offsets of a row of a rounded tensor.
pub fn row_scale_bytes(len: u64, block: u64) -> u64 {
    len.div_ceil(block) * BLOCK_BYTES
}

/// Bytes of the codes of a row of a rounded tensor; none where they overflow.
pub fn row_code_bytes(len: u64, bits: u64) -> Option<u64> {
    Some(len.checked_mul(bits)?.div_ceil(8))
}

/// Bytes of a rounded tensor of these axes; none where they overflow or it cannot be.
pub fn quant_bytes(dims: &[u64], bits: u64, block: u64) -> Option<u64> {
    if !can_quantize(bits, block) {
        return None;
    }
    let (&len, outer) = dims.split_last().unwrap_or((&1, &[]));
    let rows = outer.iter().try_fold(1u64, |rows, &dim| rows.checked_mul(dim))?;
    row_code_bytes(len, bits)?.checked_add(row_scale_bytes(len, block))?.checked_mul(rows)
}

/// Elements of optimizer state in 8 bits that share a scale.
pub const STATE_BLOCK: u64 = 256;

/// Bytes of so many elements of optimizer state in 8 bits; none where they overflow.
pub fn dynamic_bytes(elements: u64) -> Option<u64> {
    elements.checked_add(elements.div_ceil(STATE_BLOCK).checked_mul(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits that tell which share of the elements is kept, at least, for each element (Shannon).
    fn entropy(share: f64) -> f64 {
        -share * share.log2() - (1.0 - share) * (1.0 - share).log2()
    }

    #[test]
    fn the_smaller_form_is_near_the_entropy_bound() {
        let n = 197 * 768;
        for pruned in [0.9, 0.95, 0.97] {
            let keep = n - (n as f64 * pruned) as u64;
            let share = keep as f64 / n as f64;
            for (values, width) in [(DType::F16, 2.0), (DType::I8, 1.0)] {
                let index = index_bytes(smaller_form(n, keep), n, keep).unwrap();
                let bytes = (index + value_bytes(values, keep).unwrap()) as f64 / n as f64;
                let bound = entropy(share) / 8.0 + share * width;
                println!("{pruned} {values:?}: {bytes:.4} bytes an element, bound {bound:.4}");
                assert!(bound < bytes && bytes < 1.15 * bound, "{pruned} {values:?}: {bytes} of {bound}");
            }
        }
    }

    #[test]
    fn low_bits_make_the_index_smallest() {
        assert_eq!(low_bits(100, 100), 0);
        assert_eq!(low_bits(151_296, 15_130), 3);
        assert_eq!(low_bits(1 << 40, 1), 39);
        for (n, keep) in [(1u64, 1u64), (64, 7), (1000, 1), (1000, 31), (1000, 999), (151_296, 4_539)] {
            let size = |low: u32| keep * u64::from(low + 1) + n.div_ceil(1 << low);
            let chosen = low_bits(n, keep);
            assert!((0..40).all(|low| size(chosen) <= size(low)), "{n}, {keep}: {chosen}");
            // The textbook's rule is at most one bit off.
            assert!(chosen.abs_diff((n / keep).ilog2()) <= 1, "{n}, {keep}: {chosen}");
        }
    }

    #[test]
    fn a_bitmap_is_smaller_where_much_is_kept() {
        assert_eq!(smaller_form(151_296, 151_296 / 2), IndexForm::Bitmap);
        assert_eq!(smaller_form(151_296, 151_296 / 5), IndexForm::Gaps);
        assert_eq!(smaller_form(64, 30), IndexForm::Bitmap);
    }

    #[test]
    fn sizes_that_overflow_are_none() {
        assert_eq!(index_bytes(IndexForm::Gaps, u64::MAX, u64::MAX), None);
        assert_eq!(value_bytes(DType::F32, u64::MAX), None);
        assert_eq!(value_bytes(DType::I8, u64::MAX), None);
        assert_eq!(value_bytes(DType::I64, 1), None);
        assert_eq!(quant_bytes(&[1 << 40, 1 << 40], 8, 64), None);
        assert_eq!(quant_bytes(&[u64::MAX], 8, 64), None);
        assert_eq!(quant_bytes(&[4], 3, 64), None);
        assert_eq!(quant_bytes(&[4], 4, 40), None);
        assert_eq!(dynamic_bytes(u64::MAX), None);
        assert_eq!(dynamic_bytes(257), Some(257 + 2 * 4));
        assert_eq!(quant_bytes(&[], 2, 16), Some(5));
        assert_eq!(quant_bytes(&[2, 3, 65], 4, 64), Some(6 * (2 * 4 + 33)));
    }
}
