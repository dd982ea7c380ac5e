use half::{bf16, f16};

use super::*;
use crate::cpu::topk::magnitude;
use crate::kernels::pack::{draw, scale};
use crate::types::Kept;

const STORED: [Kept; 4] = [Kept::F32, Kept::F16, Kept::Bf16, Kept::I8];

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
    let keeps = [1, n / 30, n / 10, n / 2, n - 1, n];
    let mut layouts = vec![];
    for keep in keeps.into_iter().filter(|keep| (1..=n).contains(keep)) {
        for form in [IndexForm::Bitmap, IndexForm::Gaps] {
            layouts.extend(STORED.map(|values| Pack { samples: 2, n, keep, values, form }));
        }
    }
    layouts
}

fn compress_with(layout: &Pack) -> Compress {
    Compress { pack: layout.clone(), seed: 5, step: true, rows: None }
}

fn packed(level: Level, threads: usize, layout: &Pack, x: &[f32]) -> Vec<u8> {
    let mut packed = vec![0xaa; layout.bytes()];
    compress_at(level, &Pool::new(threads), &compress_with(layout), x, 3.0, None, &mut packed);
    packed
}

fn dense(level: Level, layout: &Pack, packed: &[u8]) -> Vec<f32> {
    let mut y = vec![7.0; layout.samples * layout.n];
    decompress_at(level, &Pool::new(1), layout, packed, &mut y);
    y
}

/// By a plain sort: the largest magnitudes, the lowest index first among equal ones. In order of the index.
fn kept(layout: &Pack, x: &[f32]) -> Vec<usize> {
    let mut order: Vec<_> = (0..x.len()).collect();
    order.sort_by_key(|&i| (u32::MAX - magnitude(x[i]), i));
    order.truncate(layout.keep);
    order.sort();
    order
}

/// What comes back, a value after the other.
fn pruned(layout: &Pack, x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    for (sample, (x, y)) in x.chunks(layout.n).zip(y.chunks_mut(layout.n)).enumerate() {
        let kept = kept(layout, x);
        for (block, indices) in kept.chunks(256).enumerate() {
            let scale = scale(indices.iter().map(|&i| magnitude(x[i])).max().unwrap_or(0));
            for (j, &i) in indices.iter().enumerate() {
                let rank = (sample * layout.keep + block * 256 + j) as u64;
                y[i] = rounded(layout.values, x[i], scale, draw(compress_with(layout).key(3), rank));
            }
        }
    }
    y
}

fn rounded(values: Kept, x: f32, scale: f32, draw: f32) -> f32 {
    match values {
        Kept::F32 => x,
        Kept::F16 => f16::from_f32(x).to_f32(),
        Kept::Bf16 => bf16::from_f32(x).to_f32(),
        Kept::I8 if scale == 0.0 => 0.0,
        Kept::I8 => {
            let level = x / scale;
            (level.floor() + f32::from(u8::from(draw < level - level.floor()))).clamp(-127.0, 127.0) * scale
        }
    }
}

/// Bits, where all that is no number is the same.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
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
    for values in [Kept::F32, Kept::F16, Kept::Bf16] {
        let layout = Pack { samples: 1, n: x.len(), keep: x.len(), values, form: IndexForm::Bitmap };
        let y = dense(Level::detect(), &layout, &packed(Level::detect(), 1, &layout, &x));
        for (x, y) in x.iter().zip(y) {
            let want = rounded(values, *x, 0.0, 0.0);
            assert!(want.to_bits() == y.to_bits() || want.is_nan() && y.is_nan(), "{x:e} as {values:?}: {y:e}");
        }
    }
    assert_eq!(f16::from_f32(1.0 + 1.0 / 2048.0), f16::ONE, "ties go to even");
}

#[test]
fn an_index_of_gaps_is_what_its_authors_say() {
    // Three low bits would be log2(29 / 4) rounded; two make 12 + 12 bits, three 16 + 8 as well: the smaller number wins.
    let layout = Pack { samples: 1, n: 29, keep: 4, values: Kept::F32, form: IndexForm::Gaps };
    let mut x = vec![0.0; 29];
    [3, 4, 17, 28].into_iter().for_each(|i: usize| x[i] = 1.0);
    let packed = packed(Level::detect(), 1, &layout, &x);
    let word = |at: usize| u64::from_le_bytes(packed[at * 8..][..8].try_into().unwrap());
    assert_eq!(packed.len(), 2 * 8 + 4 * 4);
    // Low bits 3, 0, 1, 0; high parts 0, 1, 4, 7, so bits 0, 2, 6 and 10.
    assert_eq!((word(0), word(1)), (0b00_01_00_11, 0b100_0100_0101));
}

