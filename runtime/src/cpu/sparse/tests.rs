use std::ops::Range;

use super::{Kept, linear};
use crate::kernels::linear::Linear;
use crate::pool::{Pool, Team};

/// A tensor whose zeros were pruned.
struct Zeros<'a>(&'a [f32], usize);

impl Kept for Zeros<'_> {
    fn len(&self) -> usize {
        self.0.len() / self.1
    }

    fn count(&self, sample: usize, range: Range<usize>) -> usize {
        self.0[sample * self.len()..][range].iter().filter(|it| **it != 0.0).count()
    }

    fn each(&self, sample: usize, range: Range<usize>, mut each: impl FnMut(usize, f32)) {
        let x = &self.0[sample * self.len()..][..self.len()];
        range.filter(|it| x[*it] != 0.0).for_each(|it| each(it, x[it]));
    }
}

fn random(n: usize, keep: u32) -> Vec<f32> {
    let mut state = n as u32 + keep;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    (0..n).map(|_| if next() % 100 < keep { next() as f32 / (1 << 23) as f32 - 1.0 } else { 0.0 }).collect()
}

#[test]
fn weight_gradients_are_those_of_the_dense_tensor() {
    // Samples of one row and of many, widths that fill no panel, and more kept than there is room for at a time.
    for [samples, per_sample, k, n] in
        [[1, 1, 1, 1], [5, 1, 40, 7], [3, 130, 33, 100], [2, 300, 70, 48], [1, 9, 17, 97]]
    {
        for keep in [0, 10, 100] {
            for transpose in [false, true] {
                let rows = samples * per_sample;
                let (x, dy, before) = (random(rows * k, keep), random(rows * n, 100), random(k * n, 50));
                let sizes = Linear { rows, k, n, transpose, bias: false };
                let made = |threads: usize| {
                    let mut dw = before.clone();
                    let pool = Pool::new(threads);
                    let mut scratch = vec![f32::NAN; threads * linear::scratch(k).next_multiple_of(16)];
                    linear::weight_grad(&Team::new(&pool, &mut scratch), &sizes, &dy, &Zeros(&x, samples), &mut dw);
                    dw
                };
                let dw = made(1);
                assert_eq!(dw, made(3));
                for (at, &found) in dw.iter().enumerate() {
                    let (i, j) = if transpose { (at % k, at / k) } else { (at / n, at % n) };
                    let products = (0..rows).map(|row| x[row * k + i] as f64 * dy[row * n + j] as f64);
                    let expected = before[at] as f64 + products.sum::<f64>();
                    assert!(
                        (found as f64 - expected).abs() < 1e-4,
                        "{sizes:?}, {keep} %: {at}: {found}, not {expected}"
                    );
                }
            }
        }
    }
}
