//! Prints the table of real fine-tuning: pretrained networks learn flowers, dense, pruned, and with the head alone.
//!
//! `cargo run --release -p razorc-tests --bin transfer [-- FILTER]` runs every case whose name contains FILTER through
//! the `razorc` command; build that first (`cargo build --release`). Needs the shared models and data.

use std::path::{Path, PathBuf};
use std::process::Command;

use razorc_tests::shared;
use serde_json::Value;

/// A network, data, and a recipe.
struct Case {
    name: &'static str,
    model: &'static str,
    compile: &'static [&'static str],
    /// Training data and targets, then those for validation; `--` options follow.
    data: [&'static str; 4],
    /// Rows of the training arrays that are used; 0 for all.
    rows: usize,
    train: &'static [&'static str],
    lr: &'static str,
    head_lr: &'static str,
}

const FLOWERS32: [&str; 4] = [
    "data/flowers32/train_x_u8_nhwc.npy",
    "data/flowers32/train_y_u8.npy",
    "data/flowers32/test_x_u8_nhwc.npy",
    "data/flowers32/test_y_u8.npy",
];

const fn resnet20(name: &'static str, model: &'static str) -> Case {
    Case {
        name,
        model,
        compile: &["--batch", "64", "--classes", "5"],
        data: FLOWERS32,
        rows: 0,
        train: &["--epochs", "3", "--preset", "imagenet"],
        lr: "1e-3",
        head_lr: "1e-2",
    }
}

const CASES: &[Case] = &[
    resnet20("resnet20", "models/pretrained/resnet20_cifar10_32.onnx"),
    resnet20("resnet20.trainmode", "models/pretrained/resnet20_cifar10_32.trainmode.onnx"),
    resnet20("resnet20.dynamo18", "models/pretrained/resnet20_cifar10_32.dynamo18.onnx"),
    Case {
        name: "mobilenetv2_035",
        model: "models/pretrained/mobilenetv2_035_tm3_224.onnx",
        compile: &[
            "--batch",
            "32",
            "--classes",
            "5",
            "--input-shape",
            "input=32,3,96,96",
            "--head-at",
            "global_average_pooling2d_GlobalAveragePooling2D2_flat_out",
        ],
        data: ["data/flowers128/train", "", "data/flowers128/test", ""],
        rows: 0,
        train: &["--epochs", "4", "--preset", "signed"],
        lr: "3e-4",
        head_lr: "3e-3",
    },
    Case {
        name: "cct4",
        model: "models/pretrained/cct4_cifar10_32.onnx",
        compile: &["--batch", "32", "--classes", "5"],
        data: FLOWERS32,
        rows: 1000,
        train: &[
            "--epochs",
            "2",
            "--scale",
            "0.00392156862745098",
            "--mean",
            "0.4914,0.4822,0.4465",
            "--std",
            "0.247,0.2435,0.2616",
        ],
        lr: "1e-3",
        head_lr: "1e-2",
    },
];

/// What is trained and saved.
const POLICIES: [(&str, &[&str]); 4] = [
    ("head only", &["--sparsity", "0", "--head-only"]),
    ("dense", &["--sparsity", "0"]),
    ("90 %", &["--sparsity", "0.9"]),
    ("97 %", &["--sparsity", "0.97"]),
];

const SEEDS: [&str; 3] = ["0", "1", "2"];

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    println!(
        "| network | saved | accuracy (each seed) | minus dense | val NLL | train loss | first cosine | saved MiB | peak MiB | ms/step |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for case in CASES.iter().filter(|it| it.name.contains(&filter)) {
        let Some(rows) = POLICIES.iter().map(|policy| row(case, policy, folder.path())).collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        let dense = rows[1].accuracy();
        rows.iter().for_each(|row| println!("{}", row.markdown(case.name, dense)));
    }
}

/// Runs of one policy, a seed each.
struct Row {
    policy: &'static str,
    runs: Vec<Value>,
    memory: Value,
}

fn row(case: &Case, policy: &(&'static str, &[&'static str]), folder: &Path) -> Option<Row> {
    let trainer = folder.join("transfer.trainer");
    let mut runs = vec![];
    let mut memory = Value::Null;
    for seed in SEEDS {
        let model = shared(case.model)?;
        let mut compile = razorc();
        compile.arg("compile").arg(model).args(case.compile).args(policy.1).args(["--seed", seed, "-o"]).arg(&trainer);
        output(&mut compile);
        memory = json(output(razorc().arg("inspect").arg(&trainer).args(["--memory", "--json"])).trim());

        let lr = if policy.0 == "head only" { case.head_lr } else { case.lr };
        let mut train = razorc();
        train.arg("train").arg(&trainer).args(case.train).args(["--lr", lr, "--schedule", "linear", "--seed", seed]);
        for (option, file) in ["--data", "--targets", "--val", "--val-targets"].iter().zip(case.data) {
            if !file.is_empty() {
                let path = shared(file)?;
                let cut = 0 < case.rows && !option.starts_with("--val");
                train.arg(option).arg(if cut { first_rows(&path, case.rows, folder) } else { path });
            }
        }
        let lines = output(train.arg("--json"));
        let mut end = json(lines.lines().last().unwrap_or(""));
        let check = lines.lines().map(json).find(|it| it["event"] == "check");
        end["cosine"] = check.map_or(Value::Null, |it| it["cosine"].clone());
        runs.push(end);
    }
    Some(Row { policy: policy.0, runs, memory })
}

impl Row {
    fn each(&self, key: &str) -> Vec<f64> {
        self.runs.iter().map(|it| it[key].as_f64().unwrap_or(f64::NAN)).collect()
    }

    fn mean(&self, key: &str) -> f64 {
        self.each(key).iter().sum::<f64>() / self.runs.len() as f64
    }

    fn accuracy(&self) -> f64 {
        100.0 * self.mean("val_accuracy")
    }

    fn markdown(&self, network: &str, dense: f64) -> String {
        let seeds: Vec<String> = self.each("val_accuracy").iter().map(|it| format!("{:.1}", 100.0 * it)).collect();
        let mib = |key: &str| self.memory[key].as_f64().unwrap_or(f64::NAN) / f64::from(1 << 20);
        format!(
            "| {network} | {} | {:.1} ({}) | {:+.1} | {:.3} | {:.3} | {:.2} | {:.2} | {:.2} | {:.1} |",
            self.policy,
            self.accuracy(),
            seeds.join(", "),
            self.accuracy() - dense,
            self.mean("val_loss"),
            self.mean("train_loss"),
            self.mean("cosine"),
            mib("saved_packed"),
            mib("planned_peak"),
            self.mean("step_ms"),
        )
    }
}

/// A copy of an array file that ends after some rows.
fn first_rows(path: &Path, rows: usize, folder: &Path) -> PathBuf {
    let array: ndarray::ArrayD<u8> = ndarray_npy::read_npy(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cut = folder.join(path.file_name().expect("a file has a name"));
    let rows = array.slice_axis(ndarray::Axis(0), ndarray::Slice::from(..rows)).to_owned();
    ndarray_npy::write_npy(&cut, &rows).expect("the temporary folder takes an array");
    cut
}

/// The command, built beside this program.
fn razorc() -> Command {
    let own = std::env::current_exe().expect("this program has a path");
    let path: PathBuf = own.with_file_name("razorc");
    assert!(path.is_file(), "{} is not built; run `cargo build --release` first", path.display());
    Command::new(path)
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))
}
