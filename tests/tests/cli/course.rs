use std::fs;

use serde_json::Value;

use super::{Sandbox, json};

const TRAIN: &str = "train mlp.trainer --data x.npy --targets y.npy --val-split 0.2 --lr 0.01";

#[test]
fn a_model_is_compiled_trained_scored_and_exported() {
    let sandbox = Sandbox::with_trainer();
    let trained = sandbox.succeed(&format!("{TRAIN} --epochs 8 --checkpoint run -o tuned.onnx"));
    assert!(trained.contains("wrote tuned.onnx"), "{trained}");
    let score = json(&sandbox.succeed("eval run/last.trainer --data x.npy --targets y.npy --json"));
    assert!(score["accuracy"].as_f64().unwrap() > 0.8, "{score}");
    assert_eq!(score["rows"], 40);

    sandbox.succeed("export run/last.trainer -o again.onnx");
    assert_eq!(fs::read(sandbox.path("again.onnx")).unwrap(), fs::read(sandbox.path("tuned.onnx")).unwrap());
    let outline = sandbox.succeed("inspect run/best.trainer");
    assert!(outline.contains("progress        step "), "{outline}");
}

#[test]
fn machines_read_lines() {
    let sandbox = Sandbox::with_trainer();
    let lines = sandbox.succeed(&format!("{TRAIN} --steps 5 --json"));
    let lines: Vec<Value> = lines.lines().map(json).collect();
    let events = |name: &str| lines.iter().filter(|it| it["event"] == name).count();
    assert_eq!((events("check"), events("step"), events("epoch"), events("end")), (1, 5, 2, 1));
    let end = lines.last().unwrap();
    for key in ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "step_ms"] {
        assert!(end[key].as_f64().is_some_and(|it| it >= 0.0), "{key}: {end}");
    }
    assert!(end["planned_peak"].as_u64().is_some_and(|it| it > 0), "{end}");
    assert_eq!(end["measured_peak"].is_u64(), cfg!(target_os = "linux"));

    let memory = json(&sandbox.succeed("inspect mlp.onnx --classes 3 --memory --json"));
    let number = |key: &str| memory[key].as_u64().unwrap_or_else(|| panic!("{key}: {memory}"));
    assert_eq!(number("weights") + number("optimizer") + number("dynamic_peak"), number("planned_peak"));
    for key in
        ["saved_dense", "saved_packed", "transient", "lower_bound", "paper_counter", "dense_single", "self_check"]
    {
        number(key);
    }
    assert_eq!(memory.as_object().unwrap().len(), 12, "eleven numbers and the peak");
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let sandbox = Sandbox::with_trainer();
    let run = format!("{TRAIN} --epochs 400 --threads 1 --checkpoint");
    sandbox.succeed(&format!("{run} straight"));

    let mut child = sandbox.command(&format!("{run} broken")).stderr(std::process::Stdio::null()).spawn().unwrap();
    let last = sandbox.path("broken/last.trainer");
    while !last.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.succeed(&format!("{run} broken --resume --threads 2").replace("--threads 1 ", ""));
    for name in ["last.trainer", "best.trainer"] {
        let [straight, broken] = ["straight", "broken"].map(|it| fs::read(sandbox.path(it).join(name)).unwrap());
        assert!(straight == broken, "{name} differs");
    }
}

/// Ctrl-C, as a terminal would send it.
#[cfg(unix)]
#[test]
fn an_interrupted_run_saves_and_resumes() {
    let sandbox = Sandbox::with_trainer();
    let run = format!("{TRAIN} --epochs 1000000 --checkpoint run");
    let mut child = sandbox.command(&run).stdout(std::process::Stdio::piped()).spawn().unwrap();
    while !sandbox.path("run/last.trainer").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("stopped; `--resume` goes on from run"), "{said}");

    let other = sandbox.refuse(&format!("{run} --resume --seed 1"));
    assert!(other.contains("`seed 0`, and now has `seed 1`"), "{other}");
    fs::write(sandbox.path("y.npy"), "").unwrap();
    let missing = sandbox.refuse(&format!("{run} --resume"));
    assert!(missing.contains("y.npy"), "{missing}");
}

#[test]
fn the_quickstart_learns_new_digits() {
    let sandbox = Sandbox::new();
    let said = sandbox.succeed("quickstart");
    let row = |name: &str| {
        let line = said.lines().find(|it| it.starts_with(name)).unwrap_or_else(|| panic!("{name}: {said}"));
        line.split_whitespace().filter_map(|it| it.parse::<f64>().ok()).collect::<Vec<_>>()
    };
    let (before, after) = (row("accuracy before"), row("accuracy after"));
    assert!(before.iter().all(|it| *it < 50.0) && after.iter().all(|it| *it > 90.0), "{said}");
    let saved = row("saved activations");
    assert!(saved[1] < saved[0], "{said}");
    let tuned = razorc_proto::Model::open(sandbox.path("tuned.onnx")).unwrap();
    let classes = tuned.proto().metadata_props.iter().find(|it| it.key() == "razorc.class_names").unwrap();
    assert_eq!(classes.value(), r#"["5", "6", "7", "8", "9"]"#);
}
