//! Import: real models become forward graphs, and what cannot is refused with everything that is wrong.

use std::path::{Path, PathBuf};

use razorc_compiler::graph::Phase;
use razorc_compiler::import::{Imported, import};
use razorc_compiler::options::Options;
use razorc_proto::Model;

/// A model of the shared collection; none, said loudly, where the collection is not there.
fn shared(name: &str) -> Option<Model> {
    let shared = std::env::var_os("RAZORC_SHARED").map_or("../../shared".into(), PathBuf::from);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(shared).join("models").join(name);
    if !path.exists() {
        println!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(Model::open(&path).unwrap())
}

fn imported(model: &Model, options: &Options) -> Imported {
    import(model, options).unwrap_or_else(|e| panic!("{model:?}: {e}"))
}

const CNNS: &[&str] = &[
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

#[test]
fn every_shared_image_network_imports_at_any_batch() {
    for name in CNNS {
        let Some(model) = shared(name) else { continue };
        let imported = imported(&model, &Options { batch: 3, ..Options::default() });
        let graph = &imported.graph;
        let dims = graph.ty(imported.output).dims();
        println!(
            "{name}: {} nodes, {} params, {dims:?}",
            graph.phase(Phase::Forward).count(),
            graph.declared("param").len()
        );
        assert_eq!(dims.len(), 2, "{name}");
        assert_eq!(dims[0], 3, "{name}");
        assert_ne!(graph.node(imported.output.node).op.name, "softmax", "{name}");
        assert_eq!(razorc_compiler::verify::verify(graph), vec![], "{name}");
    }
}
