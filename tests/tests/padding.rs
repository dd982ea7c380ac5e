//! Padded tokens take no share of what is kept.

use razorc_compiler::compile;
use razorc_compiler::options::{Optimizer, OptimizerKind, Options, Sparsity};
use razorc_proto::Model;
use razorc_runtime::data::{Batch, Column, Targets};
use razorc_runtime::fidelity::{Likeness, gradients};
use razorc_runtime::rng::Rng;
use razorc_runtime::trainer::Trainer;
use razorc_tests::{shared, written};

const BATCH: usize = 8;
const TOKENS: usize = 16;

/// With half of the tokens padded, what is kept is of the other half alone, and the gradient is closer to the exact one.
#[test]
fn gradients_are_closer_without_padding() {
    let Some(path) = shared("models/tiny/tiny_bert.onnx") else { return };
    let model = Model::open(&path).unwrap();
    let exact = gradient(&model, &options("0", true), TOKENS / 2);
    let [counted, left_out] = [true, false].map(|padding| {
        let pruned = gradient(&model, &options("0.9", padding), TOKENS / 2);
        let each = exact.iter().zip(&pruned).map(|((name, exact), (_, pruned))| (name, Likeness::of(exact, pruned)));
        // The weights of the encoder's layers, whose inputs are pruned; those of attention's projections are 8 bits.
        Likeness::join(each.filter(|it| it.0.contains("MatMul")).map(|it| it.1)).cosine()
    });
    println!("cosine at 90 % with half of the tokens padded: {counted:.4}, padding left out {left_out:.4}");
    assert!(counted + 0.08 < left_out, "{counted} with padding, {left_out} without");
}

/// Where nothing is padded, the mask changes no bit.
#[test]
fn without_padding_nothing_changes() {
    let Some(path) = shared("models/tiny/tiny_bert.onnx") else { return };
    let model = Model::open(&path).unwrap();
    let [counted, left_out] = [true, false].map(|it| gradient(&model, &options("0.9", it), TOKENS));
    assert!(counted == left_out);
}

/// All layers of an encoder between its ends, however it was exported.
#[test]
fn every_export_shows_its_padding() {
    for name in ["tiny_bert", "tiny_bert.dynamo", "tiny_bert.sdpa", "tiny_bert.sdpa.dynamo", "tiny_bert.train"] {
        let Some(path) = shared(&format!("models/tiny/{name}.onnx")) else { return };
        let compiled = compile(&Model::open(&path).unwrap(), &options("0.9", false)).unwrap();
        let told = compiled.decisions.iter().map(ToString::to_string);
        // Context, attention's norm and GELU of two layers; what is read of the first token alone has no padding.
        assert_eq!(told.filter(|it| it == "0.9 pruned, padding left out").count(), 6, "{name}");
    }
}

fn options(sparsity: &str, padding: bool) -> Options {
    let optimizer = Optimizer { kind: OptimizerKind::Sgd, ..Optimizer::default() };
    let mut options = Options { batch: BATCH as u64, optimizer, ..Options::default() };
    options.razor.sparsity = sparsity.parse::<Sparsity>().unwrap();
    options.razor.padding = padding;
    options
}

/// Gradients of all weights by name, one after the other for each of a few batches with so many tokens in a row.
fn gradient(model: &Model, options: &Options, used: usize) -> Vec<(String, Vec<f32>)> {
    let mut trainer = Trainer::load(written(&compile(model, options).unwrap()), 2).unwrap();
    let mut rng = Rng::keyed(&[7]);
    let mut found = vec![];
    for _ in 0..4 {
        let places = 0..BATCH * TOKENS;
        let ids = places.clone().map(|at| if at % TOKENS < used { 1 + rng.below(99) as i64 } else { 0 }).collect();
        let mask = places.map(|at| i64::from(at % TOKENS < used)).collect();
        let (inputs, classes) = ([Column::Whole(ids), Column::Whole(mask)], [0, 1, 2, 0, 1, 2, 0, 1]);
        let (targets, rows) = (Targets::Classes(&classes), [1.0; BATCH]);
        let batch = Batch { epoch: 0, number: 0, len: BATCH, inputs: &inputs, targets, rows: &rows };
        found.extend(gradients(&mut trainer, &batch));
    }
    found
}
