//! Budgets: whatever can be met is met, by plan.

use razorc_compiler::budget::{BudgetError, Calibration, SPARSITIES, fit};
use razorc_compiler::options::{Choice, Optimizer, OptimizerKind, Options, Sparsity};
use razorc_compiler::{compile, graphs, plans};
use razorc_fixtures::{Builder, cnn, mobile};
use razorc_proto::Model;

fn options(batch: u64) -> Options {
    let optimizer = Optimizer { kind: OptimizerKind::Sgd, ..Optimizer::default() };
    Options { batch, optimizer, ..Options::default() }
}

/// A block of attention and one of GELU, and a classifier: `x` `[N,16,32]` to `y` `[N,5]`.
fn transformer() -> Model {
    let mut m = Builder::new("transformer", 11);
    m.opset(20).input("x", "N,16,32").floats("root", &[], &[5.6568]);
    let linear = |m: &mut Builder, name: &str, x: &str, from: i64, to: i64| {
        m.weight(&format!("{name}.weight"), &[from, to]).node(name, "MatMul", &[x, &format!("{name}.weight")], &[]);
    };
    let norm = |m: &mut Builder, name: &str, x: &str| {
        let [scale, bias] = ["scale", "bias"].map(|it| format!("{name}.{it}"));
        m.uniform(&scale, &[32], 0.5, 1.5).uniform(&bias, &[32], -0.3, 0.3);
        m.node(name, "LayerNormalization", &[x, &scale, &bias], &[]);
    };
    linear(&mut m, "h", "x", 32, 32);
    norm(&mut m, "n1", "h");
    ["q", "k", "v"].into_iter().for_each(|it| linear(&mut m, it, "n1", 32, 32));
    m.node("kt", "Transpose", &["k"], &[("perm", [0, 2, 1].into())]);
    m.node("scores", "MatMul", &["q", "kt"], &[]).node("scaled", "Div", &["scores", "root"], &[]);
    m.node("p", "Softmax", &["scaled"], &[("axis", (-1).into())]).node("mixed", "MatMul", &["p", "v"], &[]);
    linear(&mut m, "o", "mixed", 32, 32);
    m.node("r1", "Add", &["h", "o"], &[]);
    norm(&mut m, "n2", "r1");
    linear(&mut m, "wide", "n2", 32, 128);
    m.node("g", "Gelu", &["wide"], &[]);
    linear(&mut m, "narrow", "g", 128, 32);
    m.node("r2", "Add", &["r1", "narrow"], &[]);
    m.ints("tokens", &[1]).node("pooled", "ReduceMean", &["r2", "tokens"], &[("keepdims", 0.into())]);
    linear(&mut m, "y", "pooled", 32, 5);
    m.output("y", "N,5");
    m.model()
}

/// A linear layer after another: `x` `[N,128]` to `y` `[N,5]`.
fn chain() -> Model {
    let mut m = Builder::new("chain", 12);
    m.input("x", "N,128");
    let mut last = "x".to_string();
    for layer in 0..8 {
        let [w, h, r] = ["w", "h", "r"].map(|it| format!("{it}{layer}"));
        m.weight(&w, &[128, 128]).node(&h, "MatMul", &[&last, &w], &[]).node(&r, "Relu", &[&h], &[]);
        last = r;
    }
    m.weight("head", &[128, 5]).node("y", "MatMul", &[&last, "head"], &[]).output("y", "N,5");
    m.model()
}

fn planned(model: &Model, options: &Options) -> u64 {
    plans(&graphs(model, options).unwrap_or_else(|e| panic!("{e}"))).1.planned_peak
}

fn smallest(model: &Model, options: &Options) -> u64 {
    match fit(model, options, 1, &Calibration::default()) {
        Err(BudgetError::Infeasible(it)) => it.smallest,
        other => panic!("one byte is enough: {other:?}"),
    }
}

/// Error that the choices are expected to make, by their sparsities alone.
fn badness(options: &Options) -> u32 {
    let of = |it: &Choice| match it {
        Choice::Whole => 0,
        Choice::Rounded => 1,
        Choice::Pruned(sparsity, _) => sparsity.ppm(),
    };
    options.razor.choices.values().map(of).max().unwrap_or(0)
}

