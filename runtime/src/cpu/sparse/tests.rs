use std::ops::Range;

use super::{Sparse, conv, linear};
use crate::kernels::conv::Conv;
use crate::kernels::linear::Linear;
use crate::kernels::pack::Stored;
use crate::pool::{Pool, Team};

/// A tensor whose zeros were pruned.
struct Zeros<'a>(&'a [f32], usize);

impl Sparse for Zeros<'_> {
    fn elements(&self) -> usize {
        self.0.len() / self.1
    }

    fn count(&self, sample: usize, range: Range<usize>) -> usize {
        self.0[sample * self.elements()..][range].iter().filter(|it| **it != 0.0).count()
    }

    fn each(&self, sample: usize, range: Range<usize>, mut each: impl FnMut(usize, f32)) {
        let x = &self.0[sample * self.elements()..][..self.elements()];
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
                let sizes = Linear { rows, k, n, transpose, bias: false, x: Stored::Dense, onto: true };
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

#[test]
fn convolutions_weight_gradients_are_those_of_the_dense_tensor() {
    // n, c, o, ih, iw, kernel, stride, padding, dilation
    let cases = [
        [2, 3, 5, 7, 6, 1, 1, 0, 1],
        [1, 20, 50, 40, 30, 1, 1, 0, 1],
        [2, 4, 17, 9, 9, 1, 2, 0, 1],
        [2, 5, 18, 11, 8, 3, 1, 1, 1],
        [1, 3, 16, 40, 40, 3, 1, 1, 1],
        [2, 2, 3, 9, 12, 5, 1, 2, 1],
        [1, 2, 20, 12, 10, 3, 1, 2, 2],
        [1, 2, 20, 12, 10, 3, 1, 0, 1],
    ];
    for [n, c, o, ih, iw, k, s, p, d] in cases {
        let out = |size: usize| (size + 2 * p - (k - 1) * d - 1) / s + 1;
        let (oh, ow) = (out(ih), out(iw));
        let conv = Conv {
            n,
            c,
            o,
            groups: 1,
            ih,
            iw,
            oh,
            ow,
            kh: k,
            kw: k,
            sh: s,
            sw: s,
            pt: p,
            pl: p,
            pb: p,
            pr: p,
            dh: d,
            dw: d,
            bias: false,
            x: Stored::Dense,
            onto: true,
        };
        assert!(conv::fits(&conv), "{conv:?}");
        for keep in [0, 10, 100] {
            let (x, dy) = (random(n * c * ih * iw, keep), random(n * o * oh * ow, 100));
            let before = random(o * c * k * k, 50);
            let made = |threads: usize| {
                let mut dw = before.clone();
                let pool = Pool::new(threads);
                let mut scratch = vec![f32::NAN; threads * conv::scratch(&conv).next_multiple_of(16)];
                conv::weight_grad(&Team::new(&pool, &mut scratch), &conv, &dy, &Zeros(&x, n), &mut dw);
                dw
            };
            let dw = made(1);
            assert_eq!(dw, made(3));
            for (at, &found) in dw.iter().enumerate() {
                let [oc, ic, ty, tx] = [at / (c * k * k), at / (k * k) % c, at / k % k, at % k];
                let mut expected = before[at] as f64;
                for (b, oy, ox) in (0..n).flat_map(|b| (0..oh).flat_map(move |y| (0..ow).map(move |x| (b, y, x)))) {
                    let (y, xx) = ((oy * s + ty * d).wrapping_sub(p), (ox * s + tx * d).wrapping_sub(p));
                    if y < ih && xx < iw {
                        let x = x[((b * c + ic) * ih + y) * iw + xx] as f64;
                        expected += x * dy[((b * o + oc) * oh + oy) * ow + ox] as f64;
                    }
                }
                assert!((found as f64 - expected).abs() < 1e-3, "{conv:?}, {keep} %: {at}: {found}, not {expected}");
            }
        }
    }
}
