//! Every gradient rule against central differences, in f64 on the reference executor.
//!
//! A case is a forward graph in text; every `param` is a tensor to differentiate by. What is not a loss gets one: the
//! mean squared distance to a seeded target. One step of plain SGD with learning rate 1 then moves each param by its
//! gradient.

use std::path::Path;

use ndarray::ArrayD;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use razorc_compiler::graph::{Graph, Phase, Value};
use razorc_compiler::lower::{Scheduled, lower};
use razorc_compiler::ops::{self, Gradient};
use razorc_compiler::options::{Loss, Optimizer, OptimizerKind, Options};
use razorc_compiler::schedule::schedule;
use razorc_compiler::types::{DType, Type};
use razorc_compiler::{passes, step, text, verify::verify};
use razorc_proto::program;
use razorc_runtime::program::Program;
use razorc_runtime::reference::{Reference, Tensor, Which};

const H: f64 = 1e-5;

#[test]
fn gradients_are_those_of_central_differences() {
    insta::glob!("cases/ops/*/*.razor", |path| {
        let case = Case::new(path);
        let mut executor = case.executor();
        executor.run(Which::Train);
        for name in &case.params {
            let (before, after) = (case.initial(name), executor.get(name).unwrap().floats().unwrap());
            for element in 0..before.len() {
                let by_rule = before[element] - after[element];
                let by_difference = (case.loss(name, element, H) - case.loss(name, element, -H)) / (2.0 * H);
                let scale = by_rule.abs().max(by_difference.abs()).max(1e-2);
                assert!(
                    (by_rule - by_difference).abs() < 1e-5 * scale,
                    "{}: d/d{name}[{element}] is {by_rule} by rule, {by_difference} by difference",
                    path.display()
                );
            }
        }
    });
}

/// What a pass made one op of has the loss and the gradients that it had before. The constants of patterns are those of
/// files, rounded to f32 or shortened.
#[test]
fn lifted_graphs_have_the_gradients_of_unlifted_ones() {
    for pass in passes::LIFTS {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/passes").join(pass.name);
        for case in std::fs::read_dir(cases).unwrap() {
            let path = case.unwrap().path();
            let (plain, mut lifted) = (parse(&path), parse(&path));
            passes::run(pass.name, &mut lifted, &Options::default()).unwrap();
            let cases = [Case::of(plain, &path), Case::of(lifted, &path)];
            let [plain, lifted] = cases.each_ref().map(|case| {
                let mut executor = case.executor();
                executor.run(Which::Train);
                let value = |name: &str| executor.get(name).unwrap().floats().unwrap().to_vec();
                let moved = |name: &String| {
                    let before = case.initial(name).iter();
                    (name.clone(), before.zip(value(name)).map(|(before, after)| before - after).collect())
                };
                let all = std::iter::once(("loss".to_string(), value("loss")));
                all.chain(case.params.iter().map(moved)).collect::<Vec<(String, Vec<f64>)>>()
            });
            for ((name, plain), (_, lifted)) in plain.iter().zip(&lifted) {
                let scale = plain.iter().fold(0.0f64, |it, x| it.max(x.abs()));
                for (a, b) in plain.iter().zip(lifted) {
                    let close = (a - b).abs() <= 1e-6 * scale;
                    assert!(close, "{}: {name} has {a} without and {b} with {}", path.display(), pass.name);
                }
            }
        }
    }
}

#[test]
fn every_gradient_rule_has_a_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/ops");
    let mut text = String::new();
    for family in std::fs::read_dir(folder).unwrap() {
        for case in std::fs::read_dir(family.unwrap().path()).unwrap() {
            text += &std::fs::read_to_string(case.unwrap().path()).unwrap();
        }
    }
    let uncovered: Vec<&str> = ops::all()
        .filter(|it| matches!(it.gradient, Gradient::Rule(_)))
        .map(|it| it.name)
        .filter(|it| !text.contains(&format!("= {it} ")))
        .collect();
    assert_eq!(uncovered, Vec::<&str>::new(), "ops with a gradient rule but no case");
}

struct Case {
    program: Program,
    params: Vec<String>,
    values: Vec<(String, Tensor)>,
}

impl Case {
    fn new(path: &Path) -> Case {
        Case::of(parse(path), path)
    }

