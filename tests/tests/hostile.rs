//! Models that somebody broke, by accident or on purpose: they may be refused, but the compiler survives.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use razorc_compiler::compile;
use razorc_compiler::options::{BatchNorm, Clip, ClipScope, Loss, OptimizerKind, Options, StateForm};
use razorc_compiler::types::DType;
use razorc_fixtures::{DIGITS_MODEL, awkward, cnn, flattened_batch, mlp, mobile};
use razorc_proto::Model;
use razorc_proto::onnx::tensor_shape_proto::dimension::Value as Size;
use razorc_proto::onnx::type_proto::Value as TypeValue;
use razorc_proto::onnx::{GraphProto, ModelProto, ValueInfoProto};
use razorc_runtime::program::Program;

type Random = ChaCha8Rng;

/// Sizes, axes and counts that nobody means.
const INTS: &[i64] = &[
    i64::MIN,
    -(1 << 31),
    -2,
    -1,
    0,
    1,
    2,
    3,
    5,
    255,
    65_537,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 40,
    1 << 62,
    i64::MAX,
];

#[test]
fn mutated_bytes() {
    let bytes: Vec<Vec<u8>> = models().iter().map(Model::encode).collect();
    survive(2500, |random| {
        let mut bytes = bytes.choose(random).unwrap().clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        Model::from_bytes(bytes).ok()
    });
}

#[test]
fn mutated_graphs() {
    let models = models();
    survive(3500, |random| {
        let model = models.choose(random).unwrap();
        let mut proto = model.proto().clone();
        for _ in 0..random.random_range(1..4) {
            mutate(&mut proto, random);
        }
        Some(model.with_proto(proto))
    });
}

fn models() -> Vec<Model> {
    vec![mlp(), cnn(), mobile(), awkward(), flattened_batch(), Model::from_bytes(DIGITS_MODEL).unwrap()]
}

/// Compiles one model for each seed. What compiles must also be a program that the runtime accepts.
fn survive(seeds: u64, make: impl Fn(&mut Random) -> Option<Model>) {
    let mut outcomes = [0; 3];
    let mut guilty = vec![];
    for seed in 0..seeds {
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let mut random = Random::seed_from_u64(seed);
            let Some(model) = make(&mut random) else { return 0 };
            match compile(&model, &options(&mut random)) {
                Err(_) => 1,
                Ok(compiled) => {
                    Program::check(&compiled.program).expect("what compiles is a valid program");
                    2
                }
            }
        }));
        match attempt {
            Ok(outcome) => outcomes[outcome] += 1,
            Err(_) => guilty.push(seed),
        }
    }
    assert!(guilty.is_empty(), "these seeds make the compiler panic: {guilty:?}");
    let [_, refused, compiled] = outcomes;
    assert!(seeds / 10 < refused && seeds / 10 < compiled, "seeds must lead to both ends: {outcomes:?}");
}

fn options(random: &mut Random) -> Options {
    let mut options = Options { batch: 2, ..Options::default() };
    match random.random_range(0..12) {
        0 => options.batch = *[0, 1, 3, 1 << 20, 1 << 33, u64::MAX].choose(random).unwrap(),
        1 => options.classes = *[1, 3, 1 << 40, u64::MAX].choose(random).unwrap(),
        2 => {
            options.classes = 3;
            options.head_at =
                ["a1", "c1", "stem.relu", "logits", "stem.weight", "nothing"].choose(random).unwrap().to_string();
        }
        3 => options.loss = *[Loss::MeanSquaredError, Loss::BinaryCrossEntropy].choose(random).unwrap(),
        4 => options.batch_norm = *[BatchNorm::Affine, BatchNorm::Train].choose(random).unwrap(),
        5 => options.dropout = true,
        6 => options.optimizer.kind = OptimizerKind::Sgd,
        7 => (options.razor.ends, options.razor.smooth) = (true, true),
        8 => options.razor.reference = true,
        9 => _ = options.input_shapes.insert("image".into(), vec![2, 3, hostile(random) as u64, 16]),
        10 => options.razor.values = DType::I8,
        11 => {
            options.optimizer.state = StateForm::Bits8;
            options.optimizer.clip = Some(Clip { norm: 1.0, scope: ClipScope::Global });
        }
        _ => {}
    }
    options
}

/// Changes one thing.
fn mutate(proto: &mut ModelProto, random: &mut Random) {
    if random.random_range(0..40) == 0 {
        let version = random.random_range(1..26);
        proto.opset_import.iter_mut().for_each(|it| it.version = Some(version));
    }
    let graph = proto.graph.as_mut().unwrap();
    match random.random_range(0..4) {
        0 | 1 => mutate_node(graph, random),
        2 => mutate_initializer(graph, random),
        _ => mutate_ends(graph, random),
    }
}

