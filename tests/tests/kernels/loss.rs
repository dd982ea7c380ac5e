use razorc_proto::program::attr;

use crate::case::{Case, f32, float};

#[test]
fn cross_entropy() {
    for (batch, classes, smoothing, weighted) in
        [(1, 5, 0.0, false), (7, 10, 0.1, false), (130, 33, 0.0, true), (64, 1000, 0.2, true), (100, 7, 1.0, false)]
    {
        let mut case = Case::with_batch(&format!("{batch} rows, {classes} classes"), batch);
        let dims = [batch, classes];
        let logits = case.random(&dims);
        let logits = case.op("scale", &[logits], f32(&dims), &[("factor", float(6.0))]);
        let weight = case.positive(&[classes]);
        let smoothing = [("label_smoothing", float(smoothing))];
        let operands = |first, case: &Case| {
            let all = [first, case.target(), case.rows(), weight];
            all[..if weighted { 4 } else { 3 }].to_vec()
        };
        let all = operands(logits, &case);
        let p = case.ops("softmax_cross_entropy", &all, &[Some(f32(&[])), Some(f32(&dims))], &smoothing)[1];
        let all = operands(p, &case);
        case.op("softmax_cross_entropy_grad", &all, f32(&dims), &smoothing);
        case.op(
            "correct",
            &[logits, case.target(), case.rows()],
            f32(&[]),
            &[("kind", attr::Value::Word("argmax".into()))],
        );
        case.check(4e-6);
    }
}

#[test]
fn losses_of_each_element() {
    let shapes: [&[usize]; 4] = [&[1, 1], &[9, 33], &[130, 3, 16, 17], &[200]];
    for dims in shapes {
        let mut case = Case::with_batch(&format!("{dims:?}"), dims[0]);
        let (x, target, rows) = (case.random(dims), case.positive(dims), case.rows());
        let target = case.op("scale", &[target], f32(dims), &[("factor", float(0.5))]);
        for op in ["mse", "bce_with_logits"] {
            case.op(op, &[x, target, rows], f32(&[]), &[]);
            case.op(&format!("{op}_grad"), &[x, target, rows], f32(dims), &[]);
        }
        case.op("correct", &[x, target, rows], f32(&[]), &[("kind", attr::Value::Word("threshold".into()))]);
        case.check(4e-6);
    }
}
