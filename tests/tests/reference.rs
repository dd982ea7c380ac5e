//! The reference executor on a whole program, and the processor's executor beside it.

use ndarray::ArrayD;
use razorc_runtime::arena::Arena;
use razorc_runtime::cpu::Cpu;
use razorc_runtime::program::{Program, Sequence};
use razorc_runtime::reference::{Precision, Reference, Tensor, Which};
use razorc_tests::programs::classifier;

const STEPS: usize = 20;

#[test]
fn training_lowers_the_loss() {
    let program = program();
    let mut executor = started(&program);
    executor.run(Which::Eval);
    let before = loss(&executor);
    for _ in 0..STEPS {
        executor.run(Which::Train);
    }
    executor.run(Which::Eval);
    assert!(loss(&executor) < 0.7 * before, "{before} fell only to {}", loss(&executor));
    assert_eq!(executor.get("correct").unwrap().floats(), Some(&[2.0][..]));
}

#[test]
fn evaluation_changes_nothing() {
    let program = program();
    let mut executor = started(&program);
    executor.run(Which::Train);
    let residents = |executor: &Reference<'_>| ["w1", "w2", "m2"].map(|it| executor.get(it).unwrap().clone());
    let before = residents(&executor);
    executor.run(Which::Eval);
    assert_eq!(residents(&executor), before);
    let first = loss(&executor);
    executor.run(Which::Eval);
    assert_eq!(loss(&executor), first);
}

#[test]
fn padding_rows_do_not_count() {
    let program = program();
    let mut executor = started(&program);
    executor.set("rows", Tensor::float(&[2], [1.0, 0.0]));
    executor.run(Which::Train);
    let weights = executor.get("w2").unwrap().clone();
    let mut executor = started(&program);
    executor.set("rows", Tensor::float(&[2], [1.0, 0.0]));
    executor.set("x", Tensor::float(&[2, 1, 6, 6], (0..72).map(|i| if i < 36 { image(i) } else { 1e3 })));
    executor.set("target", classes([0, -7]));
    executor.run(Which::Train);
    assert_eq!(executor.get("w2"), Some(&weights));
}

#[test]
#[should_panic(expected = "no value `x` of this type")]
fn ports_take_their_own_type_only() {
    let program = program();
    Reference::new(&program).set("x", Tensor::zeros(&[2, 6, 6]));
}

/// Selections must be the same, so the few values that follow differ by rounding alone.
#[test]
fn the_processor_agrees_after_many_steps() {
    let program = program();
    let mut reference = started(&program).with_precision(Precision::F32);
    let cpu = Cpu::new(2);
    let mut arena = Arena::new(&program, cpu.threads()).unwrap();
    copy_state(&program, &reference, &mut arena);
    for step in 0..STEPS {
        reference.run(Which::Train);
        fill(program.train(), &reference, &mut arena);
        cpu.run(program.train(), &mut arena);
        for (i, resident) in program.residents().iter().enumerate() {
            let expected = reference.get(resident.name()).unwrap().floats().unwrap();
            let (found, _) = arena.resident(&program, i).as_chunks::<4>();
            for (at, (&expected, &found)) in expected.iter().zip(found).enumerate() {
                let found = f64::from(f32::from_ne_bytes(found));
                let near = (found - expected).abs() <= 1e-4 * expected.abs().max(0.1);
                assert!(near, "step {step}: {}[{at}] is {found} instead of {expected}", resident.name());
            }
        }
    }
}

fn program() -> Program {
    Program::check(&classifier()).unwrap()
}

fn started(program: &Program) -> Reference<'_> {
    let mut executor = Reference::new(program);
    executor.set("x", Tensor::float(&[2, 1, 6, 6], (0..72).map(image)));
    executor.set("target", classes([0, 2]));
    executor.set("rows", Tensor::float(&[2], [1.0, 1.0]));
    executor.set("lr", Tensor::scalar(0.0625));
    executor.set("w1", Tensor::float(&[4, 1, 3, 3], (0..36).map(|i| f64::from((i as f32 * 2.3).cos() * 0.5))));
    executor.set("w2", Tensor::float(&[16, 3], (0..48).map(|i| f64::from((i as f32 * 1.1).sin() * 0.2))));
    executor
}

fn image(i: usize) -> f64 {
    f64::from((i as f32 * 0.9).sin())
}

fn classes(of: [i64; 2]) -> Tensor {
    Tensor::Int(ArrayD::from_shape_vec(vec![2], of.into()).unwrap())
}

fn loss(executor: &Reference<'_>) -> f64 {
    executor.get("loss").unwrap().floats().unwrap()[0]
}

fn copy_state(program: &Program, reference: &Reference<'_>, arena: &mut Arena) {
    let bytes = |name: &str| -> Vec<u8> {
        let floats = reference.get(name).unwrap().floats().unwrap();
        floats.iter().flat_map(|&it| (it as f32).to_ne_bytes()).collect()
    };
    let blobs: Vec<_> = program.residents().iter().map(|it| bytes(it.name())).collect();
    arena.load(program, |i| Some(&blobs[i])).unwrap();
}

fn fill(sequence: &Sequence, reference: &Reference<'_>, arena: &mut Arena) {
    for place in sequence.ports().filled() {
        match reference.get(sequence.values()[place.value()].name()).unwrap() {
            Tensor::Float(it) => arena.value_mut::<f32>(place).iter_mut().zip(it).for_each(|(to, &it)| *to = it as f32),
            Tensor::Int(it) => arena.value_mut::<i64>(place).iter_mut().zip(it).for_each(|(to, &it)| *to = it),
            other => panic!("{other:?} is no port"),
        }
    }
}
