//! The node cases of the ONNX backend tests, forward, on the reference and on the processor.
//!
//! `tests/coverage/node_cases.py` writes them. Each is right, refused with a reason, or wrong; none may be wrong.
//! razorc trains models whose batch comes first, so a case is wrapped: its inputs get a first axis of one, its output
//! becomes one row, and a vector of zeros is added to that, which is all that is trained. What razorc needs to know when
//! compiling, such as axes, is tried as an initializer.

#[path = "node_cases/run.rs"]
mod run;
#[path = "node_cases/wrap.rs"]
mod wrap;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use razorc_proto::Model;
use razorc_proto::onnx::TensorProto;
use razorc_tests::{page, side_by_side};
use serde_json::Value;

use self::run::run;

/// Cases that mean something else here, by parts of their names.
const OTHER: &[(&str, &str)] = &[
    ("batchnorm_epsilon_training_mode", "batch statistics are an option, not the file's choice"),
    ("batchnorm_example_training_mode", "batch statistics are an option, not the file's choice"),
    ("_to_BFLOAT16", "everything is computed in f32, without the rounding that a cast means"),
    ("_bf16", "everything is computed in f32, without the rounding of other floats"),
    ("_bfloat16", "everything is computed in f32, without the rounding of other floats"),
    ("_fp16", "everything is computed in f32, without the rounding of other floats"),
    ("training_dropout", "dropout is an option, not the file's choice"),
];

/// One case, as the package `onnx` gives it.
struct Case {
    name: String,
    operator: String,
    expanded: bool,
    rtol: f64,
    atol: f64,
    /// None where the case has sequences or optional values.
    data: Option<Data>,
}

/// What goes in and comes out.
struct Data {
    model: Model,
    inputs: Vec<TensorProto>,
    outputs: Vec<TensorProto>,
}

/// What became of a case.
enum Outcome {
    Right,
    Refused(String),
    Wrong(String),
}

#[test]
fn no_node_case_is_wrong() {
    let Some(folder) = folder() else { return };
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let rows = manifest["cases"].as_array().unwrap();
    let only = std::env::var("RAZORC_NODE_CASE").unwrap_or_default();
    let rows: Vec<&Value> = rows.iter().filter(|it| it["name"].as_str().unwrap().contains(&only)).collect();
    std::panic::set_hook(Box::new(|_| {}));
    let outcomes = side_by_side(&rows, |row| {
        let case = Case::read(&folder, row);
        let outcome = outcome(&case);
        (case, outcome)
    });
    drop(std::panic::take_hook());
    let wrong: Vec<String> = outcomes
        .iter()
        .filter_map(|(case, outcome)| match outcome {
            Outcome::Wrong(reason) => Some(format!("{}: {reason}", case.name)),
            _ => None,
        })
        .collect();
    if !only.is_empty() {
        for (case, outcome) in &outcomes {
            println!("{}: {}", case.name, outcome.text());
        }
    }
    assert!(wrong.is_empty(), "{} node cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
    if only.is_empty() {
        page("node-cases.md", &report(&outcomes, manifest["onnx"].as_str().unwrap()));
    }
}

/// Where the script wrote the cases; none, said loudly, where it did not.
fn folder() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/node-cases");
    let folder = std::env::var_os("RAZORC_NODE_CASES").map_or(built, PathBuf::from);
    if folder.join("cases.json").exists() {
        return Some(folder);
    }
    let script = "python tests/coverage/node_cases.py target/node-cases";
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("SKIPPED: {} is absent; `{script}` writes it (needs `pip install onnx`)\n", folder.display()),
    );
    None
}

