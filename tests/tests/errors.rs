//! What the compiler says of models and options that do not go together: what is wrong, and what to type next.

use razorc_compiler::compile;
use razorc_compiler::options::{Loss, Options};
use razorc_fixtures::{Builder, cnn, mlp, tensor};
use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;

/// Compiles each model, which has to be refused; gives the messages, each below what was tried.
fn refusals(cases: Vec<(&str, Model, Options)>) -> String {
    let refusals = cases.iter().map(|(what, model, options)| match compile(model, options) {
        Ok(_) => panic!("{what}: compiles"),
        Err(error) => format!("# {what}\n{error}\n"),
    });
    refusals.collect::<Vec<_>>().join("\n")
}

fn model(name: &str, build: impl FnOnce(&mut Builder)) -> Model {
    let mut builder = Builder::new(name, 0);
    build(&mut builder);
    builder.model()
}

fn batch(batch: u64) -> Options {
    Options { batch, ..Options::default() }
}

fn with(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = batch(2);
    change(&mut options);
    options
}

#[test]
fn operators() {
    let foreign = model("foreign", |m| {
        m.input("x", "N,3,8,8,8").weight("w", &[4, 3, 3, 3, 3]).output("z", "N,4");
        m.node("volume", "Conv", &["x", "w"], &[]);
        m.node("sorted", "Unique", &["x"], &[]);
        m.ints("pads", &[0; 10]).node("padded", "Pad", &["x", "pads"], &[("mode", "reflect".into())]);
        m.node("both", "Frobnicate", &["volume", "sorted"], &[]);
        m.node("z", "Add", &["both", "padded"], &[]);
    });
    let integers = model("integers", |m| {
        m.input("x", "N,4").output("y", "N,4");
        m.initializer(tensor("w", DataType::Int8, &[4], vec![0; 4])).node("y", "Mul", &["x", "w"], &[]);
    });
    insta::assert_snapshot!(refusals(vec![
        ("several operators at once", foreign, batch(2)),
        ("weights of another type", integers, batch(2)),
    ]));
}

#[test]
fn open_sizes() {
    let open = || {
        model("open", |m| {
            m.input("image", "N,3,height,width").input("time", "N,steps").weight("w", &[8, 3, 1, 1]);
            m.node("c", "Conv", &["image", "w"], &[]).node("g", "GlobalAveragePool", &["c"], &[]);
            m.node("f", "Flatten", &["g"], &[]).node("t", "ReduceMean", &["time"], &[("axes", [1].into())]);
            m.node("y", "Add", &["f", "t"], &[]).output("y", "N,8");
        })
    };
    let nameless = model("nameless", |m| {
        m.input("x", "N,-1").node("y", "Relu", &["x"], &[]).output("y", "N,4");
    });
    let bind = |pairs: &[(&str, u64)]| with(|it| it.bind = pairs.iter().map(|it| (it.0.to_string(), it.1)).collect());
    let shape = |name: &str, dims: &[u64]| with(|it| it.input_shapes = [(name.to_string(), dims.to_vec())].into());
    insta::assert_snapshot!(refusals(vec![
        ("nothing is bound", open(), batch(2)),
        ("one of three is bound", open(), bind(&[("height", 8)])),
        ("an axis without a name", nameless, batch(2)),
        ("a name that is not there", open(), bind(&[("height", 8), ("width", 8), ("steps", 4), ("depth", 8)])),
        ("the batch", open(), bind(&[("height", 8), ("width", 8), ("steps", 4), ("N", 8)])),
        ("an input that is not there", open(), shape("picture", &[2, 3, 8, 8])),
        ("too few axes", open(), shape("image", &[3, 8, 8])),
        ("nothing along an axis", open(), shape("time", &[2, 0])),
    ]));
}