#[test]
fn readers_read_what_decompress_writes_from_any_start() {
    let mut state = 7u64;
    let mut below = |n: usize| {
        state = crate::rng::splitmix64(state);
        (state % n as u64) as usize
    };
    for n in [1, 64, 200, 3000, 20_011] {
        let mut many = samples(n);
        many.push(("clustered", (0..n).map(|i| if n / 3 <= i && i < n / 2 { 1.0 + i as f32 } else { 1e-3 }).collect()));
        for (name, mut x) in many {
            x.extend(random(n, 3));
            for layout in layouts(n) {
                let bytes = packed(Level::detect(), 1, &layout, &x);
                let y = dense(Level::detect(), &layout, &bytes);
                for level in [Level::Baseline, Level::detect()] {
                    let reader = Packed::at(level, &layout, &bytes);
                    for _ in 0..4 {
                        let sample = below(2);
                        let (a, b) = (below(n + 1), below(n + 1));
                        check_range(&reader, sample, a.min(b)..a.max(b), &y, name);
                    }
                    check_rows(&reader, 1 + below(n), &y, name);
                }
            }
        }
    }
}

fn check_range(reader: &Packed<'_>, sample: usize, range: std::ops::Range<usize>, y: &[f32], name: &str) {
    let layout = reader.layout();
    let want = &y[sample * layout.n..][range.clone()];
    let mut out = vec![7.0; range.len()];
    reader.decode(sample, range.clone(), &mut out);
    assert_eq!(bits(&out), bits(want), "{name}, {range:?} of {layout:?}");
    let mut out = vec![0.0; range.len()];
    let mut last = None;
    for (index, value) in reader.entries(sample, range.clone()) {
        assert!(last < Some(index) && range.contains(&index), "{name}, {range:?} of {layout:?}");
        last = Some(index);
        out[index - range.start] = value;
    }
    let plus = |x: &[f32]| bits(&x.iter().map(|x| x + 0.0).collect::<Vec<_>>());
    assert_eq!(plus(&out), plus(want), "{name}, entries in {range:?} of {layout:?}");
}

/// A cursor that reads a sample row by row, in three ways in turn.
fn check_rows(reader: &Packed<'_>, row: usize, y: &[f32], name: &str) {
    let layout = reader.layout();
    let mut cursor = reader.cursor(1, 0);
    let mut entries = 0;
    for (turn, want) in y[layout.n..].chunks(row).enumerate() {
        let start = cursor.position();
        let mut out = vec![0.0; want.len()];
        match turn % 3 {
            0 => cursor.decode(&mut out),
            1 => cursor.for_each(want.len(), |at, value| out[at] = value),
            _ => {
                let (mut at, mut values) = (vec![0; row], vec![0.0; row]);
                let n = cursor.gather(want.len(), &mut at, &mut values);
                at[..n].iter().zip(&values).for_each(|(&at, &value)| out[at as usize] = value);
            }
        }
        assert_eq!(cursor.position(), start + want.len(), "{name}, row {turn} of {row} of {layout:?}");
        let plus = |x: &[f32]| bits(&x.iter().map(|x| x + 0.0).collect::<Vec<_>>());
        assert_eq!(plus(&out), plus(want), "{name}, row {turn} of {row} of {layout:?}");
        entries += reader.entries(1, start..start + want.len()).count();
    }
    assert_eq!(entries, layout.keep, "{name}, {layout:?}");
}

#[test]
fn bytes_of_no_copy_are_read_without_harm() {
    for n in [1, 64, 200, 3000] {
        for layout in layouts(n) {
            for fill in [0u8, 0xff, 0x5a] {
                let bytes = vec![fill; layout.bytes()];
                for level in [Level::Baseline, Level::detect()] {
                    let reader = Packed::at(level, &layout, &bytes);
                    reader.decode(1, 0..n, &mut vec![0.0; n]);
                    reader.decode(1, n / 2..n, &mut vec![0.0; n - n / 2]);
                    assert!(reader.entries(0, n / 3..n).count() <= 8 * bytes.len(), "{layout:?}");
                }
            }
        }
    }
}

#[test]
fn rounding_at_random_keeps_the_mean() {
    let n = 512;
    let x = random(n, 3);
    let layout = Pack { samples: 1, n, keep: n, values: Kept::I8, form: IndexForm::Bitmap };
    let mut sums = vec![0.0f64; n];
    let steps = 2000;
    for step in 0..steps {
        let mut packed = vec![0; layout.bytes()];
        compress_at(Level::detect(), &Pool::new(1), &compress_with(&layout), &x, step as f32, None, &mut packed);
        let y = dense(Level::detect(), &layout, &packed);
        sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += f64::from(y));
    }
    let mut bias = 0.0;
    for (block, (x, sums)) in x.chunks(256).zip(sums.chunks(256)).enumerate() {
        let scale = f64::from(scale(x.iter().map(|&x| magnitude(x)).max().unwrap()));
        for (x, sum) in x.iter().zip(sums) {
            let error = (sum / f64::from(steps) - f64::from(*x)) / scale;
            // A mean of 2000 coins is within five standard deviations, 0.5 / sqrt(2000) each.
            assert!(error.abs() < 5.0 * 0.5 / f64::from(steps).sqrt(), "block {block}: {x} is off by {error} steps");
            bias += error;
        }
    }
    assert!(
        (bias / n as f64).abs() < 5.0 * 0.5 / f64::from(steps * n as i32).sqrt(),
        "the mean is off by {bias} steps"
    );
}
