use super::{Sandbox, json};

/// Gradients that wait for each other cost memory, and the report says how much.
#[test]
fn compile_says_what_clipping_costs() {
    let sandbox = Sandbox::with_trainer();
    let peak = || json(&sandbox.succeed("inspect mlp.trainer --memory --json"))["planned_peak"].as_u64().unwrap();
    let alone = sandbox.succeed("compile mlp.onnx --classes 3 --batch 1 --clip-norm 1 --clip per-weight");
    let per_weight = peak();
    let waiting = sandbox.succeed("compile mlp.onnx --classes 3 --batch 1 --clip-norm 1");
    let more = peak() - per_weight;
    assert!(0 < more && more < 1024 * 1024, "{more}");
    let cost = if more < 1024 { format!("{more} B") } else { format!("{:.1} KiB", more as f64 / 1024.0) };
    let line = format!("clipping waits until all gradients are in memory: {cost} more than `--clip per-weight`");
    assert!(waiting.contains(&line) && !alone.contains("clipping"), "{waiting}\n{alone}");
    let parts = sandbox.succeed("compile mlp.onnx --classes 3 --batch 8 --micro-batch 1 --clip-norm 1");
    assert!(!parts.contains("clipping"), "{parts}");
    assert_eq!(sandbox.run("compile mlp.onnx --clip per-weight").status.code(), Some(2));
}

/// The whole course with state in 8 bits and clipped gradients; the plan counts a quarter.
#[test]
fn state_in_8_bits_is_planned_and_trained() {
    let sandbox = Sandbox::with_trainer();
    let optimizer = || json(&sandbox.succeed("inspect mlp.trainer --memory --json"))["optimizer"].as_u64().unwrap();
    let exact = optimizer();
    sandbox.succeed("compile mlp.onnx --classes 3 --optimizer-state 8bit --clip-norm 1");
    // Tensors are padded to 64 bytes.
    assert!(optimizer() <= exact / 4 + 8 * 128, "{} of {exact}", optimizer());
    let run =
        "train mlp.trainer --data x.npy --targets y.npy --epochs 20 --lr 0.01 --checkpoint run -o tuned.onnx --json";
    let said = sandbox.succeed(run);
    let losses: Vec<f64> = said.lines().filter_map(|it| json(it)["train_loss"].as_f64()).collect();
    assert!(losses.last().unwrap() < &(0.8 * losses[0]), "{losses:?}");
    sandbox.succeed("eval run/last.trainer --data x.npy --targets y.npy");
}
