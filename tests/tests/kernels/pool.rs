use razorc_proto::program::DType;

use crate::case::{Case, dense, f32, int, ints};

#[test]
fn square_windows() {
    all(&[2, 3, 8, 8], &[2, 2], [&[2, 2], &[0; 4], &[1, 1]], 0);
    all(&[2, 3, 17, 15], &[3, 3], [&[2, 2], &[1; 4], &[1, 1]], 0);
    all(&[2, 3, 14, 14], &[3, 3], [&[1, 1], &[1; 4], &[1, 1]], 0);
    all(&[2, 5, 7, 7], &[7, 7], [&[1, 1], &[0; 4], &[1, 1]], 0);
}

#[test]
fn odd_windows() {
    all(&[2, 3, 9, 11], &[2, 3], [&[2, 1], &[1, 0, 0, 2], &[1, 1]], 0);
    all(&[2, 3, 8, 11], &[3, 2], [&[2, 2], &[0; 4], &[1, 1]], 1);
    all(&[2, 3, 12, 11], &[3, 2], [&[2, 3], &[1, 0, 1, 1], &[2, 3]], 0);
    all(&[2, 3, 10, 9], &[3, 3], [&[3, 3], &[1; 4], &[1, 1]], 1);
}

#[test]
fn one_spatial_axis() {
    all(&[2, 3, 20], &[3], [&[2], &[1, 0], &[1]], 0);
}

#[test]
fn more_spatial_axes() {
    all(&[2, 3, 4, 5, 6], &[2, 2, 2], [&[2, 2, 2], &[0; 6], &[1, 1, 1]], 0);
    all(&[2, 3, 7, 5, 6], &[3, 2, 3], [&[2, 1, 2], &[1, 0, 1, 1, 1, 0], &[1, 2, 1]], 1);
    all(&[1, 2, 9, 8, 9], &[7, 7, 6], [&[1, 1, 2], &[0; 6], &[1, 1, 1]], 0);
}

#[test]
fn large_windows() {
    all(&[1, 2, 20, 20], &[17, 18], [&[1, 2], &[0; 4], &[1, 1]], 0);
}

#[test]
fn equal_values() {
    let mut case = Case::new("equal");
    let x = case.tensor(&[1, 1, 4, 4], &[1.0; 16]);
    let attrs = attrs(&[3, 3], [&[1, 1], &[1; 4], &[1, 1]], 0);
    case.ops("max_pool", &[x], &[Some(f32(&[1, 1, 4, 4])), Some(dense(DType::U8, &[1, 1, 4, 4]))], &attrs);
    case.ops("max_pool", &[x], &[Some(f32(&[1, 1, 4, 4])), None], &attrs);
    case.check(0.0);
}

type Named = (&'static str, razorc_proto::program::attr::Value);

fn attrs(kernel: &[usize], [strides, pads, dilations]: [&[usize]; 3], ceil: usize) -> Vec<Named> {
    vec![
        ("kernel", ints(kernel)),
        ("strides", ints(strides)),
        ("pads", ints(pads)),
        ("dilations", ints(dilations)),
        ("ceil", int(ceil)),
    ]
}

/// Both kinds of pooling and their gradients.
fn all(x: &[usize], kernel: &[usize], [strides, pads, dilations]: [&[usize]; 3], ceil: usize) {
    let rank = kernel.len();
    let output = |it: usize| {
        let room = x[2 + it] + pads[it] + pads[rank + it] - dilations[it] * (kernel[it] - 1) - 1;
        let steps = if ceil == 1 { room.div_ceil(strides[it]) } else { room / strides[it] };
        steps + usize::from(steps * strides[it] < x[2 + it] + pads[it])
    };
    let y: Vec<usize> = x[..2].iter().copied().chain((0..rank).map(output)).collect();
    let wide = 256 < kernel.iter().product::<usize>();
    let index = dense(if wide { DType::I32 } else { DType::U8 }, &y);
    let mut case = Case::new(&format!("{x:?} {kernel:?}"));
    let (x_id, dy_id) = (case.random(x), case.random(&y));

    let mut max = attrs(kernel, [strides, pads, dilations], ceil);
    let made = case.ops("max_pool", &[x_id], &[Some(f32(&y)), Some(index)], &max);
    max.push(("shape", ints(x)));
    case.op("max_pool_grad", &[dy_id, made[1]], f32(x), &max);
    for count_include_pad in [0, 1] {
        let mut avg = attrs(kernel, [strides, pads, dilations], ceil);
        avg.push(("count_include_pad", int(count_include_pad)));
        case.op("avg_pool", &[x_id], f32(&y), &avg);
        avg.push(("shape", ints(x)));
        case.op("avg_pool_grad", &[dy_id], f32(x), &avg);
    }
    case.check(1e-5);
}
