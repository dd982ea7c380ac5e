//! Products, convolutions and their transposes, pooling, resizing, and what is made of them.

use razorc_fixtures::{Attr, Builder};
use razorc_proto::Model;
use razorc_proto::onnx::tensor_proto::DataType;

use crate::{forward, imported, mse, refused, single};

fn text(model: &Model) -> String {
    forward(model, &mse(2)).join("\n")
}

/// All models, each below its name.
fn texts(cases: &[(&str, Model)]) -> String {
    cases.iter().map(|(name, model)| format!("# {name}\n{}\n", text(model))).collect::<Vec<_>>().join("\n")
}

/// One node that reads `x` and other inputs, which `build` declares.
fn node(
    opset: i64,
    dims: &str,
    op: &str,
    others: &[&str],
    attrs: &[(&str, Attr)],
    build: impl Fn(&mut Builder),
) -> Model {
    let mut m = Builder::new("node", 0);
    m.opset(opset).input("x", dims).output("y", "N");
    build(&mut m);
    m.node("y", op, &[&["x"], others].concat(), attrs);
    m.model()
}

fn einsum(equation: &str, dims: &[&str], weights: &[(&str, &[i64])]) -> Model {
    let mut m = Builder::new("einsum", 0);
    let mut operands = vec![];
    for (at, dims) in dims.iter().enumerate() {
        let name = ["x", "z"][at];
        m.input(name, dims);
        operands.push(name);
    }
    for (name, dims) in weights {
        m.uniform(name, dims, -1.0, 1.0);
        operands.push(name);
    }
    m.node("y", "Einsum", &operands, &[("equation", equation.into())]).output("y", "N");
    m.model()
}

#[test]
fn products_of_any_rank() {
    let product = |x: &str, z: &str, of: [&str; 2]| {
        let mut m = Builder::new("product", 0);
        m.input("x", x).input("z", z).node("y", "MatMul", &of, &[]).output("y", "N");
        m.model()
    };
    let weights = |w: &[i64], of: [&str; 2]| {
        let mut m = Builder::new("weights", 0);
        m.input("x", "N,4,5").uniform("w", w, -1.0, 1.0).node("y", "MatMul", &of, &[]).output("y", "N");
        m.model()
    };
    let scores = {
        let mut m = Builder::new("scores", 0);
        m.input("q", "N,3,4,5").input("k", "N,3,6,5");
        m.node("kt", "Transpose", &["k"], &[("perm", [0, 1, 3, 2].into())]);
        m.node("y", "MatMul", &["q", "kt"], &[]).output("y", "N");
        m.model()
    };
    insta::assert_snapshot!(texts(&[
        ("stacks", product("N,3,4,5", "N,3,5,2", ["x", "z"])),
        ("one of two stacks is repeated", product("N,3,4,5", "N,1,5,2", ["x", "z"])),
        ("the transpose is part of the product", scores),
        ("a weight on the right", weights(&[5, 6], ["x", "w"])),
        ("a weight on the left", weights(&[6, 4], ["w", "x"])),
        ("a vector of weights on the right", weights(&[5], ["x", "w"])),
        ("a vector of weights on the left", weights(&[4], ["w", "x"])),
        ("a stack of weights", weights(&[1, 5, 6], ["x", "w"])),
    ]));
}

#[test]
fn einsum_is_made_of_products() {
    insta::assert_snapshot!(texts(&[
        ("a transpose", einsum("bij->bji", &["N,3,4"], &[])),
        ("a sum", einsum("bij->b", &["N,3,4"], &[])),
        ("attention scores", einsum("bqhd,bkhd->bhqk", &["N,4,3,5", "N,6,3,5"], &[])),
        ("attention", einsum("bhqk,bkhd->bqhd", &["N,3,4,6", "N,6,3,5"], &[])),
        ("a projection", einsum("bsd,dhk->bshk", &["N,4,6"], &[("w", &[6, 2, 3])])),
        ("a projection on the other side", einsum("abc,bd->abcd", &["N,2,3"], &[("w", &[2, 5])])),
        ("a projection from heads", einsum("bshk,hkd->bsd", &["N,4,2,3"], &[("w", &[2, 3, 6])])),
        ("an outer product", einsum("bi,bj->bij", &["N,3", "N,4"], &[])),
        ("an ellipsis", einsum("b...i,ij->b...j", &["N,3,4,5"], &[("w", &[5, 6])])),
        ("implied axes", einsum("bji", &["N,3,4"], &[])),
        ("a broadcast axis", einsum("bij,bjk->bik", &["N,3,4"], &[("w", &[1, 4, 5])])),
    ]));
    let refusal = |equation: &str| refused(&einsum(equation, &["N,3,3"], &[]), &mse(2));
    for (equation, reason) in [
        ("bii->bi", "takes a diagonal, `i` twice in `bii`, which is not supported"),
        ("bij->bk", "cannot make what `bij->bk` asks for"),
        ("bij,jk->bk", "has 1 inputs for the equation `bij,jk->bk`"),
        ("b1j->b", "has `1` in its equation"),
    ] {
        assert!(refusal(equation).contains(reason), "{}", refusal(equation));
    }
}

