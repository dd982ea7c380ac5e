//! Indices, truths and integers; and what is made of places that are known when compiling.

use razorc_fixtures::{Attr, Builder};
use razorc_proto::onnx::tensor_proto::DataType;

use super::{forward, mse, refused};

/// Tokens `t: i64[N,3]`, a mask `m: bool[N,3]` and floats `x: f32[N,4]`.
fn builder(opset: i64) -> Builder {
    let mut m = Builder::new("index", 0);
    m.opset(opset).typed_input("t", DataType::Int64, "N,3").typed_input("m", DataType::Bool, "N,3").input("x", "N,4");
    m
}

#[test]
fn an_embedding_is_a_gather_of_rows() {
    let mut m = builder(13);
    m.weight("table", &[9, 8]).node("y", "Gather", &["table", "t"], &[]).output("y", "N");
    assert_eq!(forward(&m.model(), &mse(2)), ["%y = gather %table, %t {axis=0} : f32[2,3,8]"]);
}

#[test]
fn a_place_that_is_known_is_a_slice() {
    let mut m = builder(13);
    m.ints("last", &[-1]).node("y", "Gather", &["x", "last"], &[("axis", 1.into())]).output("y", "N");
    assert_eq!(
        forward(&m.model(), &mse(2)),
        ["%y.place = slice %x {starts=[0, 3], ends=[2, 4], steps=[1, 1]} : f32[2,1]"]
    );
    let mut m = builder(13);
    m.ints("some", &[0, 4]).node("y", "Gather", &["x", "some"], &[("axis", 1.into())]).output("y", "N");
    assert!(refused(&m.model(), &mse(2)).contains("y  Gather (opset 13) reads place 4 of an axis of 4"));
}

#[test]
fn an_attention_mask_becomes_large_negative_numbers() {
    let mut m = builder(17);
    m.node("f", "Cast", &["m"], &[("to", 1.into())]).floats("one", &[3], &[1.0; 3]).floats("low", &[3], &[-9.0; 3]);
    m.node("n", "Sub", &["one", "f"], &[]).node("y", "Mul", &["n", "low"], &[]).output("y", "N,3");
    assert_eq!(forward(&m.model(), &mse(2))[0], "%f = cast %m {to=f32} : f32[2,3]");
}

#[test]
fn truths_and_integers_are_computed_with() {
    let mut m = builder(13);
    m.ints("two", &[2]).ints("zero", &[0]).floats("low", &[1], &[-1.0]);
    m.node("twice", "Mul", &["t", "two"], &[])
        .node("rest", "Mod", &["twice", "two"], &[])
        .node("negative", "Neg", &["rest"], &[])
        .node("is_zero", "Equal", &["negative", "zero"], &[])
        .node("both", "And", &["is_zero", "m"], &[])
        .node("neither", "Not", &["both"], &[])
        .node("f", "Cast", &["t"], &[("to", 1.into())])
        .node("y", "Where", &["neither", "f", "low"], &[])
        .output("y", "N,3");
    assert_eq!(
        forward(&m.model(), &mse(2)),
        [
            "%twice = mul %t, %two : i64[2,3]",
            "%rest = mod %twice, %two {fmod=0} : i64[2,3]",
            "%negative = mul %rest, %negative.minus_one : i64[2,3]",
            "%is_zero = equal %negative, %zero : bool[2,3]",
            "%both = and %is_zero, %m : bool[2,3]",
            "%neither = not %both : bool[2,3]",
            "%f = cast %t {to=f32} : f32[2,3]",
            "%y = where %neither, %f, %low : f32[2,3]",
        ]
    );
}

#[test]
fn casts_to_narrow_types_are_refused() {
    for to in [3, 5] {
        let mut m = builder(13);
        m.node("h", "Cast", &["x"], &[("to", to.into())])
            .node("y", "Cast", &["h"], &[("to", 1.into())])
            .output("y", "N,4");
        assert!(refused(&m.model(), &mse(2)).contains("Cast"), "{}", refused(&m.model(), &mse(2)));
    }
    let mut m = builder(13);
    m.node("a", "Tanh", &["x"], &[])
        .node("h", "Cast", &["a"], &[("to", 11.into())])
        .node("y", "Cast", &["h"], &[("to", 1.into())])
        .output("y", "N,4");
    assert_eq!(forward(&m.model(), &mse(2)), ["%a = tanh %x : f32[2,4]"]);
}

#[test]
fn updates_that_have_no_gradient_are_refused_where_one_is_needed() {
    let scatter = |updates: &str, reduction: &str| {
        let mut m = builder(18);
        m.ints("rows", &[0]).node("at", "Unsqueeze", &["rows", "rows"], &[]).weight("w", &[1, 4]);
        m.node("y", "ScatterND", &["x", "at", updates], &[("reduction", reduction.into())]).output("y", "N,4");
        m.model()
    };
    let lines = forward(&scatter("w", "add"), &mse(2));
    assert_eq!(lines, ["%y = scatter_nd %x, %at, %w {reduction=add} : f32[2,4]"]);
    assert!(
        refused(&scatter("w", "max"), &mse(2))
            .contains("y  ScatterND (opset 18) with reduction max has no gradient, and weights that are trained lie")
    );
}

