use razorc_fixtures::{Builder, cnn};

use super::{Sandbox, json};

/// A network with something of everything.
fn mixed(op: &str) -> Builder {
    let mut m = Builder::new("mixed", 0);
    m.input("x", "N,3,8,8").weight("w", &[4, 3, 3, 3]).weight("spare", &[4, 4]).floats("half", &[], &[0.5]);
    m.node("c", "Conv", &["x", "w"], &[("kernel_shape", [3, 3].into())]);
    m.batch_norm("n", "c", 4).node("a", op, &["n"], &[]).node("s", "Mul", &["a", "half"], &[]);
    m.node("left", "Tanh", &["s"], &[]);
    m.ints("shape", &[0, -1]).node("f", "Reshape", &["s", "shape"], &[]);
    m.weight("v", &[144, 5]).node("y", "MatMul", &["f", "v"], &[]).output("y", "N,5");
    m
}

#[test]
fn a_model_that_can_be_trained_is_explained() {
    let sandbox = Sandbox::new();
    mixed("Relu").model().save(sandbox.path("mixed.onnx")).unwrap();
    insta::assert_snapshot!(sandbox.succeed("doctor mixed.onnx --batch 2 --prune-ends"));
    insta::assert_snapshot!("biases", sandbox.succeed("doctor mixed.onnx --batch 2 --method bias"));
    let found = json(&sandbox.succeed("doctor mixed.onnx --batch 2 --prune-ends --json"));
    assert_eq!(found["trainable"], true);
    assert_eq!((&found["totals"]["trained"], &found["totals"]["unused"]), (&2.into(), &1.into()));
    assert_eq!(found["trained"]["v"], 720);
    let memory = json(&sandbox.succeed("inspect mixed.onnx --batch 2 --prune-ends --memory --json"));
    let told = found["memory"]["packed"].as_object().unwrap();
    assert!(told.len() == 9 && told.iter().all(|(key, n)| memory[key] == *n), "{told:?} {memory}");
    let memory = &json(&sandbox.succeed("doctor mixed.onnx --batch 2 --prune-ends --json"))["memory"];
    assert!(memory["packed"]["saved_packed"].as_u64() < memory["dense"]["saved_packed"].as_u64(), "{memory}");
}

#[test]
fn a_model_that_cannot_be_trained_is_explained_too() {
    let sandbox = Sandbox::new();
    let explained = |name: &str, arguments: &str| {
        let output = sandbox.run(&format!("doctor {name}.onnx {arguments}"));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let [said, errors] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        format!("{said}---\n{errors}")
    };
    let mut foreign = mixed("NonMaxSuppression");
    foreign.node("z", "Frobnicate", &["y"], &[]).node("u", "Unique", &["z"], &[]).output("u", "N,5");
    let mut proto = foreign.model().into_proto();
    proto.graph.as_mut().unwrap().output.remove(0);
    foreign.model().with_proto(proto).save(sandbox.path("foreign.onnx")).unwrap();
    insta::assert_snapshot!("foreign", explained("foreign", ""));
    let found = sandbox.run("doctor foreign.onnx --json").stdout;
    let found = json(std::str::from_utf8(&found).unwrap());
    assert_eq!((&found["trainable"], &found["totals"]["unsupported"]), (&false.into(), &3.into()));

    let mut open = Builder::new("open", 0);
    open.input("x", "N,width").node("d", "Det", &["x"], &[]).node("y", "Relu", &["d"], &[]).output("y", "N,4");
    open.model().save(sandbox.path("open.onnx")).unwrap();
    insta::assert_snapshot!("open", explained("open", "--classes 5"));

    cnn().save(sandbox.path("cnn.onnx")).unwrap();
    insta::assert_snapshot!("nothing_trained", explained("cnn", "--freeze *"));
}
