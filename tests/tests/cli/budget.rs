use ndarray::{Array1, Array4};

use super::{Sandbox, json};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    razorc_fixtures::cnn().save(sandbox.path("cnn.onnx")).unwrap();
    let x = Array4::<u8>::from_shape_fn((2048, 16, 16, 3), |(row, y, x, c)| (row * 7 + y * 5 + x * 3 + c) as u8);
    ndarray_npy::write_npy(sandbox.path("x.npy"), &x).unwrap();
    ndarray_npy::write_npy(sandbox.path("y.npy"), &Array1::from_shape_fn(2048, |row| (row % 10) as u8)).unwrap();
    sandbox
}

/// Measured by the process itself, in which nothing else runs.
#[cfg(target_os = "linux")]
#[test]
fn a_budget_is_met_by_what_is_measured() {
    let sandbox = sandbox();
    for budget in [24_000_000u64, 12_000_000, 6_000_000] {
        let told = sandbox.succeed(&format!("compile cnn.onnx --batch 2048 --optimizer sgd --memory {budget}"));
        assert!(told.contains(&format!("of {budget} bytes are planned")), "{told}");
        let data = "--data x.npy --targets y.npy --preset unit --threads 1";
        let lines = sandbox.succeed(&format!("train cnn.trainer {data} --steps 2 --json"));
        let end = json(lines.lines().last().unwrap());
        let [planned, measured] = ["planned_peak", "measured_peak"].map(|it| end[it].as_u64().unwrap());
        assert!(planned <= budget, "{planned} of {budget}");
        assert!(measured <= budget + (budget / 50).max(4 << 20), "{measured} of {budget}");
    }
}

#[test]
fn what_was_chosen_is_told() {
    let sandbox = sandbox();
    sandbox.succeed("compile cnn.onnx --batch 256 --optimizer sgd --memory 3MB");
    insta::assert_snapshot!(sandbox.succeed("inspect cnn.trainer --saved"));
    assert!(sandbox.succeed("inspect cnn.trainer").contains("budget          2.9 MiB"));
}

#[test]
fn calibration_measures_on_data() {
    let sandbox = sandbox();
    let data = "--calibrate x.npy --targets y.npy --preset unit";
    let uniform = sandbox.succeed("compile cnn.onnx --batch 32 --optimizer sgd");
    let told = sandbox.succeed(&format!("compile cnn.onnx --batch 32 --optimizer sgd {data}"));
    assert!(told.contains("  dropped energy times the gradient's energy\n"), "{told}");
    assert!(told.contains("tensors  "), "{told}\n{uniform}");
    let plan = |name: &str| json(&sandbox.succeed(&format!("inspect {name} --memory --json")))["planned_peak"].as_u64();
    let chosen = plan("cnn.trainer");
    sandbox.succeed("compile cnn.onnx --batch 32 --optimizer sgd");
    assert!(chosen <= plan("cnn.trainer"), "{chosen:?}");
    sandbox.succeed(&format!("compile cnn.onnx --batch 32 --optimizer sgd --memory 2MB --batches 1 {data}"));
    assert!(plan("cnn.trainer").unwrap() <= 2_000_000);
}
