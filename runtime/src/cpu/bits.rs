//! Masks of one bit an element.

/// A word with the bits of up to 64 elements for which `is_set` holds.
#[inline(always)]
pub fn word(x: &[f32], is_set: impl Fn(f32) -> bool) -> u64 {
    let mut flags = [0u8; 64];
    for (flag, &x) in flags.iter_mut().zip(x) {
        *flag = is_set(x) as u8;
    }
    gather(&flags)
}

/// Bit `i` of the result is byte `i`, which must be 0 or 1.
#[inline(always)]
pub fn gather(flags: &[u8; 64]) -> u64 {
    let mut word = 0;
    for (byte, flags) in flags.chunks_exact(8).enumerate() {
        let flags = u64::from_le_bytes(flags.try_into().expect("eight bytes"));
        // Each product bit 56 + i is the sum of one flag, so nothing carries.
        word |= (flags.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * byte);
    }
    word
}

/// y = bit ? on(x) : off(x) for up to 64 elements.
#[inline(always)]
pub fn select(word: u64, x: &[f32], y: &mut [f32], on: impl Fn(f32) -> f32, off: impl Fn(f32) -> f32) {
    let choose = |word: u32, i: usize, x: f32| if word & (1 << i) != 0 { on(x) } else { off(x) };
    for (half, (x, y)) in x.chunks(32).zip(y.chunks_mut(32)).enumerate() {
        let word = (word >> (32 * half)) as u32;
        // A whole half has a length that the compiler knows.
        match (<&[f32; 32]>::try_from(x), <&mut [f32; 32]>::try_from(&mut *y)) {
            (Ok(x), Ok(y)) => (0..32).for_each(|i| y[i] = choose(word, i, x[i])),
            _ => x.iter().zip(y).enumerate().for_each(|(i, (&x, y))| *y = choose(word, i, x)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_a_bit_for_each_element() {
        for seed in [0u64, 1, u64::MAX, 0x8000_0000_0000_0001, 0x1234_5678_9abc_def0] {
            let x: Vec<f32> = (0..64).map(|i| ((seed >> i) & 1) as f32).collect();
            assert_eq!(word(&x, |x| 0.0 < x), seed);
            for n in [64, 40, 3] {
                let mut y = vec![9.0; n];
                select(seed, &[2.0; 64][..n], &mut y, |x| x / 2.0, |_| 0.0);
                assert_eq!(y, x[..n]);
            }
        }
        assert_eq!(word(&[1.0, 0.0, 1.0], |x| 0.0 < x), 0b101);
    }
}
