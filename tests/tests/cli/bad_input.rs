use std::fs;

use ndarray::{Array1, Array2};
use razorc_fixtures::{Builder, mlp};
use razorc_proto::onnx::StringStringEntryProto;
use razorc_proto::onnx::tensor_proto::DataLocation;

use super::Sandbox;

/// Runs commands that must all be refused, and gives the transcript.
fn transcript(sandbox: &Sandbox, commands: &[&str]) -> String {
    let refusals = commands.iter().map(|it| format!("$ razorc {it}\n{}\n", sandbox.refuse(it)));
    let folder = sandbox.folder().canonicalize().unwrap().display().to_string();
    refusals.collect::<String>().trim_end().replace(&folder, "FOLDER")
}

fn external(sandbox: &Sandbox, name: &str, location: &str, length: usize) {
    let mut model = mlp();
    for tensor in model.graph_mut().initializer.iter_mut().filter(|it| it.name() == "fc1.weight") {
        tensor.raw_data = None;
        tensor.set_data_location(DataLocation::External);
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        tensor.external_data = vec![entry("location", location.into()), entry("length", length.to_string())];
    }
    model.save(sandbox.path(name)).unwrap();
}

#[test]
fn models() {
    let sandbox = Sandbox::new();
    let whole = mlp().encode();
    fs::write(sandbox.path("mlp.onnx"), &whole).unwrap();
    fs::write(sandbox.path("cut.onnx"), &whole[..whole.len() - 100]).unwrap();
    fs::write(sandbox.path("notes.onnx"), "Groceries: flour, eggs, butter.\n").unwrap();
    fs::write(sandbox.path("empty.onnx"), "").unwrap();
    fs::write(sandbox.path("short.bin"), [0; 100]).unwrap();
    external(&sandbox, "missing.onnx", "nowhere.bin", 2048);
    external(&sandbox, "escaping.onnx", "../../etc/passwd", 2048);
    external(&sandbox, "short.onnx", "short.bin", 2048);

    let mut stripped = mlp();
    let weights = stripped.graph_mut().initializer.iter_mut().filter(|it| it.name() == "fc1.weight");
    weights.for_each(|it| it.raw_data = None);
    stripped.save(sandbox.path("stripped.onnx")).unwrap();

    let mut foreign = Builder::new("foreign", 1);
    foreign.input("x", "N,16").output("z", "N,16");
    foreign.node("sorted", "Frobnicate", &["x"], &[]).node("z", "Unique", &["sorted"], &[]);
    foreign.model().save(sandbox.path("foreign.onnx")).unwrap();
    let mut dynamic = Builder::new("dynamic", 1);
    dynamic.input("x", "N,time,16").weight("w", &[16, 4]).output("z", "N,time,4");
    dynamic.node("z", "MatMul", &["x", "w"], &[]);
    dynamic.model().save(sandbox.path("dynamic.onnx")).unwrap();

    insta::assert_snapshot!(transcript(
        &sandbox,
        &[
            "compile nowhere.onnx",
            "compile cut.onnx",
            "compile notes.onnx",
            "compile empty.onnx",
            "compile missing.onnx",
            "compile escaping.onnx",
            "compile short.onnx",
            "compile stripped.onnx",
            "compile foreign.onnx",
            "compile dynamic.onnx",
            "compile mlp.onnx --sparsity 1",
            "compile mlp.onnx --sparsity -0.1",
            "compile mlp.onnx --sparsity NaN",
            "compile mlp.onnx --sparsity-for fc1.*",
            "compile mlp.onnx --method norm",
            "compile mlp.onnx --method last:3",
            "compile mlp.onnx --method mesa --sparsity 0.9",
            "inspect mlp.onnx --method actnn --fidelity --data x.npy",
            "compile mlp.onnx --clip-norm 0",
            "compile mlp.onnx --clip-norm NaN",
            "compile mlp.onnx --bind time",
            "compile mlp.onnx --batch 0",
            "compile mlp.onnx --freeze *",
            "compile mlp.onnx -o nowhere/mlp.trainer",
            "inspect mlp.onnx --after lunch",
        ]
    ));
}

#[test]
fn trainers() {
    let sandbox = Sandbox::with_trainer();
    let whole = fs::read(sandbox.path("mlp.trainer")).unwrap();
    let mut damaged = whole.clone();
    let last = damaged.len() - 70;
    damaged[last] ^= 1;
    fs::write(sandbox.path("damaged.trainer"), damaged).unwrap();
    fs::write(sandbox.path("cut.trainer"), &whole[..whole.len() / 2]).unwrap();
    fs::rename(sandbox.path("mlp.onnx"), sandbox.path("other.onnx")).unwrap();
    let mut model = mlp();
    model.graph_mut().name = Some("changed".into());
    model.save(sandbox.path("mlp.onnx")).unwrap();

    insta::assert_snapshot!(transcript(
        &sandbox,
        &[
            "eval other.onnx --data x.npy --targets y.npy",
            "eval damaged.trainer --data x.npy --targets y.npy",
            "eval cut.trainer --data x.npy --targets y.npy",
            "export mlp.trainer -o tuned.onnx",
            "export mlp.trainer --model mlp.onnx -o tuned.onnx",
            "export mlp.trainer --model other.onnx -o nowhere/tuned.onnx",
            "inspect mlp.trainer --after back-razor",
            "inspect cut.trainer",
        ]
    ));
}

