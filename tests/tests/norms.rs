//! Normalization in whole models: what nodes of ONNX become, and gradients from outputs beside those from inputs.

use std::collections::BTreeMap;

use razorc_compiler::compile;
use razorc_compiler::graph::Phase;
use razorc_compiler::import::import;
use razorc_compiler::options::{BatchNorm, Loss, Optimizer, OptimizerKind, Options};
use razorc_compiler::types::DType;
use razorc_compiler::verify::verify;
use razorc_fixtures::{Attr, Builder};
use razorc_proto::Model;
use razorc_proto::program::Resident;
use razorc_runtime::program::Program;
use razorc_runtime::reference::{Reference, Tensor, Which};

fn options() -> Options {
    Options { batch: 2, loss: Loss::MeanSquaredError, ..Options::default() }
}

/// A node between the input `x` and the output `y`, with weights of these sizes.
fn model(opset: i64, op: &str, dims: &str, weights: &[&[i64]], attrs: &[(&str, Attr)]) -> Model {
    let mut m = Builder::new("norm", 0);
    m.opset(opset).input("x", dims).output("y", dims);
    let names: Vec<String> = (1..=weights.len()).map(|it| format!("w{it}")).collect();
    for (name, dims) in names.iter().zip(weights) {
        m.uniform(name, dims, -1.0, 1.0);
    }
    let inputs: Vec<&str> = ["x"].into_iter().chain(names.iter().map(String::as_str)).collect();
    m.node("y", op, &inputs, attrs);
    m.model()
}

