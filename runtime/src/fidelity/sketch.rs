//! A few sums of a long vector, from which its product with another one can be told.

use crate::rng::splitmix64;

/// Sums that a vector becomes: half a MiB. The product of two sketches is off by less than 0.4 % of the product of the
/// vectors' lengths (standard error), whatever they are.
const SUMS: usize = 1 << 17;

/// Count sketch (Charikar, Chen and Farach-Colton, 2002): each element is added to, or subtracted from, one of the sums.
/// Vectors of no more elements than there are sums are kept as they are.
#[derive(Clone, Debug)]
pub struct Sketch {
    sums: Vec<f32>,
    whole: bool,
    energy: f64,
}

impl Sketch {
    /// Of zeros.
    pub fn new(elements: usize) -> Sketch {
        Sketch { sums: vec![0.0; elements.min(SUMS)], whole: elements <= SUMS, energy: 0.0 }
    }

    /// Gives values to the elements from `start` on, once each.
    pub fn put(&mut self, start: usize, values: impl Iterator<Item = f32>) {
        for (at, value) in (start..).zip(values) {
            self.energy += f64::from(value) * f64::from(value);
            if self.whole {
                if let Some(sum) = self.sums.get_mut(at) {
                    *sum = value;
                }
                continue;
            }
            let bits = splitmix64(at as u64);
            self.sums[bits as usize % SUMS] += if bits >> 63 == 0 { value } else { -value };
        }
    }

    /// Squared length of the vector, as exact as f64.
    pub fn energy(&self) -> f64 {
        self.energy
    }

    /// Inner product with another vector of as many elements.
    pub fn product(&self, other: &Sketch) -> f64 {
        self.sums.iter().zip(&other.sums).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fidelity::Likeness;
    use crate::rng::Rng;

    /// Two vectors of this cosine; where `spiked`, a few elements are most of either.
    fn pair(elements: usize, cosine: f64, spiked: bool) -> [Vec<f32>; 2] {
        let mut rng = Rng::keyed(&[9]);
        let mut noise = || (rng.below(2001) as f64 - 1000.0) / 1000.0;
        let (mut a, mut b) = (vec![], vec![]);
        for at in 0..elements {
            let scale = if spiked && at % 1024 == 7 { 100.0 } else { 1.0 };
            let (x, y) = (scale * noise(), scale * noise());
            a.push(x as f32);
            b.push((cosine * x + (1.0 - cosine * cosine).sqrt() * y) as f32);
        }
        [a, b]
    }

    fn cosine(vectors: &[Vec<f32>; 2]) -> f64 {
        let [a, b] = vectors.each_ref().map(|it| {
            let mut sketch = Sketch::new(it.len());
            // In pieces, as weights are.
            for (piece, values) in it.chunks(100_000).enumerate() {
                sketch.put(piece * 100_000, values.iter().copied());
            }
            sketch
        });
        a.product(&b) / (a.energy() * b.energy()).sqrt()
    }

    fn exact(vectors: &[Vec<f32>; 2]) -> f64 {
        Likeness::of(&vectors[0], &vectors[1]).cosine()
    }

    #[test]
    fn short_vectors_are_compared_exactly() {
        let vectors = pair(SUMS, 0.6, false);
        assert!((cosine(&vectors) - exact(&vectors)).abs() < 1e-12);
        assert!((exact(&vectors) - 0.6).abs() < 0.01);
    }

    #[test]
    fn long_vectors_are_compared_within_the_stated_error() {
        for spiked in [false, true] {
            for expected in [0.0, 0.5, 0.95] {
                let vectors = pair(2_000_000, expected, spiked);
                let (found, exact) = (cosine(&vectors), exact(&vectors));
                assert!((found - exact).abs() < 4.0 * 0.004, "{found} for {exact}, spiked: {spiked}");
            }
        }
    }
}