#[test]
fn transposed_convolutions() {
    let transposed = |dims: &str, w: &[i64], attrs: &[(&str, Attr)]| {
        node(11, dims, "ConvTranspose", &["w", "b"], attrs, |m| {
            m.uniform("w", w, -1.0, 1.0).uniform("b", &[w[1]], -1.0, 1.0);
        })
    };
    let two = ("strides", [2, 2].into());
    insta::assert_snapshot!(texts(&[
        ("strided", transposed("N,4,5,6", &[4, 3, 2, 2], std::slice::from_ref(&two))),
        (
            "padded behind",
            transposed(
                "N,4,5,6",
                &[4, 3, 3, 3],
                &[two.clone(), ("pads", [1; 4].into()), ("output_padding", [1, 0].into())]
            )
        ),
        ("of one size", transposed("N,4,5,6", &[4, 3, 3, 3], &[two.clone(), ("auto_pad", "SAME_UPPER".into())])),
        (
            "wider than its window",
            transposed("N,4,5,6", &[4, 3, 1, 1], &[two.clone(), ("output_shape", [12, 13].into())])
        ),
        ("a line", transposed("N,4,5", &[4, 3, 3], &[("dilations", [2].into())])),
        ("a volume", transposed("N,4,2,3,4", &[4, 3, 2, 2, 2], &[])),
    ]));
}

#[test]
fn windows_of_pooling() {
    let average = single(
        19,
        "N,3,9,9",
        "AveragePool",
        &[
            ("kernel_shape", [3, 3].into()),
            ("dilations", [2, 2].into()),
            ("pads", [1; 4].into()),
            ("count_include_pad", 1.into()),
        ],
    );
    insta::assert_snapshot!(texts(&[
        ("dilated", average),
        (
            "rounded up",
            single(
                10,
                "N,3,8,8",
                "MaxPool",
                &[("kernel_shape", [3, 3].into()), ("strides", [2, 2].into()), ("ceil_mode", 1.into()),]
            )
        ),
        ("a volume", single(11, "N,3,4,6,8", "AveragePool", &[("kernel_shape", [2, 2, 2].into())])),
        ("over a volume", single(11, "N,3,4,6,8", "GlobalMaxPool", &[])),
    ]));
    let padded = [("kernel_shape", [2, 2].into()), ("pads", [2; 4].into())];
    assert!(
        refused(&single(11, "N,3,8,8", "MaxPool", &padded), &mse(2))
            .contains("MaxPool (opset 11) has a window that lies wholly in the padding")
    );
}

#[test]
fn resizes() {
    let scaled = |opset: i64, op: &str, scales: &[f32], attrs: &[(&str, Attr)]| {
        let others: &[&str] = if opset < 11 { &["scales"] } else { &["", "scales"] };
        node(opset, "N,3,4,6", op, others, attrs, |m| {
            m.floats("scales", &[scales.len() as i64], scales);
        })
    };
    let sized = |opset: i64, sizes: &[i64], attrs: &[(&str, Attr)]| {
        node(opset, "N,3,4,6", "Resize", &["", "", "sizes"], attrs, |m| {
            m.ints("sizes", sizes);
        })
    };
    let corners = [("mode", "linear".into()), ("coordinate_transformation_mode", "align_corners".into())];
    let policy = [("axes", [-1, 2].into()), ("keep_aspect_ratio_policy", "not_larger".into())];
    let by_attribute = single(7, "N,3,4,6", "Upsample", &[("scales", Attr::Floats(vec![1.0, 1.0, 2.0, 3.0]))]);
    insta::assert_snapshot!(texts(&[
        ("Upsample with scales by attribute", by_attribute),
        ("Upsample", scaled(9, "Upsample", &[1.0, 1.0, 2.0, 1.5], &[("mode", "linear".into())])),
        ("Resize before it had modes", scaled(10, "Resize", &[1.0, 1.0, 0.5, 2.0], &[])),
        ("Resize by scales", scaled(13, "Resize", &[1.0, 1.0, 2.0, 2.0], &[("nearest_mode", "floor".into())])),
        ("Resize by sizes", sized(11, &[2, 3, 9, 7], &corners)),
        ("Resize of some axes", sized(18, &[9, 9], &policy)),
    ]));
    let ambiguous = refused(&scaled(13, "Resize", &[1.0, 1.0, 0.6, 0.6], &corners), &mse(2));
    assert!(ambiguous.contains("by align_corners with scale 0.6 of 4 is ambiguous"), "{ambiguous}");
}

