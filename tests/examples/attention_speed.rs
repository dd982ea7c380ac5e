//! A training step of attention of ViT-B/16, 8 images, as products and softmax and as one op: milliseconds of each
//! instruction, best of several, and the arena.
//!
//! `cargo run --release -p razorc-tests --example attention_speed [threads]`

use std::collections::BTreeMap;
use std::time::Instant;

use razorc_compiler::lower::{Scheduled, lower};
use razorc_compiler::options::{Loss, Optimizer, OptimizerKind, Options};
use razorc_compiler::schedule::schedule;
use razorc_compiler::{passes, step, text};
use razorc_proto::program::{Task, task};
use razorc_runtime::arena::Arena;
use razorc_runtime::cpu::Cpu;
use razorc_runtime::program::Program;

const REPEATS: usize = 9;

fn main() {
    let threads = std::env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(1);
    for (queries, mask) in [(197, false), (128, true), (1024, false)] {
        for lifted in [false, true] {
            run(queries, mask, lifted, threads);
        }
    }
}

/// Attention of 12 heads of 64 columns over `rows` tokens of 8 samples.
fn run(rows: usize, mask: bool, lifted: bool, threads: usize) {
    let (heads, scores) = (format!("f32[8,12,{rows},64]"), format!("f32[8,12,{rows},{rows}]"));
    let (declared, masked) = match mask {
        true => (
            format!("frozen %mask : f32[{rows},{rows}]"),
            format!("%s = add %scaled, %mask : {scores}\n%p = softmax %s {{axis=3}} : {scores}"),
        ),
        false => (String::new(), format!("%p = softmax %scaled {{axis=3}} : {scores}")),
    };
    let source = format!(
        "trainer @attention {{
            param %q : {heads}
            param %k : {heads}
            param %v : {heads}
            {declared}
            forward {{
                %products = matmul %q, %k {{ta=0, tb=1}} : {scores}
                %scaled = scale %products {{factor=0.125}} : {scores}
                {masked}
                %y = matmul %p, %v {{ta=0, tb=0}} : {heads}
            }}
        }}"
    );
    let mut graph = text::parse(&source).unwrap_or_else(|e| panic!("{e:?}")).graph;
    let options = Options { batch: 8, loss: Loss::MeanSquaredError, ..Options::default() };
    if lifted {
        passes::run("lift-attention", &mut graph, &options).expect("there is such a pass");
    }
    let prediction = graph.value("y").expect("the text makes it");
    let ends = step::add_loss(&mut graph, prediction, &options, true).expect("y is a batch");
    let eval = graph.clone();
    let sgd = Optimizer { kind: OptimizerKind::Sgd, momentum: 0.0, ..Optimizer::default() };
    step::add_backward(&mut graph, ends.loss, &sgd, 0).expect("q, k and v are trained");
    let task = Task {
        loss: task::Loss::MeanSquaredError.into(),
        batch: 8,
        target: "target".into(),
        rows: "rows".into(),
        learning_rate: "learning_rate".into(),
        loss_value: "loss".into(),
        prediction: "y".into(),
        ..Task::default()
    };
    let plans = [schedule(&graph, &[ends.loss]), schedule(&eval, &[ends.loss, ends.prediction.unwrap()])];
    let [train, evaluation] = &plans;
    let (train, evaluation) =
        (Scheduled { graph: &graph, schedule: train }, Scheduled { graph: &eval, schedule: evaluation });
    let program = Program::check(&lower(train, evaluation, task, |_| None)).unwrap_or_else(|e| panic!("{e}"));
    let mut arena = Arena::new(&program, threads).expect("there is memory");
    for index in 0..program.residents().len() {
        let bytes = arena.resident_mut(&program, index);
        for (i, bytes) in bytes.chunks_exact_mut(4).enumerate() {
            bytes.copy_from_slice(&((i * 37 % 101) as f32 / 50.0 - 1.0).to_le_bytes());
        }
    }
    let cpu = Cpu::new(threads);
    let instructions = program.train().instructions();
    let mut best = vec![f64::INFINITY; instructions.len()];
    for _ in 0..REPEATS {
        for (instruction, best) in instructions.iter().zip(&mut best) {
            let start = Instant::now();
            cpu.step(instruction, &mut arena);
            *best = best.min(1e3 * start.elapsed().as_secs_f64());
        }
    }
    let mut by_op: BTreeMap<&str, f64> = BTreeMap::new();
    for (instruction, ms) in instructions.iter().zip(best) {
        *by_op.entry(instruction.op()).or_default() += ms;
    }
    let of_loss = ["mse", "mse_grad", "sgd"];
    let total: f64 = by_op.iter().filter(|it| !of_loss.contains(it.0)).map(|it| it.1).sum();
    let ops: Vec<String> =
        by_op.iter().filter(|it| !of_loss.contains(it.0)).map(|(op, ms)| format!("{op} {ms:.2}")).collect();
    let form = if lifted { "one op" } else { "products and softmax" };
    println!("{rows} tokens, {form}: {total:.2} ms ({}), arena {} MiB", ops.join(", "), program.arena_bytes() >> 20);
}
