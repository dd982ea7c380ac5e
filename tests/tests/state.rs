//! Optimizer state that is stored in fewer bits.

use razorc_compiler::options::{Optimizer, OptimizerKind, Options, StateForm};
use razorc_compiler::{compile, graphs, memory};
use razorc_fixtures::{cnn, mlp};
use razorc_proto::TrainerFile;
use razorc_proto::program::{self as proto, Memory, Preprocess, Progress, Role, attr};
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
    // The largest distance from the exact weights, as a share of the way that these have come.
    for (kind, form, most) in KINDS.iter().flat_map(|it| [(*it, StateForm::Bf16, 0.1), (*it, StateForm::Bits8, 0.3)]) {
        let run = |state| {
            let (mut trainer, expect) = loaded(trainer(&cnn(), &options(kind, state)), 2);
            let losses = steps(&mut trainer, &expect, rate(kind), 1..=20);
            (trainer, losses)
        };
        let ((exact, losses), (rounded, others)) = (run(StateForm::F32), run(form));
        println!("{kind:?} {form:?}: {:?} and {:?}", &losses[16..], &others[16..]);
        assert!(losses[19] < losses[0], "nothing was learned: {losses:?}");
        assert!(losses.iter().zip(&others).all(|(a, b)| (a - b).abs() < 0.02 * losses[0]), "{losses:?}\n{others:?}");
        assert_ne!(losses, others, "nothing was rounded");
        let start = Trainer::load(trainer(&cnn(), &options(kind, StateForm::F32)), 1).unwrap();
        for (name, role, _) in exact.residents().filter(|it| it.1 == Role::Param) {
            let [start, exact, rounded] = [&start, &exact, &rounded].map(|it| it.resident(name).unwrap());
            let length = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            let (moved, off) = (length(&start, &exact), length(&exact, &rounded));
            println!("{kind:?} {form:?} {name}: {:.4}", off / moved);
            assert!(off < most * moved, "{role:?} {name} is {off} off after moving by {moved}");
        }
    }
}

#[test]
fn bits_depend_neither_on_threads_nor_on_checkpoints() {
    for (kind, form) in KINDS.iter().flat_map(|it| [(*it, StateForm::Bf16), (*it, StateForm::Bits8)]) {
        let file = || trainer(&cnn(), &options(kind, form));
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
        assert!(bytes(&whole) == bytes(&resumed), "{kind:?} {form:?}");
        let state = whole.residents().filter(|it| it.1 == Role::State).map(|it| it.2.len()).sum::<usize>();
        assert!(0 < state && whole.not_finite().is_none());
    }
}

#[test]
fn the_plan_shows_a_half_or_a_quarter_of_the_state() {
    let plan = |options: &Options| -> Memory { memory(&graphs(&cnn(), options).unwrap()) };
    let forms = [StateForm::F32, StateForm::Bf16, StateForm::Bits8];
    for kind in KINDS {
        let [exact, half, quarter] = forms.map(|it| plan(&options(kind, it)));
        // Every tensor is padded to 64 bytes.
        let padding = 2 * exact.weights;
        assert!(half.optimizer < exact.optimizer && quarter.optimizer < half.optimizer);
        assert!(2 * half.optimizer <= exact.optimizer + padding);
        let bytes = |form| {
            let program = compile(&cnn(), &options(kind, form)).unwrap().program;
            let states = program.residents.into_iter().filter(|it| it.role() == Role::State);
            states.filter_map(|it| it.r#type?.bytes()).sum::<u64>()
        };
        assert_eq!(bytes(StateForm::F32), 2 * bytes(StateForm::Bf16));
        let (exact, quarter) = (bytes(StateForm::F32) as f64, bytes(StateForm::Bits8) as f64);
        println!("{kind:?}: {:.4} bytes an element", 4.0 * quarter / exact);
        assert!(exact < 4.0 * quarter && quarter < 0.28 * exact);
    }
    // Nothing can be added onto a rounded momentum, so parts of a batch add up in a state of their own.
    let parts = |state| Options { micro_batch: 2, ..options(OptimizerKind::Sgd, state) };
    let [exact, half, quarter] = forms.map(|it| plan(&parts(it)));
    assert!(exact.optimizer < quarter.optimizer && quarter.optimizer < half.optimizer);
}

#[test]
fn programs_that_round_what_they_must_not_are_refused() {
    let programs = [StateForm::Bf16, StateForm::Bits8]
        .map(|it| compile(&mlp(), &options(OptimizerKind::Sgd, it)).unwrap().program);
    assert!(programs.iter().all(|it| Program::check(it).is_ok()));
    type Break = fn(&mut proto::Program);
    let told = |program: &proto::Program, break_it: Break| {
        let mut program = program.clone();
        break_it(&mut program);
        Program::check(&program).map_or_else(|e| e.to_string(), |_| "nothing".into())
    };
    fn update(it: &mut proto::Program) -> &mut proto::Instruction {
        it.train.as_mut().unwrap().instructions.iter_mut().find(|it| it.op == "sgd").unwrap()
    }
    /// The type of the first momentum.
    fn momentum(it: &mut proto::Program) -> &mut proto::Type {
        it.residents.iter_mut().find(|it| it.name.ends_with(".momentum")).unwrap().r#type.as_mut().unwrap()
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
    let signs: [Break; 3] = [
        |it| momentum(it).values = proto::DType::U8.into(),
        |it| momentum(it).values = proto::DType::F16.into(),
        |it| momentum(it).dtype = proto::DType::I64.into(),
    ];
    let told = programs
        .iter()
        .flat_map(|program| faults.map(|it| told(program, it)))
        .chain(signs.map(|it| told(&programs[1], it)));
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}
