use razorc_proto::program::Role;

use crate::case::{Case, f32, int, ints};

#[test]
fn one_pixel_windows() {
    image([3, 5, 9, 7], 11, [1, 1], |it| it);
    image([2, 64, 14, 14], 70, [1, 1], |it| it);
    image([2, 6, 9, 7], 4, [1, 1], |it| Attrs { strides: &[2, 2], ..it });
    image([2, 6, 5, 5], 4, [1, 1], |it| Attrs { pads: &[1, 0, 0, 2], ..it });
}

#[test]
fn square_windows() {
    image([2, 3, 8, 8], 4, [3, 3], |it| Attrs { pads: &[1; 4], ..it });
    image([5, 20, 7, 7], 30, [3, 3], |it| Attrs { pads: &[1; 4], ..it });
    image([2, 30, 28, 28], 9, [3, 3], |it| Attrs { pads: &[1; 4], ..it });
    image([1, 3, 33, 35], 17, [7, 7], |it| Attrs { pads: &[3; 4], strides: &[2, 2], ..it });
    image([2, 7, 17, 15], 9, [3, 3], |it| Attrs { pads: &[1; 4], strides: &[2, 2], ..it });
    image([2, 3, 16, 16], 6, [4, 4], |it| Attrs { strides: &[4, 4], ..it });
}

#[test]
fn odd_windows() {
    image([2, 4, 9, 11], 5, [2, 3], |it| Attrs { pads: &[0, 1, 2, 0], ..it });
    image([2, 4, 13, 11], 5, [3, 2], |it| Attrs { pads: &[2, 1, 0, 3], strides: &[3, 2], dilations: &[2, 3], ..it });
    image([1, 2, 9, 9], 3, [3, 3], |it| Attrs { strides: &[2, 2], dilations: &[2, 2], ..it });
    image([1, 2, 20, 20], 3, [1, 2], |it| Attrs { strides: &[3, 5], ..it });
    image([2, 3, 30, 70], 3, [20, 18], |it| it);
}

#[test]
fn groups() {
    image([2, 6, 9, 7], 9, [3, 3], |it| Attrs { groups: 3, pads: &[1; 4], ..it });
    image([2, 8, 8, 8], 4, [1, 1], |it| Attrs { groups: 2, ..it });
    image([2, 3, 8, 8], 6, [3, 3], |it| Attrs { groups: 3, pads: &[1; 4], ..it });
}

#[test]
fn depthwise() {
    let depthwise = |dims: [usize; 4], kernel, change: fn(Attrs) -> Attrs| {
        image(dims, dims[1], kernel, |it| Attrs { groups: dims[1], ..change(it) });
    };
    depthwise([3, 5, 14, 14], [3, 3], |it| Attrs { pads: &[1; 4], ..it });
    depthwise([3, 5, 7, 7], [3, 3], |it| Attrs { pads: &[1; 4], ..it });
    depthwise([2, 3, 112, 112], [3, 3], |it| Attrs { pads: &[1; 4], strides: &[2, 2], ..it });
    depthwise([2, 3, 28, 28], [5, 5], |it| Attrs { pads: &[2; 4], ..it });
    depthwise([2, 3, 20, 21], [7, 7], |it| Attrs { pads: &[3; 4], ..it });
    depthwise([2, 3, 15, 14], [5, 5], |it| Attrs { pads: &[2; 4], strides: &[2, 2], ..it });
    depthwise([2, 4, 13, 11], [3, 2], |it| Attrs { pads: &[2, 1, 0, 3], strides: &[3, 2], dilations: &[2, 3], ..it });
    depthwise([2, 4, 9, 9], [5, 5], |it| Attrs { strides: &[2, 2], dilations: &[2, 2], ..it });
    depthwise([1, 2, 120, 120], [3, 3], |it| Attrs { dilations: &[50, 50], ..it });
    depthwise([1, 2, 20, 20], [1, 2], |it| Attrs { strides: &[3, 5], ..it });
}

#[test]
fn one_spatial_axis() {
    all(&[2, 3, 50], 4, &[5], |it| Attrs { pads: &[2, 2], ..it }, 1 << 20);
    all(&[2, 4, 51], 6, &[3], |_| Attrs { pads: &[0, 4], strides: &[2], dilations: &[3], groups: 2 }, 1 << 20);
    all(&[1, 4, 3000], 4, &[9], |it| Attrs { pads: &[4, 4], groups: 4, ..it }, 1 << 20);
}