    fn of(mut graph: Graph, path: &Path) -> Case {
        let (target, rows, loss, prediction) = ends(&mut graph);
        let eval = graph.clone();
        let sgd = Optimizer { kind: OptimizerKind::Sgd, momentum: 0.0, ..Optimizer::default() };
        step::add_backward(&mut graph, loss, &sgd, 0).unwrap();
        for pass in ["rebuild-views", "dead-code"] {
            passes::run(pass, &mut graph, &Options::default()).unwrap();
        }
        assert_eq!(verify(&graph), [], "{graph}");

        let name = |value: Value| eval.name(value).to_string();
        let given = ["target", "rows"];
        let declared = eval.declared("input").into_iter().map(name);
        let kind = match eval.ty(target) {
            Type::Dense { dtype: DType::I64, .. } => program::task::Loss::CrossEntropy,
            _ => program::task::Loss::MeanSquaredError,
        };
        let last = eval.phase(Phase::Forward).next_back().unwrap();
        let axis = eval.node(last).attrs.int_or("axis", 0);
        let classes = eval.ty(prediction).dims().get(axis as usize).copied().unwrap_or(0);
        let task = program::Task {
            loss: kind.into(),
            batch: eval.ty(rows).dims()[0],
            inputs: declared.filter(|it| !given.contains(&it.as_str())).collect(),
            target: name(target),
            rows: name(rows),
            learning_rate: "learning_rate".into(),
            loss_value: name(loss),
            prediction: name(prediction),
            classes,
            class_axis: axis as u32,
            ..program::Task::default()
        };
        let schedules = (schedule(&graph, &[loss]), schedule(&eval, &[loss, prediction]));
        let message = lower(
            Scheduled { graph: &graph, schedule: &schedules.0 },
            Scheduled { graph: &eval, schedule: &schedules.1 },
            task,
            |_| None,
        );
        let program = Program::check(&message).unwrap_or_else(|e| panic!("{}: {e}\n{graph}", path.display()));
        let values = eval.phase(Phase::Declare).map(|node| {
            let value = Value { node, result: 0 };
            (name(value), initial(&name(value), eval.ty(value)))
        });
        let params = eval.declared("param").into_iter().map(name).collect();
        Case { values: values.collect(), program, params }
    }

    fn executor(&self) -> Reference<'_> {
        let mut executor = Reference::new(&self.program);
        for (name, value) in &self.values {
            executor.set(name, value.clone());
        }
        executor.set("learning_rate", Tensor::scalar(1.0));
        executor
    }

    fn initial(&self, name: &str) -> &[f64] {
        self.values.iter().find(|it| it.0 == name).unwrap().1.floats().unwrap()
    }

    /// Loss with one element of one param moved.
    fn loss(&self, name: &str, element: usize, by: f64) -> f64 {
        let mut executor = self.executor();
        let Some(Tensor::Float(start)) = self.values.iter().find(|it| it.0 == name).map(|it| &it.1) else {
            panic!("{name} is not a float tensor")
        };
        let mut moved = start.clone();
        moved.as_slice_mut().unwrap()[element] += by;
        executor.set(name, moved);
        executor.run(Which::Eval);
        executor.get("loss").unwrap().floats().unwrap()[0]
    }
}

fn parse(path: &Path) -> Graph {
    let source = std::fs::read_to_string(path).unwrap();
    text::parse(&source).unwrap_or_else(|it| panic!("{}: {it:?}", path.display())).graph
}

/// Target, row weights, loss and prediction; added where the case's last node is not a loss.
fn ends(graph: &mut Graph) -> (Value, Value, Value, Value) {
    let last = graph.phase(Phase::Forward).next_back().unwrap();
    let result = Value { node: last, result: 0 };
    if ops::family(graph.node(last).op) == "loss" && graph.ty(result).dims().is_empty() {
        let operands = graph.operands(last);
        return (operands[1], operands[2], result, operands[0]);
    }
    let batch = graph.ty(result).dims()[0];
    let options = Options { batch, loss: Loss::MeanSquaredError, ..Options::default() };
    let ends = step::add_loss(graph, result, &options, true).unwrap();
    (ends.target.unwrap(), ends.rows.unwrap(), ends.loss, ends.prediction.unwrap())
}

fn initial(name: &str, ty: &Type) -> Tensor {
    let mut random = ChaCha8Rng::seed_from_u64(name.bytes().map(u64::from).sum());
    let n = ty.elements() as usize;
    let dims: Vec<usize> = ty.dims().iter().map(|&it| it as usize).collect();
    if matches!(ty, Type::Dense { dtype: DType::I64, .. }) {
        let classes = (0..n).map(|_| random.random_range(0..5)).collect();
        return Tensor::Int(ArrayD::from_shape_vec(dims, classes).unwrap());
    }
    if matches!(ty, Type::Dense { dtype: DType::Bool, .. }) {
        let truths = (0..n).map(|_| random.random_range(0..2)).collect();
        return Tensor::Int(ArrayD::from_shape_vec(dims, truths).unwrap());
    }
    let positive = ["var", "weights", "rows", "step"].contains(&name);
    let value = |_| match positive {
        true => random.random_range(0.5..2.0),
        // Away from zero, where divisions blow up.
        false => random.random_range(0.2..2.0) * if random.random() { 1.0 } else { -1.0 },
    };
    Tensor::float(&dims, (0..n).map(value))
}
