//! One meaning, written in many ways: pads, bounds, slices, products and literals.

use razorc_fixtures::{Builder, tensor};
use razorc_proto::onnx::tensor_proto::DataType;

use crate::{forward, mse, single};

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
fn pads_may_name_their_axes() {
    let mut m = Builder::new("pad", 0);
    m.opset(18).input("x", "N,3,4").ints("pads", &[1, 2]).ints("axes", &[-1]).floats("value", &[], &[0.5]);
    m.node("y", "Pad", &["x", "pads", "value", "axes"], &[]).output("y", "N");
    assert_eq!(forward(&m.model(), &mse(2)), ["%y = pad %x {pads=[0, 0, 1, 0, 0, 2], value=0.5} : f32[2,3,7]"]);
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
