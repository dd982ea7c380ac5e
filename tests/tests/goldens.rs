//! Loss and every gradient of whole networks against PyTorch's, dense and with the published mask rule at 90 %, on the
//! reference and on the CPU.

use std::collections::HashMap;

use razorc_compiler::options::{BatchNorm, Optimizer, OptimizerKind, Options, Task};
use razorc_compiler::{Compiled, compile};
use razorc_proto::{Model, TensorData};
use razorc_runtime::data::{Batch, Column, Targets};
use razorc_runtime::program::Program;
use razorc_runtime::reference::{Reference, Tensor, Which};
use razorc_runtime::trainer::Trainer;
use razorc_tests::{shared, written};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

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
];

/// Runs one step of a compiled trainer on the data of a golden.
type Executor = fn(&Compiled, &SafeTensors<'_>) -> Step;

#[test]
fn dense_gradients_are_those_of_pytorch() {
    compare("dense", false, on_reference);
    compare("dense", false, on_cpu);
}

#[test]
fn gradients_by_the_published_mask_rule_are_those_of_its_code() {
    compare("br90_all", true, on_reference);
    compare("br90_all", true, on_cpu);
}

fn compare(policy: &str, reference_mask: bool, executor: Executor) {
    for &(file, golden, batch_norm) in CASES {
        let Some(path) = shared(&format!("models/tiny/{file}")) else { return };
        let bytes = std::fs::read(shared(&format!("golden/{golden}.safetensors")).unwrap()).unwrap();
        let golden = SafeTensors::deserialize(&bytes).unwrap();
        let model = Model::open(path).unwrap();
        let step = executor(&compiled(&model, &golden, batch_norm, reference_mask), &golden);
        near(&[step.loss], &floats(&golden, "loss"), 0.0, &format!("{file} {policy} loss"));
        let mut compared = 0;
        // A bias in front of batch statistics has no gradient; what PyTorch has there is rounding of the others.
        let whole: f64 = step.gradients.iter().flat_map(|it| &it.1).map(|x| x * x).sum::<f64>().sqrt();
        for (initializer, gradient) in &step.gradients {
            let Some((name, transposed)) = parameter(&model, &golden, initializer) else {
                panic!("{file}: no parameter is {initializer}")
            };
            let key = format!("{policy}/grad/{name}");
            // A bias that PyTorch made by folding a normalization has no gradient there.
            let Ok(expected) = golden.tensor(&key) else { continue };
            let expected = match transposed {
                false => floats(&golden, &key),
                true => transpose(&floats(&golden, &key), expected.shape()),
            };
            near(gradient, &expected, 1e-7 * whole, &format!("{file} {policy} {name}"));
            compared += 1;
        }
        let parameters = golden.names().iter().filter(|it| it.starts_with("dense/grad/")).count();
        assert_eq!(compared, parameters, "{file}: gradients compared");
    }
}

/// What one step computes.
struct Step {
    loss: f64,
    gradients: Vec<(String, Vec<f64>)>,
}

/// A trainer that keeps its gradients, with the golden's running statistics: exporting has moved those of some files.
fn compiled(model: &Model, golden: &SafeTensors<'_>, batch_norm: BatchNorm, reference_mask: bool) -> Compiled {
    let mut options = Options { batch: 4, batch_norm, ..Options::default() };
    // Scores of pixels have four axes.
    let pixels = golden.tensor("logits").unwrap().shape().len() == 4;
    options.task = pixels.then_some(Task::Segmentation);
    // After the first step, momentum is the gradient.
    options.optimizer = Optimizer { kind: OptimizerKind::Sgd, ..Optimizer::default() };
    options.razor.reference = reference_mask;
    options.razor.ends = reference_mask;
    if !reference_mask {
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
        executor.set(&resident.name, Tensor::float(&dims(&resident.r#type.as_ref().unwrap().dims), doubles(blob)));
    }
    let task = compiled.program.task.as_ref().unwrap();
    let input = input(golden);
    executor.set(&task.inputs[0], Tensor::float(input.shape(), doubles(input.data())));
    let shape = golden.tensor("labels").unwrap().shape().to_vec();
    executor.set(&task.target, Tensor::Int(ndarray::ArrayD::from_shape_vec(shape, labels(golden)).unwrap()));
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
    let input: Vec<f32> = doubles(input(golden).data()).into_iter().map(|it| it as f32).collect();
    let labels = labels(golden);
    let targets = Targets::Classes(&labels);
    let inputs = [Column::Real(input)];
    let batch = Batch { epoch: 0, number: 0, len: 4, inputs: &inputs, targets, rows: &[1.0; 4] };
    let loss = trainer.step(&batch, 0.0, 1).loss.into();
    let gradients = compiled.program.residents.iter().filter_map(|it| {
        let gradient = trainer.resident(&format!("{}.momentum", it.name))?;
        Some((it.initializer.clone(), gradient.into_iter().map(f64::from).collect()))
    });
    Step { loss, gradients: gradients.collect() }
}

fn input<'a>(golden: &'a SafeTensors<'_>) -> TensorView<'a> {
    let name = golden.names().into_iter().find(|it| it.starts_with("input/")).unwrap();
    golden.tensor(name).unwrap()
}

fn labels(golden: &SafeTensors<'_>) -> Vec<i64> {
    let labels = golden.tensor("labels").unwrap();
    labels.data().chunks_exact(8).map(|it| i64::from_le_bytes(it.try_into().unwrap())).collect()
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
