//! Export: tuned weights go back into the model's own file, and nothing else changes.

use std::collections::HashMap;

use razorc_compiler::error::PrepareError;
use razorc_compiler::export::export;
use razorc_compiler::import::import;
use razorc_compiler::options::Options;
use razorc_compiler::prepare::prepare;
use razorc_fixtures::{Builder, awkward, cnn, mobile};
use razorc_proto::onnx::TensorProto;
use razorc_proto::program::Preparation;
use razorc_proto::{Model, TensorData};
use razorc_tests::{CNNS, shared};

type Tuned = HashMap<String, Vec<f32>>;

fn classes(classes: u64) -> Preparation {
    Preparation { classes, seed: 5, ..Preparation::default() }
}

fn initializer<'a>(model: &'a Model, name: &str) -> &'a TensorProto {
    let found = model.graph().initializer.iter().find(|it| it.name() == name);
    found.unwrap_or_else(|| panic!("{name} is not in the model"))
}

fn values(model: &Model, name: &str) -> Vec<f32> {
    TensorData::decode(initializer(model, name), None).unwrap().to_f32().unwrap()
}

/// The weights of a prepared model, as they are before training.
fn untrained(model: &Model, preparation: &Preparation) -> Tuned {
    let prepared = prepare(model, preparation).unwrap().model;
    let imported = import(&prepared, &Options { batch: 2, ..Options::default() }).unwrap();
    let floats = |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|it| f32::from_le_bytes(*it)).collect();
    let named = imported.weights.values().filter_map(|it| Some((it.initializer.clone()?, floats(it.bytes().unwrap()))));
    named.collect()
}

#[test]
fn untrained_weights_give_the_same_file() {
    for model in [cnn(), mobile(), awkward()] {
        let tuned = untrained(&model, &classes(0));
        assert!(!tuned.is_empty());
        let exported = export(&model, &classes(0), &tuned, &[]).unwrap();
        assert!(exported.encode() == model.encode(), "{model:?}");
    }
}

#[test]
fn one_tuned_weight_changes_one_initializer() {
    let model = cnn();
    let doubled: Vec<f32> = values(&model, "stem.weight").iter().map(|it| it * 2.0).collect();
    let mut tuned = untrained(&model, &classes(0));
    tuned.insert("stem.weight".into(), doubled.clone());
    let exported = export(&model, &classes(0), &tuned, &[]).unwrap();
    assert_eq!(values(&exported, "stem.weight"), doubled);
    let mut restored = exported.clone();
    for tensor in &mut restored.graph_mut().initializer {
        if tensor.name() == "stem.weight" {
            *tensor = initializer(&model, "stem.weight").clone();
        }
    }
    assert!(restored.encode() == model.encode());
}

#[test]
fn running_statistics_go_back_too() {
    let (model, mean) = (cnn(), vec![0.25; 8]);
    let exported = export(&model, &classes(0), &Tuned::from([("stem.norm.mean".into(), mean.clone())]), &[]).unwrap();
    assert_eq!(values(&exported, "stem.norm.mean"), mean);
}

#[test]
fn a_shared_weight_gets_its_own_initializer_once_it_differs() {
    let model = awkward();
    let nodes = |model: &Model| model.graph().node.iter().filter(|it| it.op_type() == "Identity").count();
    let (own, other) = (vec![0.5; 8], values(&model, "conv1.bias"));

    let copy = export(&model, &classes(0), &Tuned::from([("conv2.bias".into(), own.clone())]), &[]).unwrap();
    assert_eq!((nodes(&model), nodes(&copy)), (1, 0));
    assert_eq!((values(&copy, "conv1.bias"), values(&copy, "conv2.bias")), (other.clone(), own.clone()));

    let source = export(&model, &classes(0), &Tuned::from([("conv1.bias".into(), own.clone())]), &[]).unwrap();
    assert_eq!((values(&source, "conv1.bias"), values(&source, "conv2.bias")), (own, other));
}

