//! Import: real models become forward graphs, and what cannot is refused with everything that is wrong.

#[path = "import/index.rs"]
mod index;
#[path = "import/linalg.rs"]
mod linalg;
#[path = "import/rotations.rs"]
mod rotations;

use std::collections::BTreeMap;

use razorc_compiler::graph::Phase;
use razorc_compiler::import::{Imported, import};
use razorc_compiler::options::{BatchNorm, Loss, Options};
use razorc_compiler::prepare::prepare;
use razorc_compiler::verify::verify;
use razorc_fixtures::{Attr, Builder, awkward, cnn, flattened_batch, mlp, mobile, tensor};
use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;
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
fn every_unsupported_node_is_listed_at_once() {
    let mut m = Builder::new("bad", 0);
    m.input("x", "N,4,8,8")
        .node("a", "Hardmax", &["x"], &[])
        .node_with(&["b", "places"], "MaxPool", &["x"], &[("kernel_shape", [2, 2].into()), ("storage_order", 1.into())])
        .node("c", "NonMaxSuppression", &["a", "b"], &[])
        .node("d", "Relu", &["c"], &[])
        .output("d", "N");
    assert_eq!(
        refused(&m.model(), &options(2)),
        "the model cannot be trained:\
         \n  a  Hardmax (opset 17) is not supported\
         \n  b  MaxPool (opset 17) with storage_order is not supported\
         \n  c  NonMaxSuppression (opset 17) is not supported\
         \n`--classes N --head-at VALUE` puts a fresh head before such nodes and leaves them out"
    );
}

#[test]
fn open_sizes_are_listed_with_what_binds_them() {
    let mut m = Builder::new("open", 0);
    m.input("x", "N,3,height,width").node("y", "Relu", &["x"], &[]).output("y", "N");
    let (model, mut options) = (m.model(), mse(2));
    assert_eq!(
        refused(&model, &options),
        "the model leaves sizes open:\
         \n  `height`, axis 2 of input `x` (`--bind height=N`)\
         \n  `width`, axis 3 of input `x` (`--bind width=N`)"
    );
    options.bind = BTreeMap::from([("height".into(), 8), ("width".into(), 6)]);
    assert_eq!(forward(&model, &options), ["%y, %y.mask = relu %x : f32[2,3,8,6], bits[2,3,8,6]"]);
    options.bind.insert("depth".into(), 5);
    assert_eq!(
        refused(&model, &options),
        "`depth` names no size that the model's inputs leave open; those are height, width"
    );
    options.bind = BTreeMap::from([("N".into(), 5)]);
    options.input_shapes = BTreeMap::from([("x".into(), vec![1, 3, 4, 4])]);
    assert_eq!(refused(&model, &options), "`N` is the model's batch; use `--batch`");
    options.bind.clear();
    assert_eq!(forward(&model, &options), ["%y, %y.mask = relu %x : f32[2,3,4,4], bits[2,3,4,4]"]);
    options.input_shapes = BTreeMap::from([("z".into(), vec![1])]);
    assert_eq!(refused(&model, &options), "`z` is no input of the model; its inputs are x");
}

#[test]
fn a_baked_batch_gives_way_or_is_named() {
    let baked = |shape: &[i64]| {
        let mut m = Builder::new("baked", 0);
        m.input("x", "1,4,2,2").ints("shape", shape).node("y", "Reshape", &["x", "shape"], &[]).output("y", "1,16");
        m.model()
    };
    assert_eq!(forward(&baked(&[1, 16]), &mse(3)), ["%y = reshape %x {shape=[3, 16]} : f32[3,16]"]);
    assert_eq!(forward(&baked(&[1, -1]), &mse(3)), ["%y = reshape %x {shape=[3, 16]} : f32[3,16]"]);
    let error = refused(&baked(&[4, 4]), &mse(3));
    assert!(
        error.starts_with("the model was exported with a fixed batch of 1 and cannot run with 3; use `--batch 1`"),
        "{error}"
    );
}

