//! Cases whose results were computed by hand.

use razorc_proto::program::Attr;

use super::{Case, Typed, bits, f32, ints, quant, topk};
use crate::types::{DType, Kept};

mod fold;
mod index;
mod logic;
mod places;
mod tables;

pub fn cases() -> Vec<Case> {
    [
        index::cases(),
        places::cases(),
        logic::cases(),
        fold::cases(),
        tables::cases(),
        products(),
        windows(),
        channels(),
        elements(),
        broadcasts(),
        layouts(),
        softmaxes(),
        losses(),
        packs(),
        updates(),
        rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn case<const M: usize, const N: usize>(
    op: &'static str,
    operands: [Typed; M],
    attrs: &[Attr],
    results: [Typed; N],
) -> Case {
    Case { op, operands: operands.into(), attrs: attrs.to_vec(), results: results.into() }
}

fn products() -> Vec<Case> {
    let x = f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let (w, wt) = (f32(&[2, 3], &[1.0, 0.0, 2.0, 0.0, 1.0, 3.0]), f32(&[3, 2], &[1.0, 0.0, 0.0, 1.0, 2.0, 3.0]));
    let y = f32(&[2, 3], &[1.0, 2.0, 8.0, 3.0, 4.0, 18.0]);
    let (plain, transposed) = ([Attr::int("transpose", 0)], [Attr::int("transpose", 1)]);
    let matmul = |ta, tb| [Attr::int("ta", ta), Attr::int("tb", tb)];
    let column = f32(&[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    let attention = [Attr::float("scale", 1.0), Attr::int("causal", 1), Attr::int("safe", 0)];
    let row = |values: [f64; 2]| f32(&[1, 2, 1], &values);
    vec![
        // The first query sees the first key alone; the second one sees weights of 1 and 3.
        case(
            "attention",
            [row([0.0, 3f64.ln()]), row([0.0, 1.0]), row([4.0, 8.0])],
            &attention,
            [row([4.0, 7.0]), f32(&[1, 2], &[0.0, 4f64.ln()])],
        ),
        case("linear", [x.clone(), w], &plain, [y.clone()]),
        case("linear", [x.clone(), wt.clone()], &transposed, [y.clone()]),
        case(
            "linear",
            [x, wt, f32(&[3], &[10.0, 20.0, 30.0])],
            &transposed,
            [f32(&[2, 3], &[11.0, 22.0, 38.0, 13.0, 24.0, 48.0])],
        ),
        case("matmul", [column.clone(), column.clone()], &matmul(1, 0), [f32(&[2, 1, 1], &[5.0, 25.0])]),
        case(
            "matmul",
            [column.clone(), column],
            &matmul(0, 1),
            [f32(&[2, 2, 2], &[1.0, 2.0, 2.0, 4.0, 9.0, 12.0, 12.0, 16.0])],
        ),
    ]
}

fn windows() -> Vec<Case> {
    let x = f32(&[1, 1, 3, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let conv = |strides: [i64; 2], pads: [i64; 4], groups| {
        let list = |name, it: &[i64]| Attr::ints(name, it);
        [list("strides", &strides), list("pads", &pads), list("dilations", &[1, 1]), Attr::int("groups", groups)]
    };
    let line = |strides, pads: [i64; 2], dilations| {
        let lists =
            [Attr::ints("strides", &[strides]), Attr::ints("pads", &pads), Attr::ints("dilations", &[dilations])];
        [&lists[..], &[Attr::int("groups", 1)]].concat()
    };
    let pool = |pads: [i64; 4], ceil, last: Attr| {
        let lists = [Attr::ints("kernel", &[2, 2]), Attr::ints("strides", &[2, 2]), Attr::ints("pads", &pads)];
        [&lists[..], &[Attr::int("ceil", ceil), last]].concat()
    };
    let dilations = || Attr::ints("dilations", &[1, 1]);
    let avg =
        |pads, ceil, count| [&pool(pads, ceil, dilations())[..], &[Attr::int("count_include_pad", count)]].concat();
    vec![
        // The transpose of a window 1, 10 over three positions.
        case(
            "conv_transpose",
            [f32(&[1, 1, 2], &[1.0, 2.0]), f32(&[1, 1, 2], &[1.0, 10.0])],
            &[&line(1, [0, 0], 1)[..], &[Attr::ints("shape", &[1, 1, 3])]].concat(),
            [f32(&[1, 1, 3], &[1.0, 12.0, 20.0])],
        ),
        // Two positions become four; what is outside is the edge.
        case(
            "resize",
            [f32(&[1, 2], &[1.0, 5.0])],
            &super::gradients::resize(1, 4, 2.0, "linear"),
            [f32(&[1, 4], &[1.0, 2.0, 4.0, 5.0])],
        ),
        case(
            "conv",
            [x.clone(), f32(&[1, 1, 2, 2], &[1.0, 0.0, 0.0, -1.0]), f32(&[1], &[0.5])],
            &conv([1, 1], [0; 4], 1),
            [f32(&[1, 1, 2, 2], &[-3.5; 4])],
        ),
        // Padding above and to the left only, and a stride.
        case(
            "conv",
            [x.clone(), f32(&[1, 1, 2, 2], &[1.0, 1.0, 1.0, 1.0])],
            &conv([2, 2], [1, 1, 0, 0], 1),
            [f32(&[1, 1, 2, 2], &[1.0, 5.0, 11.0, 28.0])],
        ),
        case(
            "conv",
            [f32(&[1, 2, 1, 2], &[1.0, 2.0, 3.0, 4.0]), f32(&[2, 1, 1, 1], &[10.0, 100.0])],
            &conv([1, 1], [0; 4], 2),
            [f32(&[1, 2, 1, 2], &[10.0, 20.0, 300.0, 400.0])],
        ),
        case(
            "conv",
            [f32(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]), f32(&[1, 1, 2], &[1.0, 10.0])],
            &line(1, [0, 1], 2),
            [f32(&[1, 1, 3], &[31.0, 42.0, 3.0])],
        ),
        case(
            "max_pool",
            [f32(&[1, 1, 3, 3], &[1.0, 5.0, 3.0, 5.0, 5.0, -6.0, -7.0, -8.0, -9.0])],
            &pool([0; 4], 1, dilations()),
            [f32(&[1, 1, 2, 2], &[5.0, 3.0, -7.0, -9.0]), ints(DType::U8, &[1, 1, 2, 2], &[1, 0, 0, 0])],
        ),
        case(
            "max_pool",
            [f32(&[1, 1, 2, 2], &[-1.0, -2.0, -3.0, -4.0])],
            &pool([1; 4], 0, dilations()),
            [f32(&[1, 1, 2, 2], &[-1.0, -2.0, -3.0, -4.0]), ints(DType::U8, &[1, 1, 2, 2], &[3, 2, 1, 0])],
        ),
        case("avg_pool", [x.clone()], &avg([1, 1, 0, 0], 0, 0), [f32(&[1, 1, 2, 2], &[1.0, 2.5, 5.5, 7.0])]),
        case("avg_pool", [x.clone()], &avg([1, 1, 0, 0], 0, 1), [f32(&[1, 1, 2, 2], &[0.25, 1.25, 2.75, 7.0])]),
        // What `ceil` adds behind the input never counts.
        case("avg_pool", [x], &avg([0; 4], 1, 1), [f32(&[1, 1, 2, 2], &[3.0, 4.5, 7.5, 9.0])]),
    ]
}

fn channels() -> Vec<Case> {
    let x = f32(&[2, 2, 1], &[1.0, 10.0, 3.0, 30.0]);
    let pair = |a, b| f32(&[2], &[a, b]);
    let epsilon = |it| [Attr::float("epsilon", it)];
    let lrn = [("alpha", 3.0), ("beta", 2.0), ("bias", 1.0)].map(|(name, it)| Attr::float(name, it));
    vec![
        case(
            "batch_norm",
            [x.clone(), pair(2.0, 1.0), pair(0.5, 0.0), pair(1.0, 20.0), pair(3.0, 24.0)],
            &epsilon(1.0),
            [f32(&[2, 2, 1], &[0.5, -2.0, 2.5, 2.0])],
        ),
        // Mean 2 and 20, biased variance 1 and 100.
        case(
            "batch_norm_train",
            [x, pair(1.0, 2.0), pair(0.0, 1.0)],
            &epsilon(0.0),
            [f32(&[2, 2, 1], &[-1.0, -1.0, 1.0, 3.0]), pair(2.0, 20.0), pair(1.0, 0.1)],
        ),
        // Sums of squares 5, 14, 13; of size 3 and alpha 3, so that they count as they are.
        case(
            "lrn",
            [f32(&[1, 3, 1], &[1.0, 2.0, 3.0])],
            &[&[Attr::int("size", 3)], &lrn[..]].concat(),
            [f32(&[1, 3, 1], &[1.0 / 36.0, 2.0 / 225.0, 3.0 / 196.0])],
        ),
    ]
}

fn elements() -> Vec<Case> {
    let x = f32(&[4], &[-4.0, 0.0, 1.0, 8.0]);
    let float = |name, it| [Attr::float(name, it)];
    let two = |a: (&str, f64), b: (&str, f64)| [Attr::float(a.0, a.1), Attr::float(b.0, b.1)];
    let unary = |op, values: [f64; 4]| case(op, [x.clone()], &[], [f32(&[4], &values)]);
    vec![
        case("relu", [x.clone()], &[], [f32(&[4], &[0.0, 0.0, 1.0, 8.0]), bits(&[4], "0011")]),
        case("leaky_relu", [x.clone()], &float("alpha", 0.5), [f32(&[4], &[-2.0, 0.0, 1.0, 8.0]), bits(&[4], "0011")]),
        case(
            "clip",
            [x.clone()],
            &two(("min", 0.0), ("max", 6.0)),
            [f32(&[4], &[0.0, 0.0, 1.0, 6.0]), bits(&[4], "0010")],
        ),
        case(
            "hard_sigmoid",
            [x.clone()],
            &two(("alpha", 0.25), ("beta", 0.5)),
            [f32(&[4], &[0.0, 0.5, 0.75, 1.0]), bits(&[4], "0110")],
        ),
        unary("hard_swish", [0.0, 0.0, 2.0 / 3.0, 8.0]),
        unary("sigmoid", [-4.0, 0.0, 1.0, 8.0].map(|x: f64| x.exp() / (1.0 + x.exp()))),
        unary("tanh", [-4.0, 0.0, 1.0, 8.0].map(|x: f64| (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()))),
        case("scale", [x.clone()], &float("factor", -0.5), [f32(&[4], &[2.0, 0.0, -0.5, -4.0])]),
        case(
            "masked_scale",
            [x, bits(&[4], "1010")],
            &two(("on", 2.0), ("off", -1.0)),
            [f32(&[4], &[-8.0, 0.0, 2.0, -8.0])],
        ),
        // splitmix64 of seed 5, step 3, indices 0 to 3, computed apart from this project.
        case(
            "dropout",
            [f32(&[4], &[1.0, 2.0, 3.0, 4.0]), f32(&[], &[3.0])],
            &[Attr::float("ratio", 0.3), Attr::int("seed", 5)],
            [f32(&[4], &[0.0, 0.0, 3.0 / 0.7, 4.0 / 0.7]), bits(&[4], "0011")],
        ),
    ]
}

fn broadcasts() -> Vec<Case> {
    let (a, b) = (f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), f32(&[2, 1], &[2.0, 10.0]));
    let binary = |op, values: [f64; 6]| case(op, [a.clone(), b.clone()], &[], [f32(&[2, 3], &values)]);
    let shape = |dims: &[i64]| [Attr::ints("shape", dims)];
    let axes = |axes: &[i64], keepdims| [Attr::ints("axes", axes), Attr::int("keepdims", keepdims)];
    vec![
        binary("add", [3.0, 4.0, 5.0, 14.0, 15.0, 16.0]),
        binary("sub", [-1.0, 0.0, 1.0, -6.0, -5.0, -4.0]),
        binary("mul", [2.0, 4.0, 6.0, 40.0, 50.0, 60.0]),
        binary("div", [0.5, 1.0, 1.5, 0.4, 0.5, 0.6]),
        case("add", [f32(&[], &[1.0]), b.clone()], &[], [f32(&[2, 1], &[3.0, 11.0])]),
        case(
            "prelu",
            [f32(&[1, 2, 2], &[-1.0, 2.0, -3.0, 0.0]), f32(&[2, 1], &[0.5, 0.1])],
            &[],
            [f32(&[1, 2, 2], &[-0.5, 2.0, -0.3, 0.0]), bits(&[1, 2, 2], "0100")],
        ),
        case(
            "expand",
            [b],
            &[&shape(&[2, 3])[..], &[Attr::float("scale", 0.5)]].concat(),
            [f32(&[2, 3], &[1.0, 1.0, 1.0, 5.0, 5.0, 5.0])],
        ),
        case("reduce_to", [a.clone()], &shape(&[3]), [f32(&[3], &[5.0, 7.0, 9.0])]),
        case("reduce_to", [a.clone()], &shape(&[2, 1]), [f32(&[2, 1], &[6.0, 15.0])]),
        case("reduce_sum", [a.clone()], &axes(&[0], 1), [f32(&[1, 3], &[5.0, 7.0, 9.0])]),
        case("reduce_mean", [a.clone()], &axes(&[1], 0), [f32(&[2], &[2.0, 5.0])]),
        case("reduce_mean", [a], &axes(&[0, 1], 0), [f32(&[], &[3.5])]),
    ]
}

fn layouts() -> Vec<Case> {
    let x = f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let list = Attr::ints;
    vec![
        case("reshape", [x.clone()], &[list("shape", &[3, 2])], [f32(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]),
        case("transpose", [x.clone()], &[list("perm", &[1, 0])], [f32(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0])]),
        case(
            "concat",
            [x.clone(), f32(&[2, 1], &[7.0, 8.0])],
            &[Attr::int("axis", 1)],
            [f32(&[2, 4], &[1.0, 2.0, 3.0, 7.0, 4.0, 5.0, 6.0, 8.0])],
        ),
        case(
            "slice",
            [x.clone()],
            &[list("starts", &[1, 0]), list("ends", &[2, 3]), list("steps", &[1, 2])],
            [f32(&[1, 2], &[4.0, 6.0])],
        ),
        case(
            "unslice",
            [f32(&[1, 2], &[4.0, 6.0])],
            &[list("shape", &[2, 3]), list("starts", &[1, 0]), list("steps", &[1, 2])],
            [f32(&[2, 3], &[0.0, 0.0, 0.0, 4.0, 0.0, 6.0])],
        ),
        case(
            "pad",
            [f32(&[1, 2], &[4.0, 6.0])],
            &[list("pads", &[1, 0, 0, 1]), Attr::float("value", -1.0)],
            [f32(&[2, 3], &[-1.0, -1.0, -1.0, 4.0, 6.0, -1.0])],
        ),
    ]
}

fn softmaxes() -> Vec<Case> {
    let (a, b) = (2.0f64.ln(), 3.0f64.ln());
    let x = f32(&[2, 2], &[0.0, 0.0, a, b]);
    let axis = |it| [Attr::int("axis", it)];
    vec![
        case("softmax", [x.clone()], &axis(0), [f32(&[2, 2], &[1.0 / 3.0, 0.25, 2.0 / 3.0, 0.75])]),
        case("softmax", [x.clone()], &axis(1), [f32(&[2, 2], &[0.5, 0.5, 0.4, 0.6])]),
        case("log_softmax", [x], &axis(1), [f32(&[2, 2], &[-a, -a, 0.4f64.ln(), 0.6f64.ln()])]),
        case("softmax", [f32(&[2], &[1e30, 1e30])], &axis(0), [f32(&[2], &[0.5, 0.5])]),
    ]
}

fn losses() -> Vec<Case> {
    let logits = f32(&[3, 2], &[0.0, 3.0f64.ln(), 0.0, 0.0, 5.0, 1.0]);
    let lse = f32(&[3], &[4.0f64.ln(), 2.0f64.ln(), 5.0 + (-4.0f64).exp().ln_1p()]);
    // The last row is padding, so its target does not matter.
    let target = ints(DType::I64, &[3], &[0, 1, 99]);
    let rows = f32(&[3], &[1.0, 2.0, 0.0]);
    let classes = [Attr::int("axis", 1), Attr::int("ignore_index", -100)];
    let whole = |it, reduction| {
        [&classes[..], &[Attr::float("label_smoothing", it), Attr::word("reduction", reduction)]].concat()
    };
    let smoothing = |it| whole(it, "mean");
    let argmax = [&classes[..], &[Attr::word("kind", "argmax")]].concat();
    let threshold = [&classes[..], &[Attr::word("kind", "threshold")]].concat();
    let (l4, l43, l2) = (4.0f64.ln(), (4.0f64 / 3.0).ln(), 2.0f64.ln());
    let class_weight = f32(&[2], &[1.0, 3.0]);
    let weighted = (0.9 * (l4 + 2.0 * 3.0 * l2) + 0.05 * ((l4 + 3.0 * l43) + 2.0 * (l2 + 3.0 * l2))) / 7.0;
    let (x, t) = (f32(&[2, 2], &[1.0, -1.0, 0.0, 3.0]), f32(&[2, 2], &[0.0, 1.0, 0.0, 1.0]));
    let weights = f32(&[2], &[1.0, 3.0]);
    let e = |x: f64| (1.0 + x.exp()).ln();
    vec![
        case(
            "softmax_cross_entropy",
            [logits.clone(), target.clone(), rows.clone()],
            &smoothing(0.0),
            [f32(&[], &[(l4 + 2.0 * l2) / 3.0]), lse.clone()],
        ),
        case(
            "softmax_cross_entropy",
            [logits.clone(), target.clone(), rows.clone(), class_weight],
            &smoothing(0.1),
            [f32(&[], &[weighted]), lse.clone()],
        ),
        case(
            "softmax_cross_entropy_grad",
            [logits.clone(), lse.clone(), target.clone(), rows.clone()],
            &smoothing(0.0),
            [f32(&[3, 2], &[-0.25, 0.25, 1.0 / 3.0, -1.0 / 3.0, 0.0, 0.0])],
        ),
        case(
            "softmax_cross_entropy",
            [logits.clone(), target.clone(), rows.clone()],
            &whole(0.0, "sum"),
            [f32(&[], &[l4 + 2.0 * l2]), lse.clone()],
        ),
        case(
            "softmax_cross_entropy",
            [logits.clone(), target.clone(), rows.clone()],
            &whole(0.0, "none"),
            [f32(&[3], &[l4, 2.0 * l2, 0.0]), lse.clone()],
        ),
        // Where nothing counts there is no loss.
        case(
            "softmax_cross_entropy",
            [logits.clone(), ints(DType::I64, &[3], &[-100; 3]), rows.clone()],
            &smoothing(0.0),
            [f32(&[], &[0.0]), lse.clone()],
        ),
        case("mae", [x.clone(), t.clone(), weights.clone()], &[], [f32(&[], &[(1.5 + 3.0 * 1.0) / 4.0])]),
        // Distances 1 and 2 behind a turn at 1.5: 0.5 and 1.5 (2 - 0.75).
        case(
            "huber",
            [x.clone(), t.clone(), weights.clone()],
            &[Attr::float("delta", 1.5)],
            // (0.5 * (0.5 + 1.875) + 3 * 0.5 * 1.875) / 4
            [f32(&[], &[1.0])],
        ),
        case("mse", [x.clone(), t.clone(), weights.clone()], &[], [f32(&[], &[(2.5 + 3.0 * 2.0) / 4.0])]),
        case(
            "bce_with_logits",
            [x.clone(), t.clone(), weights.clone()],
            &[],
            [f32(&[], &[((e(1.0) + e(1.0)) / 2.0 + 3.0 * (e(0.0) + e(-3.0)) / 2.0) / 4.0])],
        ),
        // Ties go to the lowest index, so row 1 is wrong.
        case(
            "correct",
            [logits.clone(), ints(DType::I64, &[3], &[1, 0, 0]), f32(&[3], &[1.0, 2.0, 4.0])],
            &argmax,
            [f32(&[], &[7.0]), f32(&[], &[7.0])],
        ),
        case("correct", [logits, target, rows], &argmax, [f32(&[], &[0.0]), f32(&[], &[3.0])]),
        case("correct", [x, t, weights], &threshold, [f32(&[], &[0.0 + 3.0]), f32(&[], &[4.0])]),
    ]
}

fn packs() -> Vec<Case> {
    let x = f32(&[2, 4], &[1.0, -3.0, 2.0, -2.0, 0.1, 0.0, -0.1, 0.1]);
    let kept: [&[_]; 2] = [&[(1, -3.0), (2, 2.0)], &[(0, 0.1), (2, -0.1)]];
    let tenth = 0.0999755859375;
    let halves: [&[_]; 2] = [&[(1, -3.0), (2, 2.0)], &[(0, tenth), (2, -tenth)]];
    let mask = |ppm| [Attr::int("sparsity_ppm", ppm), Attr::int("samples", 2)];
    let blocks = f32(&[2, 4], &[0.0, 1.0, 2.0, 3.0, -1.0, -0.25, 0.1, 2.0]);
    let levels = [0.0, 1.0, 2.0, 3.0, -1.0, 0.0, 0.0, 2.0];
    vec![
        // Levels 0, 1, 2, 3 and -1, 0, 1, 2.
        case("quantize", [blocks], &[], [quant(&[2, 4], &levels)]),
        case("dequantize", [quant(&[2, 4], &levels)], &[], [f32(&[2, 4], &levels)]),
        case("compress", [x.clone()], &[], [topk(&[2, 4], Kept::F32, &kept)]),
        case("compress", [x.clone()], &[], [topk(&[2, 4], Kept::F16, &halves)]),
        case(
            "decompress",
            [topk(&[2, 4], Kept::F32, &kept)],
            &[],
            [f32(&[2, 4], &[0.0, -3.0, 2.0, 0.0, 0.1, 0.0, -0.1, 0.0])],
        ),
        // The second smallest is the threshold, and all that equal it stay.
        case("mask_topk", [x.clone()], &mask(500_000), [f32(&[2, 4], &[0.0, -3.0, 2.0, -2.0, 0.1, 0.0, -0.1, 0.1])]),
        case("mask_topk", [x], &mask(1_000_000), [f32(&[2, 4], &[0.0, -3.0, 0.0, 0.0, 0.1, 0.0, -0.1, 0.1])]),
    ]
}

fn updates() -> Vec<Case> {
    let one = |it| f32(&[1], &[it]);
    let number = |it| f32(&[], &[it]);
    let sgd = |momentum, nesterov| {
        let [momentum, decay] = [("momentum", momentum), ("weight_decay", 0.5)].map(|(name, it)| Attr::float(name, it));
        [momentum, decay, Attr::int("nesterov", nesterov)]
    };
    let adam = [("beta1", 0.5), ("beta2", 0.75), ("epsilon", 1.0), ("weight_decay", 0.5)];
    let adam = adam.map(|(name, it)| Attr::float(name, it));
    let moments = |g: f64| [one(2.0), one(g), one(4.0), one(8.0), number(0.1), number(2.0)];
    let with_half = |[w, g, m, v, lr, step]: [Typed; 6]| [w, g, m, v, lr, step, number(0.5)];
    let decay = [("momentum", 0.5), ("weight_decay", 0.5)].map(|(name, it)| Attr::float(name, it));
    let statistics = [("momentum", 0.75), ("epsilon", 0.5)].map(|(name, it)| Attr::float(name, it));
    vec![
        // g = 1 + 0.5 * 2 = 2.
        case("sgd", [one(2.0), one(1.0), number(0.1)], &sgd(0.0, 0), [one(1.8)]),
        case("sgd", [one(2.0), one(1.0), one(4.0), number(0.1)], &sgd(0.5, 0), [one(1.6), one(4.0)]),
        case("sgd", [one(2.0), one(1.0), one(4.0), number(0.1)], &sgd(0.5, 1), [one(1.6), one(4.0)]),
        case("sgd", [one(2.0), one(3.0), one(4.0), number(0.1)], &sgd(0.5, 1), [one(1.3), one(6.0)]),
        case("decay", [one(2.0), one(4.0)], &decay, [one(3.0)]),
        case("accumulate", [one(2.0), one(4.0)], &[], [one(6.0)]),
        case("descend", [one(2.0), one(4.0), number(0.1)], &[], [one(1.6)]),
        // g = 1 + 1 = 2, m = 3, v = 7; corrected 4 and 16.
        case("adam", moments(1.0), &adam, [one(2.0 - 0.1 * 4.0 / 5.0), one(3.0), one(7.0)]),
        // w = 2 * 0.95, g = 2.
        case("adamw", moments(2.0), &adam, [one(1.9 - 0.1 * 4.0 / 5.0), one(3.0), one(7.0)]),
        // Lengths 5 and 12, together 13, and half of one of them is allowed.
        case("gradient_norm", [f32(&[3], &[3.0, 0.0, -4.0])], &[], [number(5.0)]),
        case("clip_scale", [number(5.0), number(12.0)], &[Attr::float("norm", 6.5)], [number(6.5 / 13.000001)]),
        case("clip_scale", [number(5.0), number(12.0)], &[Attr::float("norm", 14.0)], [number(1.0)]),
        case("sgd_clipped", [one(2.0), one(4.0), number(0.1), number(0.25)], &sgd(0.0, 0), [one(1.8)]),
        case("adam_clipped", with_half(moments(2.0)), &adam, [one(2.0 - 0.1 * 4.0 / 5.0), one(3.0), one(7.0)]),
        case("adamw_clipped", with_half(moments(4.0)), &adam, [one(1.9 - 0.1 * 4.0 / 5.0), one(3.0), one(7.0)]),
        // Batch variance 4 - 0.5, unbiased 3.5 * 8 / 7.
        case(
            "batch_norm_update",
            [one(4.0), one(8.0), one(0.0), one(0.5)],
            &[&statistics[..], &[Attr::int("count", 8)]].concat(),
            [one(3.0), one(7.0)],
        ),
    ]
}

fn rows() -> Vec<Case> {
    // Mean 3, variance 4; mean -1, variance 0.
    let x = f32(&[2, 2], &[1.0, 5.0, -1.0, -1.0]);
    let attrs = |epsilon| [Attr::int("axis", 1), Attr::float("epsilon", epsilon)];
    let pair = |a, b| f32(&[2], &[a, b]);
    let y = f32(&[2, 2], &[-1.0, 1.0, 0.0, 0.0]);
    let statistics = [pair(3.0, -1.0), pair(1.0 / 8f64.sqrt(), 0.5)];
    let half = 0.5f64.sqrt();
    let plain = f32(&[2, 2], &[-half, half, 0.0, 0.0]);
    let affine = f32(&[2, 2], &[-2.0 * half + 1.0, half, 1.0, 0.0]);
    // Squares 1 and 49; of the second row 0.
    let squares = f32(&[2, 2], &[1.0, 7.0, 0.0, 0.0]);
    let (dy, pruned) = (f32(&[2, 2], &[1.0, 1.0, 1.0, 1.0]), f32(&[2, 2], &[0.0, 1.0, 3.0, 2.0]));
    vec![
        case("layer_norm", [x.clone()], &attrs(4.0), [plain, statistics[0].clone(), statistics[1].clone()]),
        case(
            "layer_norm",
            [x, pair(2.0, 1.0), pair(1.0, 0.0)],
            &attrs(4.0),
            [affine, statistics[0].clone(), statistics[1].clone()],
        ),
        case(
            "rms_norm",
            [y, pair(3.0, 1.0)],
            &attrs(3.0),
            [f32(&[2, 2], &[-1.5, 0.5, 0.0, 0.0]), pair(0.5, 1.0 / 3f64.sqrt())],
        ),
        case(
            "rms_norm",
            [squares],
            &[Attr::int("axis", 0), Attr::float("epsilon", 0.0)],
            [f32(&[2, 2], &[1.0 / 12.5f64.sqrt(), 7.0 / 12.5f64.sqrt(), 0.0, 0.0]), f32(&[], &[1.0 / 12.5f64.sqrt()])],
        ),
        // The first y is pruned and the last one 200 times its scale, so both count as zero; the others were made of
        // (1 - 2) / 0.01 and (3 - 1) / 0.5.
        case(
            "layer_norm_grad_from_output",
            [dy, pruned, pair(1.0, 2.0), pair(0.5, 0.01), pair(1.0, 2.0)],
            &[],
            [f32(&[2, 2], &[0.245, -50.245, 2.0 * (0.245 - 4.0), 2.0 * -0.245]), pair(4.0, -100.0), pair(2.0, 2.0)],
        ),
    ]
}
