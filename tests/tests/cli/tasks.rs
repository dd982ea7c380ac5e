use std::fs;

use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array1, Array2, Array3};
use ndarray_npy::{NpzWriter, write_npy};
use razorc_fixtures::Builder;
use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::type_proto::Value;

use super::{Sandbox, json};

/// Pseudorandom numbers in -1..1.
fn noise(at: usize) -> f32 {
    ((at * 7919 + 13) % 1009) as f32 / 504.5 - 1.0
}

/// Makes an input of the model one of integers.
fn with_integers(mut model: Model, name: &str) -> Model {
    for input in model.graph_mut().input.iter_mut().filter(|it| it.name() == name) {
        if let Some(Value::TensorType(tensor)) = input.r#type.as_mut().and_then(|it| it.value.as_mut()) {
            tensor.elem_type = Some(DataType::Int64.into());
        }
    }
    model
}

/// 40 rows of 16 numbers, the first three of which are the scores of their class.
fn write_rows(sandbox: &Sandbox) -> (Array2<f32>, Array1<i64>) {
    let x = Array2::from_shape_fn((40, 16), |(row, column)| noise(16 * row + column));
    let best = |row: usize| (1..3).fold(0, |best, it| if x[[row, best]] < x[[row, it]] { it } else { best });
    let y = Array1::from_shape_fn(40, |row| best(row) as i64);
    write_npy(sandbox.path("x.npy"), &x).unwrap();
    write_npy(sandbox.path("y.npy"), &y).unwrap();
    (x, y)
}

fn number(text: &str, key: &str) -> f64 {
    let object = json(text.lines().last().unwrap());
    object[key].as_f64().unwrap_or_else(|| panic!("no {key}: {object}"))
}

#[test]
fn pixels_get_classes() {
    let sandbox = Sandbox::new();
    let mut model = Builder::new("pixels", 1);
    model.input("image", "N,3,16,16").output("scores", "N,2,16,16");
    model.weight("w1", &[8, 3, 3, 3]).weight("w2", &[2, 8, 1, 1]);
    model.node("h", "Conv", &["image", "w1"], &[("pads", [1; 4].into())]);
    model.node("a", "Relu", &["h"], &[]).node("scores", "Conv", &["a", "w2"], &[]);
    model.model().save(sandbox.path("pixels.onnx")).unwrap();
    for part in ["images", "masks"] {
        fs::create_dir_all(sandbox.path("scenes").join(part)).unwrap();
    }
    for idx in 0..12u32 {
        let inside = |x: u32, y: u32| (x + idx) % 16 < 8 && y % 9 < 5;
        let image = RgbImage::from_fn(16, 16, |x, y| Rgb([if inside(x, y) { 220 } else { 30 }; 3]));
        image.save(sandbox.path(&format!("scenes/images/{idx}.png"))).unwrap();
        let mask = GrayImage::from_fn(16, 16, |x, y| Luma([if x == 0 { 255 } else { u8::from(inside(x, y)) }]));
        mask.save(sandbox.path(&format!("scenes/masks/{idx}.png"))).unwrap();
    }
    sandbox.succeed("compile pixels.onnx --task segmentation --batch 5 --sparsity 0.5");
    sandbox.succeed("train pixels.trainer --data scenes --preset unit --flip --epochs 60 --lr 0.02 --checkpoint run");
    let score = sandbox.succeed("eval run/last.trainer --data scenes --json");
    assert!(0.9 < number(&score, "miou"), "{score}");
    // Neither padded rows nor ignored columns count.
    assert_eq!(number(&score, "counted"), (12 * 16 * 15) as f64);
    let refused = sandbox.refuse("compile pixels.onnx");
    assert!(refused.contains("--task segmentation"), "{refused}");
}

