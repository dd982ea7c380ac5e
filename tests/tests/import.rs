//! Import: real models become forward graphs, and what cannot is refused with everything that is wrong.

#[path = "import/forms.rs"]
mod forms;
#[path = "import/functions.rs"]
mod functions;
#[path = "import/index.rs"]
mod index;
#[path = "import/linalg.rs"]
mod linalg;
#[path = "import/refusals.rs"]
mod refusals;
#[path = "import/rotations.rs"]
mod rotations;

use razorc_compiler::graph::Phase;
use razorc_compiler::import::{Imported, import};
use razorc_compiler::options::{BatchNorm, Loss, Options};
use razorc_compiler::prepare::prepare;
use razorc_compiler::verify::verify;
use razorc_fixtures::{Attr, Builder, awkward, cnn, flattened_batch, mlp, mobile};
use razorc_proto::Model;
use razorc_proto::program::Preparation;
use razorc_tests::CNNS;

/// A model of the shared collection; none, said loudly, where the collection is not there.
fn shared(name: &str) -> Option<Model> {
    Some(Model::open(razorc_tests::shared(&format!("models/{name}"))?).unwrap())
}

fn imported(model: &Model, options: &Options) -> Imported {
    import(model, options).unwrap_or_else(|e| panic!("{model:?}: {e}"))
}

#[test]
fn every_shared_image_network_imports_at_any_batch() {
    for name in CNNS {
        let Some(model) = shared(name) else { continue };
        let imported = imported(&model, &Options { batch: 3, ..Options::default() });
        let graph = &imported.graph;
        let dims = graph.ty(imported.output).dims();
        println!(
            "{name}: {} nodes, {} params, {dims:?}",
            graph.phase(Phase::Forward).count(),
            graph.declared("param").len()
        );
        assert_eq!(dims.len(), 2, "{name}");
        assert_eq!(dims[0], 3, "{name}");
        assert_ne!(graph.node(imported.output.node).op.name, "softmax", "{name}");
        assert_eq!(verify(graph), vec![], "{name}");
    }
}

/// The text of the error that a model is refused with.
fn refused(model: &Model, options: &Options) -> String {
    match import(model, options) {
        Ok(_) => panic!("{model:?} was imported"),
        Err(e) => e.to_string(),
    }
}

/// The forward phase of a model, a line for each node.
fn forward(model: &Model, options: &Options) -> Vec<String> {
    let text = imported(model, options).graph.to_string();
    let nodes = text
        .lines()
        .skip_while(|it| !it.contains("forward {"))
        .skip(1)
        .take_while(|it| !it.contains('}') || it.contains('='));
    nodes.map(|it| it.trim().to_string()).collect()
}

fn options(batch: u64) -> Options {
    Options { batch, ..Options::default() }
}

/// One node between `x` and `y`.
fn single(opset: i64, dims: &str, op: &str, attrs: &[(&str, Attr)]) -> Model {
    let mut m = Builder::new("single", 0);
    m.opset(opset).input("x", dims).node("y", op, &["x"], attrs).output("y", "N");
    m.model()
}

fn mse(batch: u64) -> Options {
    Options { loss: Loss::MeanSquaredError, ..options(batch) }
}

#[test]
fn what_exporters_leave_behind_vanishes() {
    let prepared = prepare(&awkward(), &Preparation::default()).unwrap().model;
    let imported = imported(&prepared, &options(4));
    insta::assert_snapshot!(imported.graph);
    let weight = &imported.weights["conv2.bias"];
    assert_eq!(weight.initializer.as_deref(), Some("conv2.bias"));
    assert_eq!(weight.bytes().unwrap(), imported.weights["conv1.bias"].bytes().unwrap());
}

#[test]
fn the_fixtures_import_at_any_batch() {
    for model in [cnn(), mlp(), mobile(), flattened_batch()] {
        for batch in [1, 2, 7] {
            let imported = imported(&model, &options(batch));
            assert_eq!(imported.graph.ty(imported.output).dims(), [batch, 10]);
            assert_eq!(verify(&imported.graph), []);
        }
    }
}

#[test]
fn the_activation_that_a_loss_brings_along_is_left_out() {
    let model = single(13, "N,4", "Softmax", &[("axis", (-1).into())]);
    assert_eq!(forward(&model, &mse(2)), ["%y = softmax %x {axis=1} : f32[2,4]"]);
    let mut m = Builder::new("scores", 0);
    m.opset(9).input("x", "1,3,2,2").weight("w", &[5, 3, 2, 2]).node("c", "Conv", &["x", "w"], &[]);
    m.node("y", "Softmax", &["c"], &[]).output("y", "1,5,1,1");
    let lines = forward(&m.model(), &options(2));
    assert!(lines[0].starts_with("%c = conv"), "{lines:?}");
    assert_eq!(lines[1..], ["%c.classes = reshape %c {shape=[2, 5]} : f32[2,5]"]);
}

#[test]
fn patterns_say_what_is_trained() {
    let roles = |options: &Options| {
        let imported = imported(&cnn(), options);
        imported.graph.declared("param").iter().map(|it| imported.graph.name(*it).to_string()).collect::<Vec<_>>()
    };
    let frozen = roles(&options(1));
    assert!(frozen.contains(&"stem.weight".to_string()) && !frozen.contains(&"stem.norm.scale".to_string()));
    let affine = roles(&Options { batch_norm: BatchNorm::Affine, ..options(1) });
    assert!(affine.contains(&"stem.norm.scale".to_string()) && !affine.contains(&"stem.norm.mean".to_string()));
    let train = |train: &[&str], freeze: &[&str]| Options {
        train: train.iter().map(|it| it.to_string()).collect(),
        freeze: freeze.iter().map(|it| it.to_string()).collect(),
        ..options(1)
    };
    assert_eq!(roles(&train(&["logits.*"], &[])), ["logits.weight", "logits.bias"]);
    assert_eq!(roles(&train(&["logits.*", "stem.norm.*"], &["*.bias"])), ["stem.norm.scale", "logits.weight"]);
    assert_eq!(
        refused(&cnn(), &train(&["head.*"], &[])),
        "`--train head.*` matches no weight that can be trained; \
         weights are called like `left.norm.bias`, `left.norm.scale`, `stem.weight`"
    );
    assert!(
        refused(&cnn(), &train(&[], &["stem.norm.mean"])).starts_with("`--freeze stem.norm.mean` matches no weight")
    );
    assert!(refused(&cnn(), &train(&["a["], &[])).starts_with("`a[` is not a pattern for names"));
}

#[test]
fn equal_weights_stay_two() {
    let mut m = Builder::new("equal", 0);
    m.input("x", "N,100").floats("a", &[100], &[1.0; 100]).floats("b", &[100], &[1.0; 100]);
    m.node("s", "Mul", &["x", "a"], &[]).node("y", "Mul", &["s", "b"], &[]).output("y", "N,100");
    assert_eq!(imported(&m.model(), &mse(1)).graph.declared("param").len(), 2);
}
