//! The comparison of the first gradient with the exact one.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use razorc_compiler::options::{
    BatchNorm, Clip, ClipScope, Method, Optimizer, OptimizerKind, Options, Razor, StateForm,
};
use razorc_fixtures::{Builder, cnn, mobile};
use razorc_proto::program::{Program as Proto, Role};
use razorc_proto::{Model, TrainerFile, write_trainer};
use razorc_runtime::data::{Dataset, Expect};
use razorc_runtime::program::Program;
use razorc_runtime::train::{BEST, Checked, LAST, Length, Observer, Run, Settings, Skipped, train};
use razorc_runtime::trainer::Trainer;
use razorc_tests::mutants::{mutate, with_wrong_bytes};
use razorc_tests::{noise, trainer, trainer_with_exact};
use tempfile::TempDir;

fn settings(folder: Option<&Path>, steps: u64) -> Settings {
    razorc_tests::settings(folder, Length::Steps(steps))
}

#[derive(Default)]
struct Told(Vec<Checked>);

impl Observer for Told {
    fn checked(&mut self, checked: &Checked) {
        self.0.push(checked.clone());
    }
}

/// What a run tells of its first gradient, and the weights that it ends with.
fn run(file: &TrainerFile, data: &Dataset, settings: &Settings) -> (Vec<Checked>, Trainer) {
    let mut told = Told::default();
    let run = Run { file: file.clone(), data, validation: None, settings, threads: 2 };
    let (trainer, _) = train(run, &mut told, &AtomicBool::new(false)).unwrap();
    (told.0, trainer)
}

/// Cosine and ratio of lengths on the first batch of images of noise.
fn compared(file: &TrainerFile) -> (f64, f64) {
    let data = noise(&Expect::of(file.program()).unwrap(), 24);
    match run(file, &data, &settings(None, 1)).0[..] {
        [Checked::Compared { cosine, norm_ratio }] => (cosine, norm_ratio),
        ref other => panic!("{other:?}"),
    }
}

fn options(sparsity: &str) -> Options {
    let razor = Razor { sparsity: sparsity.parse().unwrap(), ..Razor::default() };
    Options { batch: 8, classes: 2, razor, ..Options::default() }
}

/// Everything that is saved has 8 bits, so gradients are nearly exact.
fn mesa(options: Options) -> Options {
    let mut options = options;
    Method::Mesa.apply(&mut options);
    options
}

#[test]
fn every_optimizer_tells_the_gradient_that_it_saw() {
    let sgd = |momentum, nesterov| Optimizer { kind: OptimizerKind::Sgd, momentum, nesterov, ..Optimizer::default() };
    let adams = [OptimizerKind::Adam, OptimizerKind::AdamW].map(|kind| Optimizer { kind, ..Optimizer::default() });
    for optimizer in [sgd(0.9, false), sgd(0.5, true), adams[0], adams[1]] {
        for (state, micro_batch) in
            [(StateForm::F32, 0), (StateForm::Bf16, 0), (StateForm::Bits8, 0), (StateForm::F32, 4)]
        {
            // So much decay that it would show on one side alone.
            let optimizer = Optimizer { state, weight_decay: 1.0, ..optimizer };
            let file = trainer_with_exact(&cnn(), &mesa(Options { optimizer, micro_batch, ..options("0") }));
            let (cosine, norm_ratio) = compared(&file);
            let nearly = 0.99 < cosine && (0.98..1.02).contains(&norm_ratio);
            assert!(nearly, "{optimizer:?}, {micro_batch} rows: {cosine} {norm_ratio}");
        }
    }
}

#[test]
fn clipped_gradients_are_compared_with_clipped_ones() {
    for scope in [ClipScope::Global, ClipScope::PerWeight] {
        let clip = Some(Clip { norm: 1e-3, scope });
        let optimizer = Optimizer { clip, ..Optimizer::default() };
        let (cosine, norm_ratio) = compared(&trainer_with_exact(&cnn(), &mesa(Options { optimizer, ..options("0") })));
        assert!(0.99 < cosine && (0.9..1.1).contains(&norm_ratio), "{scope:?}: {cosine} {norm_ratio}");
    }
}

