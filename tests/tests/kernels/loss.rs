use razorc_proto::program::attr;

use crate::case::{Case, f32, float, int};

/// Scores, smoothing, whether classes have weights, and what becomes of the losses.
type Scores = (&'static [usize], usize, f64, bool, &'static str);

#[test]
fn cross_entropy() {
    let cases: [Scores; 9] = [
        (&[1, 5], 1, 0.0, false, "mean"),
        (&[7, 10], 1, 0.1, false, "mean"),
        (&[130, 33], 1, 0.0, true, "mean"),
        (&[64, 1000], 1, 0.2, true, "mean"),
        (&[100, 7], 1, 1.0, false, "sum"),
        (&[4, 9, 130], 2, 0.1, true, "mean"),
        (&[2, 5, 13, 11], 1, 0.0, false, "mean"),
        (&[3, 21, 70], 1, 0.1, true, "none"),
        (&[2, 3, 150, 120], 1, 0.0, true, "sum"),
    ];
    for (dims, axis, smoothing, weighted, reduction) in cases {
        let mut positions = dims.to_vec();
        let classes = positions.remove(axis);
        let mut case = Case::with_targets(&format!("{dims:?}, classes on axis {axis}"), &positions);
        let logits = case.random(dims);
        let logits = case.op("scale", &[logits], f32(dims), &[("factor", float(6.0))]);
        let weight = case.positive(&[classes]);
        let at = [("axis", int(axis)), ("ignore_index", int(1))];
        let word = |it: &str| attr::Value::Word(it.into());
        let attrs = [&at[..], &[("label_smoothing", float(smoothing)), ("reduction", word(reduction))]].concat();
        let others = [case.target(), case.rows(), weight];
        let others = &others[..if weighted { 3 } else { 2 }];
        let loss = if reduction == "none" { f32(&positions) } else { f32(&[]) };
        let operands = [&[logits], others].concat();
        let lse = case.ops("softmax_cross_entropy", &operands, &[Some(loss), Some(f32(&positions))], &attrs)[1];
        let operands = [&[logits, lse], others].concat();
        case.op("softmax_cross_entropy_grad", &operands, f32(dims), &attrs);
        let attrs = [&at[..], &[("kind", word("argmax"))]].concat();
        case.ops("correct", &[logits, case.target(), case.rows()], &[Some(f32(&[])), Some(f32(&[]))], &attrs);
        case.check(8e-6);
    }
}

#[test]
fn losses_of_each_element() {
    let shapes: [&[usize]; 4] = [&[1, 1], &[9, 33], &[130, 3, 16, 17], &[200]];
    for dims in shapes {
        let mut case = Case::with_batch(&format!("{dims:?}"), dims[0]);
        let (x, target, rows) = (case.random(dims), case.positive(dims), case.rows());
        let target = case.op("scale", &[target], f32(dims), &[("factor", float(0.5))]);
        for op in ["mse", "mae", "huber", "bce_with_logits"] {
            let delta = [("delta", float(0.3))];
            let attrs = if op == "huber" { &delta[..] } else { &[] };
            case.op(op, &[x, target, rows], f32(&[]), attrs);
            case.op(&format!("{op}_grad"), &[x, target, rows], f32(dims), attrs);
        }
        let kind = ("kind", attr::Value::Word("threshold".into()));
        let attrs = [kind, ("axis", int(1)), ("ignore_index", int(1))];
        case.ops("correct", &[x, target, rows], &[Some(f32(&[])), Some(f32(&[]))], &attrs);
        case.check(4e-6);
    }
}