#[test]
fn a_split_may_be_uneven_and_have_outputs_that_nobody_reads() {
    let split = |opset, sizes: &[i64]| {
        let mut m = builder(opset);
        match opset {
            11 => m.node_with(
                &["a", "", "y"],
                "Split",
                &["x"],
                &[("axis", 1.into()), ("split", Attr::Ints(sizes.to_vec()))],
            ),
            _ if sizes.is_empty() => {
                m.node_with(&["a", "y"], "Split", &["x"], &[("axis", 1.into()), ("num_outputs", 2.into())])
            }
            _ => m.ints("s", sizes).node_with(&["a", "", "y"], "Split", &["x", "s"], &[("axis", 1.into())]),
        };
        m.output("y", "N");
        m.model()
    };
    for opset in [11, 13, 18] {
        let lines = forward(&split(opset, &[2, 1, 1]), &mse(2));
        assert_eq!(
            lines.last().unwrap(),
            "%y = slice %x {starts=[0, 3], ends=[2, 4], steps=[1, 1]} : f32[2,1]",
            "opset {opset}"
        );
    }
    let lines = forward(&split(18, &[]), &mse(2));
    assert_eq!(lines.last().unwrap(), "%y = slice %x {starts=[0, 2], ends=[2, 4], steps=[1, 1]} : f32[2,2]");
}

#[test]
fn a_slice_may_go_backwards() {
    let mut m = builder(13);
    m.ints("start", &[-1]).ints("end", &[i64::MIN]).ints("axis", &[1]).ints("step", &[-2]);
    m.node("y", "Slice", &["x", "start", "end", "axis", "step"], &[]).output("y", "N");
    assert_eq!(
        forward(&m.model(), &mse(2)),
        [
            "%y.forwards = slice %x {starts=[0, 0], ends=[2, 4], steps=[1, 1]} : f32[2,4]",
            "%y.axis1 = gather %y.forwards, %y.axis1.places {axis=1} : f32[2,2]",
        ]
    );
}

#[test]
fn pads_may_crop_and_mirror() {
    let pad = |opset, mode: &str, pads: &[i64]| {
        let mut m = builder(opset);
        match opset {
            ..11 => m.node("y", "Pad", &["x"], &[("mode", mode.into()), ("pads", Attr::Ints(pads.to_vec()))]),
            _ => m.ints("pads", pads).node("y", "Pad", &["x", "pads"], &[("mode", mode.into())]),
        };
        m.output("y", "N");
        m.model()
    };
    for opset in [10, 13, 18] {
        assert_eq!(
            forward(&pad(opset, "constant", &[0, -1, 0, 2]), &mse(2)),
            [
                "%y.cropped = slice %x {starts=[0, 1], ends=[2, 4], steps=[1, 1]} : f32[2,3]",
                "%y = pad %y.cropped {pads=[0, 0, 0, 2], value=0.0} : f32[2,5]",
            ]
        );
        let lines = forward(&pad(opset, "reflect", &[0, 2, 0, 1]), &mse(2));
        assert_eq!(lines, ["%y.axis1 = gather %x, %y.axis1.places {axis=1} : f32[2,7]"]);
    }
    assert!(refused(&pad(13, "constant", &[0, -3, 0, -1]), &mse(2)).contains("crops all of axis 1"));
}

#[test]
fn extremes_take_axes_from_wherever_the_opset_has_them() {
    for opset in [13, 18] {
        let mut m = builder(opset);
        match opset {
            13 => m.node("y", "ReduceMax", &["x"], &[("axes", [-1].into()), ("keepdims", 0.into())]),
            _ => m.ints("axes", &[-1]).node("y", "ReduceMax", &["x", "axes"], &[("keepdims", 0.into())]),
        };
        m.output("y", "N");
        assert_eq!(forward(&m.model(), &mse(2)), ["%y = reduce_max %x {axes=[1], keepdims=0} : f32[2]"]);
    }
}

#[test]
fn the_first_of_an_order_may_be_taken() {
    for opset in [9, 13] {
        let mut m = builder(opset);
        match opset {
            9 => m.node_with(&["y", "i"], "TopK", &["x"], &[("k", 2.into())]),
            _ => m.ints("k", &[2]).node_with(&["y", "i"], "TopK", &["x", "k"], &[("largest", 0.into())]),
        };
        m.output("y", "N");
        let largest = i64::from(opset == 9);
        let line = format!("%y, %y.index = top_k %x {{axis=1, k=2, largest={largest}}} : f32[2,2], i64[2,2]");
        assert_eq!(forward(&m.model(), &mse(2)), [line]);
    }
}
