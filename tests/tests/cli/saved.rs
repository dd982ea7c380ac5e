use razorc_fixtures::Builder;

use super::Sandbox;

#[test]
fn what_is_kept_of_saved_tensors_is_told_with_reasons() {
    let sandbox = Sandbox::new();
    let mut m = Builder::new("tokens", 0);
    m.input("x", "N,4,8").weight("stem", &[8, 32]).node("h", "MatMul", &["x", "stem"], &[]);
    m.uniform("scale", &[32], 0.5, 1.5).uniform("bias", &[32], -0.3, 0.3).uniform("rms", &[32], 0.5, 1.5);
    m.node("n", "LayerNormalization", &["h", "scale", "bias"], &[]);
    m.weight("w", &[32, 32]).node("a", "MatMul", &["n", "w"], &[]).node("r", "Add", &["h", "a"], &[]);
    m.node("last", "SimplifiedLayerNormalization", &["r", "rms"], &[]);
    m.node("pooled", "ReduceMean", &["last"], &[("axes", [1].into()), ("keepdims", 0.into())]);
    m.weight("head", &[32, 5]).node("y", "MatMul", &["pooled", "head"], &[]).output("y", "N,5");
    m.model().save(sandbox.path("tokens.onnx")).unwrap();
    insta::assert_snapshot!(sandbox.succeed("inspect tokens.onnx --saved"));
    insta::assert_snapshot!(sandbox.succeed("inspect tokens.onnx --saved --exact-norm --prune-ends"));
}

#[test]
fn slopes_that_are_kept_are_told() {
    let sandbox = Sandbox::new();
    let mut m = Builder::new("gelu", 0);
    m.opset(20).input("x", "N,16").weight("w", &[64, 16]).weight("v", &[64, 64]).weight("head", &[4, 64]);
    m.node("h", "Gemm", &["x", "w"], &[("transB", 1.into())]).node("g", "Gelu", &["h"], &[]);
    m.node("i", "Gemm", &["g", "v"], &[("transB", 1.into())]).node("r", "Relu", &["i"], &[]);
    m.node("y", "Gemm", &["r", "head"], &[("transB", 1.into())]).output("y", "N,4");
    m.model().save(sandbox.path("gelu.onnx")).unwrap();
    insta::assert_snapshot!(sandbox.succeed("inspect gelu.onnx --saved"));
    insta::assert_snapshot!("mesa", sandbox.succeed("inspect gelu.onnx --saved --method mesa"));
    insta::assert_snapshot!("actnn", sandbox.succeed("inspect gelu.onnx --saved --method actnn"));
}
