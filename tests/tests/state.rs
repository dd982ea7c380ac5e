//! Optimizer state that is stored in fewer bits.

use razorc_compiler::options::{Optimizer, OptimizerKind, Options, StateForm};
use razorc_compiler::{compile, graphs, plans};
use razorc_fixtures::{cnn, mlp};
use razorc_proto::program::{self as proto, Memory, Preprocess, Progress, Role, attr};
use razorc_proto::{Model, TrainerFile};
use razorc_runtime::data::{Expect, Loader, Order, Transform};
use razorc_runtime::program::Program;
use razorc_runtime::trainer::Trainer;
use razorc_tests::{noise, trainer};

const KINDS: [OptimizerKind; 3] = [OptimizerKind::Sgd, OptimizerKind::Adam, OptimizerKind::AdamW];

fn options(kind: OptimizerKind, state: StateForm) -> Options {
    let optimizer = Optimizer { kind, state, weight_decay: 0.01, ..Optimizer::default() };
    Options { batch: 8, classes: 2, optimizer, ..Options::default() }
}

/// Takes the steps of these numbers on images of noise, brighter at the top or at the bottom by class.
fn steps(trainer: &mut Trainer, expect: &Expect, rate: f32, numbers: std::ops::RangeInclusive<u64>) -> Vec<f32> {
    let data = noise(expect, 24);
    let transform = Transform::from(&Preprocess::default());
    let batch = trainer.batch();
    let step = |number: u64| {
        let order = Order::Shuffled { seed: 3, epoch: number, batch: 0 };
        let mut loader = Loader::new(&data, &transform, batch, order, 1).unwrap();
        let fed = loader.next_batch().unwrap().unwrap();
        trainer.step(&fed, rate, number).loss
    };
    numbers.map(step).collect()
}

fn loaded(file: TrainerFile, threads: usize) -> (Trainer, Expect) {
    let expect = Expect::of(file.program()).unwrap();
    (Trainer::load(file, threads).unwrap(), expect)
}

fn rate(kind: OptimizerKind) -> f32 {
    if kind == OptimizerKind::Sgd { 0.02 } else { 0.002 }
}

#[test]
fn twenty_steps_are_close_to_exact_ones() {
    for kind in KINDS {
        let run = |state| {
            let (mut trainer, expect) = loaded(trainer(&cnn(), &options(kind, state)), 2);
            let losses = steps(&mut trainer, &expect, rate(kind), 1..=20);
            (trainer, losses)
        };
        let ((exact, losses), (rounded, others)) = (run(StateForm::F32), run(StateForm::Bf16));
        println!("{kind:?}: {:?} and {:?}", &losses[16..], &others[16..]);
        assert!(losses[19] < losses[0], "nothing was learned: {losses:?}");
        assert!(losses.iter().zip(&others).all(|(a, b)| (a - b).abs() < 0.02 * losses[0]), "{losses:?}\n{others:?}");
        assert_ne!(losses, others, "nothing was rounded");
        let start = Trainer::load(trainer(&cnn(), &options(kind, StateForm::F32)), 1).unwrap();
        for (name, role, _) in exact.residents().filter(|it| it.1 == Role::Param) {
            let [start, exact, rounded] = [&start, &exact, &rounded].map(|it| it.resident(name).unwrap());
            let length = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            let (moved, off) = (length(&start, &exact), length(&exact, &rounded));
            assert!(off < 0.1 * moved, "{role:?} {name} is {off} off after moving by {moved}");
        }
    }
}

#[test]
fn bits_depend_neither_on_threads_nor_on_checkpoints() {
    for kind in KINDS {
        let file = || trainer(&cnn(), &options(kind, StateForm::Bf16));
        let (mut whole, expect) = loaded(file(), 1);
        steps(&mut whole, &expect, rate(kind), 1..=6);
        let (mut half, _) = loaded(file(), 3);
        steps(&mut half, &expect, rate(kind), 1..=3);
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("half.trainer");
        half.save(&path, &Progress::default()).unwrap();
        let mut resumed = Trainer::open(&path, 2).unwrap();
        steps(&mut resumed, &expect, rate(kind), 4..=6);
        let bytes = |it: &Trainer| it.residents().map(|it| (it.0.to_string(), it.2.to_vec())).collect::<Vec<_>>();
        assert!(bytes(&whole) == bytes(&resumed), "{kind:?}");
        let state = whole.residents().filter(|it| it.1 == Role::State).map(|it| it.2.len()).sum::<usize>();
        assert!(0 < state && whole.not_finite().is_none());
    }
}

#[test]
fn the_plan_shows_half_of_the_state() {
    let plan = |model: &Model, options: &Options| -> Memory { plans(&graphs(model, options).unwrap()).1 };
    for kind in KINDS {
        let [exact, rounded] = [StateForm::F32, StateForm::Bf16].map(|it| plan(&cnn(), &options(kind, it)));
        let tensors = 2 * rounded.weights / 64;
        assert!(2 * rounded.optimizer <= exact.optimizer + tensors * 64 && rounded.optimizer < exact.optimizer);
    }
    // Nothing can be added onto a rounded momentum, so parts of a batch add up in a state of their own.
    let parts = |state| Options { micro_batch: 2, ..options(OptimizerKind::Sgd, state) };
    let [exact, rounded] = [StateForm::F32, StateForm::Bf16].map(|it| plan(&cnn(), &parts(it)));
    assert!(exact.optimizer < rounded.optimizer, "{} and {}", exact.optimizer, rounded.optimizer);
}

#[test]
fn programs_that_round_what_they_must_not_are_refused() {
    let program = compile(&mlp(), &options(OptimizerKind::Sgd, StateForm::Bf16)).unwrap().program;
    assert!(Program::check(&program).is_ok());
    type Break = fn(&mut proto::Program);
    let told = |break_it: Break| {
        let mut program = program.clone();
        break_it(&mut program);
        Program::check(&program).map_or_else(|e| e.to_string(), |_| "nothing".into())
    };
    fn update(it: &mut proto::Program) -> &mut proto::Instruction {
        it.train.as_mut().unwrap().instructions.iter_mut().find(|it| it.op == "sgd").unwrap()
    }
    let faults: [Break; 5] = [
        |it| it.residents.iter_mut().find(|it| it.name.ends_with(".momentum")).unwrap().role = Role::Frozen.into(),
        |it| update(it).attrs.retain(|it| it.name != "seed"),
        |it| {
            let momentum = update(it).attrs.iter_mut().find(|it| it.name == "momentum").unwrap();
            momentum.value = Some(attr::Value::Float(0.0));
        },
        |it| update(it).operands.truncate(4),
        |it| {
            let weight = update(it).operands[0];
            let w = it.train.as_ref().unwrap().values[weight as usize].name.clone();
            let w = it.residents.iter_mut().find(|it| it.name == w).unwrap();
            w.r#type.as_mut().unwrap().dtype = proto::DType::Bf16.into();
        },
    ];
    insta::assert_snapshot!(faults.map(told).join("\n"));
}
