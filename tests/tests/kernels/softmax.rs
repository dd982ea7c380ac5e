use crate::case::{Case, f32, float, int};

#[test]
fn softmax_along_any_axis() {
    let shapes: [(&[usize], usize); 8] = [
        (&[7], 0),
        (&[40, 1000], 1),
        (&[300, 17], 1),
        (&[3, 10, 150], 1),
        (&[50, 3, 1], 0),
        (&[2, 21, 33, 31], 1),
        (&[2, 3, 197, 197], 3),
        (&[2, 3, 197, 197], 2),
    ];
    for (dims, axis) in shapes {
        let mut case = Case::new(&format!("{dims:?}"));
        let (x, dy) = (case.random(dims), case.random(dims));
        let wide = case.op("scale", &[x], f32(dims), &[("factor", float(20.0))]);
        let axis = [("axis", int(axis))];
        for op in ["softmax", "log_softmax"] {
            case.op(op, &[wide], f32(dims), &axis);
            let y = case.op(op, &[x], f32(dims), &axis);
            case.op(&format!("{op}_grad"), &[dy, y], f32(dims), &axis);
        }
        case.check(4e-6);
    }
}
