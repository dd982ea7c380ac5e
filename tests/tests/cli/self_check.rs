use ndarray::{Array1, Array4};
use razorc_fixtures::{cnn, mlp};
use razorc_proto::onnx::StringStringEntryProto;
use razorc_proto::onnx::tensor_proto::DataLocation;

use super::{Sandbox, json};

const TRAIN: &str = "train mlp.trainer --data x.npy --targets y.npy --steps 1";

/// What a command that succeeds writes to stderr.
fn told(sandbox: &Sandbox, arguments: &str) -> String {
    let output = sandbox.run(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "razorc {arguments}\n{errors}");
    errors
}

#[test]
fn the_first_gradient_is_told() {
    let sandbox = Sandbox::with_trainer();
    let said = told(&sandbox, TRAIN);
    assert!(said.contains("self-check: the body's first gradient has cosine "), "{said}");
    assert!(!said.contains("warning"), "{said}");
    let lines = sandbox.succeed(&format!("{TRAIN} --json"));
    let check = json(lines.lines().next().unwrap());
    assert_eq!((&check["event"], &check["warning"]), (&"check".into(), &false.into()), "{check}");
    assert!(0.5 < check["cosine"].as_f64().unwrap() && 0.1 < check["norm_ratio"].as_f64().unwrap(), "{check}");
    for quiet in [format!("{TRAIN} --no-self-check"), format!("{TRAIN} --checkpoint run")] {
        let expected = usize::from(!quiet.contains("--no-self-check"));
        assert_eq!(told(&sandbox, &quiet).matches("self-check").count(), expected);
    }
    assert!(!told(&sandbox, "train run/last.trainer --data x.npy --targets y.npy --steps 1").contains("self-check"));

    cnn().save(sandbox.path("cnn.onnx")).unwrap();
    // Brighter at the top or at the bottom by class.
    let x = Array4::<u8>::from_shape_fn((16, 16, 16, 3), |(row, y, x, c)| {
        let noise = ((row * 7919 + y * 613 + x * 89 + c * 31) * 2_654_435_761) >> 13;
        (noise % 100) as u8 + if y / 8 == row % 2 { 100 } else { 0 }
    });
    ndarray_npy::write_npy(sandbox.path("images.npy"), &x).unwrap();
    ndarray_npy::write_npy(sandbox.path("classes.npy"), &Array1::from_shape_fn(16, |row| (row % 2) as u8)).unwrap();
    sandbox.succeed("compile cnn.onnx --classes 2 --sparsity 0.999 --prune-ends");
    let said = told(&sandbox, "train cnn.trainer --data images.npy --targets classes.npy --preset unit --steps 1");
    assert!(said.contains("\nwarning: with so unlike gradients"), "{said}");
    sandbox.succeed("compile mlp.onnx --classes 3 --sparsity 0");
    assert!(!told(&sandbox, TRAIN).contains("self-check"));
}

#[test]
fn a_budget_is_kept() {
    let sandbox = Sandbox::with_trainer();
    let refused = sandbox.refuse("compile mlp.onnx --classes 3 --optimizer sgd --memory 1");
    let numbers = refused.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse::<u64>().ok());
    let smallest = numbers.max().unwrap();
    sandbox.succeed(&format!("compile mlp.onnx --classes 3 --optimizer sgd --memory {smallest}"));
    let needed = json(&sandbox.succeed("inspect mlp.trainer --memory --json"))["self_check"].as_u64().unwrap();
    assert!(smallest < needed, "{smallest} of {needed}: {refused}");
    let said = told(&sandbox, TRAIN);
    let expected =
        format!("self-check skipped: the exact gradient takes {needed} bytes, and the trainer was made for {smallest}");
    assert!(said.contains(&expected), "{said}");
    let lines = sandbox.succeed(&format!("{TRAIN} --json"));
    let check = json(lines.lines().next().unwrap());
    assert!(check["skipped"].as_str().unwrap().starts_with("the exact gradient takes"), "{check}");
}

#[test]
fn plans_need_no_weights() {
    let sandbox = Sandbox::new();
    for (name, model) in [("mlp", mlp()), ("cnn", cnn())] {
        model.save(sandbox.path(&format!("{name}.onnx"))).unwrap();
        let mut proto = model.clone().into_proto();
        for tensor in &mut proto.graph.as_mut().unwrap().initializer {
            if !tensor.dims.is_empty() {
                tensor.raw_data = None;
                tensor.data_location = Some(DataLocation::External.into());
                let entry = |key: &str, value: &str| StringStringEntryProto {
                    key: Some(key.into()),
                    value: Some(value.into()),
                };
                tensor.external_data = vec![entry("location", "absent.bin")];
            }
        }
        model.with_proto(proto).save(sandbox.path(&format!("{name}_bare.onnx"))).unwrap();
        let plan = |name: &str| json(&sandbox.succeed(&format!("inspect {name}.onnx --classes 3 --memory --json")));
        assert_eq!(plan(name), plan(&format!("{name}_bare")));
        let found = json(&sandbox.succeed(&format!("doctor {name}_bare.onnx --classes 3 --json")));
        assert_eq!(found["trainable"], true);
        let refused = sandbox.refuse(&format!("compile {name}_bare.onnx --classes 3"));
        assert!(refused.contains("absent.bin"), "{refused}");
    }
}