/// The first loss of a trainer, and that of its exact program; they save differently but compute the same.
fn first_losses(file: &TrainerFile) -> [f32; 2] {
    let data = noise(&Expect::of(file.program()).unwrap(), 24);
    let mut exact = file.program().exact.as_deref().cloned().unwrap();
    let residents = &file.program().residents;
    let blob = |it: &razorc_proto::program::Resident| {
        let idx = residents.iter().position(|other| other.name == it.name)?;
        let blob = file.blob(idx).filter(|_| it.role() != Role::State)?;
        blob.get(..it.r#type.as_ref()?.bytes()? as usize)
    };
    let blobs: Vec<_> = exact.residents.iter().map(blob).collect();
    exact.name = "exact".into();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("exact.trainer");
    write_trainer(&path, &exact, &blobs).unwrap();
    [TrainerFile::open(&path).unwrap(), file.clone()].map(|file| {
        struct First(Option<f32>);
        impl Observer for First {
            fn step(&mut self, report: &razorc_runtime::train::StepReport) {
                self.0.get_or_insert(report.stats.loss);
            }
        }
        let (mut first, settings) = (First(None), settings(None, 1));
        let run = Run { file, data: &data, validation: None, settings: &settings, threads: 1 };
        train(run, &mut first, &AtomicBool::new(false)).unwrap();
        first.0.unwrap()
    })
}

/// A network whose dropout matters.
fn dropping() -> Model {
    let mut b = Builder::new("dropping", 8);
    b.input("image", "N,3,16,16").weight("w", &[8, 3, 3, 3]).weight("v", &[1568, 2]);
    b.node("c", "Conv", &["image", "w"], &[("kernel_shape", [3, 3].into())]).node("a", "Relu", &["c"], &[]);
    b.node("d", "Dropout", &["a"], &[]).node("f", "Flatten", &["d"], &[]);
    b.node("y", "MatMul", &["f", "v"], &[]).output("y", "N,2");
    b.model()
}

/// A network with a constant that is of its batch's size.
fn sized() -> Model {
    let mut b = Builder::new("sized", 9);
    b.input("image", "N,3,16,16").weight("w", &[8, 3, 3, 3]).weight("v", &[1568, 2]);
    b.ints("columns", &[1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]).node("shape", "Shape", &["image"], &[]);
    b.node("whole", "Expand", &["columns", "shape"], &[]).node("all", "Cast", &["whole"], &[("to", 1.into())]);
    b.node("x", "Mul", &["image", "all"], &[]);
    b.node("c", "Conv", &["x", "w"], &[("kernel_shape", [3, 3].into())]).node("a", "Relu", &["c"], &[]);
    b.node("f", "Flatten", &["a"], &[]).node("y", "MatMul", &["f", "v"], &[]).output("y", "N,2");
    b.model()
}

#[test]
fn constants_may_be_of_more_rows() {
    let file = trainer_with_exact(&sized(), &mesa(Options { classes: 0, ..options("0") }));
    let rows = |program: &Proto| {
        let all = program.residents.iter().find(|it| it.name == "all").unwrap();
        all.r#type.as_ref().unwrap().dims[0]
    };
    assert_eq!((rows(file.program()), rows(file.program().exact.as_ref().unwrap())), (8, 1));
    let [exact, own] = first_losses(&file);
    assert!((exact - own).abs() < 1e-5 * exact.abs(), "{exact} {own}");
    let (cosine, norm_ratio) = compared(&file);
    assert!(0.99 < cosine && (0.98..1.02).contains(&norm_ratio), "{cosine} {norm_ratio}");
}

#[test]
fn what_needs_its_batch_whole_is_compared_alike() {
    let whole = Options { batch_norm: BatchNorm::Train, ..options("0") };
    let dropout = Options { dropout: true, classes: 0, ..options("0") };
    let parts = Options { micro_batch: 2, ..dropout.clone() };
    for (model, options, rows) in [(cnn(), whole, 0), (dropping(), dropout, 0), (dropping(), parts, 2)] {
        let file = trainer_with_exact(&model, &mesa(options));
        let exact = file.program().exact.as_ref().unwrap();
        assert_eq!(exact.task.as_ref().unwrap().micro_batch, rows);
        let [exact, own] = first_losses(&file);
        assert!((exact - own).abs() < 1e-5 * exact.abs(), "{}: {exact} {own}", model.graph().name());
        let (cosine, norm_ratio) = compared(&file);
        assert!(0.99 < cosine && (0.98..1.02).contains(&norm_ratio), "{cosine} {norm_ratio}");
    }
    // Elsewhere a row at a time does.
    let exact = trainer_with_exact(&cnn(), &options("0.9")).program().exact.clone().unwrap();
    assert_eq!(exact.task.unwrap().micro_batch, 1);
}

#[test]
fn only_poor_gradients_deserve_a_warning() {
    for (model, suffers) in [(cnn(), true), (mobile(), false)] {
        let of = |sparsity| {
            let (cosine, norm_ratio) = compared(&trainer_with_exact(&model, &options(sparsity)));
            (cosine, Checked::Compared { cosine, norm_ratio }.is_doubtful())
        };
        let (usual, extreme) = (of("0.9"), of("0.999"));
        assert_eq!((usual.1, extreme.1), (false, suffers), "{}: {usual:?} {extreme:?}", model.graph().name());
        assert!(extreme.0 < usual.0);
    }
    let of = |cosine, norm_ratio| Checked::Compared { cosine, norm_ratio }.is_doubtful();
    assert_eq!(
        [of(0.51, 1.29), of(0.49, 1.0), of(0.9, 1.31), of(f64::NAN, 1.0), of(0.9, f64::NAN)],
        [false, true, true, true, true]
    );
}

#[test]
fn the_check_does_not_show_in_the_bits() {
    for (model, kind) in [(cnn(), OptimizerKind::Adam), (mobile(), OptimizerKind::Sgd)] {
        let optimizer = Optimizer { kind, weight_decay: 0.01, ..Optimizer::default() };
        let options = Options { batch_norm: BatchNorm::Train, optimizer, ..options("0.9") };
        let (with, without) = (trainer_with_exact(&model, &options), trainer(&model, &options));
        let data = noise(&Expect::of(with.program()).unwrap(), 24);
        let folders = [(); 3].map(|()| TempDir::new().unwrap());
        let [checked, off, plain] = folders.each_ref().map(|it| settings(Some(it.path()), 5));
        assert_eq!(run(&with, &data, &checked).0.len(), 1);
        assert_eq!(run(&with, &data, &Settings { self_check: false, ..off }).0, []);
        assert_eq!(run(&without, &data, &plain).0, []);
        let [checked, off, plain] = folders.each_ref().map(|it| std::fs::read(it.path().join(LAST)).unwrap());
        // Checkpoints do without the exact program, too, but not without what the plan tells of it.
        assert!(checked == off);
        let bare = |bytes: Vec<u8>| TrainerFile::from_bytes(Path::new("last"), bytes).unwrap();
        let (checked, plain) = (bare(checked), bare(plain));
        assert!(checked.program().exact.is_none() && plain.program().residents == checked.program().residents);
    }
}

#[test]
fn checks_come_once_and_only_where_there_is_something_to_compare() {
    let file = trainer_with_exact(&cnn(), &options("0.9"));
    let data = noise(&Expect::of(file.program()).unwrap(), 24);
    let folder = TempDir::new().unwrap();
    let first = settings(Some(folder.path()), 4);
    assert_eq!(run(&file, &data, &first).0.len(), 1);
    let last = TrainerFile::open(folder.path().join(LAST)).unwrap();
    assert!(!folder.path().join(BEST).exists());
    assert_eq!(run(&last, &data, &Settings { resume: true, ..first.clone() }).0, []);
    let found = razorc_runtime::train::resumable(folder.path(), &file).unwrap();
    assert_eq!(run(&found, &data, &Settings { resume: true, ..first }).0, []);

    let sgd = Optimizer { kind: OptimizerKind::Sgd, momentum: 0.0, ..Optimizer::default() };
    for options in [options("0"), Options { optimizer: sgd, ..options("0.9") }] {
        assert!(trainer_with_exact(&cnn(), &options).program().exact.is_none());
    }
    // The last layer alone is no body.
    let file = trainer_with_exact(&cnn(), &Options { head_only: true, ..options("0.9") });
    assert_eq!(run(&file, &data, &settings(None, 1)).0, []);
}

/// The trainer with another program, and the same weights.
fn with_program(file: &TrainerFile, program: &Proto) -> TrainerFile {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("other.trainer");
    let blobs: Vec<_> = (0..program.residents.len()).map(|it| file.blob(it)).collect();
    write_trainer(&path, program, &blobs).unwrap();
    TrainerFile::open(&path).unwrap()
}

#[test]
fn a_check_that_does_not_fit_is_skipped() {
    let file = trainer_with_exact(&cnn(), &options("0.9"));
    let data = noise(&Expect::of(file.program()).unwrap(), 24);
    let needed = file.program().memory.unwrap().self_check.unwrap();
    let told = |change: &dyn Fn(&mut Proto)| {
        let mut program = file.program().clone();
        change(&mut program);
        run(&with_program(&file, &program), &data, &settings(None, 1)).0
    };
    let budget = needed - 1;
    assert_eq!(told(&|it| it.budget = budget), [Checked::Skipped(Skipped::Budget { needed, budget })]);
    assert!(matches!(told(&|it| it.budget = needed)[..], [Checked::Compared { .. }]));
    // More than any machine has.
    let huge = told(&|it| it.exact.as_mut().unwrap().arena_bytes = 1 << 43);
    let [Checked::Skipped(Skipped::Memory { needed, .. })] = huge[..] else { panic!("{huge:?}") };
    assert!(1 << 43 < needed);
}

#[test]
fn exact_programs_that_do_not_fit_are_refused() {
    let file = trainer_with_exact(&cnn(), &options("0.9"));
    Program::check(file.program()).unwrap();
    type Break = fn(&mut Proto);
    let told = |break_it: Break| {
        let mut program = file.program().clone();
        break_it(&mut program);
        Program::check(&program).map_or_else(|e| e.to_string(), |_| "nothing".into())
    };
    fn exact(it: &mut Proto) -> &mut Proto {
        it.exact.as_mut().unwrap()
    }
    fn weight(it: &mut Proto) -> &mut razorc_proto::program::Resident {
        exact(it).residents.iter_mut().find(|it| it.role() == Role::Param).unwrap()
    }
    let faults: [Break; 9] = [
        |it| exact(it).exact = Some(Box::new(exact(it).clone())),
        |it| exact(it).task = None,
        |it| exact(it).train.as_mut().unwrap().instructions[0].operands[0] = 9999,
        |it| exact(it).task.as_mut().unwrap().batch = 16,
        |it| exact(it).task.as_mut().unwrap().ignore_index = 1,
        // Both programs are sound, but one is fed larger images.
        |it| {
            let other = trainer_with_exact(&cnn_of(20), &options("0.9"));
            it.exact = other.program().exact.clone();
        },
        |it| weight(it).blob = Some(0),
        |it| weight(it).name = "other".into(),
        |it| {
            let frozen = exact(it).residents.iter_mut().find(|it| it.role() == Role::Frozen).unwrap();
            frozen.role = Role::Statistic.into();
        },
    ];
    insta::assert_snapshot!(faults.map(told).join("\n"));
}

/// The fixture for larger images.
fn cnn_of(side: i64) -> Model {
    use razorc_proto::onnx::tensor_shape_proto::dimension::Value as Size;
    use razorc_proto::onnx::type_proto::Value as TypeValue;
    let mut proto = cnn().into_proto();
    let info = &mut proto.graph.as_mut().unwrap().input[0];
    let Some(TypeValue::TensorType(tensor)) = info.r#type.as_mut().unwrap().value.as_mut() else { unreachable!() };
    tensor.shape.as_mut().unwrap().dim[2..].iter_mut().for_each(|it| it.value = Some(Size::DimValue(side)));
    cnn().with_proto(proto)
}

/// Whatever the exact program is, the trainer is refused or trains to the same bits.
#[test]
fn hostile_exact_programs_are_refused_or_harmless() {
    let mut rng = ChaCha8Rng::seed_from_u64(0xc0de);
    let files = [(cnn(), 0), (mobile(), 2)].map(|(model, micro_batch)| {
        let options = Options { batch: 2, micro_batch, ..options("0.9") };
        trainer_with_exact(&model, &options)
    });
    let datas = files.each_ref().map(|it| noise(&Expect::of(it.program()).unwrap(), 4));
    let settings = settings(None, 1);
    let weights = |it: &Trainer| it.residents().map(|it| it.2.to_vec()).collect::<Vec<_>>();
    let expected: Vec<_> =
        files.iter().zip(&datas).map(|(file, data)| weights(&run(file, data, &settings).1)).collect();
    let (mut refused, mut ran) = (0, 0);
    for round in 0..1500 {
        let (file, data, expected) = (&files[round % 2], &datas[round % 2], &expected[round % 2]);
        let mut program = file.program().clone();
        let exact = program.exact.as_mut().unwrap();
        for _ in 0..rng.random_range(1..=2) {
            mutate(exact, &mut rng);
        }
        if rng.random_bool(0.5) {
            let Some(other) = with_wrong_bytes(exact, &mut rng) else { continue };
            **exact = other;
        }
        if Program::check(&program).is_err() {
            refused += 1;
            continue;
        }
        ran += 1;
        assert!(&weights(&run(&with_program(file, &program), data, &settings).1) == expected, "round {round}");
    }
    assert!(500 < refused && 50 < ran, "{refused} were refused and {ran} ran");
}