#[test]
fn opsets_outside_the_range_are_refused() {
    assert!(
        refused(&single(6, "N,4", "Relu", &[]), &options(1))
            .starts_with("opset 6 is not supported; razorc reads opsets 7 to 28")
    );
    assert!(refused(&single(29, "N,4", "Relu", &[]), &options(1)).starts_with("opset 29 is not supported"));
    for opset in [7, 9, 11, 13, 17, 18, 20, 22, 23, 24, 28] {
        assert_eq!(forward(&single(opset, "N,4", "Relu", &[]), &mse(2)).len(), 1, "opset {opset}");
    }
}

#[test]
fn nodes_may_come_in_any_order_but_not_in_a_circle() {
    let mut m = Builder::new("order", 0);
    m.input("x", "N,4").node("y", "Relu", &["a"], &[]).node("a", "Tanh", &["x"], &[]).output("y", "N,4");
    assert_eq!(forward(&m.model(), &mse(1))[0], "%a = tanh %x : f32[1,4]");
    let mut m = Builder::new("circle", 0);
    m.input("x", "N,4").node("y", "Add", &["x", "a"], &[]).node("a", "Tanh", &["y"], &[]).output("y", "N,4");
    assert_eq!(refused(&m.model(), &mse(1)), "the nodes of the model form a cycle through `y`");
    let mut m = Builder::new("nothing", 0);
    m.input("x", "N,4").node("y", "Add", &["x", "a"], &[]).output("y", "N,4");
    assert_eq!(refused(&m.model(), &mse(1)), "node y reads `a`, which nothing makes");
}

#[test]
fn pads_are_made_explicit() {
    let conv = |word: &str, dims: &str, stride: i64| {
        let mut m = Builder::new("pads", 0);
        m.input("x", dims).weight("w", &[2, 1, 3, 3]);
        let attrs = [("auto_pad", word.into()), ("strides", [stride, stride].into())];
        m.node("y", "Conv", &["x", "w"], &attrs).output("y", "N");
        forward(&m.model(), &mse(1)).remove(0)
    };
    assert!(conv("SAME_UPPER", "N,1,8,8", 2).contains("pads=[0, 0, 1, 1]"));
    assert!(conv("SAME_LOWER", "N,1,8,8", 2).contains("pads=[1, 1, 0, 0]"));
    assert!(conv("SAME_UPPER", "N,1,7,7", 1).contains("pads=[1, 1, 1, 1]"));
    assert!(conv("VALID", "N,1,7,7", 1).contains("pads=[0, 0, 0, 0]"));
}

#[test]
fn clip_takes_its_bounds_from_wherever_the_opset_has_them() {
    let by_attribute = single(9, "N,4", "Clip", &[("min", 0.0.into()), ("max", 6.0.into())]);
    assert!(forward(&by_attribute, &mse(1))[0].contains("clip %x {min=0.0, max=6.0}"));
    let mut m = Builder::new("clip", 0);
    m.input("x", "N,4").floats("six", &[1], &[6.0]).node("y", "Clip", &["x", "", "six"], &[]).output("y", "N,4");
    assert!(forward(&m.model(), &mse(1))[0].contains("clip %x {min=-3.4028234663852886e38, max=6.0}"));
}

#[test]
fn a_slice_may_count_from_the_end() {
    let mut m = Builder::new("slice", 0);
    m.input("x", "N,8,6")
        .ints("starts", &[-3, 1])
        .ints("ends", &[i64::MAX, -1])
        .ints("axes", &[1, -1])
        .ints("steps", &[1, 2]);
    m.node("y", "Slice", &["x", "starts", "ends", "axes", "steps"], &[]).output("y", "N");
    let line = "%y = slice %x {starts=[0, 5, 1], ends=[2, 8, 5], steps=[1, 1, 2]} : f32[2,3,2]";
    assert_eq!(forward(&m.model(), &mse(2)), [line]);
}

