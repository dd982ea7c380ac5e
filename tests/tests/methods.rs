//! Ways to train in less memory, beside each other: what they train, what they save, and how good their gradients are.

use std::fmt::Write;

use razorc_compiler::graph::Phase;
use razorc_compiler::options::{Method, Optimizer, OptimizerKind, Options};
use razorc_compiler::{compile, graphs, plans};
use razorc_fixtures::{Builder, cnn, mlp};
use razorc_proto::Model;
use razorc_proto::program::{Memory, Preprocess};
use razorc_runtime::data::{Dataset, Expect, Loader, Order, Transform};
use razorc_runtime::fidelity::gradients;
use razorc_runtime::rng::Rng;
use razorc_runtime::trainer::Trainer;
use razorc_tests::{page, shared, trainer};

fn with(method: &str, change: impl FnOnce(&mut Options)) -> Options {
    let optimizer = Optimizer { kind: OptimizerKind::Sgd, ..Optimizer::default() };
    let mut options = Options { batch: 8, optimizer, ..Options::default() };
    change(&mut options);
    method.parse::<Method>().unwrap().apply(&mut options);
    options
}

/// Names of the weights that a step updates.
fn trained(model: &Model, options: &Options) -> Vec<String> {
    let train = graphs(model, options).unwrap_or_else(|e| panic!("{e}")).train;
    let mut names: Vec<String> = train
        .phase(Phase::Update)
        .flat_map(|it| train.writes(it))
        .filter(|it| train.node(it.node).op.name == "param")
        .map(|it| train.name(it).to_string())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn plan(model: &Model, options: &Options) -> Memory {
    plans(&graphs(model, options).unwrap_or_else(|e| panic!("{e}"))).1
}

/// A block of a transformer, small: attention's projections, a norm and an MLP with GELU.
fn block() -> Model {
    let mut m = Builder::new("block", 4);
    m.input("x", "N,16,64").output("y", "N,10");
    for (name, dims) in [("first", [64, 64]), ("up", [64, 128]), ("down", [128, 64]), ("last", [64, 10])] {
        m.uniform(name, &dims, -0.2, 0.2).uniform(&format!("{name}.bias"), &dims[1..], -0.1, 0.1);
    }
    m.uniform("places", &[16, 64], -0.1, 0.1).uniform("scale", &[64], 0.9, 1.1).uniform("shift", &[64], -0.1, 0.1);
    let layer = |m: &mut Builder, name: &str, x: &str| {
        m.node(&format!("{name}.product"), "MatMul", &[x, name], &[]);
        m.node(&format!("{name}.out"), "Add", &[&format!("{name}.product"), &format!("{name}.bias")], &[]);
    };
    m.opset(20);
    layer(&mut m, "first", "x");
    m.node("placed", "Add", &["first.out", "places"], &[]);
    m.node("n", "LayerNormalization", &["placed", "scale", "shift"], &[]);
    layer(&mut m, "up", "n");
    m.node("g", "Gelu", &["up.out"], &[]);
    layer(&mut m, "down", "g");
    m.node("r", "Add", &["down.out", "placed"], &[]).ints("axis", &[1]);
    m.node("pooled", "ReduceMean", &["r", "axis"], &[("keepdims", 0.into())]);
    m.node("y.product", "MatMul", &["pooled", "last"], &[]).node("y", "Add", &["y.product", "last.bias"], &[]);
    m.model()
}

#[test]
fn methods_train_their_weights() {
    let names = |model: &Model, method: &str, classes: u64| trained(model, &with(method, |it| it.classes = classes));
    let lines = |model: &Model, classes: u64| {
        let methods = ["full", "mesa", "bias", "norm", "last:1", "last:2"];
        let lines = methods.map(|it| format!("{it:<8}{}", names(model, it, classes).join(" ")));
        lines.join("\n")
    };
    insta::assert_snapshot!("trained_block", lines(&block(), 0));
    insta::assert_snapshot!("trained_cnn", lines(&cnn(), 3));
    let all = names(&block(), "full", 0);
    assert_eq!(names(&block(), "last:4", 0), all, "all layers, and nothing lies before the first");
    let frozen = with("bias", |it| it.freeze = vec!["down*".into()]);
    assert!(!trained(&block(), &frozen).contains(&"down.bias".to_string()));
}

#[test]
fn biases_need_no_saves() {
    let saved = |model: &Model, method: &str| plan(model, &with(method, |_| {})).saved_packed;
    // Masks and what the loss reads are left.
    let (full, bias) = (saved(&mlp(), "full"), saved(&mlp(), "bias"));
    assert!(3 * bias < full, "{bias} of {full}");
    assert!(saved(&block(), "last:1") < saved(&block(), "last:2"));
}

#[test]
fn methods_that_have_nothing_to_train_say_so() {
    let bare = || {
        let mut m = Builder::new("bare", 1);
        m.input("x", "N,4").uniform("w", &[4, 3], -1.0, 1.0).node("y", "MatMul", &["x", "w"], &[]).output("y", "N,3");
        m.model()
    };
    let refusal = |model: &Model, method: &str| match compile(model, &with(method, |_| {})) {
        Ok(_) => panic!("{method} compiles"),
        Err(error) => error.to_string(),
    };
    let refusals = [(bare(), "bias"), (bare(), "norm"), (bare(), "last:2"), (mlp(), "last:3"), (mlp(), "norm")];
    let refusals = refusals.map(|(model, method)| refusal(&model, method));
    insta::assert_snapshot!(refusals.join("\n"));
    assert_eq!(trained(&bare(), &with("norm", |it| it.classes = 2)).len(), 1, "a fresh head is always trained");
}

#[test]
fn fewer_bits_take_less_memory() {
    for model in [block(), cnn()] {
        let plans = ["full", "mesa", "actnn"].map(|it| plan(&model, &with(it, |_| {})));
        for pair in plans.windows(2) {
            assert!(pair[1].saved_packed < pair[0].saved_packed, "{plans:?}");
            assert!(pair[1].dynamic_peak < pair[0].dynamic_peak, "{plans:?}");
        }
        assert!(3 * plans[1].saved_packed < 2 * plans[0].saved_packed, "{plans:?}");
    }
}

/// The gradient of every weight on the same batch, as one vector.
fn gradient(model: &Model, dims: &[usize], options: &Options) -> Vec<f32> {
    let file = trainer(model, options);
    let n: usize = dims.iter().product();
    let mut rng = Rng::keyed(&[1]);
    let x: Vec<f32> = (0..8 * n).map(|_| rng.below(1000) as f32 / 500.0 - 1.0).collect();
    let classes: Vec<i64> = (0..8).map(|row| row % 3).collect();
    let data = Dataset::from_memory("noise", dims, &x, &classes, &Expect::of(file.program()).unwrap()).unwrap();
    let transform = Transform::from(&Preprocess::default());
    let order = Order::Shuffled { seed: 0, epoch: 0, batch: 0 };
    let mut loader = Loader::new(&data, &transform, 8, order, 1).unwrap();
    let mut trainer = Trainer::load(file, 2).unwrap();
    let batch = loader.next_batch().unwrap().unwrap();
    gradients(&mut trainer, &batch).into_iter().flat_map(|it| it.1).collect()
}

/// Length of the difference, as a share of the exact one's.
fn off(exact: &[f32], found: &[f32]) -> f64 {
    let square = |it: f64| it * it;
    let length: f64 = exact.iter().map(|it| square(f64::from(*it))).sum();
    let off: f64 = exact.iter().zip(found).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    (off / length).sqrt()
}

#[test]
fn gradients_are_as_good_as_their_bits() {
    for (model, dims) in [(cnn(), &[3, 16, 16][..]), (block(), &[16, 64])] {
        let exact = gradient(&model, dims, &with("full", |_| {}));
        let mesa = off(&exact, &gradient(&model, dims, &with("mesa", |_| {})));
        assert!(1e-5 < mesa && mesa < 0.02, "mesa is {mesa} off");

        let seeds = 24;
        let drawn = |seed| gradient(&model, dims, &with("actnn", |it| it.seed = seed));
        let drawn: Vec<Vec<f32>> = (0..seeds).map(drawn).collect();
        let single = drawn.iter().map(|it| off(&exact, it)).sum::<f64>() / f64::from(seeds as u32);
        let mean: Vec<f32> =
            (0..exact.len()).map(|i| drawn.iter().map(|it| it[i]).sum::<f32>() / seeds as f32).collect();
        let mean = off(&exact, &mean);
        println!("{dims:?}: mesa is {mesa} off, actnn {single}, and {mean} in the mean of {seeds}");
        assert!(mesa < single && single < 0.6, "actnn is {single} off");
        // The mean of as many draws that are right on average is off by a fifth as much.
        assert!(mean < 0.4 * single, "actnn is {single} off, and {mean} in the mean");
    }
}

/// What a step takes by each method, as `docs/methods.md` shows it.
#[test]
fn memory_of_methods() {
    let Some(folder) = shared("models/pretrained") else { return };
    let mut text = String::from(
        "# Methods beside each other\n\n\
         Planned memory of a step on 8 images with SGD and momentum, in MB (10^6 bytes): the dynamic part of the arena, which \
         is all but weights and optimizer state, the tensors that are saved for the backward phase, and the optimizer's state. \
         Nothing here tells how well a method learns.\n\n\
         This page is written by `RAZORC_UPDATE=1 cargo test -p razorc-tests --test methods`.\n",
    );
    for (name, file) in [
        ("ResNet-20 (CIFAR-10, 32x32)", "resnet20_cifar10_32.onnx"),
        ("MobileNetV2 0.35 (224x224)", "mobilenetv2_035_tm3_224.onnx"),
    ] {
        let model = Model::open(folder.join(file)).unwrap();
        let _ = write!(
            text,
            "\n## {name}\n\n| method | trained numbers | dynamic | saved | optimizer |\n|---|---|---|---|---|\n"
        );
        let mut saved = vec![];
        for method in ["full", "backrazor", "mesa", "actnn", "bias", "norm", "last:1", "last:2"] {
            let options = with(method, |_| {});
            let graphs = match graphs(&model, &options) {
                Ok(graphs) => graphs,
                Err(error) => {
                    let _ = writeln!(text, "| `{method}` | {} | | | |", error.to_string().split(';').next().unwrap());
                    continue;
                }
            };
            let trained = graphs.train.declared("param").into_iter();
            let trained: u64 = trained.map(|it| graphs.train.ty(it).elements()).sum();
            let memory = plans(&graphs).1;
            let mb = |bytes: u64| format!("{:.2}", bytes as f64 / 1e6);
            let (dynamic, kept, optimizer) = (mb(memory.dynamic_peak), mb(memory.saved_packed), mb(memory.optimizer));
            let _ = writeln!(text, "| `{method}` | {trained} | {dynamic} | {kept} | {optimizer} |");
            saved.push(memory.saved_packed);
        }
        assert!(saved[2] < saved[0] && saved[3] < saved[2], "{name}: {saved:?}");
    }
    page("methods.md", &text);
}
