//! Cosines and sines of rotary embeddings are constants, and look like weights.

use razorc_compiler::doctor::{Verdict, examine};
use razorc_compiler::options::Options;
use razorc_fixtures::Builder;

use super::{imported, shared};

/// Rows of `frequencies` cosines (or sines) for each of `positions`.
fn table(of: fn(f32) -> f32, positions: usize, frequencies: usize) -> Vec<f32> {
    let angle = |it: usize| (it / frequencies) as f32 * 10f32.powi(-((it % frequencies) as i32));
    (0..positions * frequencies).map(|it| of(angle(it))).collect()
}

/// `x * cos + w * sin`, with tables of these values and sizes.
fn rotated(cos: &[f32], sin: &[f32], dims: &[i64]) -> Builder {
    let mut m = Builder::new("rotated", 0);
    m.input("x", "N,5,4").floats("cos", dims, cos).floats("sin", dims, sin).weight("w", &[4]);
    m.node("a", "Mul", &["x", "cos"], &[]).node("b", "Mul", &["sin", "w"], &[]);
    m.node("y", "Add", &["a", "b"], &[]).output("y", "N,5,4");
    m
}

fn mse(train: &[&str]) -> Options {
    let train = train.iter().map(|it| it.to_string()).collect();
    Options { train, ..super::mse(2) }
}

/// Names of what is trained.
fn params(m: &Builder, options: &Options) -> Vec<String> {
    let graph = imported(&m.model(), options).graph;
    graph.declared("param").into_iter().map(|it| graph.name(it).to_string()).collect()
}

#[test]
fn tables_of_rotations_are_not_trained() {
    let (cos, sin) = (table(f32::cos, 5, 4), table(f32::sin, 5, 4));
    let m = rotated(&cos, &sin, &[1, 5, 4]);
    assert_eq!(params(&m, &mse(&[])), ["w"]);
    assert_eq!(params(&m, &mse(&["cos", "w"])), ["cos", "w"], "but where somebody says so");
    let found = examine(&m.model(), &mse(&[]));
    let about = |node: &str| found.nodes.iter().find(|it| it.node == node).map(|it| (it.verdict, it.reason.as_str()));
    assert_eq!(about("a"), Some((Verdict::Frozen, "a table of rotations")));
    assert_eq!(about("b").map(|it| it.0), Some(Verdict::Trained), "it has a weight beside the table");

    // As exact as f16 is.
    let coarse = |values: &[f32]| values.iter().map(|it| (it * 1024.0).round() / 1024.0).collect::<Vec<_>>();
    assert_eq!(params(&rotated(&coarse(&cos), &coarse(&sin), &[5, 4]), &mse(&[])), ["w"]);
}

#[test]
fn what_only_looks_like_a_rotation_is_trained() {
    let (cos, sin) = (table(f32::cos, 5, 4), table(f32::sin, 5, 4));
    let all = |m: &Builder| assert_eq!(params(m, &mse(&[])), ["cos", "sin", "w"]);
    let mut off = sin.clone();
    off[19] += 0.1;
    all(&rotated(&cos, &off, &[5, 4]));
    // A scale and a bias before training.
    all(&rotated(&[1.0; 20], &[0.0; 20], &[5, 4]));
    all(&rotated(&cos[4..8], &sin[4..8], &[4]));
    all(&rotated(&cos[4..8], &sin[4..8], &[1, 4]));
    let mut read = rotated(&cos, &sin, &[1, 5, 4]);
    read.node("z", "Add", &["y", "sin"], &[]).output("z", "N,5,4");
    let mut proto = read.model().into_proto();
    proto.graph.as_mut().unwrap().output.remove(0);
    let graph = imported(&read.model().with_proto(proto), &mse(&[])).graph;
    assert_eq!(graph.declared("param").len(), 3, "positions that are added may be learned");
}

/// Where the tables were trained, their gradients needed what they turn, whole.
#[test]
fn the_tables_of_language_models_are_found() {
    for export in ["", ".dynamo18", ".trainmode"] {
        let Some(model) = shared(&format!("pretrained/aidreams260k_llama_T128{export}.onnx")) else { return };
        let prepared = razorc_compiler::prepare::prepare(&model, &Default::default()).unwrap();
        let graph = imported(&prepared.model, &super::options(2)).graph;
        let tables =
            |role| graph.declared(role).into_iter().filter(|it| graph.ty(*it).dims() == [1, 128, 1, 8]).count();
        assert_eq!(tables("param"), 0, "{export}");
        assert!([2, 8].contains(&tables("frozen")), "{export}");
    }
}