#[test]
fn more_spatial_axes() {
    all(&[2, 3, 5, 6, 7], 4, &[3, 3, 3], |it| Attrs { pads: &[1; 6], ..it }, 1 << 20);
    let odd = |_| Attrs { pads: &[0, 2, 1, 1, 0, 3], strides: &[2, 1, 3], dilations: &[1, 2, 2], groups: 2 };
    all(&[2, 4, 7, 6, 9], 6, &[2, 3, 2], odd, 1 << 20);
    all(&[1, 2, 3, 4, 3, 4], 2, &[2, 2, 1, 3], |it| Attrs { groups: 2, ..it }, 1 << 20);
}

#[test]
fn little_scratch() {
    let same = |it| Attrs { pads: &[1; 4], ..it };
    all(&[2, 40, 20, 22], 37, &[3, 3], same, 0);
    all(&[2, 5, 40, 300], 5, &[3, 3], |it| Attrs { groups: 5, ..same(it) }, 0);
}

/// Empty lists stand for what changes nothing.
#[derive(Clone, Copy)]
struct Attrs {
    strides: &'static [usize],
    pads: &'static [usize],
    dilations: &'static [usize],
    groups: usize,
}

fn image(x: [usize; 4], channels: usize, kernel: [usize; 2], change: impl Fn(Attrs) -> Attrs) {
    all(&x, channels, &kernel, change, 1 << 20);
}

/// A convolution with and without bias, and its gradients.
fn all(x: &[usize], channels: usize, kernel: &[usize], change: impl Fn(Attrs) -> Attrs, scratch: u64) {
    let attrs = change(Attrs { strides: &[], pads: &[], dilations: &[], groups: 1 });
    let rank = kernel.len();
    let or = |list: &[usize], default, len| if list.is_empty() { vec![default; len] } else { list.to_vec() };
    let (strides, pads) = (or(attrs.strides, 1, rank), or(attrs.pads, 0, 2 * rank));
    let dilations = or(attrs.dilations, 1, rank);
    let output = |it: usize| {
        let room = x[2 + it] + pads[it] + pads[rank + it] - dilations[it] * (kernel[it] - 1) - 1;
        room / strides[it] + 1
    };
    let y: Vec<usize> = [x[0], channels].into_iter().chain((0..rank).map(output)).collect();
    let w = [&[channels, x[1] / attrs.groups], kernel].concat();
    let shaped = |shape: Option<&[usize]>| {
        let mut all = vec![
            ("strides", ints(&strides)),
            ("pads", ints(&pads)),
            ("dilations", ints(&dilations)),
            ("groups", int(attrs.groups)),
        ];
        all.extend(shape.map(|it| ("shape", ints(it))));
        all
    };

    let mut case = Case::new(&format!("{x:?} {w:?}")).scratch(scratch);
    let (x_id, w_id, b_id, dy_id) = (case.random(x), case.random(&w), case.random(&[channels]), case.random(&y));
    case.op("conv", &[x_id, w_id], f32(&y), &shaped(None));
    case.op("conv", &[x_id, w_id, b_id], f32(&y), &shaped(None));
    case.op("conv_input_grad", &[dy_id, w_id], f32(x), &shaped(Some(x)));
    if kernel.len() <= 2 {
        case.op("conv_input_grad", &[dy_id, w_id, x_id], f32(x), &shaped(Some(x)));
    }
    case.op("conv_weight_grad", &[dy_id, x_id], f32(&w), &shaped(Some(&w)));
    let momentum = case.updated(Role::State, &w);
    case.update("conv_weight_grad", &[dy_id, x_id, momentum], &[momentum], &shaped(Some(&w)));
    let packed = if kernel.len() <= 2 { case.packed(x_id, x, x[0]) } else { vec![] };
    for x in packed {
        case.op("conv_weight_grad", &[dy_id, x], f32(&w), &shaped(Some(&w)));
        let momentum = case.updated(Role::State, &w);
        case.update("conv_weight_grad", &[dy_id, x, momentum], &[momentum], &shaped(Some(&w)));
    }
    // Its transpose reads what the convolution makes.
    case.op("conv_transpose", &[dy_id, w_id], f32(x), &shaped(Some(x)));
    case.op("conv_transpose_weight_grad", &[x_id, dy_id], f32(&w), &shaped(Some(&w)));
    let other = case.updated(Role::State, &w);
    case.update("conv_transpose_weight_grad", &[x_id, dy_id, other], &[other], &shaped(Some(&w)));
    case.check(1e-5);
}
