//! Speed of pruned copies: making them, expanding them, and reading their rows, in GB/s of the dense tensor.
//!
//! `cargo run --release -p razorc-runtime --example pack_speed [threads]`

use std::hint::black_box;
use std::time::Instant;

use razorc_runtime::cpu::pack::{Packed, compress, decompress};
use razorc_runtime::cpu::topk::select;
use razorc_runtime::kernels::pack::{Compress, Pack};
use razorc_runtime::pool::Pool;
use razorc_runtime::rng::splitmix64;
use razorc_runtime::types::{IndexForm, Kept};

const REPEATS: usize = 15;
const SAMPLES: usize = 8;
const ROWS: usize = 197;
const FEATURES: usize = 768;

fn main() {
    let threads = std::env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(1);
    let pool = Pool::new(threads);
    let x = normal(SAMPLES * ROWS * FEATURES);
    let mut y = vec![0.0; x.len()];
    println!("{SAMPLES} samples of {ROWS}x{FEATURES}, {threads} threads, best of {REPEATS}: GB/s of dense f32");
    let copy = best(x.len(), || y.copy_from_slice(&x));
    println!("copy {copy:.1}");
    for pruned in [0.8, 0.9, 0.97] {
        let n = ROWS * FEATURES;
        let keep = n - (n as f64 * pruned) as usize;
        let threshold = best(x.len(), || x.chunks(n).for_each(|it| _ = black_box(select(it, keep))));
        println!("{:.0} %: threshold {threshold:.1} (one thread)", pruned * 100.0);
        for form in [IndexForm::Bitmap, IndexForm::Gaps] {
            for values in [Kept::F32, Kept::F16, Kept::I8] {
                let with = Compress {
                    pack: Pack { samples: SAMPLES, n, keep, values, form },
                    seed: 1,
                    step: values == Kept::I8,
                    rows: None,
                };
                measure(&pool, &with, &x, &mut y);
            }
        }
    }
}

fn measure(pool: &Pool, with: &Compress, x: &[f32], y: &mut [f32]) {
    let layout = &with.pack;
    let mut bytes = vec![0; layout.bytes()];
    let pack = best(x.len(), || compress(pool, with, x, 1.0, None, &mut bytes));
    let unpack = best(x.len(), || decompress(pool, layout, &bytes, y));
    let packed = Packed::new(layout, &bytes);
    let mut row = [0.0; FEATURES];
    let each = |read: &mut dyn FnMut(usize)| best(x.len(), || (0..SAMPLES).for_each(&mut *read));
    let rows = each(&mut |sample| {
        let mut cursor = packed.cursor(sample, 0);
        (0..ROWS).for_each(|_| cursor.decode(black_box(&mut row)));
    });
    let (mut distances, mut values) = ([0; FEATURES], [0.0; FEATURES]);
    let entries = each(&mut |sample| {
        let mut cursor = packed.cursor(sample, 0);
        (0..ROWS).for_each(|_| _ = cursor.gather(FEATURES, black_box(&mut distances), black_box(&mut values)));
    });
    let mut row = [0.0; FEATURES];
    let starts = each(&mut |sample| {
        (0..ROWS).for_each(|it| packed.decode(sample, it * FEATURES..(it + 1) * FEATURES, black_box(&mut row)));
    });
    println!(
        "  {:?} {:?}: {:.3} bytes an element, compress {pack:.1}, decompress {unpack:.1}, rows by cursor {rows:.1}, \
         entries by cursor {entries:.1}, rows on their own {starts:.1}",
        layout.form,
        layout.values,
        bytes.len() as f64 / x.len() as f64
    );
}

/// Nearly normal numbers: sums of twelve uniform ones.
fn normal(n: usize) -> Vec<f32> {
    let uniform = |it: usize| (splitmix64(it as u64) >> 40) as f32 / (1 << 24) as f32;
    (0..n).map(|it| (0..12).map(|k| uniform(it * 12 + k)).sum::<f32>() - 6.0).collect()
}

fn best(elements: usize, mut run: impl FnMut()) -> f64 {
    let seconds = (0..REPEATS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    4e-9 * elements as f64 / seconds.fold(f64::INFINITY, f64::min)
}
