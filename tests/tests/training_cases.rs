//! The single-operator training cases of the shared collection, with nothing but the command line.
//!
//! Each is a network `y = operator(x * w)`: one step of plain SGD with learning rate 1 moves `w` by its gradient, which is
//! known. A case is right, refused with a reason, or wrong; none may be wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use razorc_proto::{Model, TensorData};
use razorc_tests::{page, shared, side_by_side};
use serde_json::Value;
use tempfile::TempDir;

/// Cases that are right, at least.
const RIGHT: usize = 44;

/// Share of the largest entry by which a gradient may differ: the expected ones are differences of f32 losses.
const TOLERANCE: f64 = 5e-3;

/// Step of those differences; the rounding of a loss in f32, divided by it, is noise.
const STEP: f64 = 3e-3;

/// Derivatives at places where the step of the differences crosses a kink: computed in f64 with a step of 1e-6.
const KINKS: &[(&str, usize, f64)] = &[("MaxPool", 143, 0.0)];

/// Options without which a case means something else: what the file says of training is the caller's choice here.
const OPTIONS: &[(&str, &str)] = &[("BatchNorm_training", "--batch-norm train"), ("Dropout_training", "--dropout")];

enum Outcome {
    Right,
    Refused(String),
    Wrong(String),
}

#[test]
fn no_training_case_is_wrong() {
    let Some(folder) = shared("bench/op-coverage") else { return };
    let cases: BTreeMap<String, Value> =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let cases: Vec<(String, Value)> = cases.into_iter().collect();
    let outcomes = side_by_side(&cases, |(name, expected)| Case::new(&folder, name, expected).outcome());
    let count = |of: fn(&Outcome) -> bool| outcomes.iter().filter(|it| of(it)).count();
    let right = count(|it| matches!(it, Outcome::Right));
    let text = report(&cases, &outcomes, right);
    println!("{text}");
    let wrong: Vec<String> = cases
        .iter()
        .zip(&outcomes)
        .filter_map(|((name, _), outcome)| match outcome {
            Outcome::Wrong(reason) => Some(format!("{name}: {reason}")),
            _ => None,
        })
        .collect();
    assert!(wrong.is_empty(), "{} training cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(RIGHT <= right, "{right} training cases are right; there were {RIGHT}");
    page("training-cases.md", &text);
}

struct Case<'a> {
    name: &'a str,
    model: PathBuf,
    x: PathBuf,
    target: PathBuf,
    expected: &'a Value,
    sandbox: TempDir,
}

