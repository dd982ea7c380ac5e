//! Cheap functions of saved tensors are computed again: no plan grows by it, and no bit changes.

use razorc_compiler::options::{BatchNorm, Optimizer, OptimizerKind, Options, Sparsity, Task};
use razorc_compiler::passes::back_razor::Saved;
use razorc_compiler::{compile, graphs, planned, plans};
use razorc_fixtures::{Builder, awkward, cnn, flattened_batch, mlp, mobile};
use razorc_proto::Model;
use razorc_proto::program::{Memory, Preprocess};
use razorc_runtime::data::{Expect, Loader, Order, Transform};
use razorc_runtime::trainer::Trainer;
use razorc_tests::{noise, shared, side_by_side, written};

fn options(recompute: bool, sparsity: &str, batch_norm: BatchNorm) -> Options {
    let optimizer = Optimizer { kind: OptimizerKind::Sgd, ..Optimizer::default() };
    let mut options = Options { batch: 8, optimizer, batch_norm, ..Options::default() };
    options.razor.recompute = recompute;
    options.razor.sparsity = sparsity.parse::<Sparsity>().unwrap();
    options
}

fn plan(model: &Model, options: &Options) -> Memory {
    plans(&graphs(model, options).unwrap_or_else(|it| panic!("{it}"))).1
}

/// Layers of a transformer's block without its attention.
fn block() -> Model {
    let mut m = Builder::new("block", 0);
    m.opset(20).input("x", "N,16,32").weight("stem", &[32, 32]).node("h", "MatMul", &["x", "stem"], &[]);
    m.uniform("scale", &[32], 0.5, 1.5).uniform("bias", &[32], -0.3, 0.3);
    m.node("n", "LayerNormalization", &["h", "scale", "bias"], &[]);
    m.weight("up", &[32, 128]).node("u", "MatMul", &["n", "up"], &[]).node("g", "Gelu", &["u"], &[]);
    m.weight("down", &[128, 32]).node("d", "MatMul", &["g", "down"], &[]).node("r", "Add", &["h", "d"], &[]);
    m.ints("axis", &[1]).node("pooled", "ReduceMean", &["r", "axis"], &[("keepdims", 0.into())]);
    m.weight("head", &[32, 5]).node("y", "MatMul", &["pooled", "head"], &[]).output("y", "N,5");
    m.model()
}

/// Two convolutions, each with normalization and an activation behind it.
fn image() -> Model {
    let mut m = Builder::new("image", 0);
    m.input("x", "N,3,16,16").weight("c", &[8, 3, 3, 3]).weight("d", &[8, 8, 3, 3]).weight("head", &[8, 2]);
    let pads = [("pads", [1; 4].into())];
    m.node("h", "Conv", &["x", "c"], &pads).batch_norm("n", "h", 8).node("a", "Relu", &["n"], &[]);
    m.node("i", "Conv", &["a", "d"], &pads).batch_norm("o", "i", 8).node("b", "Relu", &["o"], &[]);
    m.node("p", "GlobalAveragePool", &["b"], &[]).node("f", "Flatten", &["p"], &[]);
    m.node("y", "MatMul", &["f", "head"], &[]).output("y", "N,2");
    m.model()
}

#[test]
fn what_is_saved_whole_is_not_saved_twice() {
    let [saved, again] = [false, true].map(|it| options(it, "0", BatchNorm::Frozen));
    let mut told = planned(&block(), &again).unwrap();
    // Nothing was rounded, so there is nothing to compare before the first step.
    told.add_exact(&block(), &again);
    assert!(told.program.exact.is_none());
    let gone: Vec<&str> =
        told.decisions.iter().filter(|it| it.outcome == Ok(Saved::Again)).map(|it| it.value.as_str()).collect();
    // Statistics come along with what they are beside.
    assert_eq!(gone, ["n", "n.mean", "n.rstd", "g"]);
    let [saved, again] = [saved, again].map(|it| plan(&block(), &it));
    // Of h, n, u, g, and r's mean: n and g are 5 of 10 parts.
    assert!(9 * again.saved_packed < 5 * saved.saved_packed, "{again:?} of {saved:?}");
    assert!(again.planned_peak < saved.planned_peak);
    // A trained normalization saves its input, and the convolution behind it an activation of its output.
    for norm in [BatchNorm::Affine, BatchNorm::Train] {
        let [saved, again] = [false, true].map(|it| plan(&image(), &options(it, "0", norm)));
        let activation = 4 * 8 * 8 * 16 * 16;
        assert!(again.saved_packed + activation <= saved.saved_packed, "{again:?} of {saved:?}");
    }
}

#[test]
fn no_plan_grows() {
    let mut models: Vec<(String, Model)> = [mlp(), cnn(), mobile(), awkward(), flattened_batch(), block()]
        .into_iter()
        .enumerate()
        .map(|(at, it)| (format!("fixture {at}"), it))
        .collect();
    for folder in ["models/tiny", "models/pretrained"] {
        let Some(folder) = shared(folder) else { continue };
        let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
        let files = files.filter(|it| it.extension().is_some_and(|it| it == "onnx"));
        models.extend(files.map(|it| (it.display().to_string(), Model::open(&it).unwrap())));
    }
    let grown = side_by_side(&models, |(name, model)| {
        let mut grown = vec![];
        let norms = [BatchNorm::Affine, BatchNorm::Train, BatchNorm::Frozen];
        for norm in &norms[..if name.starts_with("fixture") { 3 } else { 1 }] {
            let plan = |again: bool| {
                let mut options = options(again, "0", *norm);
                if name.contains("gpt2") || name.contains("llama") {
                    options.task = Some(Task::CausalLm);
                }
                if name.contains("fcn") {
                    options.task = Some(Task::Segmentation);
                }
                plan(model, &options).planned_peak
            };
            let [saved, again] = [plan(false), plan(true)];
            if saved < again {
                grown.push(format!("{name}, {norm:?}: {again} of {saved}"));
            }
        }
        grown
    });
    let grown: Vec<String> = grown.into_iter().flatten().collect();
    assert!(grown.is_empty(), "{grown:#?}");
}

#[test]
fn steps_have_the_same_bits() {
    for norm in [BatchNorm::Affine, BatchNorm::Train] {
        let [saved, again] = [false, true].map(|it| {
            let file = written(&compile(&image(), &options(it, "0", norm)).unwrap());
            let data = noise(&Expect::of(file.program()).unwrap(), 24);
            let mut trainer = Trainer::load(file, 2).unwrap();
            let order = Order::Shuffled { seed: 3, epoch: 0, batch: 0 };
            let transform = Transform::from(&Preprocess::default());
            let mut loader = Loader::new(&data, &transform, 8, order, 1).unwrap();
            for step in 1..=3 {
                trainer.step(&loader.next_batch().unwrap().unwrap(), 0.01, step);
            }
            trainer.residents().map(|it| it.2.to_vec()).collect::<Vec<_>>()
        });
        assert!(saved == again, "{norm:?}");
    }
}
