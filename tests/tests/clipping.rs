//! Gradients that are clipped by their norm.

use razorc_compiler::options::{Clip, ClipScope, Optimizer, OptimizerKind, Options, Razor};
use razorc_compiler::{compile, graphs, memory};
use razorc_fixtures::{Builder, cnn, mlp};
use razorc_proto::program::{Memory, Preprocess, Role};
use razorc_proto::{Model, TrainerFile};
use razorc_runtime::data::{Batch, Column, Expect, Loader, Order, Targets, Transform};
use razorc_runtime::trainer::Trainer;
use razorc_tests::{noise, trainer};

const SCOPES: [ClipScope; 2] = [ClipScope::Global, ClipScope::PerWeight];

fn optimizer(kind: OptimizerKind, clip: Option<Clip>) -> Optimizer {
    Optimizer { kind, clip, ..Optimizer::default() }
}

fn options(kind: OptimizerKind, clip: Option<Clip>) -> Options {
    Options { batch: 8, classes: 2, optimizer: optimizer(kind, clip), ..Options::default() }
}

fn clip(norm: f64, scope: ClipScope) -> Option<Clip> {
    Some(Clip { norm, scope })
}

/// A trainer after one step at this rate, of SGD without momentum on noise: what each weight lost, over the rate, is the
/// gradient that was used.
fn used(model: &Model, clip: Option<Clip>, micro_batch: u64) -> Vec<(String, Vec<f64>)> {
    let mut options = options(OptimizerKind::Sgd, clip);
    options.optimizer.momentum = 0.0;
    options.micro_batch = micro_batch;
    options.razor.sparsity = "0".parse().unwrap();
    let file = trainer(model, &options);
    let start = Trainer::load(file.clone(), 1).unwrap();
    let trained = run(file, 1.0, 1, 2);
    let params = trained.residents().filter(|it| it.1 == Role::Param);
    let change = |name: &str| {
        let [old, new] = [&start, &trained].map(|it| it.resident(name).unwrap());
        old.iter().zip(&new).map(|(a, b)| f64::from(a - b)).collect()
    };
    params.map(|(name, ..)| (name.to_string(), change(name))).collect()
}

fn run(file: TrainerFile, rate: f32, count: u64, threads: usize) -> Trainer {
    let data = noise(&Expect::of(file.program()).unwrap(), 24);
    let batch = file.program().task.as_ref().unwrap().batch as usize;
    let transform = Transform::from(&Preprocess::default());
    let mut trainer = Trainer::load(file, threads).unwrap();
    for number in 1..=count {
        let order = Order::Shuffled { seed: 3, epoch: number, batch: 0 };
        let mut loader = Loader::new(&data, &transform, batch, order, 1).unwrap();
        let fed = loader.next_batch().unwrap().unwrap();
        trainer.step(&fed, rate, number);
    }
    trainer
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|it| it * it).sum::<f64>().sqrt()
}

/// PyTorch's rule, on the gradients of a step that clips nothing.
#[test]
fn a_step_takes_the_gradients_that_clip_grad_norm_leaves() {
    let whole = used(&cnn(), None, 0);
    let total = norm(&whole.iter().map(|it| norm(&it.1)).collect::<Vec<_>>());
    let mut norms: Vec<f64> = whole.iter().map(|it| norm(&it.1)).collect();
    norms.sort_by(f64::total_cmp);
    // So that some weights are clipped and some are not, and so that none is.
    let middle = norms[norms.len() / 2] * 0.99;
    for (most, scope) in [middle, 2.0 * total].into_iter().flat_map(|it| SCOPES.map(|scope| (it, scope))) {
        for micro_batch in [0, 2] {
            let mut clipped = 0;
            for ((name, whole), (same, found)) in whole.iter().zip(used(&cnn(), clip(most, scope), micro_batch)) {
                let norm = if scope == ClipScope::Global { total } else { norm(whole) };
                let factor = (most / (norm + 1e-6)).min(1.0);
                clipped += usize::from(factor < 1.0);
                let largest = whole.iter().fold(0f64, |most, it| most.max(it.abs()));
                let close = |(a, b): (&f64, &f64)| (a * factor - b).abs() < 2e-4 * largest + 2e-7;
                assert!(
                    *name == same && whole.iter().zip(&found).all(close),
                    "{name}, {scope:?}, {most}, {micro_batch}"
                );
            }
            let expected = match scope {
                _ if total < most => 0,
                ClipScope::Global => whole.len(),
                ClipScope::PerWeight => norms.iter().filter(|it| most < **it).count(),
            };
            assert_eq!(clipped, expected, "{scope:?}, {most}");
        }
    }
}

