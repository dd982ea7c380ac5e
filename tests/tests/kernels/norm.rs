use crate::case::{Case, f32, float, int};

const SHAPES: [&[usize]; 6] = [&[4, 6, 30, 31], &[33, 70], &[2, 3, 7], &[5, 8, 7, 7], &[1, 40, 50, 50], &[200, 3, 2]];

#[test]
fn batch_norm_with_running_statistics() {
    for dims in SHAPES {
        let mut case = Case::new(&format!("{dims:?}"));
        let epsilon = [("epsilon", float(1e-5))];
        let (c, x, dy) = ([dims[1]], case.random(dims), case.random(dims));
        let (scale, bias, mean, var) = (case.random(&c), case.random(&c), case.random(&c), case.positive(&c));
        case.op("batch_norm", &[x, scale, bias, mean, var], f32(dims), &epsilon);
        case.op("batch_norm_input_grad", &[dy, scale, var], f32(dims), &epsilon);
        case.op("batch_norm_scale_grad", &[dy, x, mean, var], f32(&c), &epsilon);
        case.check(4e-6);
    }
}

#[test]
fn batch_norm_with_the_batch_s_statistics() {
    for dims in SHAPES {
        let mut case = Case::new(&format!("{dims:?}"));
        let (c, x, dy) = ([dims[1]], case.random(dims), case.random(dims));
        let (scale, bias) = (case.random(&c), case.random(&c));
        let results = [f32(dims), f32(&c), f32(&c)].map(Some);
        let epsilon = [("epsilon", float(1e-3))];
        let made = case.ops("batch_norm_train", &[x, scale, bias], &results, &epsilon);
        let (mean, rstd) = (made[1], made[2]);
        case.ops("batch_norm_train_grad", &[dy, x, scale, mean, rstd], &results, &[]);
        case.check(4e-6);
    }
}

#[test]
fn the_variance_of_numbers_far_from_zero_is_accurate() {
    let dims = [4, 2, 30, 30];
    let mut case = Case::new("numbers around 1000");
    let (x, far) = (case.random(&dims), case.tensor(&[], &[1000.0]));
    let (scale, bias) = (case.positive(&[2]), case.random(&[2]));
    let x = case.op("add", &[x, far], f32(&dims), &[]);
    let results = [f32(&dims), f32(&[2]), f32(&[2])].map(Some);
    case.ops("batch_norm_train", &[x, scale, bias], &results, &[("epsilon", float(1e-5))]);
    case.check(4e-6);
}

#[test]
fn local_response_norm() {
    for (dims, size, beta) in
        [([2, 7, 9, 15], 5, 0.75), ([1, 5, 3, 3], 4, 0.5), ([3, 2, 1, 1], 5, 1.0), ([1, 9, 8, 8], 1, 0.75)]
    {
        let mut case = Case::new(&format!("{dims:?}, size {size}"));
        let (x, dy) = (case.random(&dims), case.random(&dims));
        let attrs = [("size", int(size)), ("alpha", float(0.3)), ("beta", float(beta)), ("bias", float(1.5))];
        case.op("lrn", &[x], f32(&dims), &attrs);
        case.op("lrn_grad", &[dy, x], f32(&dims), &attrs);
        case.check(4e-6);
    }
}