#[test]
fn heads() {
    let spatial = model("spatial", |m| {
        m.input("x", "N,3,8,8").weight("w", &[4, 3, 3, 3]).node(
            "c",
            "Conv",
            &["x", "w"],
            &[("kernel_shape", [3, 3].into())],
        );
        m.node("y", "GlobalAveragePool", &["c"], &[]).output("y", "N,4,1,1");
    });
    let gated = model("gated", |m| {
        m.input("x", "N,4").weight("w", &[4, 4]).node("h", "MatMul", &["x", "w"], &[]);
        m.node("g", "Sigmoid", &["h"], &[]).node("y", "Mul", &["h", "g"], &[]).output("y", "N,4");
    });
    let similarity = model("similarity", |m| {
        m.input("x", "N,4")
            .node("t", "Transpose", &["x"], &[])
            .node("y", "MatMul", &["x", "t"], &[])
            .output("y", "N,N");
    });
    let classes = |classes: u64| with(|it| it.classes = classes);
    let at = |value: &str, classes: u64| {
        with(|it| {
            it.classes = classes;
            it.head_at = value.into();
        })
    };
    insta::assert_snapshot!(refusals(vec![
        ("a 3x3 convolution at the end", spatial, classes(5)),
        ("a gate at the end", gated, classes(5)),
        ("a product of activations", similarity, classes(5)),
        ("more classes than memory", mlp(), classes(1 << 40)),
        ("one weight for each of two classes", mlp(), with(|it| it.class_weights = vec![1.0, 2.0])),
        ("a head without classes", mlp(), at("a1", 0)),
        ("a head at a value that is not there", cnn(), at("stem.rellu", 5)),
        ("a head at a weight", cnn(), at("stem.weight", 5)),
        ("only a head, but none", mlp(), with(|it| it.head_only = true)),
    ]));
}

#[test]
fn globs() {
    let train = |glob: &str| with(|it| it.train = vec![glob.into()]);
    let freeze = |glob: &str| with(|it| it.freeze = vec![glob.into()]);
    let prune = |glob: &str| with(|it| it.razor.sparsity_for = vec![(glob.into(), "0.5".parse().unwrap())]);
    insta::assert_snapshot!(refusals(vec![
        ("training nothing", cnn(), train("head.*")),
        ("freezing nothing", cnn(), freeze("backbone.*")),
        ("freezing everything", cnn(), freeze("*")),
        ("no glob", cnn(), train("stem.[")),
        ("no glob either", cnn(), prune("stem.[")),
        ("pruning nothing", cnn(), prune("backbone.*")),
    ]));
}

#[test]
fn batches() {
    let baked = model("baked", |m| {
        m.input("x", "1,4,2,2").weight("w", &[5, 4, 1, 1]).ints("shape", &[4, 5]);
        m.node("c", "Conv", &["x", "w"], &[]).node("y", "Reshape", &["c", "shape"], &[]).output("y", "4,5");
    });
    let turned = model("turned", |m| {
        m.input("x", "N,4").node("y", "Transpose", &["x"], &[]).output("y", "4,N");
    });
    insta::assert_snapshot!(refusals(vec![
        ("a batch of 1 in the model", baked, batch(3)),
        ("an output without a batch", turned, batch(2)),
        ("no samples", mlp(), batch(0)),
        (
            "pictures for cross entropy",
            model("pictures", |m| {
                m.input("x", "N,3,4,4")
                    .weight("w", &[2, 3, 1, 1])
                    .node("y", "Conv", &["x", "w"], &[])
                    .output("y", "N,2,4,4");
            }),
            batch(2)
        ),
    ]));
}

