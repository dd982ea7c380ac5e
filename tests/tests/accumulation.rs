//! Gradients that are added onto the optimizer's state as they are made.

use razorc_compiler::lower::{Scheduled, kept, lower};
use razorc_compiler::options::{BatchNorm, Loss, Optimizer, OptimizerKind, Options, Razor, Task};
use razorc_compiler::schedule::schedule;
use razorc_compiler::{Compiled, compile, graphs, text, text_after};

use razorc_fixtures::{Builder, cnn, mobile};
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::program::Preprocess;
use razorc_proto::{Model, TrainerFile};
use razorc_runtime::data::{Batch, Column, Expect, Loader, Order, Targets, Transform};
use razorc_runtime::metrics::StepStats;
use razorc_runtime::rng::Rng;
use razorc_runtime::trainer::Trainer;
use razorc_tests::{noise, trainer, written};

/// A trainer after some steps, and the loss of each of them.
fn steps(file: TrainerFile, count: usize, threads: usize) -> (Trainer, Vec<f32>) {
    let data = noise(&Expect::of(file.program()).unwrap(), 24);
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
    let train = text::parse(&text_after(model, options, "read-packed").unwrap()).unwrap().graph;
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

/// Scores of pixels.
fn segments() -> Model {
    let mut b = Builder::new("segments", 5);
    b.input("image", "B,3,6,6").output("scores", "B,4,6,6");
    b.weight("w1", &[8, 3, 3, 3]).weight("b1", &[8]).weight("w2", &[4, 8, 1, 1]);
    let pads = [("pads", [1, 1, 1, 1].into())];
    b.node("h", "Conv", &["image", "w1", "b1"], &pads).node("a", "Relu", &["h"], &[]);
    b.node("scores", "Conv", &["a", "w2"], &[]);
    b.model()
}

/// Scores of tokens, by the table that looks the tokens up, and by another.
fn tokens() -> Model {
    let mut b = Builder::new("tokens", 6);
    b.typed_input("tokens", DataType::Int64, "B,5").typed_input("others", DataType::Int64, "B,5");
    b.output("scores", "B,5,70").weight("tied", &[70, 8]).weight("table", &[90, 8]).weight("w", &[8, 8]);
    b.node("a", "Gather", &["tied", "tokens"], &[]).node("b", "Gather", &["table", "others"], &[]);
    b.node("sum", "Add", &["a", "b"], &[]).node("h", "MatMul", &["sum", "w"], &[]);
    b.node("t", "Tanh", &["h"], &[]).node("d", "Dropout", &["t"], &[]);
    b.node("across", "Transpose", &["tied"], &[("perm", [1, 0].into())]);
    b.node("scores", "MatMul", &["d", "across"], &[]);
    b.model()
}

/// Elements of a row of a value that is filled.
fn row(file: &TrainerFile, name: &str) -> usize {
    let values = &file.program().eval.as_ref().unwrap().values;
    let ty = values.iter().find(|it| it.name == name).and_then(|it| it.r#type.as_ref()).unwrap();
    ty.dims[1..].iter().product::<u64>() as usize
}

/// Steps on made batches, of which some rows weigh nothing and some targets do not count.
fn made_steps(file: TrainerFile, count: u64, ignore: i64, threads: usize) -> (Trainer, Vec<StepStats>) {
    let task = file.program().task.clone().unwrap();
    let rows = task.batch as usize;
    let sizes: Vec<usize> = task.inputs.iter().map(|it| row(&file, it)).collect();
    let target = row(&file, &task.target);
    let mut trainer = Trainer::load(file, threads).unwrap();
    let mut rng = Rng::keyed(&[9]);
    let mut stats = vec![];
    for number in 1..=count {
        let whole = task.bounds.iter().any(|&it| 0 < it);
        let inputs: Vec<Column> = sizes
            .iter()
            .map(|&size| match whole {
                true => Column::Whole((0..rows * size).map(|_| rng.below(60) as i64).collect()),
                false => Column::Real((0..rows * size).map(|_| rng.below(100) as f32 / 50.0 - 1.0).collect()),
            })
            .collect();
        let mut class = || if rng.below(4) == 0 { ignore } else { rng.below(task.classes.max(1)) as i64 };
        let classes: Vec<i64> = (0..rows * target).map(|_| class()).collect();
        let values: Vec<f32> = classes.iter().enumerate().map(|(at, it)| (at % 7) as f32 / 7.0 + *it as f32).collect();
        let targets = if task.classes == 0 { Targets::Values(&values) } else { Targets::Classes(&classes) };
        // As at the end of an evaluation: the last rows fill the batch up.
        let weights: Vec<f32> = (0..rows).map(|it| if it + 2 < rows { 1.0 } else { 0.0 }).collect();
        let batch = Batch { epoch: 0, number, len: rows - 2, inputs: &inputs, targets, rows: &weights };
        stats.push(trainer.step(&batch, 0.03, number));
    }
    (trainer, stats)
}

fn optimizers() -> Vec<Optimizer> {
    let sgd = |momentum, nesterov| Optimizer { kind: OptimizerKind::Sgd, momentum, nesterov, ..Optimizer::default() };
    let others = [OptimizerKind::Adam, OptimizerKind::AdamW].map(|kind| Optimizer { kind, ..Optimizer::default() });
    let all = [sgd(0.9, false), sgd(0.9, true), sgd(0.0, false)].into_iter().chain(others);
    all.map(|it| Optimizer { weight_decay: 0.01, ..it }).collect()
}

/// The weights after some steps are those of the whole batch.
fn same_in_parts(model: &Model, options: &Options, ignore: i64) {
    let (expected, whole) = made_steps(trainer(model, options), 5, ignore, 2);
    for micro_batch in [1, 2, 4] {
        let file = trainer(model, &Options { micro_batch, ..options.clone() });
        let sequence = file.program().train.as_ref().unwrap();
        assert!(0 < sequence.opening && 0 < sequence.closing);
        let (found, parts) = made_steps(file.clone(), 5, ignore, 2);
        for (whole, parts) in whole.iter().zip(&parts) {
            assert!((whole.loss - parts.loss).abs() < 1e-4 * whole.loss.abs().max(1.0), "{whole:?} {parts:?}");
            assert_eq!(whole.counted, parts.counted);
            assert!(whole.correct.zip(parts.correct).is_none_or(|(a, b)| (a - b).abs() <= 1.0), "{whole:?} {parts:?}");
        }
        // Adam divides by roots of what is nearly zero at first.
        assert_alike(&expected, &found, if options.optimizer.kind == OptimizerKind::Sgd { 1e-3 } else { 2e-2 });
        let (again, _) = made_steps(file, 5, ignore, 1);
        let bytes = |it: &Trainer| it.residents().map(|it| it.2.to_vec()).collect::<Vec<_>>();
        assert!(bytes(&found) == bytes(&again), "threads show in the bits");
    }
}

#[test]
fn every_optimizer_takes_the_steps_of_the_whole_batch_in_parts() {
    for optimizer in optimizers() {
        let razor = Razor { sparsity: "0.5".parse().unwrap(), ..Razor::default() };
        let options = Options { batch: 8, classes: 3, optimizer, razor, ..Options::default() };
        same_in_parts(&cnn(), &options, -100);
        let razor = options.razor.clone();
        let options =
            Options { batch: 8, task: Some(Task::TokenClassification), optimizer, razor, ..Options::default() };
        same_in_parts(&tokens(), &options, -100);
    }
}

#[test]
fn every_loss_is_that_of_the_whole_batch_in_parts() {
    let optimizer = optimizers()[0];
    let base = Options { batch: 8, optimizer, ..Options::default() };
    let class_weights = vec![0.5, 2.0, 1.0, 3.0];
    same_in_parts(&cnn(), &Options { classes: 4, class_weights: class_weights.clone(), ..base.clone() }, -100);
    same_in_parts(&cnn(), &Options { classes: 4, label_smoothing: 0.2, ..base.clone() }, -100);
    same_in_parts(&segments(), &Options { task: Some(Task::Segmentation), ..base.clone() }, 255);
    same_in_parts(&segments(), &Options { task: Some(Task::Segmentation), class_weights, ..base.clone() }, 255);
    for loss in [Loss::MeanSquaredError, Loss::MeanAbsoluteError, Loss::Huber, Loss::BinaryCrossEntropy] {
        same_in_parts(&cnn(), &Options { classes: 4, loss, ..base.clone() }, 0);
    }
}

#[test]
fn parts_take_less_memory_and_draw_anew() {
    let base = Options { batch: 8, task: Some(Task::TokenClassification), dropout: true, ..momentum(0.0) };
    let base = Options { classes: 0, ..base };
    let [whole, one] = [0, 1].map(|micro_batch| trainer(&tokens(), &Options { micro_batch, ..base.clone() }));
    let peak = |file: &TrainerFile| file.program().memory.as_ref().unwrap().dynamic_peak;
    assert!(peak(&one) < peak(&whole), "{} of {}", peak(&one), peak(&whole));
    // The same row eight times over: what drops differs from part to part, so losses are not all alike.
    let task = one.program().task.clone().unwrap();
    assert_eq!(task.draw, "razorc.draw");
    let (first, stats) = made_steps(one.clone(), 3, -100, 1);
    let (second, again) = made_steps(one, 3, -100, 3);
    assert_eq!(stats, again);
    assert_alike(&first, &second, 0.0);
}

#[test]
fn what_is_not_the_same_in_parts_is_refused() {
    let told = |options: Options| compile(&cnn(), &options).err().map(|it| it.to_string()).unwrap_or_default();
    let base = Options { batch: 8, ..Options::default() };
    assert_eq!(
        told(Options { micro_batch: 3, ..base.clone() }),
        "--micro-batch 3 does not divide the batch of 8; choose a divisor of it, or another --batch"
    );
    let train = Options { micro_batch: 2, batch_norm: BatchNorm::Train, ..base.clone() };
    assert!(told(train.clone()).contains("--batch-norm train needs all of the batch at once"), "{}", told(train));
    let own = Options { micro_batch: 2, loss_output: "loss".into(), ..base };
    assert!(told(own.clone()).contains("--loss-output needs all of the batch at once"), "{}", told(own));
}