impl<'a> Case<'a> {
    fn new(folder: &Path, name: &'a str, expected: &'a Value) -> Case<'a> {
        let file = |suffix: &str| fs::canonicalize(folder).unwrap().join(format!("cases/{name}.{suffix}"));
        let (model, x, target) = (file("onnx"), file("x.npy"), file("target.npy"));
        Case { name, model, x, target, expected, sandbox: TempDir::new().unwrap() }
    }

    fn outcome(&self) -> Outcome {
        let batch = self.expected["input"][0].as_u64().unwrap();
        let more = OPTIONS.iter().find(|it| it.0 == self.name).map_or("", |it| it.1);
        let compiled = self.razorc(&format!(
            "compile {} -o case.trainer --batch {batch} --sparsity 0 --loss mse --train w --optimizer sgd --momentum 0 {more}",
            self.model.display()
        ));
        if let Err(outcome) = compiled {
            return outcome;
        }
        // Training takes rows in a random order. Where time comes first, only the right one will do.
        let in_order = !["LSTM", "GRU"].contains(&self.name);
        let seeds = if in_order { 0..1 } else { 0..60 };
        let mut outcome = Outcome::Wrong("was not run".into());
        for seed in seeds {
            let trained = self.razorc(&format!(
                "train case.trainer --data {} --targets {} --steps 1 --lr 1 --schedule constant --seed {seed} -o tuned.onnx",
                self.x.display(),
                self.target.display()
            ));
            outcome = match trained {
                Err(outcome) => return outcome,
                Ok(()) => self.compared(),
            };
            if matches!(outcome, Outcome::Right) {
                break;
            }
        }
        outcome
    }

    fn razorc(&self, arguments: &str) -> Result<(), Outcome> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_razorc-under-test"));
        let output = command.current_dir(self.sandbox.path()).args(arguments.split_whitespace()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => Ok(()),
            Some(1) => Err(Outcome::Refused(reason(&errors))),
            _ => Err(Outcome::Wrong(errors)),
        }
    }

    fn compared(&self) -> Outcome {
        let (before, after) = (weight(&self.model), weight(&self.sandbox.path().join("tuned.onnx")));
        let found: Vec<f64> = before.iter().zip(&after).map(|(b, a)| b - a).collect();
        let Some(expected) = self.expected["grad"].as_array() else { return self.dropped(&before, &found) };
        let mut expected: Vec<f64> = expected.iter().map(|it| it.as_f64().unwrap()).collect();
        KINKS.iter().filter(|it| it.0 == self.name).for_each(|it| expected[it.1] = it.2);
        let number = |key: &str| self.expected[key].as_f64().unwrap();
        let allowed = TOLERANCE * number("max_grad") + f64::from(f32::EPSILON) / STEP * number("loss");
        assert_eq!(found.len(), expected.len(), "{}", self.name);
        match found.iter().zip(&expected).position(|(f, e)| (f - e).is_nan() || allowed < (f - e).abs()) {
            None => Outcome::Right,
            Some(at) => Outcome::Wrong(format!("d loss / d w[{at}] is {} instead of {}", found[at], expected[at])),
        }
    }

    /// A gradient by dropout has to be that of some mask.
    fn dropped(&self, w: &[f64], found: &[f64]) -> Outcome {
        let x: ndarray::Array2<f32> = ndarray_npy::read_npy(&self.x).unwrap();
        let ratio = f64::from(values(&self.model, "r")[0] as f32);
        let elements = x.len() as f64;
        let mut kept = 0;
        for (column, (w, found)) in w.iter().zip(found).enumerate() {
            let column = x.column(column);
            let masks = 0..1u32 << column.len();
            let by_mask = |mask: u32| -> f64 {
                let rows = column.iter().enumerate().filter(|it| mask >> it.0 & 1 == 1);
                rows.map(|(_, x)| {
                    let slope = f64::from(*x) / (1.0 - ratio);
                    2.0 / elements * (slope * w - 0.1) * slope
                })
                .sum()
            };
            let Some(mask) = masks.clone().find(|it| (by_mask(*it) - found).abs() < 1e-5) else {
                return Outcome::Wrong(format!("{found} is the gradient of no mask"));
            };
            kept += mask.count_ones();
        }
        match 0 < kept && f64::from(kept) < elements {
            true => Outcome::Right,
            false => Outcome::Wrong(format!("{kept} of {elements} elements are kept")),
        }
    }
}

fn weight(model: &Path) -> Vec<f64> {
    values(model, "w")
}

fn values(model: &Path, name: &str) -> Vec<f64> {
    let model = Model::open(model).unwrap();
    let tensor = model.graph().initializer.iter().find(|it| it.name() == name).unwrap();
    TensorData::decode(tensor, None).unwrap().to_f32().unwrap().into_iter().map(f64::from).collect()
}

/// The first thing that is wrong, in one line.
fn reason(errors: &str) -> String {
    let mut lines = errors.lines().map(|it| it.trim().trim_start_matches("error: "));
    let first = lines.next().unwrap_or_default();
    let text = if first.ends_with(':') { lines.next().unwrap_or(first) } else { first };
    text.to_string()
}

fn report(cases: &[(String, Value)], outcomes: &[Outcome], right: usize) -> String {
    const PEER: &str = "onnxruntime_training_1_19_2";
    let peer_right = cases.iter().filter(|it| it.1[PEER] == "OK").count();
    let refused = outcomes.iter().filter(|it| matches!(it, Outcome::Refused(_))).count();
    let total = cases.len();
    let mut text = format!(
        "# Single-operator training cases\n\n<!-- Generated by tests/tests/training_cases.rs; RAZORC_UPDATE=1 writes it \
         anew. -->\n\nNetworks of one operator behind a trained weight, each compiled, trained for one step and exported \
         with nothing but the command line. The step must be the gradient by central differences.\n\n\
         razorc: {right} of {total} right, {refused} refused with a reason, none wrong. onnxruntime-training 1.19.2: \
         {peer_right} right; GENFAIL: no gradient, RUNFAIL: fails when it runs.\n\n\
         | case | razorc | onnxruntime-training |\n|---|---|---|\n"
    );
    for ((name, expected), outcome) in cases.iter().zip(outcomes) {
        let ours = match outcome {
            Outcome::Right => "right".to_string(),
            Outcome::Refused(reason) => format!("refused: {}", reason.replace('|', "\\|")),
            Outcome::Wrong(reason) => format!("WRONG: {reason}"),
        };
        let peer = expected[PEER].as_str().unwrap_or_default();
        let peer = if peer == "OK" { "right" } else { peer };
        text += &format!("| {name} | {ours} | {peer} |\n");
    }
    text
}