#[test]
fn a_fresh_head_keeps_its_names_and_comes_back_tuned() {
    let model = cnn();
    let prepared = prepare(&model, &classes(3)).unwrap();
    assert_eq!(prepared.head, ["logits.weight", "logits.bias"]);
    assert_eq!(initializer(&prepared.model, "logits.weight").dims, [3, 8]);
    let weight = values(&prepared.model, "logits.weight");
    assert!(weight.iter().all(|it| it.abs() < 1.0 / 8f32.sqrt()) && weight.iter().any(|it| 0.1 < it.abs()));
    assert_eq!(values(&prepared.model, "logits.bias"), [0.0; 3]);
    let again = prepare(&model, &classes(3)).unwrap().model;
    assert!(again.encode() == prepared.model.encode());
    let other = prepare(&model, &Preparation { seed: 6, ..classes(3) }).unwrap().model;
    assert_ne!(values(&other, "logits.weight"), weight);

    let tuned = Tuned::from([("logits.bias".into(), vec![1.0, 2.0, 3.0])]);
    let names = ["daisy".to_string(), "a \"rose\"\n".to_string(), "tulipe \u{e9}".to_string()];
    let exported = export(&model, &classes(3), &tuned, &names).unwrap();
    assert_eq!(values(&exported, "logits.bias"), [1.0, 2.0, 3.0]);
    assert_eq!(values(&exported, "logits.weight"), weight);
    assert_eq!(initializer(&exported, "stem.weight"), initializer(&model, "stem.weight"));
    let entry = exported.proto().metadata_props.iter().find(|it| it.key() == "razorc.class_names").unwrap();
    assert_eq!(serde_json::from_str::<Vec<String>>(entry.value()).unwrap(), names);
}

#[test]
fn heads_of_every_form_are_replaced() {
    let output = |model: &Model| {
        let imported = import(model, &Options { batch: 2, ..Options::default() }).unwrap();
        imported.graph.ty(imported.output).dims().to_vec()
    };
    let matmul = {
        let mut m = Builder::new("matmul", 0);
        m.input("x", "N,8").weight("w", &[8, 10]).weight("b", &[1, 10]).node("h", "MatMul", &["x", "w"], &[]);
        m.node("y", "Add", &["b", "h"], &[]).output("y", "N,10");
        m.model()
    };
    let conv = {
        let mut m = Builder::new("conv", 0);
        m.opset(9).input("x", "1,8,4,4").weight("w", &[10, 8, 1, 1]).ints("shape", &[1, 10]);
        m.node("c", "Conv", &["x", "w"], &[("kernel_shape", [1, 1].into())]).node("r", "Relu", &["c"], &[]);
        m.node("p", "GlobalAveragePool", &["r"], &[]).node("f", "Reshape", &["p", "shape"], &[]);
        m.node("y", "Softmax", &["f"], &[]).output("y", "1,10");
        m.model()
    };
    let viewed = {
        let mut m = Builder::new("viewed", 0);
        m.input("x", "N,8").weight("w", &[1, 1, 10, 8]).ints("shape", &[10, 8]);
        m.node("v", "Reshape", &["w", "shape"], &[]).node("y", "Gemm", &["x", "v"], &[("transB", 1.into())]);
        m.output("y", "N,10");
        m.model()
    };
    let filled = {
        let mut m = Builder::new("filled", 0);
        m.input("x", "N,8").ints("shape", &[8, 10]).node("w", "ConstantOfShape", &["shape"], &[]);
        m.node("y", "MatMul", &["x", "w"], &[]).output("y", "N,10");
        m.model()
    };
    for (model, head) in [
        (matmul, vec!["w", "b"]),
        (conv, vec!["w"]),
        (viewed, vec!["razorc.head.weight"]),
        (filled, vec!["razorc.head.weight"]),
    ] {
        let prepared = prepare(&model, &classes(4)).unwrap();
        assert_eq!(prepared.head, head, "{model:?}");
        assert_eq!(output(&prepared.model), [2, 4], "{model:?}");
    }
}