/// Gradients of rows that repeat are summed before their norm is taken: a table of three numbers, of which two are looked up.
#[test]
fn rows_of_a_table_are_summed_first() {
    let mut b = Builder::new("table", 3);
    b.typed_input("ids", razorc_proto::onnx::tensor_proto::DataType::Int64, "B,2").output("y", "B,2");
    b.weight("table", &[50, 1]).node("rows", "Gather", &["table", "ids"], &[]);
    b.node("y", "Squeeze", &["rows", "last"], &[]).ints("last", &[2]);
    let model = b.model();
    for scope in SCOPES {
        let mut options = options(OptimizerKind::Sgd, clip(0.5, scope));
        options.optimizer.momentum = 0.0;
        let loss = razorc_compiler::options::Loss::MeanSquaredError;
        let options = Options { batch: 1, classes: 0, loss, ..options };
        let file = trainer(&model, &options);
        let start = Trainer::load(file.clone(), 1).unwrap().resident("table").unwrap();
        let mut trainer = Trainer::load(file, 1).unwrap();
        // Errors of 3 and 5 at the same row: the gradient is 2 (3 + 5) / 2 there.
        let targets = [start[7] - 3.0, start[7] - 5.0];
        let inputs = [Column::Whole(vec![7, 7])];
        let batch =
            Batch { epoch: 0, number: 1, len: 1, inputs: &inputs, targets: Targets::Values(&targets), rows: &[1.0] };
        trainer.step(&batch, 1.0, 1);
        let found = trainer.resident("table").unwrap();
        assert!((start[7] - found[7] - 0.5).abs() < 1e-5, "{} became {}", start[7], found[7]);
        assert!((0..50).filter(|it| *it != 7).all(|it| start[it] == found[it]));
    }
}

#[test]
fn threads_do_not_show_in_the_bits_and_parts_take_the_same_steps() {
    for kind in [OptimizerKind::Sgd, OptimizerKind::Adam, OptimizerKind::AdamW] {
        for scope in SCOPES {
            let mut options = options(kind, clip(0.05, scope));
            options.razor = Razor { sparsity: "0.5".parse().unwrap(), ..Razor::default() };
            let rate = if kind == OptimizerKind::Sgd { 0.02 } else { 0.002 };
            let file = trainer(&cnn(), &options);
            let [one, three] = [1, 3].map(|threads| run(file.clone(), rate, 5, threads));
            let bytes = |it: &Trainer| it.residents().map(|it| it.2.to_vec()).collect::<Vec<_>>();
            assert!(bytes(&one) == bytes(&three), "{kind:?} {scope:?}");
            let parts = run(trainer(&cnn(), &Options { micro_batch: 2, ..options }), rate, 5, 2);
            for (name, ..) in one.residents().filter(|it| it.1 == Role::Param) {
                let [a, b] = [&one, &parts].map(|it| it.resident(name).unwrap());
                let largest = a.iter().fold(1e-3f32, |most, it| most.max(it.abs()));
                let off = a.iter().zip(&b).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(off < 2e-2 * largest, "{kind:?} {scope:?} {name}: {off} of {largest}");
            }
        }
    }
}

