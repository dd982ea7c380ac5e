//! Gradients that are added onto the optimizer's state as they are made.

use razorc_compiler::lower::{Scheduled, kept, lower};
use razorc_compiler::options::{Optimizer, OptimizerKind, Options};
use razorc_compiler::schedule::schedule;
use razorc_compiler::{Compiled, compile, graphs, text, text_after};
use razorc_fixtures::{cnn, mobile};
use razorc_proto::program::Preprocess;
use razorc_proto::{Model, TrainerFile};
use razorc_runtime::data::{Dataset, Expect, Loader, Order, Transform};
use razorc_runtime::rng::Rng;
use razorc_runtime::trainer::Trainer;
use razorc_tests::{trainer, written};

/// Images of noise, brighter at the top or at the bottom by class.
fn data(file: &TrainerFile, rows: usize) -> Dataset {
    let mut rng = Rng::keyed(&[1]);
    let classes: Vec<i64> = (0..rows).map(|row| row as i64 % 2).collect();
    let mut x = Vec::new();
    for class in &classes {
        for pixel in 0..768 {
            let bright = i64::from(pixel / 128 % 2 == 1) == *class;
            x.push(rng.below(100) as f32 / 100.0 + if bright { 1.0 } else { 0.0 });
        }
    }
    Dataset::from_memory("noise", &[3, 16, 16], &x, &classes, &Expect::of(file.program()).unwrap()).unwrap()
}

/// A trainer after some steps, and the loss of each of them.
fn steps(file: TrainerFile, count: usize, threads: usize) -> (Trainer, Vec<f32>) {
    let data = data(&file, 24);
    let batch = file.program().task.as_ref().unwrap().batch as usize;
    let mut trainer = Trainer::load(file, threads).unwrap();
    let transform = Transform::from(&Preprocess::default());
    let mut losses = vec![];
    for epoch in 0.. {
        let order = Order::Shuffled { seed: 3, epoch, batch: 0 };
        let mut loader = Loader::new(&data, &transform, batch, order, 1).unwrap();
        for _ in 0..24 / batch {
            if losses.len() == count {
                return (trainer, losses);
            }
            let fed = loader.next_batch().unwrap().unwrap();
            losses.push(trainer.step(&fed, 0.02, losses.len() as u64 + 1).loss);
        }
    }
    unreachable!("epochs do not end")
}

fn momentum(weight_decay: f64) -> Options {
    let optimizer = Optimizer { kind: OptimizerKind::Sgd, weight_decay, ..Optimizer::default() };
    Options { batch: 8, classes: 2, optimizer, ..Options::default() }
}

/// The trainer whose gradients are made before they are used.
fn with_gradients(model: &Model, options: &Options) -> Compiled {
    let (compiled, graphs) = (compile(model, options).unwrap(), graphs(model, options).unwrap());
    let train = text::parse(&text_after(model, options, "back-razor").unwrap()).unwrap().graph;
    let plans = [
        schedule(&train, &kept(&train, &graphs.task, false)),
        schedule(&graphs.eval, &kept(&graphs.eval, &graphs.task, true)),
    ];
    let train = Scheduled { graph: &train, schedule: &plans[0] };
    let eval = Scheduled { graph: &graphs.eval, schedule: &plans[1] };
    let program = lower(train, eval, graphs.task, |_| None);
    assert_eq!(program.residents.len(), compiled.program.residents.len());
    let (train, arena_bytes) = (program.train, program.arena_bytes);
    Compiled { program: razorc_proto::program::Program { train, arena_bytes, ..compiled.program }, ..compiled }
}

/// Weights and state of two trainers agree within a share of the largest element of each.
fn assert_alike(a: &Trainer, b: &Trainer, tolerance: f32) {
    for (name, role, _) in a.residents() {
        let (Some(x), Some(y)) = (a.resident(name), b.resident(name)) else { continue };
        let largest = x.iter().fold(1e-3f32, |most, it| most.max(it.abs()));
        let off = x.iter().zip(&y).fold(0f32, |most, (x, y)| most.max((x - y).abs()));
        assert!(off <= tolerance * largest, "{role:?} {name}: {off} of {largest}");
    }
}

#[test]
fn twenty_steps_without_gradients_are_twenty_steps() {
    for model in [cnn(), mobile()] {
        for weight_decay in [0.0, 0.01] {
            let options = momentum(weight_decay);
            let plain = written(&with_gradients(&model, &options));
            let ops = |file: &TrainerFile, op: &str| {
                let steps = file.program().train.iter().flat_map(|it| &it.instructions);
                steps.filter(|it| it.op == op).count()
            };
            let file = trainer(&model, &options);
            assert!(ops(&plain, "descend") == 0 && ops(&file, "sgd") == 0 && 3 < ops(&file, "descend"));
            assert!(file.program().arena_bytes <= plain.program().arena_bytes);
            let (expected, losses) = steps(plain, 20, 2);
            let (found, others) = steps(file, 20, 2);
            assert!(losses[0] != losses[3], "nothing was learned: {losses:?}");
            assert!(losses.iter().zip(&others).all(|(a, b)| (a - b).abs() < 1e-4), "{losses:?}\n{others:?}");
            assert_alike(&expected, &found, 1e-3);
        }
    }
}