#[test]
fn a_model_that_computes_its_own_loss_is_trained_on_it() {
    let sandbox = Sandbox::new();
    write_rows(&sandbox);
    let scores = |name: &str| {
        let mut model = Builder::new(name, 1);
        model.input("x", "N,16");
        model.weight("w", &[16, 3]).node("scores", "MatMul", &["x", "w"], &[]);
        model
    };
    let mut plain = scores("plain");
    plain.output("scores", "N,3").model().save(sandbox.path("plain.onnx")).unwrap();
    let mut own = scores("own");
    own.input("labels", "N").output("loss", "").output("scores", "N,3").opset(13);
    own.node("loss", "SoftmaxCrossEntropyLoss", &["scores", "labels"], &[]);
    with_integers(own.model(), "labels").save(sandbox.path("own.onnx")).unwrap();
    let mut likely = scores("likely");
    likely.input("labels", "N").output("twice", "").opset(13);
    likely.node("logs", "LogSoftmax", &["scores"], &[("axis", 1.into())]);
    likely.node("loss", "NegativeLogLikelihoodLoss", &["logs", "labels"], &[]);
    likely.node("twice", "Add", &["loss", "loss"], &[]);
    with_integers(likely.model(), "labels").save(sandbox.path("likely.onnx")).unwrap();

    let course = "--data x.npy --targets y.npy --epochs 10 --lr 0.1 --schedule constant --json";
    let optimizer = "--optimizer sgd --momentum 0 --sparsity 0";
    sandbox.succeed(&format!("compile plain.onnx {optimizer}"));
    sandbox.succeed(&format!("compile own.onnx {optimizer} --loss-output loss"));
    sandbox.succeed(&format!("compile likely.onnx {optimizer} --loss-output twice"));
    let plain = number(&sandbox.succeed(&format!("train plain.trainer {course}")), "train_loss");
    let own = number(&sandbox.succeed(&format!("train own.trainer {course}")), "train_loss");
    assert!((plain - own).abs() < 1e-6 * plain, "{plain}, {own}");
    // Twice the loss at half the rate takes the same way.
    let halved = course.replace("0.1", "0.05");
    let likely = number(&sandbox.succeed(&format!("train likely.trainer {halved}")), "train_loss");
    assert!((2.0 * plain - likely).abs() < 1e-5 * plain, "{plain}, {likely}");

    let refused = sandbox.refuse("compile own.onnx --loss-output scores");
    assert!(refused.contains("must be one number"), "{refused}");
    let refused = sandbox.refuse("compile own.onnx --loss-output nowhere");
    assert!(refused.contains("`nowhere`"), "{refused}");
    let refused = sandbox.refuse("compile own.onnx --loss-output loss --target-input y");
    assert!(refused.contains("the model's inputs are x, labels"), "{refused}");
}

#[test]
fn a_loss_made_of_other_operators() {
    let sandbox = Sandbox::new();
    let (x, _) = write_rows(&sandbox);
    write_npy(sandbox.path("y.npy"), &Array2::from_shape_fn((40, 1), |(row, _)| x[[row, 0]] - 2.0 * x[[row, 1]]))
        .unwrap();
    let mut model = Builder::new("distance", 1);
    model.input("x", "N,16").input("goal", "N,1").output("loss", "").weight("w", &[16, 1]);
    model.node("z", "MatMul", &["x", "w"], &[]).node("d", "Sub", &["z", "goal"], &[]);
    model.node("s", "Mul", &["d", "d"], &[]).node("loss", "ReduceMean", &["s"], &[("keepdims", 0.into())]);
    model.model().save(sandbox.path("own.onnx")).unwrap();
    sandbox.succeed("compile own.onnx --loss-output loss --target-input goal --sparsity 0");
    let end = sandbox
        .succeed("train own.trainer --data x.npy --targets y.npy --epochs 100 --lr 0.05 --checkpoint run --json");
    assert!(number(&end, "train_loss") < 1e-2, "{}", end.lines().last().unwrap());
    let score = sandbox.succeed("eval run/last.trainer --data x.npy --targets y.npy --json");
    assert!(number(&score, "loss") < 1e-2, "{score}");
}