#[test]
fn every_budget_between_smallest_and_dense_is_met() {
    for (name, model) in [("cnn", cnn()), ("mobile", mobile()), ("transformer", transformer())] {
        let options = options(256);
        let mut dense = options.clone();
        dense.razor.sparsity = Sparsity::default();
        let (least, most) = (smallest(&model, &options), planned(&model, &dense));
        assert!(2 * least < most, "{name}: {least} of {most}");
        let mut sorts = vec![];
        for step in 0..=12 {
            let budget = least + (most - least) * step / 12;
            let fitted =
                fit(&model, &options, budget, &Calibration::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let planned = planned(&model, &fitted);
            assert!(planned <= budget, "{name}: {planned} of {budget}");
            sorts.push((fitted.rows(), badness(&fitted)));
        }
        // Nothing is pruned or rounded if there is no need; parts come before more than 90 %.
        assert_eq!(*sorts.last().unwrap(), (256, 0), "{name}: {sorts:?}");
        assert!(sorts.iter().all(|&(rows, ppm)| ppm <= 900_000 || rows == 1), "{name}: {sorts:?}");
        assert!(sorts.iter().any(|&(rows, _)| rows < 256), "{name}: {sorts:?}");
        // The input of the transformer is no image, so it is kept whole, and smaller parts of the batch win before pruning.
        let prunes = sorts.iter().any(|&(rows, ppm)| rows == 256 && 0 < ppm);
        assert!(prunes || name == "transformer", "{name}: {sorts:?}");
    }
}

#[test]
fn what_is_chosen_is_the_same_every_time_and_said_in_the_trainer() {
    let (model, options) = (transformer(), options(8));
    let budget = (smallest(&model, &options) + planned(&model, &options)) / 2;
    let [a, b] = [(); 2].map(|()| fit(&model, &options, budget, &Calibration::default()).unwrap());
    assert_eq!((a.micro_batch, &a.razor.choices), (b.micro_batch, &b.razor.choices));
    let program = compile(&model, &a).unwrap().program;
    assert!(program.memory.unwrap().planned_peak <= budget);
    let chosen: Vec<&str> = program.saved.iter().filter(|it| it.chosen).map(|it| it.kept.as_str()).collect();
    assert!(!chosen.is_empty());
    for (name, choice) in &a.razor.choices {
        let Some(saved) = program.saved.iter().find(|it| it.name == *name) else { panic!("{name} is not told") };
        let expected = match choice {
            Choice::Whole => "whole".to_string(),
            Choice::Rounded => "8 bits".to_string(),
            Choice::Pruned(sparsity, _) => format!("{sparsity} pruned"),
        };
        assert!(saved.kept.starts_with(&expected), "{name}: {choice:?} became {}", saved.kept);
    }
}

/// An edge whose error is known to be large is kept better than it is without that knowledge.
#[test]
fn measured_errors_decide() {
    let (model, mut options) = (chain(), options(1024));
    options.micro_batch = 1024;
    let budget = planned(&model, &options);
    let errors = |large: &str| {
        let of = |name: &str| SPARSITIES.map(|it| f64::from(it) * if name == large { 1.0 } else { 1e-3 });
        let weights = (1..8).map(|it| format!("w{it}"));
        Calibration { errors: weights.map(|it| (it.clone(), of(&it))).collect() }
    };
    let [early, late] = ["w2", "w6"].map(|it| fit(&model, &options, budget, &errors(it)).unwrap());
    let rank = |options: &Options, name: &str| match options.razor.choices[name] {
        Choice::Whole => 0,
        Choice::Rounded => 1,
        Choice::Pruned(sparsity, _) => sparsity.ppm(),
    };
    let told = format!("{:?}\n{:?}", early.razor.choices, late.razor.choices);
    // Each weight reads what the layer before it made.
    assert!(rank(&early, "r1") < rank(&late, "r1"), "{told}");
    assert!(rank(&late, "r5") < rank(&early, "r5"), "{told}");
    assert!(planned(&model, &early).max(planned(&model, &late)) <= budget);
}

#[test]
fn what_was_asked_for_single_weights_stays() {
    let (model, mut options) = (cnn(), options(8));
    options.razor.sparsity_for = vec![("right.weight".into(), "0.5".parse().unwrap())];
    let budget = smallest(&model, &options) * 3 / 2;
    let fitted = fit(&model, &options, budget, &Calibration::default()).unwrap();
    assert!(!fitted.razor.choices.contains_key("left.relu"), "{:?}", fitted.razor.choices);
    assert!(planned(&model, &fitted) <= budget);
}

#[test]
fn too_small_a_budget_is_refused_with_the_smallest_that_is_not() {
    let (model, options) = (cnn(), Options { batch: 8, ..Options::default() });
    let error = fit(&model, &options, 1000, &Calibration::default()).unwrap_err();
    let BudgetError::Infeasible(found) = &error else { panic!("{error}") };
    assert!(found.costs.len() <= 5 && found.costs.is_sorted_by(|a, b| b.1 <= a.1), "{found:?}");
    assert!(found.residents < found.smallest);
    let fitted = fit(&model, &options, found.smallest, &Calibration::default()).unwrap();
    assert!(planned(&model, &fitted) <= found.smallest);
    assert!(matches!(
        fit(&model, &options, found.smallest - 1, &Calibration::default()),
        Err(BudgetError::Infeasible(it)) if it.smallest == found.smallest
    ));
    insta::assert_snapshot!(error);
}