/// The nodes of the forward phase.
fn forward(model: &Model) -> Vec<String> {
    let imported = import(model, &options()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(verify(&imported.graph), []);
    let text = imported.graph.to_string();
    let nodes = text.lines().skip_while(|it| !it.contains("forward {")).skip(1).take_while(|it| it.contains(" = "));
    nodes.map(|it| it.trim().to_string()).collect()
}

fn refused(model: &Model) -> String {
    import(model, &options()).err().map(|it| it.to_string()).expect("refused")
}

#[test]
fn layer_normalization_is_one_node() {
    let plain = model(17, "LayerNormalization", "N,3,4", &[&[4], &[4]], &[]);
    assert_eq!(
        forward(&plain),
        ["%y, %y.mean, %y.rstd = layer_norm %x, %w1, %w2 {axis=2, epsilon=9.999999747378752e-6} : \
          f32[2,3,4], f32[2,3], f32[2,3]"]
    );
    let axes = model(17, "LayerNormalization", "N,3,4", &[&[3, 4]], &[("axis", (-2).into()), ("epsilon", 0.5.into())]);
    assert_eq!(
        forward(&axes),
        ["%y, %y.mean, %y.rstd = layer_norm %x, %w1 {axis=1, epsilon=0.5} : f32[2,3,4], f32[2], f32[2]"]
    );
    let weights = import(&axes, &options()).unwrap().graph;
    assert_eq!(weights.declared("param").len(), 1, "weights are trained whatever batch normalization is");
}

#[test]
fn scales_of_fewer_axes_are_stretched() {
    let narrow = model(17, "LayerNormalization", "N,3,4", &[&[1, 1, 4], &[3, 1]], &[("axis", 1.into())]);
    assert_eq!(
        forward(&narrow)[..3],
        [
            "%y.scale.axes = reshape %w1 {shape=[1, 4]} : f32[1,4]",
            "%y.scale = expand %y.scale.axes {shape=[3, 4], scale=1.0} : f32[3,4]",
            "%y.bias = expand %w2 {shape=[3, 4], scale=1.0} : f32[3,4]",
        ]
    );
    let wide = model(17, "LayerNormalization", "N,3,4", &[&[3, 4], &[4]], &[]);
    assert_eq!(
        forward(&wide),
        [
            "%y.normalized, %y.normalized.mean, %y.normalized.rstd = \
             layer_norm %x {axis=2, epsilon=9.999999747378752e-6} : f32[2,3,4], f32[2,3], f32[2,3]",
            "%y.scaled = mul %y.normalized, %w1 : f32[2,3,4]",
            "%y = add %y.scaled, %w2 : f32[2,3,4]",
        ]
    );
    let wrong = model(17, "LayerNormalization", "N,3,4", &[&[3]], &[]);
    assert!(refused(&wrong).contains("y  LayerNormalization (opset 17) has a scale of [3], which does not broadcast"));
}

#[test]
fn statistics_that_are_read_are_refused() {
    let with_outputs = |output: &str| {
        let mut m = Builder::new("outputs", 0);
        m.input("x", "N,4").uniform("w", &[4], -1.0, 1.0);
        m.node_with(&["h", "mean", "deviation"], "LayerNormalization", &["x", "w"], &[]);
        m.node("y", "Add", &["h", output], &[]).output("y", "N,4");
        m.model()
    };
    assert_eq!(forward(&with_outputs("h")).len(), 2);
    assert!(refused(&with_outputs("mean")).contains("has its mean read by other nodes"));
    assert!(refused(&with_outputs("deviation")).contains("has its inverse deviation read by other nodes"));
    let half = model(17, "LayerNormalization", "N,4", &[&[4]], &[("stash_type", 10.into())]);
    assert!(refused(&half).contains("with stash_type=10 is not supported"));
}

#[test]
fn the_root_mean_square_normalizes() {
    let plain = model(23, "RMSNormalization", "N,3,4", &[&[4]], &[("epsilon", 0.25.into())]);
    assert_eq!(forward(&plain), ["%y, %y.rstd = rms_norm %x, %w1 {axis=2, epsilon=0.25} : f32[2,3,4], f32[2,3]"]);
    let unit = model(17, "LpNormalization", "N,3,4", &[], &[("axis", 1.into())]);
    assert_eq!(
        forward(&unit),
        [
            "%y.moved = transpose %x {perm=[0, 2, 1]} : f32[2,4,3]",
            "%y.normalized, %y.normalized.rstd = rms_norm %y.moved {axis=2, epsilon=1e-38} : f32[2,4,3], f32[2,4]",
            "%y.unit = scale %y.normalized {factor=0.5773502691896258} : f32[2,4,3]",
            "%y = transpose %y.unit {perm=[0, 2, 1]} : f32[2,3,4]",
        ]
    );
    let absolute = model(17, "LpNormalization", "N,3,4", &[], &[("p", 1.into())]);
    assert!(refused(&absolute).contains("with p=1 is not supported; p=2 is"));
}

#[test]
fn onnxruntime_s_own_nodes_add_first() {
    let simplified = model(17, "SimplifiedLayerNormalization", "N,4", &[&[4]], &[("epsilon", 0.5.into())]);
    assert_eq!(forward(&simplified), ["%y, %y.rstd = rms_norm %x, %w1 {axis=1, epsilon=0.5} : f32[2,4], f32[2]"]);
    let skip = model(17, "SkipLayerNormalization", "N,4", &[&[2, 4], &[4], &[4], &[4]], &[("epsilon", 0.5.into())]);
    assert_eq!(
        forward(&skip),
        [
            "%y.biased = add %x, %w4 : f32[2,4]",
            "%y.sum = add %y.biased, %w1 : f32[2,4]",
            "%y, %y.mean, %y.rstd = layer_norm %y.sum, %w2, %w3 {axis=1, epsilon=0.5} : f32[2,4], f32[2], f32[2]",
        ]
    );
    let mut m = Builder::new("both", 0);
    m.input("x", "N,4").uniform("w", &[4], -1.0, 1.0);
    m.node_with(
        &["h", "", "", "sum"],
        "SkipSimplifiedLayerNormalization",
        &["x", "x", "w"],
        &[("epsilon", 0.5.into())],
    );
    m.node("y", "Add", &["h", "sum"], &[]).output("y", "N,4");
    assert_eq!(
        forward(&m.model()),
        [
            "%sum = add %x, %x : f32[2,4]",
            "%h, %h.rstd = rms_norm %sum, %w {axis=1, epsilon=0.5} : f32[2,4], f32[2]",
            "%y = add %h, %sum : f32[2,4]",
        ]
    );
}

#[test]
fn channels_and_groups_are_rows() {
    let instance = model(17, "InstanceNormalization", "N,6,5,5", &[&[6], &[6]], &[("epsilon", 0.5.into())]);
    assert_eq!(
        forward(&instance),
        [
            "%y.groups = reshape %x {shape=[2, 6, 25]} : f32[2,6,25]",
            "%y.normalized, %y.normalized.mean, %y.normalized.rstd = layer_norm %y.groups {axis=2, epsilon=0.5} : \
             f32[2,6,25], f32[2,6], f32[2,6]",
            "%y.channels = reshape %y.normalized {shape=[2, 6, 5, 5]} : f32[2,6,5,5]",
            "%y.scale.column = reshape %w1 {shape=[6, 1, 1]} : f32[6,1,1]",
            "%y.bias.column = reshape %w2 {shape=[6, 1, 1]} : f32[6,1,1]",
            "%y.scaled = mul %y.channels, %y.scale.column : f32[2,6,5,5]",
            "%y = add %y.scaled, %y.bias.column : f32[2,6,5,5]",
        ]
    );
    let by_channel = model(21, "GroupNormalization", "N,6,5,5", &[&[6], &[6]], &[("num_groups", 3.into())]);
    let lines = forward(&by_channel);
    assert!(lines[0].ends_with("{shape=[2, 3, 50]} : f32[2,3,50]"), "{lines:?}");
    assert!(lines[5].starts_with("%y.scaled = mul %y.channels"), "{lines:?}");
    let by_group = model(18, "GroupNormalization", "N,6,5,5", &[&[3], &[3]], &[("num_groups", 3.into())]);
    let lines = forward(&by_group);
    assert_eq!(lines[4], "%y.scaled = mul %y.normalized, %y.scale.column : f32[2,3,50]");
    assert_eq!(lines[6], "%y = reshape %y.shifted {shape=[2, 6, 5, 5]} : f32[2,6,5,5]");
    let uneven = model(21, "GroupNormalization", "N,6,5,5", &[&[6], &[6]], &[("num_groups", 4.into())]);
    assert!(refused(&uneven).contains("has 4 groups of 6 channels"));
}

#[test]
fn mean_and_variance_go_over_any_axes() {
    let default = model(13, "MeanVarianceNormalization", "N,3,4,5", &[], &[]);
    assert_eq!(
        forward(&default),
        [
            "%y.moved = transpose %x {perm=[1, 0, 2, 3]} : f32[3,2,4,5]",
            "%y.normalized, %y.normalized.mean, %y.normalized.rstd = layer_norm %y.moved {axis=1, epsilon=1e-18} : \
             f32[3,2,4,5], f32[3], f32[3]",
            "%y = transpose %y.normalized {perm=[1, 0, 2, 3]} : f32[2,3,4,5]",
        ]
    );
    let last = model(13, "MeanVarianceNormalization", "N,3,4", &[], &[("axes", [1, 2].into())]);
    assert_eq!(forward(&last).len(), 1);
}

#[test]
fn batch_normalization_is_frozen_or_trained_whatever_the_rank_and_the_file_s_mode() {
    for dims in ["N,3", "N,3,4", "N,3,4,4", "N,3,2,2,2"] {
        for training in [0, 1] {
            let mut m = Builder::new("batch norm", 0);
            m.opset(15).input("x", dims).output("y", dims);
            for name in ["scale", "bias", "mean", "var"] {
                m.uniform(name, &[3], 0.5, 1.5);
            }
            let outputs = ["y", "running_mean", "running_var"];
            let outputs = if training == 1 { &outputs[..] } else { &outputs[..1] };
            let inputs = ["x", "scale", "bias", "mean", "var"];
            m.node_with(outputs, "BatchNormalization", &inputs, &[("training_mode", training.into())]);
            let (model, statistics) = (m.model(), Options { batch_norm: BatchNorm::Train, ..options() });
            let op = |graph: &razorc_compiler::graph::Graph| {
                let node = graph.phase(Phase::Forward).next().unwrap();
                graph.node(node).op.name
            };
            let imported = import(&model, &options()).unwrap();
            assert_eq!(op(&imported.graph), "batch_norm", "{dims}");
            let graphs = razorc_compiler::graphs(&model, &statistics).unwrap();
            assert_eq!(op(&graphs.train), "batch_norm_train", "{dims}");
            assert_eq!(op(&graphs.eval), "batch_norm", "{dims}");
            assert_eq!(graphs.train.declared("statistic").len(), 2, "{dims}");
        }
    }
}

#[test]
fn softmax_may_go_along_any_axis() {
    for (opset, axis, line) in [
        (13, -2, "%y = softmax %x {axis=1} : f32[2,3,4]"),
        (13, 0, "%y = softmax %x {axis=0} : f32[2,3,4]"),
        (11, -1, "%y = softmax %x {axis=2} : f32[2,3,4]"),
    ] {
        assert_eq!(forward(&model(opset, "Softmax", "N,3,4", &[], &[("axis", axis.into())])), [line]);
    }
    assert_eq!(
        forward(&model(11, "LogSoftmax", "N,3,4", &[], &[])),
        [
            "%y.flat = reshape %x {shape=[2, 12]} : f32[2,12]",
            "%y.groups = log_softmax %y.flat {axis=1} : f32[2,12]",
            "%y = reshape %y.groups {shape=[2, 3, 4]} : f32[2,3,4]",
        ]
    );
    assert!(refused(&model(13, "Softmax", "N,3,4", &[], &[("axis", 3.into())])).contains("3"));
    assert!(refused(&model(13, "Hardmax", "N,3,4", &[], &[])).contains("y  Hardmax (opset 13) is not supported"));
}

/// A network with all that normalization of rows can be: a block whose norms' outputs layers save, by mean and deviation
/// and by the root mean square, and channels that are normalized and scaled.
fn block() -> Model {
    let mut m = Builder::new("block", 3);
    m.input("x", "N,4,5,5").weight("stem", &[6, 4, 1, 1]).node("h", "Conv", &["x", "stem"], &[]);
    m.uniform("channel.scale", &[6], 0.5, 1.5).uniform("channel.bias", &[6], -0.3, 0.3);
    m.node("c", "InstanceNormalization", &["h", "channel.scale", "channel.bias"], &[]);
    m.ints("tokens", &[0, 6, 25]).node("t", "Reshape", &["c", "tokens"], &[]);
    m.uniform("scale", &[25], 0.5, 1.5).uniform("bias", &[25], -0.3, 0.3).uniform("rms", &[25], 0.5, 1.5);
    m.node("n1", "LayerNormalization", &["t", "scale", "bias"], &[]);
    m.weight("w1", &[25, 25]).node("a1", "MatMul", &["n1", "w1"], &[]).node("r1", "Add", &["t", "a1"], &[]);
    m.node("n2", "SimplifiedLayerNormalization", &["r1", "rms"], &[]);
    m.weight("w2", &[25, 25]).node("a2", "MatMul", &["n2", "w2"], &[]).node("r2", "Add", &["r1", "a2"], &[]);
    m.node("f", "Flatten", &["r2"], &[]).weight("head", &[150, 5]).node("y", "MatMul", &["f", "head"], &[]);
    m.output("y", "N,5");
    m.model()
}

/// Gradients of one step by the names of the weights, in f64, and names of the saved tensors.
fn gradients(sparsity: &str) -> (BTreeMap<String, Vec<f64>>, Vec<String>) {
    let mut options = Options { batch: 3, ..Options::default() };
    // After the first step, momentum is the gradient.
    options.optimizer = Optimizer { kind: OptimizerKind::Sgd, ..Optimizer::default() };
    options.razor.sparsity = sparsity.parse().unwrap();
    options.razor.values = DType::F32;
    options.razor.rounded_bits = 0;
    let compiled = compile(&block(), &options).unwrap_or_else(|e| panic!("{e}"));
    let program = Program::check(&compiled.program).unwrap();
    let mut executor = Reference::new(&program);
    for (resident, blob) in compiled.program.residents.iter().zip(&compiled.blobs) {
        let Some(blob) = blob else { continue };
        let values = blob.chunks_exact(4).map(|it| f32::from_le_bytes(it.try_into().unwrap()).into());
        let dims: Vec<usize> = resident.r#type.as_ref().unwrap().dims.iter().map(|&it| it as usize).collect();
        executor.set(&resident.name, Tensor::float(&dims, values));
    }
    executor.set("x", Tensor::float(&[3, 4, 5, 5], (0..300).map(|i| (f64::from(i) * 1.7).sin())));
    executor.set("target", Tensor::Int(ndarray::arr1(&[0, 3, 1]).into_dyn()));
    executor.set("rows", Tensor::float(&[3], [1.0; 3]));
    executor.set("learning_rate", Tensor::scalar(0.0));
    executor.run(Which::Train);
    let gradient = |it: &Resident| {
        let gradient = executor.get(&format!("{}.momentum", it.name))?;
        Some((it.name.clone(), gradient.floats().unwrap().to_vec()))
    };
    let saved = compiled.decisions.iter().map(|it| it.value.clone());
    (compiled.program.residents.iter().filter_map(gradient).collect(), saved.collect())
}

#[test]
fn gradients_from_outputs_that_are_saved_whole_are_those_from_inputs() {
    let (exact, inputs) = gradients("0");
    // So few are pruned that it is none, and a packed copy of all would not be smaller.
    let (found, outputs) = gradients("0.000001");
    assert!(["c", "r1"].iter().all(|it| inputs.contains(&it.to_string())), "{inputs:?}");
    assert!(["c", "r1"].iter().all(|it| !outputs.contains(&it.to_string())), "{outputs:?}");
    // What the scale of channels reads exactly is as good as the input, so that is never saved.
    assert!(!inputs.contains(&"h".to_string()), "{inputs:?}");
    assert_eq!(exact.len(), 9);
    for (name, exact) in &exact {
        for (found, exact) in found[name].iter().zip(exact) {
            assert!((found - exact).abs() < 1e-9 * (1.0 + exact.abs()), "{name}: {found} is not {exact}");
        }
    }
}

#[test]
fn gradients_from_pruned_outputs_point_the_same_way() {
    let (exact, found) = (gradients("0").0, gradients("0.1").0);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for (name, exact) in &exact {
        let found = &found[name];
        let cosine = dot(exact, found) / (dot(exact, exact) * dot(found, found)).sqrt();
        assert!(0.9 < cosine && cosine <= 1.0 + 1e-9, "{name}: {cosine}");
    }
}
