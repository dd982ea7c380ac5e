use crate::case::{Case, Id, f32, float, int};

/// Axes of x, how many of them are not normalized: short and long rows, many and few of them.
const SHAPES: [(&[usize], usize); 7] = [
    (&[3, 197, 768], 2),
    (&[700, 7], 1),
    (&[1, 3], 1),
    (&[5, 3, 17, 31], 2),
    (&[2, 3, 50, 50], 1),
    (&[130, 4096], 1),
    (&[4, 9], 0),
];

/// A case with x, dy, scale and bias of a shape.
fn operands(dims: &[usize], lead: usize, what: &str) -> (Case, [Id; 4]) {
    let mut case = Case::new(&format!("{dims:?}, {what}"));
    let (x, dy) = (case.random(dims), case.random(dims));
    let (scale, bias) = (case.random(&dims[lead..]), case.random(&dims[lead..]));
    (case, [x, dy, scale, bias])
}

#[test]
fn layer_norm() {
    for (dims, lead) in SHAPES {
        for affine in 0..3 {
            let (mut case, [x, dy, scale, bias]) = operands(dims, lead, &format!("{affine} tensors"));
            let affine = &[scale, bias][..affine];
            let attrs = [("axis", int(lead)), ("epsilon", float(1e-5))];
            let (row, statistic) = (f32(&dims[lead..]), f32(&dims[..lead]));
            let results = [f32(dims), statistic.clone(), statistic].map(Some);
            let made = case.ops("layer_norm", &[&[x], affine].concat(), &results, &attrs);
            let (y, mean, rstd) = (made[0], made[1], made[2]);
            let scale = &affine[..affine.len().min(1)];
            let results = [f32(dims), row.clone(), row].map(Some);
            let results = if scale.is_empty() { &results[..1] } else { &results };
            case.ops("layer_norm_grad", &[&[dy, x, mean, rstd], scale].concat(), results, &[]);
            case.ops("layer_norm_grad_from_output", &[&[dy, y, rstd], affine].concat(), results, &[]);
            for y in case.packed(x, dims, if lead == 0 { 1 } else { dims[0] }) {
                case.ops("layer_norm_grad_from_output", &[&[dy, y, rstd], affine].concat(), results, &[]);
            }
            case.check(8e-6);
        }
    }
}

#[test]
fn rms_norm() {
    for (dims, lead) in SHAPES {
        for affine in 0..2 {
            let (mut case, [x, dy, scale, _]) = operands(dims, lead, &format!("{affine} tensors"));
            let scale = &[scale][..affine];
            let attrs = [("axis", int(lead)), ("epsilon", float(1e-5))];
            let results = [f32(dims), f32(&dims[..lead])].map(Some);
            let made = case.ops("rms_norm", &[&[x], scale].concat(), &results, &attrs);
            let results = [f32(dims), f32(&dims[lead..])].map(Some);
            let results = &results[..1 + affine];
            case.ops("rms_norm_grad", &[&[dy, x, made[1]], scale].concat(), results, &[]);
            case.ops("rms_norm_grad_from_output", &[&[dy, made[0], made[1]], scale].concat(), results, &[]);
            for y in case.packed(x, dims, if lead == 0 { 1 } else { dims[0] }) {
                case.ops("rms_norm_grad_from_output", &[&[dy, y, made[1]], scale].concat(), results, &[]);
            }
            case.check(8e-6);
        }
    }
}

#[test]
fn gradients_of_which_some_are_not_wanted() {
    for (dims, lead) in SHAPES {
        for wanted in 1..7 {
            let (mut case, [x, dy, scale, _]) = operands(dims, lead, &format!("wanted {wanted:03b}"));
            let (mean, rstd) = (case.random(&dims[..lead]), case.positive(&dims[..lead]));
            let of = |bit: usize, ty| (wanted >> bit & 1 == 1).then_some(ty);
            let results = [of(0, f32(dims)), of(1, f32(&dims[lead..])), of(2, f32(&dims[lead..]))];
            case.ops("layer_norm_grad", &[dy, x, mean, rstd, scale], &results, &[]);
            case.check(8e-6);
        }
    }
}

#[test]
fn what_is_pruned_from_an_output_counts_as_zero() {
    let dims = [40, 60];
    let (mut case, [_, dy, scale, bias]) = operands(&dims, 1, "zeros");
    // About one in ten of these is zero, and some scales are, so that y would be infinitely many times as large.
    let (y, rstd) = (case.random(&dims), case.positive(&[40]));
    let results = [f32(&dims), f32(&[60]), f32(&[60])].map(Some);
    case.ops("layer_norm_grad_from_output", &[dy, y, rstd, scale, bias], &results, &[]);
    case.check(4e-6);
}

#[test]
fn the_deviation_of_numbers_far_from_zero_is_accurate() {
    let dims = [30, 500];
    let (mut case, [x, _, scale, bias]) = operands(&dims, 1, "numbers around 1000");
    let far = case.tensor(&[], &[1000.0]);
    let x = case.op("add", &[x, far], f32(&dims), &[]);
    let results = [f32(&dims), f32(&[30]), f32(&[30])].map(Some);
    case.ops("layer_norm", &[x, scale, bias], &results, &[("axis", int(1)), ("epsilon", float(1e-5))]);
    case.check(4e-6);
}
