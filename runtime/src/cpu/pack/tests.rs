use half::f16;

use super::*;
use crate::cpu::topk::magnitude;
use crate::types::Kept;

const STORED: [Kept; 3] = [Kept::F32, Kept::F16, Kept::Bf16];

fn random(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next() * next() * 8.0).collect()
}

/// Samples that are hard in different ways.
fn samples(n: usize) -> Vec<(&'static str, Vec<f32>)> {
    let x = random(n, n as u32 + 1);
    let mut odd = x.clone();
    for (i, x) in odd.iter_mut().enumerate() {
        *x = match i % 7 {
            0 => f32::NAN,
            1 => -0.0,
            2 => f32::NEG_INFINITY,
            3 => 0.0,
            4 => f32::from_bits(3),
            _ => *x,
        };
    }
    vec![
        ("ties", x.iter().map(|x| (x * 2.0).round()).collect()),
        ("half of it zero", x.iter().map(|x| x.max(0.0)).collect()),
        ("odd numbers", odd),
        ("zeros of both signs", x.iter().map(|x| 0f32.copysign(*x)).collect()),
        ("anything", x),
    ]
}

fn layouts(n: usize) -> Vec<Pack> {
    let keeps = [1, n / 10, n / 2, n - 1, n];
    let keeps = keeps.into_iter().filter(|keep| (1..=n).contains(keep));
    keeps.flat_map(|keep| STORED.map(|values| Pack { samples: 2, n, keep, values })).collect()
}

fn packed(level: Level, threads: usize, layout: &Pack, x: &[f32]) -> Vec<u8> {
    let mut packed = vec![0xaa; layout.samples * (layout.bitmap() + layout.kept())];
    compress_at(level, &Pool::new(threads), layout, x, &mut packed);
    packed
}

fn dense(level: Level, layout: &Pack, packed: &[u8]) -> Vec<f32> {
    let mut y = vec![7.0; layout.samples * layout.n];
    decompress_at(level, &Pool::new(1), layout, packed, &mut y);
    y
}

/// By a plain sort: the largest magnitudes, the lowest index first among equal ones.
fn pruned(layout: &Pack, x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    for (x, y) in x.chunks(layout.n).zip(y.chunks_mut(layout.n)) {
        let mut order: Vec<_> = (0..x.len()).collect();
        order.sort_by_key(|&i| (u32::MAX - magnitude(x[i]), i));
        order[..layout.keep].iter().for_each(|&i| y[i] = layout.values.round(x[i]));
    }
    y
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn keeps_what_a_sort_keeps() {
    for n in [1, 2, 63, 64, 65, 200, 1031] {
        for (name, mut x) in samples(n) {
            x.extend(random(n, 9));
            for layout in layouts(n) {
                let packed = packed(Level::detect(), 1, &layout, &x);
                let y = dense(Level::detect(), &layout, &packed);
                assert_eq!(bits(&y), bits(&pruned(&layout, &x)), "{name}, {layout:?}");
                let (bitmaps, _) = packed.split_at(layout.samples * layout.bitmap());
                let ones: u32 = bitmaps.iter().map(|it| it.count_ones()).sum();
                assert_eq!(ones as usize, layout.samples * layout.keep, "{name}, {layout:?}");
            }
        }
    }
}

#[test]
fn every_level_and_number_of_threads_makes_the_same_bytes() {
    if Level::detect() == Level::Baseline {
        println!("SKIPPED: this CPU has only the baseline");
        return;
    }
    for n in [5, 64, 130, 5003] {
        for (name, mut x) in samples(n) {
            x.extend(random(n, 3));
            for layout in layouts(n) {
                let fast = packed(Level::detect(), 2, &layout, &x);
                assert_eq!(fast, packed(Level::Baseline, 1, &layout, &x), "{name}, {layout:?}");
                let y = dense(Level::detect(), &layout, &fast);
                assert_eq!(bits(&y), bits(&dense(Level::Baseline, &layout, &fast)), "{name}, {layout:?}");
            }
        }
    }
}

#[test]
fn rounding_in_bulk_is_rounding_one_by_one() {
    let x: Vec<f32> =
        (0..1 << 16).map(|high: u32| f32::from_bits(high << 16 | high.wrapping_mul(40_503) & 0xffff)).collect();
    for values in STORED {
        let layout = Pack { samples: 1, n: x.len(), keep: x.len(), values };
        let y = dense(Level::detect(), &layout, &packed(Level::detect(), 1, &layout, &x));
        for (x, y) in x.iter().zip(y) {
            let want = values.round(*x);
            assert!(want.to_bits() == y.to_bits() || want.is_nan() && y.is_nan(), "{x:e} as {values:?}: {y:e}");
        }
    }
    assert_eq!(f16::from_f32(1.0 + 1.0 / 2048.0), f16::ONE, "ties go to even");
}
