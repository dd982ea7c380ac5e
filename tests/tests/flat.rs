//! What import makes flat: functions, branches, floats of other widths. And what it unties first.

use std::collections::HashMap;

use half::f16;
use razorc_compiler::export::export;
use razorc_compiler::import::{Imported, import};
use razorc_compiler::options::{BatchNorm, Loss, Options};
use razorc_compiler::prepare::prepare;
use razorc_compiler::verify::verify;
use razorc_fixtures::{Builder, tensor};
use razorc_proto::onnx::attribute_proto::AttributeType;
use razorc_proto::onnx::tensor_proto::DataType;
use razorc_proto::onnx::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use razorc_proto::program::Preparation;
use razorc_proto::{Model, TensorData};

fn options() -> Options {
    Options { batch: 2, loss: Loss::MeanSquaredError, ..Options::default() }
}

fn imported(model: &Model) -> Imported {
    let imported = import(model, &options()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(verify(&imported.graph), []);
    imported
}

fn refused(model: &Model) -> String {
    import(model, &options()).map(|it| it.graph.to_string()).expect_err("is refused").to_string()
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        name: Some(format!("{op}.{}", outputs[0])),
        op_type: Some(op.into()),
        input: inputs.iter().map(|it| it.to_string()).collect(),
        output: outputs.iter().map(|it| it.to_string()).collect(),
        ..NodeProto::default()
    }
}

fn call(domain: &str, function: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto { domain: Some(domain.into()), ..node(function, inputs, outputs) }
}

fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.into()),
        domain: Some("own".into()),
        input: inputs.iter().map(|it| it.to_string()).collect(),
        output: outputs.iter().map(|it| it.to_string()).collect(),
        node: nodes,
        opset_import: vec![opset("", 17), opset("own", 1)],
        ..FunctionProto::default()
    }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    let ty = Some(AttributeType::Float.into());
    AttributeProto { name: Some(name.into()), r#type: ty, f: Some(value), ..AttributeProto::default() }
}

