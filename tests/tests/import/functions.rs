//! Functions, activations and attention of every domain.

use razorc_fixtures::{Attr, Builder};
use razorc_proto::Model;

use crate::{forward, mse, refused};

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