impl Case {
    fn read(folder: &Path, row: &Value) -> Case {
        let name = row["name"].as_str().unwrap();
        let place = folder.join(name);
        let tensors = |word: &str| {
            let files = (0..).map(|at| place.join(format!("{word}_{at}.pb"))).take_while(|it| it.exists());
            files.map(|it| TensorProto::decode(&fs::read(it).unwrap()[..]).unwrap()).collect()
        };
        let read = || Data {
            model: Model::open(place.join("model.onnx")).unwrap(),
            inputs: tensors("input"),
            outputs: tensors("output"),
        };
        Case {
            name: name.into(),
            operator: row["operator"].as_str().unwrap().into(),
            expanded: row["expanded"].as_bool().unwrap(),
            rtol: row["rtol"].as_f64().unwrap(),
            atol: row["atol"].as_f64().unwrap(),
            data: row["tensors"].as_bool().unwrap().then(read),
        }
    }
}

impl Outcome {
    fn text(&self) -> String {
        match self {
            Outcome::Right => "right".into(),
            Outcome::Refused(reason) => format!("refused: {reason}"),
            Outcome::Wrong(reason) => format!("WRONG: {reason}"),
        }
    }
}

/// Every output, with every choice of what is an initializer; wrong where one is, right where each output is once.
fn outcome(case: &Case) -> Outcome {
    if let Some((_, reason)) = OTHER.iter().find(|it| case.name.contains(it.0)) {
        return Outcome::Refused(reason.to_string());
    }
    let Some(data) = &case.data else { return Outcome::Refused("has sequences or optional values".into()) };
    let mut refused = None;
    for output in 0..data.outputs.len() {
        let mut result = None;
        for constants in wrap::choices(data) {
            match run(case, data, output, &constants) {
                Outcome::Wrong(reason) => return Outcome::Wrong(format!("output {output}: {reason}")),
                Outcome::Right => result = Some(Outcome::Right),
                it @ Outcome::Refused(_) => result = result.or(Some(it)),
            }
        }
        match result {
            Some(Outcome::Right) => {}
            Some(Outcome::Refused(reason)) => refused = refused.or(Some(reason)),
            _ => refused = refused.or(Some("has no inputs".into())),
        }
    }
    refused.map_or(Outcome::Right, Outcome::Refused)
}

/// Counts by operator, as a page.
fn report(outcomes: &[(Case, Outcome)], version: &str) -> String {
    #[derive(Default)]
    struct Row<'a> {
        right: usize,
        refused: usize,
        expanded: [usize; 2],
        reasons: BTreeMap<&'a str, usize>,
    }
    let mut rows: BTreeMap<&str, Row<'_>> = BTreeMap::new();
    for (case, outcome) in outcomes {
        let row = rows.entry(&case.operator).or_default();
        if case.expanded {
            row.expanded[usize::from(matches!(outcome, Outcome::Refused(_)))] += 1;
            continue;
        }
        match outcome {
            Outcome::Refused(reason) => {
                row.refused += 1;
                *row.reasons.entry(reason).or_default() += 1;
            }
            _ => row.right += 1,
        }
    }
    let sum = |of: fn(&Row<'_>) -> usize| rows.values().map(of).sum::<usize>();
    let (right, refused) = (sum(|it| it.right), sum(|it| it.refused));
    let expanded = [sum(|it| it.expanded[0]), sum(|it| it.expanded[1])];
    let mut text = format!(
        "# ONNX node cases\n\n<!-- Generated by tests/tests/node_cases.rs; RAZORC_UPDATE=1 writes it anew. -->\n\n\
         The forward values of the ONNX backend's node cases (package `onnx` {version}), on the reference executor and on \
         the processor. {right} are right, {refused} are refused with a reason, none is wrong. Of the same operators \
         expanded into simpler ones, {} are right and {} refused. Wrong is what compiles and differs by more than the \
         case allows.\n\n\
         | operator | right | refused | expanded right | refused | most frequent reason |\n|---|--:|--:|--:|--:|---|\n",
        expanded[0], expanded[1]
    );
    for (operator, row) in &rows {
        let reason = row.reasons.iter().max_by_key(|it| (it.1, std::cmp::Reverse(it.0))).map_or("", |it| it.0);
        let reason = reason.replace('|', "\\|");
        let [expanded, expanded_refused] = row.expanded;
        let _ = writeln!(
            text,
            "| {operator} | {} | {} | {expanded} | {expanded_refused} | {reason} |",
            row.right, row.refused
        );
    }
    text
}
