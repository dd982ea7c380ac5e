//! Loss and every gradient of whole networks against PyTorch's, dense and with the published mask rule at 90 %, on the
//! reference and on the CPU.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use ndarray::ArrayD;

use razorc_compiler::options::{BatchNorm, Optimizer, OptimizerKind, Options, Task};
use razorc_compiler::{Compiled, compile};
use razorc_proto::program::DType;
use razorc_proto::{Model, TensorData};
use razorc_runtime::data::{Batch, Column, Targets};
use razorc_runtime::program::Program;
use razorc_runtime::reference::{Reference, Tensor, Which};
use razorc_runtime::trainer::Trainer;
use razorc_tests::{shared, written};
use safetensors::{Dtype, SafeTensors};

const TOLERANCE: f64 = 1e-4;

/// Model file, golden, and how the golden treats batch normalization.
const CASES: &[(&str, &str, BatchNorm)] = &[
    ("tiny_resnet.onnx", "tiny_resnet.folded", BatchNorm::Affine),
    ("tiny_resnet.dynamo.onnx", "tiny_resnet.folded", BatchNorm::Affine),
    ("tiny_resnet.bn.onnx", "tiny_resnet.eval", BatchNorm::Affine),
    ("tiny_resnet.train.onnx", "tiny_resnet.train", BatchNorm::Train),
    ("tiny_mobilenet.onnx", "tiny_mobilenet.folded", BatchNorm::Affine),
    ("tiny_mobilenet.dynamo.onnx", "tiny_mobilenet.folded", BatchNorm::Affine),
    ("tiny_mobilenet.bn.onnx", "tiny_mobilenet.eval", BatchNorm::Affine),
    ("tiny_mobilenet.train.onnx", "tiny_mobilenet.train", BatchNorm::Train),
    ("tiny_fcn.onnx", "tiny_fcn.folded", BatchNorm::Affine),
    ("tiny_fcn.dynamo.onnx", "tiny_fcn.folded", BatchNorm::Affine),
    ("tiny_fcn.bn.onnx", "tiny_fcn.eval", BatchNorm::Affine),
    ("tiny_fcn.train.onnx", "tiny_fcn.train", BatchNorm::Train),
    ("tiny_vit.onnx", "tiny_vit.folded", BatchNorm::Affine),
    ("tiny_vit.dynamo.onnx", "tiny_vit.folded", BatchNorm::Affine),
    ("tiny_vit.sdpa.onnx", "tiny_vit.folded", BatchNorm::Affine),
    ("tiny_vit.sdpa.dynamo.onnx", "tiny_vit.folded", BatchNorm::Affine),
    ("tiny_vit.bn.onnx", "tiny_vit.eval", BatchNorm::Affine),
    ("tiny_vit.train.onnx", "tiny_vit.eval", BatchNorm::Affine),
    ("tiny_bert.onnx", "tiny_bert.folded", BatchNorm::Affine),
    ("tiny_bert.dynamo.onnx", "tiny_bert.folded", BatchNorm::Affine),
    ("tiny_bert.sdpa.onnx", "tiny_bert.folded", BatchNorm::Affine),
    ("tiny_bert.sdpa.dynamo.onnx", "tiny_bert.folded", BatchNorm::Affine),
    ("tiny_bert.bn.onnx", "tiny_bert.eval", BatchNorm::Affine),
    ("tiny_bert.train.onnx", "tiny_bert.eval", BatchNorm::Affine),
    ("tiny_gpt2.onnx", "tiny_gpt2.folded", BatchNorm::Affine),
    ("tiny_gpt2.dynamo.onnx", "tiny_gpt2.folded", BatchNorm::Affine),
    ("tiny_gpt2.sdpa.onnx", "tiny_gpt2.folded", BatchNorm::Affine),
    ("tiny_gpt2.sdpa.dynamo.onnx", "tiny_gpt2.folded", BatchNorm::Affine),
    ("tiny_gpt2.bn.onnx", "tiny_gpt2.eval", BatchNorm::Affine),
    ("tiny_gpt2.train.onnx", "tiny_gpt2.eval", BatchNorm::Affine),
];

