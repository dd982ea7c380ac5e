//! Programs: what the runtime gets to see of a graph, and what the report says of its memory.

use std::collections::BTreeSet;

use razorc_compiler::graph::Graph;
use razorc_compiler::lower::{Scheduled, kept, lower};
use razorc_compiler::ops::{self, Lower};
use razorc_compiler::options::{Options, Razor};
use razorc_compiler::schedule::{Schedule, schedule};
use razorc_compiler::{passes, report, text};
use razorc_proto::NOT_WANTED;
use razorc_proto::program::{Program, Role, Sequence, Task, value::Place};
use razorc_runtime::kernels::Kernel;

const EVALUATION: &str = "trainer @mlp {
  input     %x : f32[8,784]
  param     %w1 : f32[784,128]
  param     %w2 : f32[10,128]
  frozen    %b2 : f32[10]
  statistic %unseen : f32[8,128]
  input     %target : i64[8]
  input     %rows : f32[8]

  forward {
    %h1 = linear %x, %w1 {transpose=0} : f32[8,128]
    %h2 = add %h1, %unseen : f32[8,128]
    %a1, %a1.mask = relu %h2 : f32[8,128], bits[8,128]
    %z = linear %a1, %w2, %b2 {transpose=1} : f32[8,10]
    %y = reshape %z {shape=[8, 1, 10]} : f32[8,1,10]
    %loss, %loss.lse = softmax_cross_entropy %z, %target, %rows {axis=1, ignore_index=-100, label_smoothing=0.0, reduction=mean} : f32[], f32[8]
    %correct, %correct.of = correct %z, %target, %rows {axis=1, ignore_index=-100, kind=argmax} : f32[], f32[]
  }
}
";

/// Every op that becomes an instruction has a kernel, and no kernel lies idle.
#[test]
fn both_sides_know_the_same_ops() {
    let kernels: BTreeSet<&str> = Kernel::ops().collect();
    let ops = |which: fn(Lower) -> bool| -> BTreeSet<&str> {
        ops::all().filter(|it| which(it.lower)).map(|it| it.name).collect()
    };
    let instructions = ops(|it| it == Lower::Instruction);
    let executable = ops(|it| it != Lower::Declaration);
    assert_eq!(instructions.difference(&kernels).collect::<Vec<_>>(), Vec::<&&str>::new(), "ops without a kernel");
    assert_eq!(kernels.difference(&executable).collect::<Vec<_>>(), Vec::<&&str>::new(), "kernels without an op");
}

struct Case {
    dense: Graph,
    train: Graph,
    eval: Graph,
    plans: [Schedule; 2],
    program: Program,
}

/// The perceptron of the text cases, pruned, and its evaluation.
fn case() -> Case {
    let dense = text::parse(include_str!("cases/text/mlp.razor")).unwrap().graph;
    let mut train = dense.clone();
    let razor = Razor { ends: true, ..Razor::default() };
    passes::run("back-razor", &mut train, &Options { batch: 8, razor, ..Options::default() }).unwrap();
    let eval = text::parse(EVALUATION).unwrap().graph;
    let task = Task {
        loss_value: "loss".into(),
        correct: "correct".into(),
        counted: "correct.of".into(),
        prediction: "y".into(),
        inputs: vec!["x".into()],
        ..Task::default()
    };
    let plans = [schedule(&train, &kept(&train, &task, false)), schedule(&eval, &kept(&eval, &task, true))];
    let [a, b] = &plans;
    let (a, b) = (Scheduled { graph: &train, schedule: a }, Scheduled { graph: &eval, schedule: b });
    let program = lower(a, b, task, |name| (name != "unseen").then(|| format!("model.{name}")));
    Case { dense, train, eval, plans, program }
}

#[test]
fn both_sequences_share_the_residents_of_both_graphs() {
    let Case { program, .. } = case();
    let residents: Vec<_> =
        program.residents.iter().map(|it| (it.name.as_str(), it.role(), it.offset, it.blob)).collect();
    let expected = [
        ("w1", Role::Param, 0, Some(0)),
        ("w2", Role::Param, 401_408, Some(401_408)),
        ("b2", Role::Frozen, 406_528, Some(406_528)),
        ("w1.momentum", Role::State, 406_592, None),
        ("w2.momentum", Role::State, 808_000, None),
        ("unseen", Role::Statistic, 813_120, Some(406_592)),
    ];
    assert_eq!(residents, expected);
    assert_eq!(program.residents[0].initializer, "model.w1");
    assert_eq!(program.residents[5].initializer, "");
    for sequence in [program.train.as_ref().unwrap(), program.eval.as_ref().unwrap()] {
        let w2 = sequence.values.iter().find(|it| it.name == "w2").unwrap();
        assert_eq!(w2.place, Some(Place::Resident(1)));
    }
}