#[test]
fn sizes() {
    let wide = || {
        model("wide", |m| {
            m.input("x", "N,features").node("y", "Relu", &["x"], &[]).output("y", "N,features");
        })
    };
    let padded = model("padded", |m| {
        m.input("x", "N,4")
            .ints("pads", &[0, 0, 0, 1 << 30])
            .ints("more", &[0, 0, 0, 0, 1 << 20, 0])
            .ints("axis", &[1]);
        m.node("p", "Pad", &["x", "pads"], &[]).node("u", "Unsqueeze", &["p", "axis"], &[]);
        m.node("y", "Pad", &["u", "more"], &[]).output("y", "N,1,4");
    });
    let expanded = model("expanded", |m| {
        m.input("x", "N,1,512").ints("shape", &[1, 1 << 30, 512]);
        m.node("y", "Expand", &["x", "shape"], &[]).output("y", "N");
    });
    let filled = model("filled", |m| {
        m.input("x", "N,4").ints("shape", &[1 << 30, 4]).weight("w", &[4, 4]).node("h", "MatMul", &["x", "w"], &[]);
        m.node("c", "ConstantOfShape", &["shape"], &[]).node("s", "ReduceMean", &["c"], &[("axes", [0].into())]);
        m.node("y", "Add", &["h", "s"], &[]).output("y", "N,4");
    });
    let empty = model("empty", |m| {
        m.input("x", "N,4").ints("starts", &[4]).ints("ends", &[9]).ints("axes", &[1]);
        m.node("y", "Slice", &["x", "starts", "ends", "axes"], &[]).output("y", "N,0");
    });
    let deep = model("deep", |m| {
        m.input("x", "N,4096").weight("w", &[4096, 4096]).node("h0", "MatMul", &["x", "w"], &[]);
        (0..40).for_each(|i| _ = m.node(&format!("h{}", i + 1), "Relu", &[&format!("h{i}")], &[]));
        m.output("h40", "N,4096");
    });
    let regression = |it: &mut Options| it.loss = Loss::MeanSquaredError;
    let features = |n: u64| {
        with(|it| {
            regression(it);
            it.bind = [("features".to_string(), n)].into();
        })
    };
    insta::assert_snapshot!(refusals(vec![
        ("pads", padded, with(regression)),
        ("broadcasting", expanded, with(regression)),
        ("a constant", filled, with(regression)),
        ("nothing is left", empty, with(regression)),
        ("a wide input", wide(), features(1 << 39)),
        ("an impossible input", wide(), features(u64::MAX)),
        ("a large batch", mlp(), batch(1 << 33)),
        ("a large batch of a deep model", deep, batch(1 << 24)),
    ]));
}

#[test]
fn broken_graphs() {
    let step = |m: &mut Builder| _ = m.input("x", "N,4").node("a", "Relu", &["x"], &[]);
    insta::assert_snapshot!(refusals(vec![
        (
            "an old opset",
            model("old", |m| {
                step(m.opset(6));
                m.output("a", "N,4");
            }),
            batch(2)
        ),
        (
            "a new opset",
            model("new", |m| {
                step(m.opset(29));
                m.output("a", "N,4");
            }),
            batch(2)
        ),
        ("no output", model("endless", step), batch(2)),
        (
            "an output that nothing makes",
            model("lost", |m| {
                step(m);
                m.output("b", "N,4");
            }),
            batch(2)
        ),
        (
            "an input that nothing makes",
            model("lost", |m| {
                step(m);
                m.node("y", "Add", &["a", "b"], &[]).output("y", "N");
            }),
            batch(2)
        ),
        (
            "a circle",
            model("circle", |m| {
                m.input("x", "N,4")
                    .node("a", "Add", &["x", "b"], &[])
                    .node("b", "Relu", &["a"], &[])
                    .output("b", "N,4");
            }),
            batch(2)
        ),
        (
            "two makers",
            model("twins", |m| {
                step(m);
                m.node("a", "Tanh", &["x"], &[]).output("a", "N,4");
            }),
            batch(2)
        ),
        (
            "an output that is constant",
            model("constant", |m| {
                m.input("x", "N,4").weight("w", &[4, 4]).node("y", "Relu", &["w"], &[]).output("y", "4,4");
            }),
            batch(2)
        ),
        (
            "shapes that do not fit",
            model("misfit", |m| {
                m.input("x", "N,4").weight("w", &[5, 4]).node("y", "MatMul", &["x", "w"], &[]).output("y", "N,4");
            }),
            batch(2)
        ),
        (
            "axes that are not there",
            model("axes", |m| {
                m.input("x", "N,4").node("y", "ReduceMean", &["x"], &[("axes", [5].into())]).output("y", "N");
            }),
            batch(2)
        ),
        (
            "a product with a number",
            model("number", |m| {
                m.input("x", "N,4").floats("s", &[], &[2.0]).node("y", "MatMul", &["x", "s"], &[]).output("y", "N,4");
            }),
            batch(2)
        ),
    ]));
}
