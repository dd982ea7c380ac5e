use std::fs;

use razorc_fixtures::{Builder, tensor};
use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;

use super::{Sandbox, json};

/// Of BERT's kind.
const VOCABULARY: &str =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nfilm\nno\n##thing\nnew\nthe\nwas\n.\n,\nplay\n##ed\n";

/// Attention under a mask over 12 tokens of 32 features, a layer behind it, and two scores for the first token.
fn reviews() -> Model {
    let constant = |value: f32| tensor("", DataType::Float, &[1], value.to_le_bytes().to_vec());
    let mut m = Builder::new("reviews", 3);
    m.typed_input("input_ids", DataType::Int64, "N,12").typed_input("attention_mask", DataType::Int64, "N,12");
    m.output("scores", "N,2").uniform("words", &[17, 32], -1.0, 1.0).uniform("places", &[12, 32], -0.3, 0.3);
    m.node("read", "Gather", &["words", "input_ids"], &[]).node("x", "Add", &["read", "places"], &[]);
    m.node("one", "Constant", &[], &[("value", constant(1.0).into())]);
    m.node("far", "Constant", &[], &[("value", constant(-1e9).into())]);
    m.node("counts", "Cast", &["attention_mask"], &[("to", 1.into())]).ints("axes", &[1, 2]);
    m.node("wide", "Unsqueeze", &["counts", "axes"], &[]).node("padded", "Sub", &["one", "wide"], &[]);
    m.node("mask", "Mul", &["padded", "far"], &[]);
    m.ints("heads", &[0, 12, 2, 16]).ints("joined", &[0, 12, 32]);
    for (name, perm) in [("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])] {
        let part = |it: &str| format!("{name}.{it}");
        m.uniform(&part("w"), &[32, 32], -0.3, 0.3).node(&part("p"), "MatMul", &["x", &part("w")], &[]);
        m.node(&part("r"), "Reshape", &[&part("p"), "heads"], &[]);
        m.node(name, "Transpose", &[&part("r")], &[("perm", perm.into())]);
    }
    m.node("products", "MatMul", &["q", "k"], &[]).node("scored", "Add", &["products", "mask"], &[]);
    m.node("shares", "Softmax", &["scored"], &[("axis", (-1).into())]).node("y", "MatMul", &["shares", "v"], &[]);
    m.node("back", "Transpose", &["y"], &[("perm", [0, 2, 1, 3].into())]);
    m.node("context", "Reshape", &["back", "joined"], &[]);
    m.uniform("up", &[32, 64], -0.3, 0.3).node("h", "MatMul", &["context", "up"], &[]).node("a", "Relu", &["h"], &[]);
    m.uniform("down", &[64, 32], -0.3, 0.3).node("o", "MatMul", &["a", "down"], &[]).node("r", "Add", &["o", "x"], &[]);
    m.ints("from", &[0]).ints("to", &[1]).ints("along", &[1]);
    m.node("token", "Slice", &["r", "from", "to", "along"], &[]).node("first", "Squeeze", &["token", "along"], &[]);
    m.uniform("head", &[32, 2], -0.3, 0.3).node("scores", "MatMul", &["first", "head"], &[]);
    m.model()
}

/// Short reviews, good and bad, some of which play with what was no good.
fn rows(count: usize) -> String {
    let middles = ["film", "the film was", "the new film , played", "no film . the film was", "played"];
    let row = |at: usize| {
        let (good, middle) = (at.is_multiple_of(2), middles[at / 2 % 5]);
        let word = if good { "good" } else { "bad" };
        format!(
            "{{\"text\": \"{middle} {word}{}\", \"label\": \"{}\"}}\n",
            [".", ""][at / 10 % 2],
            ["no", "yes"][usize::from(good)]
        )
    };
    (0..count).map(row).collect()
}

#[test]
fn a_text_model_is_tuned_from_lines_of_json() {
    let sandbox = Sandbox::new();
    reviews().save(sandbox.path("reviews.onnx")).unwrap();
    fs::write(sandbox.path("vocab.txt"), VOCABULARY).unwrap();
    fs::write(sandbox.path("train.jsonl"), rows(80)).unwrap();
    fs::write(sandbox.path("test.jsonl"), rows(20)).unwrap();
    let told = sandbox.succeed("inspect reviews.onnx --saved");
    // What attention made, and the activation.
    assert_eq!(told.matches("0.9 pruned, padding left out").count(), 2, "{told}");
    let told = sandbox.succeed("inspect reviews.onnx --saved --keep-padding");
    assert!(told.contains("0.9 pruned") && !told.contains("padding"), "{told}");

    sandbox.succeed("compile reviews.onnx");
    let course = "--epochs 12 --lr 0.01 --threads 2 --checkpoint run -o tuned.onnx --json";
    let end = sandbox.succeed(&format!("train reviews.trainer --data train.jsonl --tokenizer vocab.txt {course}"));
    let score = sandbox.succeed("eval run/last.trainer --data test.jsonl --tokenizer vocab.txt --json");
    let accuracy = json(score.lines().last().unwrap())["accuracy"].as_f64().unwrap();
    assert!(0.95 <= accuracy, "{score}\n{}", end.lines().last().unwrap());
    // What was written has the tuned weights: trained no further, it scores alike.
    sandbox.succeed("compile tuned.onnx");
    let again = sandbox.succeed("eval tuned.trainer --data test.jsonl --tokenizer vocab.txt --json");
    assert_eq!(json(again.lines().last().unwrap())["loss"], json(score.lines().last().unwrap())["loss"]);
}
