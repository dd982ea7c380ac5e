//! What is not imported, and what is said about it.

use std::collections::BTreeMap;

use razorc_fixtures::Builder;

use crate::{forward, mse, options, refused, single};

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
fn operators_of_a_domain_that_is_not_known_are_refused() {
    let mut m = Builder::new("domain", 0);
    m.input("x", "N,4").node("y", "my.company.Relu", &["x"], &[]).output("y", "N,4");
    let error = refused(&m.model(), &mse(1));
    assert!(error.contains("y  Relu (opset 17) of domain my.company is not supported"), "{error}");
    let mut m = Builder::new("mod", 0);
    m.input("x", "N,4").node("y", "Mod", &["x", "x"], &[]).output("y", "N,4");
    assert!(refused(&m.model(), &mse(1)).contains("y  Mod (opset 17) of floats needs fmod"));
}