fn reference(name: &str, to: &str) -> AttributeProto {
    let ty = Some(AttributeType::Float.into());
    AttributeProto { name: Some(name.into()), r#type: ty, ref_attr_name: Some(to.into()), ..AttributeProto::default() }
}

fn branch(name: &str, graph: GraphProto) -> AttributeProto {
    let ty = Some(AttributeType::Graph.into());
    AttributeProto { name: Some(name.into()), r#type: ty, g: Some(graph), ..AttributeProto::default() }
}

fn graph(nodes: Vec<NodeProto>, output: &str) -> GraphProto {
    let output = ValueInfoProto { name: Some(output.into()), ..ValueInfoProto::default() };
    GraphProto { node: nodes, output: vec![output], ..GraphProto::default() }
}

/// A model of `x` and `w`, with nodes and functions that the builder does not know.
fn model(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> Model {
    let mut m = Builder::new("flat", 0);
    m.input("x", "N,4").weight("w", &[4, 4]).output("y", "N,4");
    changed(&m.model(), |proto| {
        proto.graph.as_mut().unwrap().node = nodes;
        proto.functions = functions;
    })
}

fn changed(model: &Model, change: impl FnOnce(&mut ModelProto)) -> Model {
    let mut proto = model.proto().clone();
    change(&mut proto);
    Model::from_bytes(prost::Message::encode_to_vec(&proto)).unwrap()
}

/// A leaky layer that calls an activation, which has an attribute with a default.
fn layered(alpha: Option<f32>) -> Model {
    let leaky = NodeProto { attribute: vec![reference("alpha", "slope")], ..node("LeakyRelu", &["v"], &["r"]) };
    let activation = FunctionProto {
        attribute_proto: vec![float("slope", 0.25)],
        ..function("Activation", &["v"], &["r"], vec![leaky])
    };
    let inner = NodeProto {
        attribute: alpha.map(|_| reference("slope", "steep")).into_iter().collect(),
        ..call("own", "Activation", &["h"], &["out"])
    };
    let layer = FunctionProto {
        attribute: vec!["steep".into()],
        ..function("Layer", &["x", "weight"], &["out"], vec![node("MatMul", &["x", "weight"], &["h"]), inner])
    };
    let with =
        |node: NodeProto| NodeProto { attribute: alpha.map(|it| float("steep", it)).into_iter().collect(), ..node };
    let nodes =
        vec![with(call("own", "Layer", &["x", "w"], &["first"])), with(call("own", "Layer", &["first", "w"], &["y"]))];
    model(nodes, vec![layer, activation])
}

#[test]
fn functions_are_put_where_they_are_called() {
    insta::assert_snapshot!(imported(&layered(Some(0.5))).graph);
    // Nobody gives the inner attribute, so its default counts.
    assert!(imported(&layered(None)).graph.to_string().contains("alpha=0.25"));
}

#[test]
fn a_model_with_functions_is_exported_as_it_was() {
    let model = layered(Some(0.5));
    let weights = &imported(&model).weights;
    let tuned: HashMap<String, Vec<f32>> = [("w".to_string(), weights["w"].floats().unwrap().unwrap())].into();
    assert!(export(&model, &Preparation::default(), &tuned, &[]).unwrap().encode() == model.encode());
    let tuned: HashMap<String, Vec<f32>> = [("w".to_string(), vec![0.5; 16])].into();
    let exported = export(&model, &Preparation::default(), &tuned, &[]).unwrap();
    assert_eq!(exported.proto().functions, model.proto().functions);
    assert_eq!(exported.graph().node, model.graph().node);
}

#[test]
fn absent_inputs_and_outputs_of_functions_stay_absent() {
    let clip = function(
        "Bounded",
        &["v", "low", "high"],
        &["r", "copy", "again"],
        vec![
            node("Clip", &["v", "low", "high"], &["r"]),
            node("Identity", &["r"], &["copy"]),
            node("Relu", &["r"], &["again"]),
        ],
    );
    let pass = function("Pass", &["v"], &["v"], vec![]);
    let nodes = vec![
        call("own", "Bounded", &["x", ""], &["a", "", "b"]),
        call("own", "Pass", &["b"], &["c"]),
        node("Add", &["a", "c"], &["y"]),
    ];
    insta::assert_snapshot!(imported(&model(nodes, vec![clip, pass])).graph);
}

#[test]
fn functions_that_call_themselves_are_refused() {
    let a = function("A", &["v"], &["r"], vec![call("own", "B", &["v"], &["r"])]);
    let b = function("B", &["v"], &["r"], vec![call("own", "A", &["v"], &["r"])]);
    let nodes = vec![call("own", "A", &["x"], &["h"]), node("NonZero", &["h"], &["y"])];
    assert_eq!(
        refused(&model(nodes, vec![a, b])),
        "the model cannot be trained:\
         \n  A.h/B.r/A.r  A (opset 17) calls itself, which is not supported\
         \n  NonZero.y  NonZero (opset 17) is not supported\
         \n`--classes N --head-at VALUE` puts a fresh head before such nodes and leaves them out"
    );
}

#[test]
fn functions_that_unfold_to_very_much_are_refused() {
    let double = |name: &str, inner: &str| {
        let nodes = vec![call("own", inner, &["v"], &["h"]), call("own", inner, &["h"], &["r"])];
        function(name, &["v"], &["r"], nodes)
    };
    let mut functions = vec![function("F0", &["v"], &["r"], vec![node("Relu", &["v"], &["r"])])];
    (1..60).for_each(|n| functions.push(double(&format!("F{n}"), &format!("F{}", n - 1))));
    let error = refused(&model(vec![call("own", "F59", &["x"], &["y"])], functions));
    assert!(error.contains("unfold to more than"), "{error}");
    let mut functions = vec![function("F0", &["v"], &["r"], vec![node("Relu", &["v"], &["r"])])];
    for n in 1..5000 {
        let inner = vec![call("own", &format!("F{}", n - 1), &["v"], &["r"])];
        functions.push(function(&format!("F{n}"), &["v"], &["r"], inner));
    }
    let error = refused(&model(vec![call("own", "F4999", &["x"], &["y"])], functions));
    assert!(error.contains("calls functions too deep"), "{error}");
}

#[test]
fn a_function_means_what_its_own_opset_says() {
    let of = |version: i64, op: &str| {
        let body = vec![node(op, &["v"], &["r"])];
        let f = FunctionProto { opset_import: vec![opset("", version)], ..function("F", &["v"], &["r"], body) };
        model(vec![call("own", "F", &["x"], &["h"]), node("MatMul", &["h", "w"], &["y"])], vec![f])
    };
    imported(&of(12, "Relu"));
    imported(&of(13, "Softmax"));
    let error = refused(&of(12, "Softmax"));
    assert!(
        error.contains("F.h/Softmax.r  Softmax (opset 17) in the function F is of opset 12, the model is of opset 17"),
        "{error}"
    );
}

/// `y` is `Tanh(w)` or `Relu` of what `x` and `w` make, by a condition.
fn choice(condition: NodeProto, more: Vec<NodeProto>) -> Model {
    let then = graph(vec![node("Tanh", &["h"], &["inner"])], "inner");
    let otherwise = graph(vec![node("Relu", &["h"], &["inner"]), node("Tanh", &["inner"], &["r"])], "r");
    let attribute = vec![branch("then_branch", then), branch("else_branch", otherwise)];
    let choose = NodeProto { attribute, ..node("If", &["c"], &["y"]) };
    let nodes = [vec![node("MatMul", &["x", "w"], &["h"])], more, vec![condition, choose]].concat();
    model(nodes, vec![])
}

fn boolean(value: bool) -> NodeProto {
    let value = AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor.into()),
        t: Some(tensor("", DataType::Bool, &[], vec![value.into()])),
        ..AttributeProto::default()
    };
    NodeProto { attribute: vec![value], ..node("Constant", &[], &["c"]) }
}

fn operators(imported: &Imported) -> Vec<&str> {
    let graph = &imported.graph;
    graph.phase(razorc_compiler::graph::Phase::Forward).map(|it| graph.node(it).op.name).collect()
}

#[test]
fn a_known_condition_takes_its_branch() {
    assert_eq!(operators(&imported(&choice(boolean(true), vec![]))), ["linear", "tanh"]);
    assert_eq!(operators(&imported(&choice(boolean(false), vec![]))), ["linear", "relu", "tanh"]);
    // By shapes: the first axis is the batch, which is 2.
    let int = |name: &str, value: i64| NodeProto {
        attribute: vec![AttributeProto {
            name: Some("value_int".into()),
            r#type: Some(AttributeType::Int.into()),
            i: Some(value),
            ..AttributeProto::default()
        }],
        ..node("Constant", &[], &[name])
    };
    for (size, expected) in [(2, vec!["linear", "tanh"]), (3, vec!["linear", "relu", "tanh"])] {
        let (shape, first) = (node("Shape", &["h"], &["shape"]), node("Gather", &["shape", "zero"], &["batch"]));
        let by_size = vec![shape, int("zero", 0), first, int("size", size)];
        assert_eq!(operators(&imported(&choice(node("Equal", &["batch", "size"], &["c"]), by_size))), expected);
    }
}

#[test]
fn branches_may_hold_weights_and_further_branches() {
    let weight = |name: &str| tensor(name, DataType::Float, &[4, 4], vec![0; 64]);
    let inner = |op: &str| graph(vec![node(op, &["q"], &["r"])], "r");
    let choose = NodeProto {
        attribute: vec![branch("then_branch", inner("Relu")), branch("else_branch", inner("Tanh"))],
        ..node("If", &["d"], &["z"])
    };
    let mut then = graph(vec![node("MatMul", &["h", "own"], &["q"]), node("Not", &["c"], &["d"]), choose], "z");
    then.initializer.push(weight("own"));
    let otherwise = GraphProto { initializer: vec![weight("w2")], ..graph(vec![], "w2") };
    let attribute = vec![branch("then_branch", then), branch("else_branch", otherwise)];
    let nodes =
        vec![boolean(true), node("MatMul", &["x", "w"], &["h"]), NodeProto { attribute, ..node("If", &["c"], &["y"]) }];
    let model = model(nodes, vec![]);
    let imported = imported(&model);
    assert_eq!(operators(&imported), ["linear", "linear", "tanh"]);
    assert_eq!(imported.graph.declared("param").len(), 2);

    let tuned: HashMap<String, Vec<f32>> = [("own".to_string(), vec![0.5; 16])].into();
    let exported = export(&model, &Preparation::default(), &tuned, &[]).unwrap();
    let branch = exported.graph().node[2].attribute[0].g.as_ref().unwrap();
    assert_eq!(TensorData::decode(&branch.initializer[0], None).unwrap().to_f32().unwrap(), [0.5; 16]);
    assert_eq!(exported.graph().initializer, model.graph().initializer);
}

#[test]
fn what_is_not_flat_is_refused_all_at_once() {
    let sum = node("ReduceSum", &["h"], &["sum"]);
    let scalar = vec![sum, node("Not", &["sum"], &["n"])];
    let loops =
        NodeProto { attribute: vec![branch("body", graph(vec![], "w"))], ..node("Loop", &["", "", "y"], &["l"]) };
    let model = changed(&choice(node("Cast", &["sum"], &["c"]), scalar), |proto| {
        let graph = proto.graph.as_mut().unwrap();
        graph.node.extend([loops, node("SequenceConstruct", &["l"], &["s"]), node("Sum", &["y", "l"], &["t"])]);
        graph.node.push(node("ConcatFromSequence", &["s", "t"], &["end"]));
        graph.output[0].name = Some("end".into());
    });
    insta::assert_snapshot!(refused(&model));
}

#[test]
fn a_weight_decides_no_branch() {
    let sum = vec![node("ReduceSum", &["w"], &["sum"]), node("Cast", &["sum"], &["n"])];
    let error = refused(&choice(node("Not", &["n"], &["c"]), sum));
    assert!(error.contains("If.y  If (opset 17) has a condition (`c`) that is not known when compiling"), "{error}");
}

fn cast(to: DataType, from: &str, name: &str) -> NodeProto {
    let to = AttributeProto {
        name: Some("to".into()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(to as i64),
        ..AttributeProto::default()
    };
    NodeProto { attribute: vec![to], ..node("Cast", &[from], &[name]) }
}

/// A model of halves: its input and weights are, and a constant is.
fn halves() -> Model {
    let bytes = |values: &[f32]| values.iter().flat_map(|it| f16::from_f32(*it).to_le_bytes()).collect();
    let mut m = Builder::new("halves", 0);
    m.input("x", "N,4").output("y", "N,4");
    m.initializer(tensor("w", DataType::Float16, &[4, 4], bytes(&[0.1; 16])));
    m.initializer(tensor("big", DataType::Float16, &[4, 64], bytes(&[0.3; 256])));
    m.initializer(tensor("back", DataType::Double, &[64, 4], vec![0; 2048]));
    m.node("h", "MatMul", &["x", "w"], &[]).node("g", "MatMul", &["h", "big"], &[]);
    changed(&m.model(), |proto| {
        let graph = proto.graph.as_mut().unwrap();
        let ty = graph.input[0].r#type.as_mut().unwrap().value.as_mut().unwrap();
        if let razorc_proto::onnx::type_proto::Value::TensorType(it) = ty {
            it.elem_type = Some(DataType::Float16.into());
        }
        let half = AttributeProto {
            name: Some("value".into()),
            r#type: Some(AttributeType::Tensor.into()),
            t: Some(tensor("", DataType::Float16, &[1], bytes(&[2.0]))),
            ..AttributeProto::default()
        };
        graph.node.push(NodeProto { attribute: vec![half], ..node("Constant", &[], &["two"]) });
        graph.node.extend([cast(DataType::Double, "g", "wide"), node("MatMul", &["wide", "back"], &["b"])]);
        graph.node.extend([cast(DataType::Float16, "b", "narrow"), node("Mul", &["narrow", "two"], &["y"])]);
    })
}

#[test]
fn floats_of_any_width_are_trained_and_written_back_in_their_own() {
    let model = halves();
    let imported = imported(&model);
    assert_eq!(imported.graph.declared("param").len(), 3);
    assert!(imported.graph.phase(razorc_compiler::graph::Phase::Forward).count() >= 4);
    let mut tuned: HashMap<String, Vec<f32>> =
        ["w", "big", "back"].map(|it| (it.to_string(), imported.weights[it].floats().unwrap().unwrap())).into();
    assert!(export(&model, &Preparation::default(), &tuned, &[]).unwrap().encode() == model.encode());
    tuned.insert("w".into(), vec![0.7; 16]);
    let exported = export(&model, &Preparation::default(), &tuned, &[]).unwrap();
    let weight = &exported.graph().initializer[0];
    assert_eq!(weight.data_type(), DataType::Float16 as i32);
    assert_eq!(TensorData::decode(weight, None).unwrap().to_f32().unwrap(), [f16::from_f32(0.7).to_f32(); 16]);
    assert_eq!(exported.graph().initializer[1..], model.graph().initializer[1..]);
}

/// Two norms that share their vectors, as exporters write equal ones.
fn shared_norms() -> Model {
    let mut m = Builder::new("shared", 0);
    m.input("x", "N,4,3,3").floats("ones", &[4], &[1.0; 4]).floats("zeros", &[4], &[0.0; 4]).output("y", "N,4,3,3");
    m.node("a", "BatchNormalization", &["x", "ones", "zeros", "zeros", "ones"], &[]);
    m.node("y", "BatchNormalization", &["a", "ones", "zeros", "zeros", "ones"], &[]);
    m.model()
}

#[test]
fn vectors_that_exporters_merged_are_trained_apart() {
    let model = shared_norms();
    let prepared = prepare(&model, &Preparation::default()).unwrap().model;
    let names: Vec<&str> = prepared.graph().initializer.iter().map(TensorProto::name).collect();
    assert_eq!(names, ["ones", "zeros", "ones.1", "ones.2", "ones.3", "zeros.1", "zeros.2", "zeros.3"]);
    let options = Options { batch_norm: BatchNorm::Affine, ..options() };
    assert_eq!(import(&prepared, &options).unwrap().graph.declared("param").len(), 4);

    let same: HashMap<String, Vec<f32>> = [("ones.2".to_string(), vec![1.0; 4])].into();
    assert!(export(&model, &Preparation::default(), &same, &[]).unwrap().encode() == model.encode());
    let other: HashMap<String, Vec<f32>> = [("ones.2".to_string(), vec![0.5; 4])].into();
    let exported = export(&model, &Preparation::default(), &other, &[]).unwrap();
    let names: Vec<&str> = exported.graph().initializer.iter().map(TensorProto::name).collect();
    assert_eq!(names, ["ones", "zeros", "ones.2"]);
    assert_eq!(exported.graph().node[1].input, ["a", "ones.2", "zeros", "zeros", "ones"]);
}

#[test]
fn a_tied_weight_is_one_unless_it_is_to_be_untied() {
    let mut m = Builder::new("tied", 0);
    m.input("x", "N,4").weight("w", &[4, 4]).output("y", "N,4");
    m.node("h", "MatMul", &["x", "w"], &[]).node("y", "MatMul", &["h", "w"], &[]);
    let model = m.model();
    let params = |untie_shared: bool| {
        let prepared = prepare(&model, &Preparation { untie_shared, ..Preparation::default() }).unwrap().model;
        imported(&prepared).graph.declared("param").len()
    };
    assert_eq!((params(false), params(true)), (1, 2));
}

#[test]
fn operators_of_newer_opsets_are_taken_while_they_mean_the_same() {
    let of = |version: i64, op: &str| {
        let mut m = Builder::new("new", 0);
        m.opset(version).input("x", "N,4").node("y", op, &["x"], &[]).output("y", "N,4");
        m.model()
    };
    for version in [7, 9, 17, 22, 23, 24, 25, 28] {
        imported(&of(version, "Relu"));
    }
    let error = refused(&of(28, "SpaceToDepth"));
    assert!(error.contains("means something new since opset 28; export with opset 24 or below"), "{error}");
    assert!(refused(&of(29, "Relu")).starts_with("opset 29 is not supported"));
    assert!(refused(&of(6, "Relu")).starts_with("opset 6 is not supported"));
}
