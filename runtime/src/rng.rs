//! Random numbers that depend on a key alone, so that any worker and any resumed run draws the same ones.

/// One step of SplitMix64 (Steele, Lea and Flood, 2014): a bijection of 64 bits that mixes well.
#[inline(always)]
pub fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(GOLDEN);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers: the i-th is `splitmix64(key + i * golden ratio)`.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of a key such as `[seed, purpose, epoch, sample]`; keys that differ anywhere give unrelated streams.
    pub fn keyed(key: &[u64]) -> Rng {
        Rng { state: key.iter().fold(key.len() as u64, |state, &word| splitmix64(state ^ splitmix64(word))) }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let bits = splitmix64(self.state);
        self.state = self.state.wrapping_add(GOLDEN);
        bits
    }

    /// A whole number in `0..n`, each equally likely; 0 for `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // Lemire's method: the low half of the product is redrawn where it would favour small numbers.
        let unfair = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            if unfair <= product as u64 {
                return (product >> 64) as u64;
            }
        }
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_sequence() {
        let mut rng = Rng { state: 1234567 };
        let expected =
            [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821];
        assert_eq!(expected.map(|_| rng.bits()), expected);
    }

    #[test]
    fn below_is_even_and_in_range() {
        let mut rng = Rng::keyed(&[7]);
        let mut seen = [0u32; 6];
        for _ in 0..60_000 {
            seen[rng.below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_600..10_400).contains(n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn keys_that_differ_give_streams_that_differ() {
        let first = |key: &[u64]| Rng::keyed(key).bits();
        let keys: [&[u64]; 6] = [&[], &[0], &[0, 0], &[1, 0], &[0, 1], &[1, 1]];
        let mut drawn: Vec<u64> = keys.iter().map(|key| first(key)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), keys.len());
    }
}
