use super::*;
use crate::rng::splitmix64;

/// Nearly normal numbers.
fn normal(n: usize, seed: u64) -> Vec<f32> {
    let uniform = |it: u64| (splitmix64(seed << 40 ^ it) >> 40) as f32 / (1 << 24) as f32;
    (0..n as u64).map(|it| (0..12).map(|k| uniform(it * 12 + k)).sum::<f32>() - 6.0).collect()
}

fn nearest(rows: usize, len: usize, bits: usize, block: usize) -> Quantize {
    Quantize { quant: Quant { rows, len, bits, block }, seed: None, step: false }
}

fn round(with: &Quantize, x: &[f32], step: f32) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut y) = (vec![0xaa; with.quant.bytes()], vec![7.0; x.len()]);
    quantize(&Pool::new(2), with, x, step, &mut bytes);
    dequantize(&Pool::new(1), &with.quant, &bytes, &mut y);
    (bytes, y)
}

/// Root of the squared error's share.
fn error(x: &[f32], y: &[f32]) -> f64 {
    let squares = |it: &mut dyn Iterator<Item = f64>| it.map(|it| it * it).sum::<f64>();
    let lost = squares(&mut x.iter().zip(y).map(|(x, y)| f64::from(x - y)));
    (lost / squares(&mut x.iter().map(|&it| it.into()))).sqrt()
}

#[test]
fn errors_are_those_of_the_documented_table() {
    let x = normal(1 << 18, 1);
    let positive: Vec<f32> = x.iter().map(|it| it.max(0.0)).collect();
    for (data, block, expected) in [
        (&x, 64, [(8, 0.0054), (4, 0.090), (2, 0.45)]),
        (&positive, 64, [(8, 0.0027), (4, 0.045), (2, 0.23)]),
        (&x, 256, [(8, 0.0065), (4, 0.11), (2, 0.55)]),
    ] {
        for (bits, expected) in expected {
            let found = error(data, &round(&nearest(256, 1024, bits, block), data, 0.0).1);
            println!("{bits} bits, blocks of {block}: {found:.5}");
            assert!((found / expected - 1.0).abs() < 0.03, "{bits} bits, blocks of {block}: {found}, not {expected}");
        }
    }
}

#[test]
fn no_element_is_farther_off_than_a_level() {
    for (rows, len) in [(1, 1), (3, 15), (2, 16), (5, 64), (4, 65), (2, 1000)] {
        for (bits, block) in [(8, 16), (8, 64), (4, 48), (4, 256), (2, 16), (2, 4096)] {
            let mut x = normal(rows * len, 3);
            // Blocks of one sign, of one value, of zeros, and tiny ones.
            x.iter_mut().step_by(7).for_each(|it| *it = 0.0);
            x[..len].iter_mut().for_each(|it| *it = it.abs() + 3.0);
            x[(rows - 1) * len..].iter_mut().for_each(|it| *it *= 1e-38);
            for seed in [None, Some(9)] {
                let with = Quantize { seed, ..nearest(rows, len, bits, block) };
                let (_, y) = round(&with, &x, 0.0);
                for (x, y) in x.chunks(len).zip(y.chunks(len)).flat_map(|(x, y)| x.chunks(block).zip(y.chunks(block))) {
                    let range = |it: &[f32]| it.iter().fold(0.0, |most: f32, &it| most.max(it.abs()));
                    // Scale and offset are rounded outwards, by at most a 128th or the smallest number.
                    let span = x.iter().cloned().fold(f32::MIN, f32::max) - x.iter().cloned().fold(f32::MAX, f32::min);
                    let step = (span + range(x) / 128.0) * 1.01 / with.quant.most();
                    let share = if seed.is_none() { 0.501 } else { 1.001 };
                    for (x, y) in x.iter().zip(y) {
                        assert!((x - y).abs() <= share * step + 1e-40, "{with:?}: {x} became {y}, step {step}");
                    }
                }
            }
        }
    }
}

#[test]
fn zeros_of_both_signs_and_constants_come_back() {
    for bits in [8, 4, 2] {
        let x = [0.0f32, -0.0, 0.0, -0.0, 2.5, 2.5, 2.5, 2.5].map(|it| [it; 16]).concat();
        let (bytes, y) = round(&nearest(8, 16, bits, 16), &x, 0.0);
        assert!(y.iter().zip(&x).all(|(y, x)| y == x), "{y:?}");
        let other: Vec<f32> = x.iter().map(|&it| if it == 0.0 { -it } else { it }).collect();
        assert_eq!(round(&nearest(8, 16, bits, 16), &other, 0.0).0, bytes);
    }
}

#[test]
fn what_is_no_number_makes_its_block_none() {
    for bits in [8, 4, 2] {
        for odd in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = normal(200, 5);
            x[70] = odd;
            let (_, y) = round(&nearest(1, 200, bits, 64), &x, 0.0);
            assert!(y.iter().enumerate().all(|(i, y)| y.is_nan() == (64..128).contains(&i)), "{odd}: {y:?}");
        }
        let huge = [f32::MAX, f32::MIN].repeat(8);
        assert!(round(&nearest(1, 16, bits, 16), &huge, 0.0).1.iter().all(|it| it.is_nan()));
    }
}

#[test]
fn readers_read_what_dequantize_writes_from_any_start() {
    let mut state = 3;
    let mut below = |n: usize| {
        state = splitmix64(state);
        (state % n as u64) as usize
    };
    for (rows, len) in [(2, 1), (4, 15), (6, 64), (4, 197), (2, 1000)] {
        for (bits, block) in [(8, 16), (8, 256), (4, 16), (4, 112), (2, 48), (2, 64)] {
            let with = nearest(rows, len, bits, block);
            let (bytes, y) = round(&with, &normal(rows * len, 4), 0.0);
            let rounded = Rounded::new(&with.quant, 2, &bytes);
            let n = rows * len / 2;
            for _ in 0..20 {
                let (sample, a, b) = (below(2), below(n + 1), below(n + 1));
                let range = a.min(b)..a.max(b);
                let mut out = vec![7.0; range.len()];
                rounded.decode(sample, range.clone(), &mut out);
                assert_eq!(out, y[sample * n..][range.clone()], "{range:?} of {with:?}");
            }
            let mut cursor = rounded.cursor(1, 0);
            for want in y[n..].chunks(1 + below(n)) {
                let mut out = vec![7.0; want.len()];
                cursor.decode(&mut out);
                assert_eq!(out, want, "{with:?}");
            }
            assert_eq!(cursor.position(), n);
        }
    }
}

#[test]
fn rounding_at_random_keeps_the_mean() {
    let x = normal(256, 6);
    for bits in [8, 4, 2] {
        let with = Quantize { seed: Some(1), step: true, ..nearest(1, 256, bits, 64) };
        let (steps, mut sums) = (2000, vec![0.0f64; x.len()]);
        for step in 0..steps {
            let y = round(&with, &x, step as f32).1;
            sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += f64::from(y));
        }
        for (x, sum) in x.iter().zip(sums) {
            let scale = f64::from(14.0 / with.quant.most());
            let error = (sum / f64::from(steps) - f64::from(*x)) / scale;
            assert!(error.abs() < 5.0 * 0.5 / f64::from(steps).sqrt(), "{bits} bits: {x} is off by {error} steps");
        }
    }
}
