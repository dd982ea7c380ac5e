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