#[test]
fn storages_lie_behind_the_residents_and_inside_the_arena() {
    let Case { program, .. } = case();
    let mut furthest = 0;
    for sequence in [program.train.as_ref().unwrap(), program.eval.as_ref().unwrap()] {
        let last = sequence.instructions.len() as u32 + 1;
        for it in &sequence.storages {
            assert!(it.offset.is_multiple_of(64) && it.bytes.is_multiple_of(64) && it.first < it.end && it.end <= last);
            assert!(817_216 <= it.offset, "what is dynamic lies behind `unseen`");
            furthest = furthest.max(it.offset + it.bytes);
        }
        for value in &sequence.values {
            let Some(Place::Storage(idx)) = value.place else { continue };
            let storage = &sequence.storages[idx as usize];
            assert!(value.r#type.as_ref().unwrap().bytes().unwrap() <= storage.bytes, "{}", value.name);
        }
    }
    assert_eq!(furthest, program.arena_bytes);
    assert_eq!(program.scratch_bytes, 1 << 20);
}

#[test]
fn instructions_name_their_values() {
    let Case { program, .. } = case();
    insta::assert_snapshot!(listing(program.train.as_ref().unwrap()), @"
    x.topk = compress x
    h1 = linear x, w1
    a1, a1.mask = relu h1
    a1.topk = compress a1
    z = linear a1, w2, b2
    loss, loss.lse = softmax_cross_entropy z, target, rows
    correct, correct.of = correct z, target, rows
    z.grad = softmax_cross_entropy_grad z, loss.lse, target, rows
    a1.grad = linear_input_grad z.grad, w2
    a1.hat = decompress a1.topk
    w2.grad = linear_weight_grad z.grad, a1.hat
    w2, w2.momentum = sgd w2, w2.grad, w2.momentum, learning_rate
    h1.grad = masked_scale a1.grad, a1.mask
    x.hat = decompress x.topk
    w1.grad = linear_weight_grad h1.grad, x.hat
    w1, w1.momentum = sgd w1, w1.grad, w1.momentum, learning_rate
    ");
    insta::assert_snapshot!(listing(program.eval.as_ref().unwrap()), @"
    h1 = linear x, w1
    h2 = add h1, unseen
    a1, _ = relu h2
    z = linear a1, w2, b2
    loss, _ = softmax_cross_entropy z, target, rows
    correct, correct.of = correct z, target, rows
    ");
}

#[test]
fn kept_values_outlive_the_last_step() {
    let Case { program, .. } = case();
    let end = |sequence: &Sequence, name: &str| {
        let value = sequence.values.iter().find(|it| it.name == name)?;
        match value.place {
            Some(Place::Storage(idx)) => Some(sequence.storages[idx as usize].end),
            _ => None,
        }
    };
    let (train, eval) = (program.train.as_ref().unwrap(), program.eval.as_ref().unwrap());
    let last = |sequence: &Sequence| Some(sequence.instructions.len() as u32 + 1);
    for sequence in [train, eval] {
        assert_eq!([end(sequence, "loss"), end(sequence, "correct")], [last(sequence); 2]);
    }
    assert_eq!(end(eval, "y"), last(eval), "a prediction may be a view");
    assert!(end(train, "z") < last(train), "training reads no predictions");
}

/// All numbers by hand.
#[test]
fn memory_is_what_the_types_say() {
    let Case { dense, train, eval, plans: [a, b], program } = case();
    let (a, b) = (Scheduled { graph: &train, schedule: &a }, Scheduled { graph: &eval, schedule: &b });
    let memory = report::memory(&program, a, b, &dense, 7);
    assert_eq!(memory.weights, 401_408 + 5120 + 64 + 4096);
    assert_eq!(memory.optimizer, 401_408 + 5120);
    let ends = 64 + 64 + 128 + 320 + 64; // target, rows, mask, scores, their log-sum-exp
    assert_eq!(memory.saved_dense, 25_088 + 4096 + ends);
    // An index of gaps takes 4 and 3 words, a bitmap 2.
    let (x, a1) = (8 * (7 * 8 + 79 * 2), 8 * (2 * 8 + 13 * 2));
    assert_eq!(memory.saved_packed, u64::div_ceil(x, 64) * 64 + u64::div_ceil(a1, 64) * 64 + ends);
    assert_eq!(memory.planned_peak, program.arena_bytes + program.scratch_bytes);
    assert_eq!(memory.dynamic_peak, memory.planned_peak - memory.weights - memory.optimizer);
    assert!(memory.lower_bound <= memory.planned_peak && memory.planned_peak < memory.lower_bound + 4096);
    // The gradient of w1 with what it is made of: the cotangent of h1 and the expanded x, and the scalars.
    assert_eq!(memory.transient, 401_408 + 4096 + 25_088 + 4 * 64);
    assert_eq!(memory.paper_counter, 7);
}

fn listing(sequence: &Sequence) -> String {
    let name = |&idx: &u32| match idx {
        NOT_WANTED => "_".to_string(),
        idx => sequence.values[idx as usize].name.clone(),
    };
    let names = |list: &[u32]| list.iter().map(name).collect::<Vec<_>>().join(", ");
    let line =
        sequence.instructions.iter().map(|it| format!("{} = {} {}\n", names(&it.results), it.op, names(&it.operands)));
    line.collect()
}
