//! Programs that must not run are refused, and those that may run cannot be made to fail.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use razorc_proto::program::{Attr, Instruction, Program as Proto, Sequence, Storage, Task, value::Place};
use razorc_runtime::arena::Arena;
use razorc_runtime::cpu::Cpu;
use razorc_runtime::program::Program;
use razorc_tests::mutants::{mutate, with_wrong_bytes};
use razorc_tests::programs::{classifier, f32};

#[test]
fn a_sound_program_passes() {
    let program = Program::check(&classifier()).unwrap();
    assert_eq!(program.train().instructions().len(), classifier().train.unwrap().instructions.len());
    assert!(program.train().ports().learning_rate.is_some() && program.eval().ports().learning_rate.is_none());
}

#[test]
fn faults_are_named() {
    let mut missed = Vec::new();
    for (break_it, expected) in FAULTS {
        let mut program = classifier();
        break_it(&mut program);
        let told = Program::check(&program).map_or_else(|e| e.to_string(), |_| "nothing".into());
        if told != *expected {
            missed.push(format!("{told}\n  instead of\n{expected}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}

type Fault = (fn(&mut Proto), &'static str);

const FAULTS: &[Fault] = &[
    (|it| it.task = None, "the program has no task"),
    (|it| it.arena_bytes = u64::MAX, "18446744073709551615 bytes of arena are too many, or not a multiple of 64"),
    (|it| it.residents[0].offset = 32, "resident `w1` is outside the arena, or not aligned"),
    (|it| it.residents[1].offset = u64::MAX - 63, "resident `w2` is outside the arena, or not aligned"),
    (|it| it.residents[1].offset = 64, "train: resident `w1` and resident `w2` overlap in the arena"),
    (|it| it.residents[2].role = 77, "resident `m2` has the unknown role 77"),
    (|it| it.residents[2].name = "w1".into(), "resident `w1` is there twice"),
    (|it| storage(it, "loss").offset = 64, "train: resident `w1` and storage 11 overlap in the arena"),
    (|it| storage(it, "h").offset += 64, "train: storage 4 and storage 5 overlap in the arena"),
    (|it| storage(it, "h").offset = 1 << 43, "train: storage 4 is empty, outside the arena, or not aligned"),
    (|it| storage(it, "h").end = 0, "train: storage 4 has a lifetime that is empty or outside the sequence"),
    (|it| storage(it, "h").end = 99, "train: storage 4 has a lifetime that is empty or outside the sequence"),
    (|it| storage(it, "h").bytes = 64, "train: value `h` is f32[2,4,5,5] and does not fit into 64 bytes"),
    (|it| storage(it, "h").end = 1, "train: instruction 1 (relu): h is read while it is not live"),
    (|it| storage(it, "a").first = 2, "train: instruction 1 (relu): a is written while it is not live"),
    (|it| storage(it, "x").first = 1, "train: value `x` is filled before step 0 but not live there"),
    (
        |it| storage(it, "loss").end = 7,
        "train: value `loss` is read after the last step but not written, or not live there",
    ),
    (|it| value(it, "h").place = Some(Place::Storage(99)), "train: value `h` is in storage 99"),
    (|it| value(it, "h").place = None, "train: value `h` is nowhere"),
    (|it| value(it, "h").name = "x".into(), "train: value `x` is there twice"),
    (
        |it| kind(it, "mask", 9),
        "train: value `mask` cannot be: the kind 9 is not known; the trainer may need a newer razorc",
    ),
    (|it| dims(it, "h", &[0]), "train: value `h` cannot be: an axis of 0 elements, and 1 to 2147483647 are possible"),
    (|it| dims(it, "h", &[1 << 30; 3]), "train: value `h` cannot be: more than 1099511627776 elements"),
    (|it| dims(it, "h", &[1; 9]), "train: value `h` cannot be: 9 axes, and at most 8 are possible"),
    (
        |it| dims(it, "h", &[2, 4, 5, 4]),
        "train: instruction 0 (conv): result 0 is f32[2,4,5,4] and should be f32[2,4,5,5]",
    ),
    (
        |it| {
            value(it, "a").place = value(it, "h").place;
            step(it, 2).operands[0] = step(it, 1).operands[0];
        },
        "train: instruction 2 (max_pool): h is read after another value took over its bytes",
    ),
    (|it| step(it, 1).results[0] = step(it, 1).operands[0], "train: instruction 1 (relu): h is written twice"),
    (|it| value(it, "flat").place = value(it, "y").place, "train: instruction 3 (reshape): flat is written twice"),
    (
        |it| {
            let x = value(it, "flat.hat").place;
            value(it, "flat.grad").place = x;
        },
        "train: instruction 10 (linear_input_grad): flat.grad is written twice",
    ),
    (sum_in_both, "train: instruction 15 (add): h.grad is written twice"),
    (
        |it| value(it, "h").place = value(it, "w1").place,
        "train: value `h` is f32[2,4,5,5] and does not fit into 144 bytes",
    ),
    (
        |it| step(it, 0).op = "convolve".into(),
        "train: instruction 0 (convolve): the op is not known; the trainer may need a newer razorc",
    ),
    (|it| step(it, 0).operands[1] = 1000, "train: instruction 0 (conv): 1000 is no value"),
    (|it| step(it, 0).operands.clear(), "train: instruction 0 (conv): has 0 operands and should have 2 to 3"),
    (|it| drop(step(it, 0).attrs.pop()), "train: instruction 0 (conv): the attr `groups` is missing"),
    (
        |it| step(it, 0).attrs[0] = Attr::ints("strides", &[0, 1]),
        "train: instruction 0 (conv): the attr `strides` should be a list of ints, each 1 to 2147483647",
    ),
    (
        |it| step(it, 0).attrs.push(Attr::int("stride", 1)),
        "train: instruction 0 (conv): the attr `stride` is not known to this op, or is there twice",
    ),
    (|it| train(it).instructions.swap(0, 1), "train: instruction 0 (relu): h is read before it is written"),
    (
        |it| step(it, 2).attrs[2] = Attr::ints("pads", &[3, 0, 0, 0]),
        "train: instruction 2 (max_pool): a window lies wholly in the padding",
    ),
    (
        |it| step(it, 14).attrs[1] = Attr::ints("strides", &[2, 2, 2]),
        "train: instruction 14 (max_pool_grad): the attr `strides` should be a list of 2",
    ),
    (
        |it| step(it, 2).attrs[0] = Attr::ints("kernel", &[2, 3]),
        "train: instruction 14 (max_pool_grad): index does not come from the pooling with the same windows",
    ),
    (|it| step(it, 12).results.swap(0, 1), "train: instruction 12 (sgd): m2 is not the one operand that it updates"),
    (
        |it| step(it, 12).operands[1] = step(it, 12).operands[0],
        "train: instruction 12 (sgd): w2 is not the one operand that it updates",
    ),
    (|it| it.residents[1].role = 2, "train: instruction 12 (sgd): w2 has a role that this update may not change"),
    (update_in_eval, "eval: instruction 12 (sgd): w2 is updated by an evaluation"),
    (|it| train(it).opening = 99, "train: more instructions open and close a step than there are"),
    (
        |it| (train(it).opening, train(it).closing) = (9, 10),
        "train: more instructions open and close a step than there are",
    ),
    (|it| train(it).opening = 1, "train: instruction 0 (conv): h is not made for every part of a batch"),
    (
        |it| train(it).closing = 2,
        "train: instruction 16 (conv_weight_grad): w1.grad is not made for every part of a batch",
    ),
    (
        |it| it.eval.as_mut().unwrap().closing = 1,
        "eval: instruction 6 (correct): correct is not made for every part of a batch",
    ),
    (|it| task(it).micro_batch = 3, "the task has parts that are no equal parts of the batch"),
    (|it| task(it).micro_batch = 1, "the task has parts but no weight of all of them"),
    (
        accumulate_onto_a_weight,
        "train: instruction 11 (linear_weight_grad): w2 has a role that this update may not change",
    ),
    (
        accumulate_onto_a_gradient,
        "train: instruction 12 (linear_weight_grad): w2.grad is no resident and cannot be updated",
    ),
    (|it| task(it).loss = 9, "the task has an unknown loss"),
    (|it| task(it).target = "rows".into(), "train: the target, `rows`, is f32[2] and should be i64[2]"),
    (|it| task(it).rows = "y".into(), "train: the weight of the rows, `y`, is f32[2,4,2,2] and should be f32[2]"),
    (|it| task(it).inputs[0] = "w1".into(), "train: the input, `w1`, is a resident, which is never filled"),
    (|it| task(it).inputs.push("x".into()), "train: the input, `x`, is filled twice"),
    (|it| task(it).loss_value = "nowhere".into(), "train: the loss, `nowhere`, is not there"),
];

/// Adds a tensor to itself in its own bytes: no kernel is written for that.
fn sum_in_both(program: &mut Proto) {
    let sum = step(program, 15);
    (sum.op, sum.attrs) = ("add".into(), vec![]);
    sum.operands[1] = sum.operands[0];
    value(program, "h.grad").place = value(program, "a.grad").place;
}

/// What a step makes of weights of ones: all bytes of the arena that stay.
fn trained(program: &Proto) -> (Vec<Option<usize>>, Vec<Vec<u8>>) {
    let program = Program::check(program).unwrap();
    let mut arena = Arena::new(&program, 1).unwrap();
    for index in 0..program.residents().len() {
        arena.resident_mut(&program, index).fill(0x3e);
    }
    let ports = program.train().ports().clone();
    for place in [ports.inputs[0], ports.rows.unwrap(), ports.learning_rate.unwrap()] {
        arena.value_mut::<f32>(place).iter_mut().enumerate().for_each(|(i, it)| *it = 1.0 - i as f32 / 16.0);
    }
    Cpu::new(1).run(program.train(), &mut arena);
    let residents = (0..program.residents().len()).map(|it| arena.resident(&program, it).to_vec()).collect();
    (program.train().instructions().iter().map(|it| it.reused()).collect(), residents)
}

#[test]
fn results_may_be_made_in_an_operand() {
    let mut program = classifier();
    let (reused, apart) = trained(&program);
    assert!(reused.iter().all(Option::is_none));
    value(&mut program, "a").place = value(&mut program, "h").place;
    value(&mut program, "h.grad").place = value(&mut program, "a.grad").place;
    let (reused, within) = trained(&program);
    assert_eq!(reused.iter().filter(|it| **it == Some(0)).count(), 2);
    assert_eq!(apart, within);
}

fn update_in_eval(program: &mut Proto) {
    let mut eval = train(program).clone();
    let loss = eval.instructions[5].results[0];
    eval.instructions.truncate(13);
    eval.instructions[12].operands[3] = loss;
    eval.storages.iter_mut().for_each(|it| it.end = 14);
    program.eval = Some(eval);
}

/// Makes the product that is the gradient of w2 add itself onto another value.
fn accumulate_onto(program: &mut Proto, value: u32) {
    let product = step(program, 11);
    product.operands.push(value);
    product.results = vec![value];
}

fn accumulate_onto_a_weight(program: &mut Proto) {
    let w2 = step(program, 12).operands[0];
    accumulate_onto(program, w2);
}

/// Behind the instruction that makes it, a copy that adds itself onto it.
fn accumulate_onto_a_gradient(program: &mut Proto) {
    let mut copy = step(program, 11).clone();
    copy.operands.push(copy.results[0]);
    train(program).instructions.insert(12, copy);
    train(program).storages.iter_mut().for_each(|it| (it.first, it.end) = (0, 20));
}

fn train(program: &mut Proto) -> &mut Sequence {
    program.train.as_mut().unwrap()
}

fn task(program: &mut Proto) -> &mut Task {
    program.task.as_mut().unwrap()
}

fn step(program: &mut Proto, index: usize) -> &mut Instruction {
    &mut train(program).instructions[index]
}

fn value<'a>(program: &'a mut Proto, name: &str) -> &'a mut razorc_proto::program::Value {
    train(program).values.iter_mut().find(|it| it.name == name).unwrap()
}

fn storage<'a>(program: &'a mut Proto, name: &str) -> &'a mut Storage {
    match value(program, name).place {
        Some(Place::Storage(index)) => &mut train(program).storages[index as usize],
        _ => panic!("{name} is in no storage"),
    }
}

fn dims(program: &mut Proto, name: &str, dims: &[u64]) {
    value(program, name).r#type = Some(f32(dims));
}

fn kind(program: &mut Proto, name: &str, kind: i32) {
    value(program, name).r#type.as_mut().unwrap().kind = kind;
}

/// What is not refused must run to its end, whatever it computes.
#[test]
fn mutants_are_refused_or_run() {
    let mut rng = ChaCha8Rng::seed_from_u64(0x5eed);
    let cpu = Cpu::new(1);
    let (mut refused, mut ran) = (0, 0);
    for _ in 0..20_000 {
        let mut mutant = classifier();
        for _ in 0..rng.random_range(1..=2) {
            mutate(&mut mutant, &mut rng);
        }
        if rng.random_bool(0.5) {
            let Some(other) = with_wrong_bytes(&mutant, &mut rng) else { continue };
            mutant = other;
        }
        match Program::check(&mutant) {
            Ok(program) if program.arena_bytes() + program.scratch_bytes() < 1 << 24 => {
                ran += 1;
                let mut arena = Arena::new(&program, cpu.threads()).unwrap();
                cpu.run(program.train(), &mut arena);
                cpu.run_part(program.train().part(true, false), &mut arena);
                cpu.run_part(program.train().part(false, true), &mut arena);
                cpu.run(program.eval(), &mut arena);
            }
            Ok(_) => {}
            Err(_) => refused += 1,
        }
    }
    assert!(5_000 < refused && 500 < ran, "{refused} were refused and {ran} ran");
}
