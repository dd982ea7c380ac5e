//! What crosses crates is tested in the files beside this crate's manifest; here is what those tests share.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use razorc_compiler::options::Options;
use razorc_compiler::{Compiled, compile, planned};
use razorc_proto::program::Preprocess;
use razorc_proto::{Model, TrainerFile, write_trainer};
use razorc_runtime::data::{Dataset, Expect, Transform};
use razorc_runtime::rng::Rng;
use razorc_runtime::schedule::Decay;
use razorc_runtime::train::{Length, Settings};

pub mod mutants;
pub mod programs;

/// A short run on images that are flipped at random, at a rate that does not change, with checkpoints in a folder.
pub fn settings(folder: Option<&Path>, length: Length) -> Settings {
    Settings {
        length,
        rate: 0.01,
        decay: Decay::Constant,
        warmup: 0,
        seed: 7,
        transform: Transform { flip: true, ..Transform::from(&Preprocess::default()) },
        loader_threads: 2,
        checkpoints: folder.map(Path::to_path_buf),
        resume: false,
        self_check: true,
    }
}

/// Compiles a model, writes the trainer to a temporary file and opens it.
pub fn trainer(model: &Model, options: &Options) -> TrainerFile {
    written(&compile(model, options).unwrap_or_else(|error| panic!("{error}")))
}

/// As [`trainer`], with the program that it is compared with before the first step.
pub fn trainer_with_exact(model: &Model, options: &Options) -> TrainerFile {
    let mut planned = planned(model, options).unwrap_or_else(|error| panic!("{error}"));
    planned.add_exact(model, options);
    written(&planned.fill().unwrap_or_else(|error| panic!("{error}")))
}

/// Writes a compiled trainer to a temporary file and opens it.
pub fn written(compiled: &Compiled) -> TrainerFile {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.trainer");
    let blobs: Vec<_> = compiled.blobs.iter().map(|it| it.as_deref()).collect();
    write_trainer(&path, &compiled.program, &blobs).unwrap();
    TrainerFile::open(&path).unwrap()
}

/// Images of noise for a trainer of small ones, brighter in every other stripe by class.
pub fn noise(expect: &Expect, rows: usize) -> Dataset {
    let mut rng = Rng::keyed(&[1]);
    let classes: Vec<i64> = (0..rows).map(|row| row as i64 % 2).collect();
    let mut x = Vec::new();
    for class in &classes {
        for pixel in 0..768 {
            let bright = i64::from(pixel / 128 % 2 == 1) == *class;
            x.push(rng.below(100) as f32 / 100.0 + if bright { 1.0 } else { 0.0 });
        }
    }
    Dataset::from_memory("noise", &[3, 16, 16], &x, &classes, expect).unwrap()
}

/// A file or folder of the shared models, data and goldens that lie beside the project; none, said loudly, where it is
/// absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let root = std::env::var_os("RAZORC_SHARED").map_or(beside, PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    // The test harness swallows what `println!` prints, so this goes round it.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {} is absent; RAZORC_SHARED can name its folder", path.display());
    None
}

/// Files of the shared models that are convolutional networks with one input and scores for classes.
pub const CNNS: &[&str] = &[
    "tiny/tiny_resnet.onnx",
    "tiny/tiny_resnet.bn.onnx",
    "tiny/tiny_resnet.dynamo.onnx",
    "tiny/tiny_resnet.train.onnx",
    "tiny/tiny_mobilenet.onnx",
    "tiny/tiny_mobilenet.bn.onnx",
    "tiny/tiny_mobilenet.dynamo.onnx",
    "tiny/tiny_mobilenet.train.onnx",
    "pretrained/mnist_opt_wonnx.onnx",
    "pretrained/mobilenetv1_025_vww_96.onnx",
    "pretrained/mobilenetv2_035_tm3_224.onnx",
    "pretrained/resnet20_cifar10_32.onnx",
    "pretrained/resnet20_cifar10_32.dynamo18.onnx",
    "pretrained/resnet20_cifar10_32.trainmode.onnx",
    "pretrained/resnet8_cifar10_mlperftiny_32.onnx",
    "skeletons/bvlc_alexnet.onnx",
    "skeletons/densenet121.onnx",
    "skeletons/inception_v1.onnx",
    "skeletons/inception_v2.onnx",
    "skeletons/mobilenet_v2_224.onnx",
    "skeletons/mobilenet_v2_224.bn.onnx",
    "skeletons/mobilenet_v2_224.dynamo.onnx",
    "skeletons/mobilenet_v2_224.train.onnx",
    "skeletons/proxylessnas_mobile.onnx",
    "skeletons/proxylessnas_mobile.bn.onnx",
    "skeletons/resnet18_224.onnx",
    "skeletons/resnet18_224.bn.onnx",
    "skeletons/resnet18_224.dynamo.onnx",
    "skeletons/resnet50.onnx",
    "skeletons/resnet50_224.onnx",
    "skeletons/resnet50_224.dynamo.onnx",
    "skeletons/shufflenet.onnx",
    "skeletons/squeezenet.onnx",
    "skeletons/vgg19.onnx",
    "skeletons/zfnet512.onnx",
    "topologies/light_bvlc_alexnet.onnx",
    "topologies/light_densenet121.onnx",
    "topologies/light_inception_v1.onnx",
    "topologies/light_inception_v2.onnx",
    "topologies/light_resnet50.onnx",
    "topologies/light_shufflenet.onnx",
    "topologies/light_squeezenet.onnx",
    "topologies/light_vgg19.onnx",
    "topologies/light_zfnet512.onnx",
];

/// Compares a page of the documentation with what it is generated from; with `RAZORC_UPDATE=1`, writes it.
///
/// # Panics
/// When the page is stale.
pub fn page(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("RAZORC_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((at, (old, new))) = written.lines().zip(text.lines()).enumerate().find(|it| it.1.0 != it.1.1) {
        panic!("docs/{name} is stale in line {}; run this test with RAZORC_UPDATE=1\n  is  {old}\n  new {new}", at + 1);
    }
    assert!(written == text, "docs/{name} is stale at its end; run this test with RAZORC_UPDATE=1");
}

/// Applies `work` to every item, on all processors; results in the items' order.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |it| it.get()) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    sender.send((at, work(item))).unwrap();
                }
            });
        }
    });
    drop(sender);
    let mut results: Vec<(usize, R)> = results.into_iter().collect();
    results.sort_by_key(|it| it.0);
    results.into_iter().map(|it| it.1).collect()
}