/// Runs one step of a compiled trainer on the data of a golden.
type Executor = fn(&Compiled, &SafeTensors<'_>) -> Step;

/// Of the goldens' gradients.
#[derive(Clone, Copy)]
struct Policy {
    name: &'static str,
    /// By the published mask rule.
    pruned: bool,
    /// The first layer, the last one and the last normalization too.
    ends: bool,
}

const DENSE: Policy = Policy { name: "dense", pruned: false, ends: false };
const PRUNED: Policy = Policy { name: "br90_all", pruned: true, ends: true };
const BODY: Policy = Policy { name: "br90_ref", pruned: true, ends: false };

#[test]
fn dense_gradients_are_those_of_pytorch() {
    compare(DENSE, "", on_reference);
    compare(DENSE, "", on_cpu);
}

#[test]
fn gradients_by_the_published_mask_rule_are_those_of_its_code() {
    compare(PRUNED, "", on_reference);
    compare(PRUNED, "", on_cpu);
}

#[test]
fn gradients_of_a_pruned_body_are_those_of_the_published_code() {
    compare(BODY, "tiny_vit", on_reference);
    compare(BODY, "tiny_vit", on_cpu);
}

fn compare(policy: Policy, network: &str, executor: Executor) {
    for &(file, golden, batch_norm) in CASES.iter().filter(|it| it.0.starts_with(network)) {
        let Some(path) = shared(&format!("models/tiny/{file}")) else { return };
        let bytes = std::fs::read(shared(&format!("golden/{golden}.safetensors")).unwrap()).unwrap();
        let golden = SafeTensors::deserialize(&bytes).unwrap();
        let model = Model::open(path).unwrap();
        let step = executor(&compiled(&model, &golden, batch_norm, policy), &golden);
        let policy = policy.name;
        near(&[step.loss], &floats(&golden, "loss"), 0.0, &format!("{file} {policy} loss"));
        // A bias in front of batch statistics has no gradient; what PyTorch has there is rounding of the others.
        let whole: f64 = step.gradients.iter().flat_map(|it| &it.1).map(|x| x * x).sum::<f64>().sqrt();
        // An exporter may write a weight that layers share once for each of them.
        let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (initializer, gradient) in step.gradients {
            // Exporters write constants as initializers too; all parameters are counted at the end.
            let Some((name, transposed)) = parameter(&model, &golden, &initializer) else { continue };
            let key = format!("{policy}/grad/{name}");
            // A bias that PyTorch made by folding a normalization has no gradient there.
            let Ok(expected) = golden.tensor(&key) else { continue };
            let gradient = match (transposed, expected.shape()) {
                (true, &[rows, columns]) => transpose(&gradient, &[columns, rows]),
                _ => gradient,
            };
            match found.entry(name) {
                Entry::Vacant(it) => drop(it.insert(gradient)),
                Entry::Occupied(mut it) => it.get_mut().iter_mut().zip(gradient).for_each(|(sum, it)| *sum += it),
            }
        }
        for (name, gradient) in &found {
            let expected = floats(&golden, &format!("{policy}/grad/{name}"));
            near(gradient, &expected, 1e-7 * whole, &format!("{file} {policy} {name}"));
        }
        let parameters = golden.names().iter().filter(|it| it.starts_with("dense/grad/")).count();
        // One exporter has looked positions up already, so the file has no table of them.
        let positions = file.starts_with("tiny_bert") || file.starts_with("tiny_gpt2");
        let folded = usize::from(positions && file.contains(".dynamo"));
        assert_eq!(found.len(), parameters - folded, "{file}: gradients compared");
    }
}

/// What one step computes.
struct Step {
    loss: f64,
    gradients: Vec<(String, Vec<f64>)>,
}

/// A trainer that keeps its gradients, with the golden's running statistics: exporting has moved those of some files.
fn compiled(model: &Model, golden: &SafeTensors<'_>, batch_norm: BatchNorm, policy: Policy) -> Compiled {
    let mut options = Options { batch: 4, batch_norm, ..Options::default() };
    options.task = match golden.tensor("logits").unwrap().shape().len() {
        4 => Some(Task::Segmentation),
        3 => Some(Task::TokenClassification),
        _ => None,
    };
    // After the first step, momentum is the gradient.
    options.optimizer = Optimizer { kind: OptimizerKind::Sgd, ..Optimizer::default() };
    options.razor.reference = policy.pruned;
    options.razor.ends = policy.ends;
    // The goldens' GELU reads its input as it is, not rounded.
    options.razor.slope_bits = 0;
    if !policy.pruned {
        options.razor.sparsity = "0".parse().unwrap();
    }
    let mut compiled = compile(model, &options).unwrap();
    for (resident, blob) in compiled.program.residents.iter().zip(&mut compiled.blobs) {
        if let Ok(buffer) = golden.tensor(&format!("buffer/{}", resident.initializer)) {
            *blob = Some(buffer.data().to_vec());
        }
    }
    compiled
}

fn on_reference(compiled: &Compiled, golden: &SafeTensors<'_>) -> Step {
    let program = Program::check(&compiled.program).unwrap();
    let mut executor = Reference::new(&program);
    for (resident, blob) in compiled.program.residents.iter().zip(&compiled.blobs) {
        let Some(blob) = blob else { continue };
        let ty = resident.r#type.as_ref().unwrap();
        let dims = dims(&ty.dims);
        let tensor = match ty.dtype() {
            DType::F32 => Tensor::float(&dims, doubles(blob)),
            DType::I64 => integers(&dims, whole(blob)),
            _ => integers(&dims, blob.iter().map(|&it| it.into()).collect()),
        };
        executor.set(&resident.name, tensor);
    }
    let task = compiled.program.task.as_ref().unwrap();
    for name in &task.inputs {
        let input = golden.tensor(&format!("input/{name}")).unwrap();
        let tensor = match input.dtype() {
            Dtype::F32 => Tensor::float(input.shape(), doubles(input.data())),
            _ => integers(input.shape(), whole(input.data())),
        };
        executor.set(name, tensor);
    }
    let (dims, targets) = targets(golden);
    executor.set(&task.target, integers(&dims, targets));
    executor.set(&task.rows, Tensor::float(&[4], [1.0; 4]));
    executor.set(&task.learning_rate, Tensor::scalar(0.0));
    executor.run(Which::Train);

    let loss = executor.get(&task.loss_value).unwrap().floats().unwrap()[0];
    let gradients = compiled.program.residents.iter().filter_map(|it| {
        let gradient = executor.get(&format!("{}.momentum", it.name))?;
        Some((it.initializer.clone(), gradient.floats().unwrap().to_vec()))
    });
    Step { loss, gradients: gradients.collect() }
}

fn on_cpu(compiled: &Compiled, golden: &SafeTensors<'_>) -> Step {
    let mut trainer = Trainer::load(written(compiled), 2).unwrap();
    let classes = targets(golden).1;
    let targets = Targets::Classes(&classes);
    let column = |name: &String| {
        let input = golden.tensor(&format!("input/{name}")).unwrap();
        match input.dtype() {
            Dtype::F32 => Column::Real(doubles(input.data()).into_iter().map(|it| it as f32).collect()),
            _ => Column::Whole(whole(input.data())),
        }
    };
    let inputs: Vec<Column> = compiled.program.task.as_ref().unwrap().inputs.iter().map(column).collect();
    let batch = Batch { epoch: 0, number: 0, len: 4, inputs: &inputs, targets, rows: &[1.0; 4] };
    let loss = trainer.step(&batch, 0.0, 1).loss.into();
    let gradients = compiled.program.residents.iter().filter_map(|it| {
        let gradient = trainer.resident(&format!("{}.momentum", it.name))?;
        Some((it.initializer.clone(), gradient.into_iter().map(f64::from).collect()))
    });
    Step { loss, gradients: gradients.collect() }
}

/// Dims and classes; of a language model the tokens that come next, and none behind the last one.
fn targets(golden: &SafeTensors<'_>) -> (Vec<usize>, Vec<i64>) {
    let labels = golden.tensor("labels").unwrap();
    let (dims, mut classes) = (labels.shape().to_vec(), whole(labels.data()));
    if let [_, tokens] = dims[..] {
        for row in classes.chunks_mut(tokens) {
            row.rotate_left(1);
            row[tokens - 1] = -100;
        }
    }
    (dims, classes)
}

fn whole(bytes: &[u8]) -> Vec<i64> {
    bytes.as_chunks().0.iter().map(|it| i64::from_le_bytes(*it)).collect()
}

fn integers(dims: &[usize], values: Vec<i64>) -> Tensor {
    Tensor::Int(ArrayD::from_shape_vec(dims, values).unwrap())
}

/// The golden's parameter that an initializer holds, by its values, and whether it holds it transposed.
fn parameter(model: &Model, golden: &SafeTensors<'_>, initializer: &str) -> Option<(String, bool)> {
    if golden.tensor(&format!("param/{initializer}")).is_ok() {
        return Some((initializer.to_string(), false));
    }
    let tensor = model.graph().initializer.iter().find(|it| it.name() == initializer)?;
    let values = TensorData::decode(tensor, None).unwrap().to_f32().unwrap();
    let values: Vec<f64> = values.into_iter().map(f64::from).collect();
    let shape = dims(&tensor.dims.iter().map(|&it| it as u64).collect::<Vec<_>>());
    let flipped: Vec<usize> = shape.iter().rev().copied().collect();
    let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    let names: HashMap<&str, ()> = golden.names().into_iter().map(|it| (it, ())).collect();
    names.into_keys().filter_map(|it| it.strip_prefix("param/")).find_map(|name| {
        let key = format!("param/{name}");
        let found = golden.tensor(&key).ok()?;
        if found.shape() == shape && same(&floats(golden, &key), &values) {
            return Some((name.to_string(), false));
        }
        let fits = shape.len() == 2 && found.shape() == flipped;
        (fits && same(&transpose(&floats(golden, &key), &flipped), &values)).then(|| (name.to_string(), true))
    })
}

fn near(found: &[f64], expected: &[f64], rounding: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let norm = |it: &mut dyn Iterator<Item = f64>| it.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let scale = norm(&mut expected.iter().copied());
    assert!(error <= TOLERANCE * scale + rounding, "{what}: relative error {:.2e} of {scale:.2e}", error / scale);
}

fn floats(golden: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    doubles(golden.tensor(name).unwrap().data())
}

/// The numbers in bytes of f32.
fn doubles(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(4).map(|it| f64::from(f32::from_le_bytes(it.try_into().unwrap()))).collect()
}

fn transpose(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let (rows, columns) = (shape[0], shape[1]);
    (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
}

fn dims(dims: &[u64]) -> Vec<usize> {
    dims.iter().map(|&it| it as usize).collect()
}
