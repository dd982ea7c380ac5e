//! Every convolutional network of the shared collection becomes a program.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use razorc_compiler::graph::{Graph, Phase};
use razorc_compiler::lower::{Scheduled, kept, lower};
use razorc_compiler::options::Options;
use razorc_compiler::schedule::schedule;
use razorc_compiler::{graphs, report};
use razorc_proto::Model;
use razorc_proto::program::Memory;
use razorc_runtime::program::Program;
use razorc_tests::shared;

/// What the names of the other networks contain: transformers and segmentation.
const OTHERS: &[&str] = &["vit", "deit", "bert", "gpt2", "llama", "cct", "fcn", "deeplab"];

#[test]
fn every_image_network_becomes_a_program() {
    let Some(folder) = shared("models") else { return };
    let files = files(&folder);
    assert!(35 <= files.len(), "{files:?}");
    let mut rows = side_by_side(&files, row);
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    println!("{:<36} {:>11} {:>12} {:>12}", "MiB at batch 2", "saved dense", "saved packed", "planned peak");
    rows.iter().for_each(|it| println!("{it}"));
    for Row { name, memory } in &rows {
        assert!(memory.saved_packed < memory.saved_dense, "{name} saves as much as before");
        assert!(memory.lower_bound <= memory.planned_peak, "{name}");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let folders = ["tiny", "pretrained", "skeletons"].map(|it| fs::read_dir(folder.join(it)).unwrap());
    let files = folders.into_iter().flatten().map(|it| it.unwrap().path());
    let name = |it: &PathBuf| it.file_name().unwrap().to_str().unwrap().to_string();
    files.filter(|it| name(it).ends_with(".onnx") && !OTHERS.iter().any(|other| name(it).contains(other))).collect()
}

struct Row {
    name: String,
    memory: Memory,
}

/// All of compiling but the weights, which the skeletons do not have.
fn row(file: &PathBuf) -> Row {
    let name = file.file_name().unwrap().to_str().unwrap().to_string();
    let options = Options { batch: 2, ..Options::default() };
    let graphs = graphs(&Model::open(file).unwrap(), &options).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(untrained(&graphs.train), [""; 0], "{name}");
    let train = schedule(&graphs.train, &kept(&graphs.train, &graphs.task, false));
    let eval = schedule(&graphs.eval, &kept(&graphs.eval, &graphs.task, true));
    let train = Scheduled { graph: &graphs.train, schedule: &train };
    let eval = Scheduled { graph: &graphs.eval, schedule: &eval };
    let program = lower(train, eval, graphs.task, |_| None);
    Program::check(&program).unwrap_or_else(|e| panic!("{name}: {e}"));
    Row { memory: report::memory(&program, train, eval, &graphs.dense), name }
}

/// Weights of layers that nothing updates.
fn untrained(graph: &Graph) -> Vec<&str> {
    let updated: HashSet<_> = graph.phase(Phase::Update).flat_map(|it| graph.writes(it)).collect();
    let layers = graph.phase(Phase::Forward).filter_map(|it| Some(graph.operands(it)[graph.node(it).op.weight?]));
    let weights = layers.map(|it| graph.root(it)).filter(|it| !updated.contains(it));
    weights.map(|it| graph.name(it)).collect()
}

/// Applies `work` to every item, on all processors.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |it| it.get()) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    sender.send(work(item)).unwrap();
                }
            });
        }
    });
    drop(sender);
    results.into_iter().collect()
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| format!("{:.2}", bytes as f64 / f64::from(1 << 20));
        let Memory { saved_dense, saved_packed, planned_peak, .. } = self.memory;
        let [dense, packed, peak] = [saved_dense, saved_packed, planned_peak].map(mebibytes);
        write!(f, "{:<36} {dense:>11} {packed:>12} {peak:>12}", self.name)
    }
}
