//! Speed of convolutions of ResNet-18 and MobileNetV2 and their gradients, in GFLOP/s.
//!
//! `cargo run --release -p razorc-runtime --example conv_speed [threads]`

use std::time::Instant;

use razorc_runtime::cpu::conv;
use razorc_runtime::kernels::conv::Conv;
use razorc_runtime::pool::{Pool, Team};

const BATCH: usize = 8;
const REPEATS: usize = 7;

/// Channels of x and of y, groups, side of x, side of the window, stride.
const SHAPES: &[(&str, [usize; 6])] = &[
    ("resnet 7x7 stem", [3, 64, 1, 224, 7, 2]),
    ("resnet 3x3", [64, 64, 1, 56, 3, 1]),
    ("resnet 3x3", [128, 128, 1, 28, 3, 1]),
    ("resnet 3x3", [256, 256, 1, 14, 3, 1]),
    ("resnet 3x3", [512, 512, 1, 7, 3, 1]),
    ("resnet 3x3 stride 2", [64, 128, 1, 56, 3, 2]),
    ("mobilenet 3x3 stem", [3, 32, 1, 224, 3, 2]),
    ("mobilenet 1x1", [24, 144, 1, 56, 1, 1]),
    ("mobilenet 1x1", [144, 24, 1, 56, 1, 1]),
    ("mobilenet 1x1", [384, 64, 1, 14, 1, 1]),
    ("mobilenet 1x1", [160, 960, 1, 7, 1, 1]),
    ("mobilenet depthwise", [144, 144, 144, 56, 3, 1]),
    ("mobilenet depthwise, stride 2", [96, 96, 96, 112, 3, 2]),
    ("mobilenet depthwise", [384, 384, 384, 14, 3, 1]),
    ("mobilenet depthwise", [960, 960, 960, 7, 3, 1]),
];

fn main() {
    let threads = std::env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(1);
    let pool = Pool::new(threads);
    let mut scratch = vec![0.0; threads << 18];
    let team = Team::new(&pool, &mut scratch);
    println!("batch {BATCH}, {threads} threads, best of {REPEATS}: GFLOP/s of y, dx, dw");
    for (name, shape) in SHAPES {
        let conv = geometry(*shape);
        let [x, w, dy] = tensors(&conv);
        let [mut dx, mut dw, mut y] = [x.clone(), w.clone(), dy.clone()];
        let forward = best(&conv, || conv::conv(&team, &conv, &x, &w, None, &mut y));
        let input = best(&conv, || conv::conv_input_grad(&team, &conv, &dy, &w, &mut dx));
        let weight = best(&conv, || conv::conv_weight_grad(&team, &conv, &dy, &x, &mut dw));
        println!("{name:30} {:4} {:4} {:4} {forward:7.1} {input:7.1} {weight:7.1}", conv.c, conv.o, conv.ih);
    }
}

fn geometry([c, o, groups, side, kernel, stride]: [usize; 6]) -> Conv {
    let pad = kernel / 2;
    let out = (side + 2 * pad - kernel) / stride + 1;
    Conv {
        n: BATCH,
        c,
        o,
        groups,
        ih: side,
        iw: side,
        oh: out,
        ow: out,
        kh: kernel,
        kw: kernel,
        sh: stride,
        sw: stride,
        pt: pad,
        pl: pad,
        pb: pad,
        pr: pad,
        dh: 1,
        dw: 1,
        bias: false,
        x: razorc_runtime::kernels::pack::Stored::Dense,
        onto: false,
    }
}

fn tensors(conv: &Conv) -> [Vec<f32>; 3] {
    let x = conv.n * conv.c * conv.ih * conv.iw;
    let w = conv.o * conv.c / conv.groups * conv.kh * conv.kw;
    let y = conv.n * conv.o * conv.oh * conv.ow;
    [x, w, y].map(|len| (0..len).map(|it| (it * 37 % 101) as f32 / 50.0 - 1.0).collect())
}

fn best(conv: &Conv, mut run: impl FnMut()) -> f64 {
    let products = conv.n * conv.o * conv.oh * conv.ow * conv.c / conv.groups * conv.kh * conv.kw;
    let seconds = (0..REPEATS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    2e-9 * products as f64 / seconds.fold(f64::INFINITY, f64::min)
}