#[test]
fn depth_and_space() {
    insta::assert_snapshot!(texts(&[
        ("DCR", single(13, "N,8,2,3", "DepthToSpace", &[("blocksize", 2.into())])),
        ("CRD", single(13, "N,8,2,3", "DepthToSpace", &[("blocksize", 2.into()), ("mode", "CRD".into())])),
        ("back", single(13, "N,2,4,6", "SpaceToDepth", &[("blocksize", 2.into())])),
    ]));
}

/// A recurrent node over three steps of four features, with five units in each direction.
fn recurrent(op: &str, gates: i64, outputs: &[&str], attrs: &[(&str, Attr)]) -> Builder {
    let directions =
        if attrs.iter().any(|it| matches!(&it.1, Attr::Word(it) if it == "bidirectional")) { 2 } else { 1 };
    let mut m = Builder::new("recurrent", 0);
    m.opset(14).input("x", "N,3,4").node("t", "Transpose", &["x"], &[("perm", [1, 0, 2].into())]);
    m.uniform("w", &[directions, 5 * gates, 4], -1.0, 1.0).uniform("r", &[directions, 5 * gates, 5], -1.0, 1.0);
    m.uniform("b", &[directions, 10 * gates], -1.0, 1.0);
    let attrs = [attrs, &[("hidden_size", 5.into())]].concat();
    m.node_with(outputs, op, &["t", "w", "r", "b"], &attrs);
    m
}

#[test]
fn recurrent_networks_are_unrolled() {
    let last = |op: &str, gates: i64, attrs: &[(&str, Attr)]| {
        let mut m = recurrent(op, gates, &["", "h"], attrs);
        m.node("y", "Transpose", &["h"], &[("perm", [1, 0, 2].into())]).output("y", "N");
        m.model()
    };
    let all = {
        let mut m = recurrent("RNN", 1, &["all"], &[("direction", "bidirectional".into())]);
        m.node("y", "Transpose", &["all"], &[("perm", [2, 0, 1, 3].into())]).output("y", "N");
        m.model()
    };
    let reset = [("linear_before_reset", 1.into())];
    let models = [
        ("LSTM", last("LSTM", 4, &[])),
        ("GRU", last("GRU", 3, &[("direction", "reverse".into())])),
        ("GRU as PyTorch's", last("GRU", 3, &reset)),
        ("RNN", all),
    ];
    insta::assert_snapshot!(texts(&models));
    for (name, model) in &models {
        let graph = imported(model, &mse(2)).graph;
        let params: Vec<&str> = graph.declared("param").iter().map(|it| graph.name(*it)).collect();
        assert_eq!(params, ["w", "r", "b"], "{name}");
    }
}

#[test]
fn what_cannot_be_unrolled_is_refused() {
    let with = |attrs: &[(&str, Attr)], lens: Option<[i32; 2]>| {
        let mut m = Builder::new("recurrent", 0);
        m.input("x", "N,3,4").uniform("w", &[1, 20, 4], -1.0, 1.0).uniform("r", &[1, 20, 5], -1.0, 1.0);
        let mut inputs = vec!["x", "w", "r"];
        if let Some(lens) = lens {
            let bytes = lens.iter().flat_map(|it| it.to_le_bytes()).collect();
            m.initializer(razorc_fixtures::tensor("lens", DataType::Int32, &[2], bytes));
            inputs.extend(["", "lens"]);
        }
        let attrs = [attrs, &[("hidden_size", 5.into()), ("layout", 1.into())]].concat();
        m.node_with(&["y"], "LSTM", &inputs, &attrs).output("y", "N");
        m.model()
    };
    let lines = forward(&with(&[], Some([3, 3])), &mse(2));
    assert!(lines.last().unwrap().starts_with("%y = concat"), "{lines:?}");
    for (model, reason) in [
        (with(&[], Some([3, 2])), "with sequences of different lengths is not supported"),
        (with(&[("clip", Attr::Float(1.0))], None), "with clip is not supported"),
        (with(&[("input_forget", 1.into())], None), "with input_forget is not supported"),
        (with(&[("direction", "sideways".into())], None), "has direction sideways, which is not supported"),
    ] {
        let refusal = refused(&model, &mse(2));
        assert!(refusal.contains(reason), "{refusal}");
    }
}