fn mutate_node(graph: &mut GraphProto, random: &mut Random) {
    let names: Vec<String> = graph.node.iter().flat_map(|it| it.input.iter().chain(&it.output)).cloned().collect();
    let ops: Vec<Option<String>> = graph.node.iter().map(|it| it.op_type.clone()).collect();
    if graph.node.is_empty() {
        return;
    }
    let at = random.random_range(0..graph.node.len());
    let node = &mut graph.node[at];
    match random.random_range(0..12) {
        0 => _ = graph.node.remove(at),
        1 => {
            let copy = node.clone();
            graph.node.push(copy);
        }
        2 => {
            let other = random.random_range(0..graph.node.len());
            graph.node.swap(at, other);
        }
        3 => node.op_type = ops.choose(random).unwrap().clone(),
        4 => node.op_type = OPS.choose(random).map(|it| it.to_string()),
        5 => node.domain = Some(["", "ai.onnx", "com.example"].choose(random).unwrap().to_string()),
        6 => rename(&mut node.input, &names, random),
        7 => rename(&mut node.output, &names, random),
        _ => {
            let Some(attribute) = node.attribute.iter_mut().max_by_key(|_| random.random::<u32>()) else { return };
            match random.random_range(0..6) {
                0 => attribute.name = Some("group".into()),
                1 => attribute.ints.push(hostile(random)),
                2 => _ = attribute.ints.pop(),
                3 => attribute.i = Some(hostile(random)),
                4 => attribute.f = [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e30].choose(random).copied(),
                _ => attribute.ints.iter_mut().for_each(|it| *it = hostile(random)),
            }
        }
    }
}

/// Operators that fixtures do not have.
const OPS: &[&str] = &[
    "AveragePool",
    "Cast",
    "ConstantOfShape",
    "Div",
    "Expand",
    "Gather",
    "GlobalMaxPool",
    "HardSigmoid",
    "LRN",
    "LeakyRelu",
    "Loop",
    "PRelu",
    "Range",
    "ReduceSum",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Sum",
    "Tile",
    "Transpose",
];

/// Changes, removes or adds a name.
fn rename(list: &mut Vec<String>, names: &[String], random: &mut Random) {
    let other = if random.random_range(0..4) == 0 { String::new() } else { names.choose(random).unwrap().clone() };
    let at = random.random_range(0..=list.len());
    match random.random_range(0..3) {
        0 if at < list.len() => _ = list.remove(at),
        1 if at < list.len() => list[at] = other,
        _ => list.insert(at, other),
    }
}

fn mutate_initializer(graph: &mut GraphProto, random: &mut Random) {
    if graph.initializer.is_empty() {
        return;
    }
    let at = random.random_range(0..graph.initializer.len());
    let other = graph.initializer.choose(random).unwrap().name.clone();
    let tensor = &mut graph.initializer[at];
    match random.random_range(0..8) {
        0 => _ = graph.initializer.remove(at),
        1 => tensor.name = other,
        2 => tensor.data_type = Some(random.random_range(0..22)),
        3 => tensor.dims.push(hostile(random)),
        4 => _ = tensor.dims.pop(),
        5 => tensor.dims.iter_mut().for_each(|it| *it = if random.random() { *it } else { hostile(random) }),
        6 => tensor.raw_data = None,
        _ => {
            // Shapes, pads and axes; floats become other floats.
            let count = tensor.raw_data().len() / 8;
            let bytes: Vec<u8> = (0..count).flat_map(|_| hostile(random).to_le_bytes()).collect();
            tensor.raw_data = Some(bytes.into());
        }
    }
}

fn mutate_ends(graph: &mut GraphProto, random: &mut Random) {
    let ends = if random.random_range(0..4) == 0 { &mut graph.output } else { &mut graph.input };
    if ends.is_empty() {
        return;
    }
    let at = random.random_range(0..ends.len());
    match random.random_range(0..6) {
        0 => _ = ends.remove(at),
        1 => ends.push(ends[at].clone()),
        2 => ends[at].name = Some("other".into()),
        _ => mutate_type(&mut ends[at], random),
    }
}

fn mutate_type(info: &mut ValueInfoProto, random: &mut Random) {
    let ty = info.r#type.as_mut().and_then(|it| it.value.as_mut());
    let Some(TypeValue::TensorType(tensor)) = ty else { return };
    match (random.random_range(0..5), &mut tensor.shape) {
        (0, _) => tensor.elem_type = Some(random.random_range(0..22)),
        (1, shape) => *shape = None,
        (2, Some(shape)) => _ = shape.dim.pop(),
        (_, Some(shape)) => {
            let size = Some(Size::DimValue(hostile(random)));
            if let Some(dim) = shape.dim.iter_mut().max_by_key(|_| random.random::<u32>()) {
                dim.value = size;
            }
        }
        (_, None) => info.r#type = None,
    }
}

fn hostile(random: &mut Random) -> i64 {
    *INTS.choose(random).unwrap()
}