#[test]
fn data() {
    let sandbox = Sandbox::with_trainer();
    ndarray_npy::write_npy(sandbox.path("wide.npy"), &Array2::<f32>::zeros((40, 17))).unwrap();
    ndarray_npy::write_npy(sandbox.path("few.npy"), &Array1::<u8>::zeros(39)).unwrap();
    ndarray_npy::write_npy(sandbox.path("label.npy"), &Array1::<u8>::from_elem(40, 3)).unwrap();
    ndarray_npy::write_npy(sandbox.path("infinite.npy"), &Array2::from_elem((40, 16), f32::INFINITY)).unwrap();

    insta::assert_snapshot!(transcript(
        &sandbox,
        &[
            "train mlp.trainer --data nowhere",
            "train mlp.trainer --data x.npy",
            "train mlp.trainer --data wide.npy --targets y.npy",
            "train mlp.trainer --data x.npy --targets few.npy",
            "train mlp.trainer --data x.npy --targets label.npy",
            "train mlp.trainer --data infinite.npy --targets y.npy",
            "train mlp.trainer --data x.npy --targets y.npy --val-split 0.99",
            "train mlp.trainer --data x.npy --targets y.npy --epochs 0",
            "train mlp.trainer --data x.npy --targets y.npy --lr -1",
            "train mlp.trainer --data x.npy --targets y.npy --checkpoint new --resume",
            "train mlp.trainer --data x.npy --targets y.npy --std 0",
        ]
    ));
}

#[test]
fn images() {
    let sandbox = Sandbox::new();
    razorc_fixtures::cnn().save(sandbox.path("cnn.onnx")).unwrap();
    sandbox.succeed("compile cnn.onnx --classes 2 --batch 2");
    for class in ["cat", "dog"] {
        fs::create_dir_all(sandbox.path("images").join(class)).unwrap();
        for name in ["a.png", "b.png"] {
            image::RgbImage::new(20, 20).save(sandbox.path("images").join(class).join(name)).unwrap();
        }
    }
    fs::write(sandbox.path("images/cat/broken.png"), "not a picture").unwrap();
    fs::create_dir(sandbox.path("empty")).unwrap();

    insta::assert_snapshot!(transcript(
        &sandbox,
        &[
            "train cnn.trainer --data images",
            "train cnn.trainer --data images --preset unit",
            "train cnn.trainer --data empty --preset unit",
        ]
    ));
    sandbox.succeed("train cnn.trainer --data images --preset unit --skip-unreadable --steps 1");
}

#[test]
fn a_loss_that_is_no_number_keeps_the_last_good_checkpoint() {
    let sandbox = Sandbox::with_trainer();
    sandbox.succeed("train mlp.trainer --data x.npy --targets y.npy --epochs 1 --checkpoint run");
    let good = fs::read(sandbox.path("run/last.trainer")).unwrap();
    let refusal = sandbox
        .refuse("train mlp.trainer --data x.npy --targets y.npy --epochs 3 --lr 1e38 --checkpoint run -o tuned.onnx");
    assert!(refusal.contains("is not finite after step"), "{refusal}");
    assert!(refusal.contains("hint: a smaller `--lr`"), "{refusal}");
    assert_eq!(fs::read(sandbox.path("run/last.trainer")).unwrap(), good);
}

/// A limit on the size of files stands for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_files() {
    let sandbox = Sandbox::with_trainer();
    sandbox.succeed("train mlp.trainer --data x.npy --targets y.npy --epochs 1 --checkpoint run");
    let before = (sandbox.files(), fs::read(sandbox.path("run/last.trainer")).unwrap());
    let limited = |arguments: &str| {
        let razorc = env!("CARGO_BIN_EXE_razorc-under-test");
        let script = format!("trap '' XFSZ; ulimit -f 1; exec {razorc} {arguments}");
        let output = std::process::Command::new("sh").arg("-c").arg(script).current_dir(sandbox.folder()).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("File too large"), "{output:?}");
    };
    limited("compile mlp.onnx -o other.trainer");
    limited("train mlp.trainer --data x.npy --targets y.npy --epochs 2 --checkpoint run");
    limited("export run/last.trainer -o tuned.onnx");
    assert_eq!((sandbox.files(), fs::read(sandbox.path("run/last.trainer")).unwrap()), before);
    assert_eq!(fs::read_dir(sandbox.path("run")).unwrap().count(), 1);
}