#[test]
fn products_with_weights_are_linear_in_the_weights_own_layout() {
    let mut m = Builder::new("linear", 0);
    m.input("x", "N,5,8").weight("w", &[16, 8]).node("wt", "Transpose", &["w"], &[("perm", [1, 0].into())]);
    m.node("y", "MatMul", &["x", "wt"], &[]).output("y", "N");
    assert_eq!(forward(&m.model(), &mse(2)), ["%y = linear %x, %w {transpose=1} : f32[2,5,16]"]);

    let mut m = Builder::new("gemm", 0);
    m.input("x", "N,8").weight("w", &[8, 16]).floats("c", &[1], &[1.0]);
    m.node("y", "Gemm", &["x", "w", "c"], &[("alpha", 0.5.into())]).output("y", "N");
    let lines = forward(&m.model(), &mse(2));
    assert_eq!(
        lines,
        [
            "%y.product = linear %x, %w {transpose=0} : f32[2,16]",
            "%y.alpha = scale %y.product {factor=0.5} : f32[2,16]",
            "%y = add %y.alpha, %c : f32[2,16]",
        ]
    );
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let bounds = single(9, "N,4", "Clip", &[("min", 2.0.into()), ("max", 1.0.into())]);
    assert!(
        refused(&bounds, &mse(1))
            .contains("y  Clip (opset 9) has the bounds 2 and 1, which leave nothing between them")
    );
    let empty = single(9, "N,4", "Slice", &[("axes", [1].into()), ("starts", [4].into()), ("ends", [9].into())]);
    assert!(refused(&empty, &mse(2)).contains("y  Slice (opset 9) makes nothing: f32[2,0]"));
}

