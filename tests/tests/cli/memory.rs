use ndarray::{Array1, Array4};

use super::{Sandbox, json};

/// Measured by the process itself, in which nothing else runs.
#[cfg(target_os = "linux")]
#[test]
fn the_plan_is_what_is_measured() {
    let sandbox = Sandbox::new();
    razorc_fixtures::cnn().save(sandbox.path("cnn.onnx")).unwrap();
    let x = Array4::<u8>::from_shape_fn((2048, 16, 16, 3), |(row, y, x, c)| (row * 7 + y * 5 + x * 3 + c) as u8);
    ndarray_npy::write_npy(sandbox.path("x.npy"), &x).unwrap();
    ndarray_npy::write_npy(sandbox.path("y.npy"), &Array1::from_shape_fn(2048, |row| (row % 10) as u8)).unwrap();
    let mut largest = 0;
    let parts = " --micro-batch 512 --optimizer sgd";
    for (batch, threads, more) in [(1, 1, ""), (8, 3, ""), (256, 2, ""), (2048, 1, ""), (2048, 1, parts)] {
        for sparsity in ["0", "0.9"] {
            sandbox.succeed(&format!("compile cnn.onnx --batch {batch} --sparsity {sparsity}{more}"));
            let plan = json(&sandbox.succeed("inspect cnn.trainer --memory --json"));
            let data = "--data x.npy --targets y.npy --preset unit";
            let lines = sandbox.succeed(&format!("train cnn.trainer {data} --steps 2 --threads {threads} --json"));
            let end = json(lines.lines().last().unwrap());
            let [planned, measured] = ["planned_peak", "measured_peak"].map(|it| end[it].as_u64().unwrap());
            // The plan of the compiler is for one thread.
            assert!(plan["planned_peak"] == planned || 1 < threads, "{planned}: {plan}");
            let slack = (planned / 100).max(2 << 20);
            assert!(
                measured.abs_diff(planned) <= slack,
                "batch {batch}{more}, {sparsity}: {measured} of {planned} bytes"
            );
            largest = planned.max(largest);
        }
    }
    assert!(16 << 20 < largest, "the slack of 2 MiB hides all of {largest} bytes");
}