#[test]
fn several_inputs_are_fed_by_name() {
    let sandbox = Sandbox::new();
    let (x, y) = write_rows(&sandbox);
    let mut model = Builder::new("pair", 1);
    model.input("left", "N,16").input("right", "N,16").output("z", "N,3").weight("w", &[16, 3]);
    model.node("sum", "Add", &["left", "right"], &[]).node("z", "MatMul", &["sum", "w"], &[]);
    model.model().save(sandbox.path("pair.onnx")).unwrap();
    let mut writer = NpzWriter::new(fs::File::create(sandbox.path("rows.npz")).unwrap());
    writer.add_array("right", &x.mapv(|it| 0.25 * it)).unwrap();
    writer.add_array("left", &x.mapv(|it| 0.75 * it)).unwrap();
    writer.add_array("y", &y).unwrap();
    writer.finish().unwrap();
    sandbox.succeed("compile pair.onnx --sparsity 0");
    let end = sandbox.succeed("train pair.trainer --data rows.npz --val rows.npz --epochs 60 --lr 0.05 --json");
    assert!(0.9 < number(&end, "val_accuracy"), "{}", end.lines().last().unwrap());
    assert!(0.9 < number(&end, "val_f1"), "{}", end.lines().last().unwrap());
    let refused = sandbox.refuse("train pair.trainer --data x.npy --targets y.npy");
    assert!(refused.contains("left, right") && refused.contains(".npz"), "{refused}");
}

#[test]
fn numbers_labels_and_tokens() {
    let sandbox = Sandbox::new();
    let (x, _) = write_rows(&sandbox);
    let mut model = Builder::new("line", 1);
    model.input("x", "N,16").output("z", "N,2").weight("w", &[16, 2]).node("z", "MatMul", &["x", "w"], &[]);
    model.model().save(sandbox.path("line.onnx")).unwrap();
    let goal = Array2::from_shape_fn((40, 2), |(row, column)| x[[row, column]] - x[[row, 3]]);
    write_npy(sandbox.path("numbers.npy"), &goal).unwrap();
    write_npy(sandbox.path("labels.npy"), &goal.mapv(|it| u8::from(0.0 < it))).unwrap();
    let course = "--epochs 150 --lr 0.03";
    for loss in ["mse", "mae", "huber"] {
        sandbox.succeed(&format!("compile line.onnx --task regression --loss {loss} --sparsity 0"));
        sandbox.succeed(&format!("train line.trainer --data x.npy --targets numbers.npy --checkpoint {loss} {course}"));
        let score = sandbox.succeed(&format!("eval {loss}/last.trainer --data x.npy --targets numbers.npy --json"));
        assert!(0.98 < number(&score, "r2"), "{loss}: {score}");
    }
    sandbox.succeed("compile line.onnx --task multi-label --sparsity 0");
    sandbox.succeed(&format!("train line.trainer --data x.npy --targets labels.npy --checkpoint labels {course}"));
    let score = sandbox.succeed("eval labels/last.trainer --data x.npy --targets labels.npy --json");
    assert!(0.9 < number(&score, "f1") && 0.8 < number(&score, "subset_accuracy"), "{score}");

    let mut model = Builder::new("words", 1);
    model.input("x", "N,5,4").output("z", "N,5,3").weight("w", &[4, 3]).node("z", "MatMul", &["x", "w"], &[]);
    model.model().save(sandbox.path("words.onnx")).unwrap();
    let x = Array3::from_shape_fn((24, 5, 4), |(row, at, it)| noise(20 * row + 4 * at + it));
    let best = |row: usize, at: usize| {
        (1..3).fold(0, |best, it| if x[[row, at, best]] < x[[row, at, it]] { it } else { best })
    };
    let y = Array2::from_shape_fn((24, 5), |(row, at)| if at == 4 { -100 } else { best(row, at) as i64 });
    write_npy(sandbox.path("words.npy"), &x).unwrap();
    write_npy(sandbox.path("tags.npy"), &y).unwrap();
    sandbox.succeed("compile words.onnx --task token-classification --batch 7 --sparsity 0");
    sandbox
        .succeed("train words.trainer --data words.npy --targets tags.npy --epochs 150 --lr 0.05 --checkpoint words");
    let score = sandbox.succeed("eval words/last.trainer --data words.npy --targets tags.npy --json");
    assert_eq!(number(&score, "counted"), 96.0);
    assert!(0.9 < number(&score, "f1") && 0.9 < number(&score, "accuracy"), "{score}");
    let refused = sandbox.refuse("compile words.onnx --task causal-lm --loss mse");
    assert!(refused.contains("causal-lm cannot have the loss"), "{refused}");
}