#[test]
fn pads_may_name_their_axes() {
    let mut m = Builder::new("pad", 0);
    m.opset(18).input("x", "N,3,4").ints("pads", &[1, 2]).ints("axes", &[-1]).floats("value", &[], &[0.5]);
    m.node("y", "Pad", &["x", "pads", "value", "axes"], &[]).output("y", "N");
    assert_eq!(forward(&m.model(), &mse(2)), ["%y = pad %x {pads=[0, 0, 1, 0, 0, 2], value=0.5} : f32[2,3,7]"]);
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

#[test]
fn arithmetic_with_a_literal_keeps_it_as_a_number() {
    let lines = |op: &str, inputs: [&str; 2]| {
        let mut m = Builder::new("literal", 0);
        m.input("x", "N,4").floats("c", &[], &[4.0]).floats("one", &[], &[1.0]).floats("tiny", &[], &[1e-40]);
        m.node("y", op, &inputs, &[]).output("y", "N,4");
        forward(&m.model(), &mse(1))
    };
    assert_eq!(lines("Mul", ["x", "c"]), ["%y = scale %x {factor=4.0} : f32[1,4]"]);
    assert_eq!(lines("Mul", ["c", "x"]), ["%y = scale %x {factor=4.0} : f32[1,4]"]);
    assert_eq!(lines("Div", ["x", "c"]), ["%y = scale %x {factor=0.25} : f32[1,4]"]);
    assert_eq!(lines("Div", ["x", "tiny"]), ["%y = div %x, %tiny : f32[1,4]"]);
    assert_eq!(lines("Div", ["one", "x"]), ["%y = reciprocal %x : f32[1,4]"]);
    assert_eq!(
        lines("Div", ["c", "x"]),
        ["%y.reciprocal = reciprocal %x : f32[1,4]", "%y = scale %y.reciprocal {factor=4.0} : f32[1,4]"]
    );
    assert_eq!(lines("Add", ["x", "c"]), ["%y = shift %x {offset=4.0} : f32[1,4]"]);
    assert_eq!(lines("Add", ["c", "x"]), ["%y = shift %x {offset=4.0} : f32[1,4]"]);
    assert_eq!(lines("Sub", ["x", "c"]), ["%y = shift %x {offset=-4.0} : f32[1,4]"]);
    assert_eq!(
        lines("Sub", ["c", "x"]),
        ["%y.negative = scale %x {factor=-1.0} : f32[1,4]", "%y = shift %y.negative {offset=4.0} : f32[1,4]"]
    );
    assert_eq!(lines("Pow", ["x", "c"]), ["%y = power %x {exponent=4.0} : f32[1,4]"]);
    let clip = |bounds: &str| format!("%y, %y.mask = clip %x {{{bounds}}} : f32[1,4], bits[1,4]");
    assert_eq!(lines("Max", ["x", "c"]), [clip("min=4.0, max=inf")]);
    assert_eq!(lines("Min", ["c", "x"]), [clip("min=-inf, max=4.0")]);
}

#[test]
fn a_number_that_is_a_weight_or_adds_axes_is_no_literal() {
    let mut m = Builder::new("weight", 0);
    m.input("x", "N,4").floats("w", &[1], &[2.0]).node("y", "Mul", &["x", "w"], &[]).output("y", "N,4");
    assert_eq!(forward(&m.model(), &mse(1)), ["%y = mul %x, %w : f32[1,4]"]);
    let fold = tensor("", DataType::Float, &[1, 1, 1], 3f32.to_le_bytes().to_vec());
    let mut m = Builder::new("axes", 0);
    m.input("x", "N,4").node("c", "Constant", &[], &[("value", fold.into())]);
    m.node("y", "Mul", &["x", "c"], &[]).output("y", "N");
    assert_eq!(forward(&m.model(), &mse(1)), ["%y = mul %x, %c : f32[1,1,4]"]);
}

/// One node between `x` and `y`, which also reads `w` and `c`.
fn with_operands(op: &str, inputs: &[&str], attrs: &[(&str, Attr)]) -> Vec<String> {
    let mut m = Builder::new("operands", 0);
    m.opset(20).input("x", "N,3,4").uniform("w", &[3, 1], 0.1, 0.9).uniform("c", &[4], 0.1, 0.9);
    m.node("y", op, inputs, attrs).output("y", "N");
    forward(&m.model(), &mse(1))
}

#[test]
fn functions_of_one_number_are_called_by_their_names() {
    for op in [
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Abs",
        "Sign",
        "Sin",
        "Cos",
        "Tan",
        "Asin",
        "Acos",
        "Atan",
        "Sinh",
        "Cosh",
        "Asinh",
        "Acosh",
        "Atanh",
        "Erf",
        "Floor",
        "Ceil",
        "Round",
        "Softplus",
        "Softsign",
        "Mish",
    ] {
        let line = format!("%y = {} %x : f32[1,3,4]", op.to_lowercase());
        assert_eq!(with_operands(op, &["x"], &[]), [line]);
    }
    assert_eq!(with_operands("Neg", &["x"], &[]), ["%y = scale %x {factor=-1.0} : f32[1,3,4]"]);
}

#[test]
fn activations_of_every_domain_become_few_ops() {
    let line = |op: &str, inputs: &[&str], attrs: &[(&str, Attr)]| with_operands(op, inputs, attrs).join("\n");
    let gelu = |approximate: &str| format!("gelu %x {{approximate={approximate}}} : f32[1,3,4]");
    assert_eq!(line("Gelu", &["x"], &[]), format!("%y = {}", gelu("none")));
    assert_eq!(line("Gelu", &["x"], &[("approximate", "tanh".into())]), format!("%y = {}", gelu("tanh")));
    assert_eq!(line("com.microsoft.Gelu", &["x"], &[]), format!("%y = {}", gelu("none")));
    assert_eq!(line("com.microsoft.FastGelu", &["x"], &[]), format!("%y = {}", gelu("tanh")));
    insta::assert_snapshot!(
        [
            line("com.microsoft.FastGelu", &["x", "c"], &[]),
            line("com.microsoft.BiasGelu", &["x", "c"], &[]),
            line("com.microsoft.QuickGelu", &["x"], &[]),
            line("com.microsoft.QuickGelu", &["x"], &[("alpha", 1.0.into())]),
            line("Elu", &["x"], &[("alpha", 0.5.into())]),
            line("Selu", &["x"], &[]),
            line("Celu", &["x"], &[]),
            line("Celu", &["x"], &[("alpha", 2.0.into())]),
            line("ThresholdedRelu", &["x"], &[]),
            line("Shrink", &["x"], &[("lambd", 1.0.into()), ("bias", 0.25.into())]),
            line("Pow", &["x", "w"], &[]),
            line("Max", &["x", "w", "c"], &[]),
            line("Mean", &["x", "w", "c"], &[]),
            line("Sum", &["x", "w", "c"], &[]),
            line("Mod", &["x", "w"], &[("fmod", 1.into())]),
            line("PRelu", &["x", "w"], &[]),
        ]
        .join("\n\n")
    );
}

#[test]
fn a_slope_for_each_channel_may_lack_its_other_axes() {
    let mut m = Builder::new("prelu", 0);
    m.input("x", "N,3,2,4").uniform("w", &[3], 0.1, 0.9).node("y", "PRelu", &["x", "w"], &[]).output("y", "N,3,2,4");
    assert_eq!(
        forward(&m.model(), &mse(1)),
        [
            "%y.slope = reshape %w {shape=[3, 1, 1]} : f32[3,1,1]",
            "%y, %y.mask = prelu %x, %y.slope : f32[1,3,2,4], bits[1,3,2,4]"
        ]
    );
}

#[test]
fn bounds_that_are_computed_are_a_maximum_and_a_minimum() {
    let mut m = Builder::new("clip", 0);
    m.input("x", "N,4").node("high", "ReduceMean", &["x"], &[("keepdims", 0.into())]);
    m.node("y", "Clip", &["x", "", "high"], &[]).output("y", "N,4");
    assert_eq!(forward(&m.model(), &mse(2))[1..], ["%y.min = min %x, %high : f32[2,4]"]);
}

#[test]
fn operators_of_a_domain_that_is_not_known_are_refused() {
    let mut m = Builder::new("domain", 0);
    m.input("x", "N,4").node("y", "my.company.Relu", &["x"], &[]).output("y", "N,4");
    let error = refused(&m.model(), &mse(1));
    assert!(error.contains("y  Relu (opset 17) of domain my.company is not supported"), "{error}");
    let mut m = Builder::new("mod", 0);
    m.input("x", "N,4").node("y", "Mod", &["x", "x"], &[]).output("y", "N,4");
    assert!(refused(&m.model(), &mse(1)).contains("y  Mod (opset 17) of floats needs fmod"));
}

/// A model of one Attention node with so many axes of its inputs, attributes, and other inputs.
fn attention(dims: [&str; 3], attrs: &[(&str, Attr)], more: &[&str]) -> Model {
    let mut m = Builder::new("attention", 0);
    m.opset(23);
    for (name, dims) in ["q", "k", "v"].into_iter().zip(dims) {
        m.input(name, dims);
    }
    let mut mask = [0.0; 15];
    (0..15).filter(|it| it / 5 < it % 5).for_each(|it| mask[it] = -1e9);
    m.floats("mask", &[1, 1, 3, 5], &mask).weight("bias", &[1, 4, 3, 5]);
    m.node("y", "Attention", &[&["q", "k", "v"], more].concat(), attrs).output("y", "N");
    m.model()
}

#[test]
fn attention_nodes_keep_their_heads_apart() {
    let four = ["N,4,3,2", "N,2,5,2", "N,2,5,6"];
    assert_eq!(
        forward(&attention(four, &[("is_causal", 1.into()), ("scale", 0.5.into())], &["mask"]), &mse(2)),
        ["%y, %y.lse = attention %q, %k, %v, %mask {scale=0.5, causal=1, safe=1} : f32[2,4,3,6], f32[2,4,3]"]
    );
    let three = ["N,3,8", "N,5,4", "N,5,12"];
    let heads = [("q_num_heads", 4.into()), ("kv_num_heads", 2.into())];
    insta::assert_snapshot!(forward(&attention(three, &heads, &[]), &mse(2)).join("\n"));
    let refused = |dims, attrs: &[(&str, Attr)], more: &[&str]| {
        let text = refused(&attention(dims, attrs, more), &mse(2));
        text.lines().nth(1).unwrap_or(&text).trim().to_string()
    };
    assert_eq!(
        refused(three, &[("q_num_heads", 3.into()), ("kv_num_heads", 2.into())], &[]),
        "y  Attention (opset 23) has 3 heads for queries of [2, 3, 8]"
    );
    assert_eq!(
        refused(four, &[("softcap", 30.0.into())], &[]),
        "y  Attention (opset 23) with a softcap is not supported; export attention as products and a softmax"
    );
    assert_eq!(
        refused(four, &[], &["", "k", "v"]),
        "y  Attention (opset 23) with past keys is not supported; export the model without a cache"
    );
    assert_eq!(
        refused(four, &[], &["bias"]),
        "y  Attention (opset 23) has a mask that would be trained; leave its weights out with `--freeze`"
    );
}
