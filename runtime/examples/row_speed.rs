//! Speed of normalization of rows and of softmax and their gradients, in GB/s of operands and results, beside copying.
//!
//! `cargo run --release -p razorc-runtime --example row_speed [threads]`

use std::time::Instant;

use razorc_runtime::cpu::row_norm::{Affine, Source, grad, norm};
use razorc_runtime::cpu::{layout, softmax};
use razorc_runtime::kernels::row_norm::{RowNorm, Rows};
use razorc_runtime::kernels::softmax::Softmax;
use razorc_runtime::pool::{Pool, Team};

const REPEATS: usize = 15;

fn main() {
    let threads = std::env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(1);
    let pool = Pool::new(threads);
    let mut scratch = vec![0.0; threads << 18];
    let team = Team::new(&pool, &mut scratch);
    println!("{threads} threads, best of {REPEATS}: GB/s");
    for [rows, len] in [[1576, 768], [4096, 64], [8, 1 << 20]] {
        rows_of(&team, rows, len);
    }
    for (outer, len, inner) in [(96 * 197, 197, 1), (96, 197, 197)] {
        let along = Softmax { outer, len, inner };
        let [x, dy, mut y, mut dx] = std::array::from_fn(|_| values(outer * len * inner));
        let forward = best(2 * x.len(), || softmax::softmax(team.pool, &along, &x, &mut y));
        let backward = best(3 * x.len(), || softmax::softmax_grad(team.pool, &along, [&dy, &y], &mut dx));
        println!("softmax {outer}x{len}x{inner}: y {forward:.1}, dx {backward:.1}");
    }
}

fn rows_of(team: &Team<'_>, rows: usize, len: usize) {
    let shape = Rows { rows, len, centered: true, scale: true, bias: true };
    let layer_norm = RowNorm { rows: shape.clone(), epsilon: 1e-5 };
    let [x, dy, mut y, mut dx] = std::array::from_fn(|_| values(rows * len));
    let [scale, bias, mut dscale, mut dbias] = std::array::from_fn(|_| values(len));
    let [mut mean, mut rstd] = std::array::from_fn(|_| values(rows));
    let affine = Affine { scale: &scale, bias: &bias };
    let copy = best(2 * x.len(), || layout::copy(team.pool, &x, &mut y));
    let forward = best(2 * x.len(), || norm(team.pool, &layer_norm, &x, affine, [&mut y, &mut mean, &mut rstd]));
    let mut gradient = |source| {
        best(3 * x.len(), || grad(team, &shape, [&dy, &rstd], source, affine, [&mut dx, &mut dscale, &mut dbias]))
    };
    let backward = gradient(Source::Input { x: &x, mean: &mean });
    let from_output = gradient(Source::Output(&y));
    println!("layer_norm {rows}x{len}: copy {copy:.1}, y {forward:.1}, dx {backward:.1}, from y {from_output:.1}");
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|it| (it * 37 % 101) as f32 / 50.0 - 1.01).collect()
}

fn best(elements: usize, mut run: impl FnMut()) -> f64 {
    let seconds = (0..REPEATS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    4e-9 * elements as f64 / seconds.fold(f64::INFINITY, f64::min)
}
