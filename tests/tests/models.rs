//! Every network of the shared collection becomes a program, or says why it does not.
//!
//! `cargo test -p razorc-tests --test models -- --ignored` also takes a step of each; skeletons get random weights.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use razorc_compiler::graph::{Graph, Phase};
use razorc_compiler::options::{Options, Task};
use razorc_compiler::{compile, graphs, plans};
use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::program::Memory;
use razorc_runtime::arena::Arena;
use razorc_runtime::cpu::Cpu;
use razorc_runtime::program::Program;
use razorc_runtime::types::{DType, Type};
use razorc_tests::{shared, side_by_side};

/// Where the networks are. Those of the last folder have constants for weights, so they need a fresh head.
const FOLDERS: &[&str] = &["tiny", "pretrained", "skeletons", "topologies"];

#[test]
fn every_network_becomes_a_program() {
    let Some(folder) = shared("models") else { return };
    let files = files(&folder);
    assert!(80 <= files.len(), "{files:?}");
    let rows = side_by_side(&files, |file| (name(file), row(file)));
    println!("{:<36} {:>11} {:>12} {:>12}", "MiB at batch 2", "saved dense", "saved packed", "planned peak");
    let mut refused = vec![];
    for (name, row) in &rows {
        match row {
            Ok(memory) => {
                println!("{name:<36} {}", Row(memory));
                assert!(memory.saved_packed <= memory.saved_dense, "{name} saves more than before");
                assert!(memory.lower_bound <= memory.planned_peak, "{name}");
            }
            Err(reason) => {
                println!("{name:<36} refused: {reason}");
                refused.push(name);
            }
        }
    }
    assert!(refused.is_empty(), "these should become programs: {refused:?}");
}

#[test]
#[ignore = "takes minutes and gigabytes"]
fn every_network_takes_a_step() {
    let Some(folder) = shared("models") else { return };
    for file in files(&folder) {
        let name = name(&file);
        match step(&file) {
            Ok(loss) => {
                println!("{name:<36} loss {loss}");
                assert!(loss.is_finite(), "{name}");
            }
            Err(reason) => {
                panic!("{name}: {reason}");
            }
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let folders = FOLDERS.iter().map(|it| fs::read_dir(folder.join(it)).unwrap());
    let files = folders.flatten().map(|it| it.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|it| it.extension().is_some_and(|it| it == "onnx")).collect();
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().to_string()
}

fn options(file: &Path) -> Options {
    let classes = if file.parent().unwrap().ends_with("topologies") { 5 } else { 0 };
    let called = |parts: &[&str]| parts.iter().any(|it| name(file).contains(it));
    let task = match () {
        () if called(&["fcn", "deeplab"]) => Some(Task::Segmentation),
        () if called(&["gpt2", "llama"]) => Some(Task::TokenClassification),
        () => None,
    };
    Options { batch: 2, classes, task, ..Options::default() }
}

/// All of compiling but the weights, which the skeletons do not have.
fn row(file: &PathBuf) -> Result<Memory, String> {
    let graphs = graphs(&Model::open(file).unwrap(), &options(file)).map_err(|e| first_lines(&e))?;
    let constants = options(file).classes != 0;
    assert_eq!(untrained(&graphs.train, constants), [""; 0], "{}", file.display());
    let (dense, packed) = plans(&graphs);
    // Of a fresh head behind constants, nothing is saved but the features.
    assert!(packed.saved_packed < dense.saved_packed || constants, "{}", file.display());
    Ok(packed)
}

fn first_lines(error: &impl fmt::Display) -> String {
    error.to_string().lines().take(3).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Weights of layers that nothing updates; `constants` may stay as they are.
fn untrained(graph: &Graph, constants: bool) -> Vec<&str> {
    let updated: HashSet<_> = graph.phase(Phase::Update).flat_map(|it| graph.writes(it)).collect();
    let layers = graph.phase(Phase::Forward).filter_map(|it| Some(graph.operands(it)[graph.node(it).op.weight?]));
    let weights = layers.map(|it| graph.root(it)).filter(|it| !updated.contains(it));
    weights.filter(|it| !constants || graph.node(it.node).op.name == "param").map(|it| graph.name(it)).collect()
}

/// The loss of one step on random inputs.
fn step(file: &Path) -> Result<f32, String> {
    let model = inflated(&Model::open(file).unwrap());
    let compiled = compile(&model, &options(file)).map_err(|e| first_lines(&e))?;
    drop(model);
    let program = Program::check(&compiled.program).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let cpu = Cpu::new(2);
    let mut arena = Arena::new(&program, cpu.threads()).unwrap();
    arena.load(&program, |at| compiled.blobs[at].as_deref()).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let sequence = program.train();
    for place in sequence.ports().filled() {
        let value = &sequence.values()[place.value()];
        match value.ty() {
            Type::Dense(DType::F32, _) if ["rows", "step"].contains(&value.name()) => {
                arena.value_mut::<f32>(place).fill(1.0);
            }
            Type::Dense(DType::F32, _) if value.name() == "learning_rate" => arena.value_mut::<f32>(place).fill(1e-6),
            Type::Dense(DType::F32, _) => {
                arena.value_mut::<f32>(place).iter_mut().for_each(|it| *it = random.random_range(-1.0..1.0));
            }
            Type::Dense(DType::I64, _) => {
                arena.value_mut::<i64>(place).iter_mut().for_each(|it| *it = random.random_range(0..2));
            }
            _ => arena.value_mut::<u8>(place).fill(1),
        }
    }
    cpu.run(sequence, &mut arena);
    Ok(arena.value::<f32>(sequence.ports().loss)[0])
}

/// The model with random weights where a skeleton has none: small ones, around one for scales and variances.
fn inflated(model: &Model) -> Model {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut model = model.clone();
    let scales: HashSet<String> = {
        let norms = model.graph().node.iter().filter(|it| it.op_type().ends_with("Normalization"));
        norms.flat_map(|it| [it.input.get(1), it.input.get(4)]).flatten().cloned().collect()
    };
    for tensor in &mut model.graph_mut().initializer {
        let elements: i64 = tensor.dims.iter().product();
        let has = tensor.raw_data.as_ref().is_some_and(|it| !it.is_empty()) || !tensor.float_data.is_empty();
        if tensor.data_type() != DataType::Float as i32 || has || elements == 0 {
            continue;
        }
        let fan_in: i64 = tensor.dims[1..].iter().product::<i64>().max(1);
        let (middle, spread) = match (scales.contains(tensor.name()), tensor.dims.len()) {
            (true, _) => (1.0, 0.05),
            (false, 1) => (0.0, 0.05),
            (false, 2) => (0.0, (3.0 / tensor.dims[0].max(1) as f32).sqrt()),
            _ => (0.0, (6.0 / fan_in as f32).sqrt()),
        };
        let mut draw = || (middle + random.random_range(-spread..spread)).to_le_bytes();
        let bytes: Vec<u8> = (0..elements).flat_map(|_| draw()).collect();
        tensor.raw_data = Some(bytes.into());
    }
    model
}

/// The plan's numbers in MiB.
struct Row<'a>(&'a Memory);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| format!("{:.2}", bytes as f64 / f64::from(1 << 20));
        let Memory { saved_dense, saved_packed, planned_peak, .. } = self.0;
        let [dense, packed, peak] = [*saved_dense, *saved_packed, *planned_peak].map(mebibytes);
        write!(f, "{dense:>11} {packed:>12} {peak:>12}")
    }
}