/// One norm for all keeps all gradients; one for each keeps no more than Adam does without clipping.
#[test]
fn the_plan_shows_what_clipping_costs() {
    // Three alike layers, whose weights are larger than all else.
    let mut b = Builder::new("wide", 3);
    b.input("x", "B,128").output("y", "B,128");
    for (layer, (from, to)) in [("x", "h1"), ("h1", "h2"), ("h2", "y")].into_iter().enumerate() {
        let w = format!("w{layer}");
        b.weight(&w, &[128, 128]).node(to, "MatMul", &[from, &w], &[]);
    }
    let model = b.model();
    let gradient = 128 * 128 * 4;
    let plan = |clip, micro_batch| -> Memory {
        let options = Options { classes: 0, micro_batch, ..options(OptimizerKind::Adam, clip) };
        memory(&graphs(&model, &options).unwrap())
    };
    let [none, global, per_weight] =
        [None, clip(1.0, SCOPES[0]), clip(1.0, SCOPES[1])].map(|it| plan(it, 0).dynamic_peak);
    println!("{none} without clipping, {per_weight} per weight, {global} global");
    assert!(per_weight <= none + 4096, "{none} and {per_weight}");
    assert!(global.abs_diff(none + 2 * gradient) <= 16_384, "{none} and {global}");
    // In parts all gradients are state in any case.
    let [none, global, per_weight] = [None, clip(1.0, SCOPES[0]), clip(1.0, SCOPES[1])].map(|it| plan(it, 2));
    assert!(global.planned_peak.abs_diff(per_weight.planned_peak) < 4096);
    assert_eq!([global.optimizer, per_weight.optimizer], [none.optimizer; 2]);
}

/// A gradient that is no number stops the run as any other does: by weights and a loss that are none.
#[test]
fn a_norm_that_is_not_finite_is_not_hidden() {
    for (scope, all) in [(ClipScope::Global, true), (ClipScope::PerWeight, false)] {
        let file = trainer(&mlp(), &options(OptimizerKind::Adam, clip(1.0, scope)));
        let expect = Expect::of(file.program()).unwrap();
        let mut trainer = Trainer::load(file, 1).unwrap();
        let inputs = [Column::Real(vec![f32::NAN; 8 * expect.inputs[0].dims.iter().product::<usize>()])];
        let batch = Batch {
            epoch: 0,
            number: 1,
            len: 8,
            inputs: &inputs,
            targets: Targets::Classes(&[0, 1, 0, 1, 0, 1, 0, 1]),
            rows: &[1.0; 8],
        };
        trainer.step(&batch, 0.001, 1);
        assert!(trainer.not_finite().is_some(), "{scope:?}");
        let params = trainer.residents().filter(|it| it.1 == Role::Param).map(|it| it.0.to_string());
        let finite = |name: &String| trainer.resident(name).unwrap().iter().all(|it| it.is_finite());
        let finite: Vec<bool> = params.collect::<Vec<_>>().iter().map(finite).collect();
        assert!(!all || finite.iter().all(|it| !it), "{finite:?}");
    }
}

#[test]
fn programs_with_a_factor_that_is_none_are_refused() {
    use razorc_proto::program::{self as proto, attr};
    use razorc_runtime::program::Program;
    let program = compile(&mlp(), &options(OptimizerKind::Adam, clip(1.0, ClipScope::Global))).unwrap().program;
    assert!(Program::check(&program).is_ok());
    type Break = fn(&mut proto::Program);
    fn step<'a>(it: &'a mut proto::Program, op: &str) -> &'a mut proto::Instruction {
        it.train.as_mut().unwrap().instructions.iter_mut().find(|it| it.op == op).unwrap()
    }
    let faults: [Break; 6] = [
        |it| step(it, "clip_scale").attrs[0].value = Some(attr::Value::Float(0.0)),
        |it| step(it, "clip_scale").attrs[0].value = Some(attr::Value::Float(f64::NAN)),
        |it| step(it, "clip_scale").operands.clear(),
        |it| step(it, "adam_clipped").operands.swap(1, 6),
        |it| step(it, "adam_clipped").operands.truncate(6),
        |it| step(it, "gradient_norm").operands.clear(),
    ];
    let told = faults.map(|break_it| {
        let mut program = program.clone();
        break_it(&mut program);
        Program::check(&program).map_or_else(|e| e.to_string(), |_| "nothing".into())
    });
    insta::assert_snapshot!(told.join("\n"));
}