#[test]
fn a_head_can_start_at_any_value() {
    let at = |value: &str, classes: u64| Preparation { head_at: value.into(), ..self::classes(classes) };
    let model = cnn();
    let prepared = prepare(&model, &at("sum.relu", 3)).unwrap();
    assert_eq!(prepared.head, ["razorc.head.weight", "razorc.head.bias"]);
    assert_eq!(initializer(&prepared.model, "razorc.head.weight").dims, [3, 8]);
    assert!(prepared.model.graph().initializer.iter().all(|it| !it.name().starts_with("logits")));
    let imported = import(&prepared.model, &Options { batch: 2, ..Options::default() }).unwrap();
    assert_eq!(imported.graph.ty(imported.output).dims(), [2, 3]);
    assert_eq!(imported.graph.name(imported.output), "logits");
    let tuned = Tuned::from([("razorc.head.bias".into(), vec![1.0, 2.0, 3.0])]);
    let exported = export(&model, &at("sum.relu", 3), &tuned, &[]).unwrap();
    assert_eq!(values(&exported, "razorc.head.bias"), [1.0, 2.0, 3.0]);

    let refused = |preparation| prepare(&model, &preparation).unwrap_err().to_string();
    assert!(refused(at("nowhere", 3)).starts_with("no node of the model makes `nowhere`, so no head can start there"));
    assert_eq!(refused(at("sum.relu", 0)), "a head at `sum.relu` needs a number of classes (`--classes N`)");
}

#[test]
fn a_head_that_cannot_be_replaced_is_named() {
    let mut m = Builder::new("headless", 0);
    m.input("x", "N,8,4,4").weight("w", &[10, 8, 3, 3]).node(
        "c",
        "Conv",
        &["x", "w"],
        &[("kernel_shape", [3, 3].into())],
    );
    m.node("y", "Tanh", &["c"], &[]).output("y", "N,10,2,2");
    let error = prepare(&m.model(), &classes(3)).unwrap_err();
    assert!(matches!(&error, PrepareError::Head { node, .. } if node == "y"));
    assert_eq!(
        error.to_string(),
        "cannot replace the classifier: y (Tanh) stands between the output and any Gemm, MatMul or 1x1 Conv; \
         `--head-at VALUE` puts a fresh head at a value, and `razorc inspect MODEL --after import` lists the values"
    );
    let too_many = prepare(&cnn(), &classes(u64::MAX / 4)).unwrap_err().to_string();
    assert!(too_many.contains("is too large"), "{too_many}");
}

#[test]
fn weights_of_another_model_are_refused() {
    let error = export(&cnn(), &classes(0), &Tuned::from([("elsewhere".into(), vec![])]), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model has no weight `elsewhere`; is this the model that the trainer was compiled from?"
    );
    let error = export(&cnn(), &classes(0), &Tuned::from([("stem.weight".into(), vec![1.0])]), &[]).unwrap_err();
    assert!(error.to_string().contains("`stem.weight`"), "{error}");
}

#[test]
fn in_old_files_fresh_initializers_are_inputs_too() {
    let mut proto = cnn().into_proto();
    proto.ir_version = Some(3);
    let graph = proto.graph.as_mut().unwrap();
    let names: Vec<String> = graph.initializer.iter().map(|it| it.name().to_string()).collect();
    for name in &names {
        let info = razorc_proto::onnx::ValueInfoProto { name: Some(name.clone()), ..Default::default() };
        graph.input.push(info);
    }
    let model = cnn().with_proto(proto);
    assert!(prepare(&model, &classes(0)).unwrap().model.encode() == model.encode());
    let at = Preparation { head_at: "sum.relu".into(), ..classes(3) };
    for preparation in [classes(3), at] {
        let prepared = prepare(&model, &preparation).unwrap().model;
        let graph = prepared.graph();
        assert!(graph.initializer.iter().all(|it| graph.input.iter().any(|input| input.name() == it.name())));
    }
}

#[test]
fn every_shared_image_network_takes_a_fresh_head_and_stays_a_model() {
    for name in CNNS {
        let Some(path) = shared(&format!("models/{name}")) else { continue };
        let model = Model::open(&path).unwrap();
        let prepared = prepare(&model, &classes(7)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let imported = import(&prepared.model, &Options { batch: 3, ..Options::default() });
        let imported = imported.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(imported.graph.ty(imported.output).dims(), [3, 7], "{name}");
        let params = imported.graph.declared("param");
        let trained = |it: &String| params.iter().any(|param| imported.graph.name(*param) == it);
        assert!(prepared.head.iter().all(trained), "{name}");
    }
}
