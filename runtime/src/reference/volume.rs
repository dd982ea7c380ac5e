use ndarray::{ArrayD, Dimension, IxDyn};

use super::conv::inside;
use super::tensor::{Args, Tensor};
use crate::kernels::volume::{Axis, Conv, Pool};

pub fn conv(it: &Conv, args: &Args) -> Tensor {
    let (x, w) = (args.floats(0, input(it)), args.floats(1, weights(it)));
    let mut y = ArrayD::<f64>::zeros(output(it));
    if it.bias {
        let ones = vec![1; it.axes.len()];
        y += &args.floats(2, IxDyn(&[&[it.o], &ones[..]].concat()));
    }
    each_tap(it, |yi, xi, wi| y[yi] += x[xi] * w[wi]);
    y.into()
}

pub fn input_grad(it: &Conv, args: &Args) -> Tensor {
    let (dy, w) = (args.floats(0, output(it)), args.floats(1, weights(it)));
    let mut dx = ArrayD::<f64>::zeros(input(it));
    each_tap(it, |yi, xi, wi| dx[xi] += dy[yi] * w[wi]);
    dx.into()
}

pub fn weight_grad(it: &Conv, args: &Args) -> Tensor {
    let (dy, x) = (args.floats(it.slots[0], output(it)), args.floats(it.slots[1], input(it)));
    let mut dw = ArrayD::<f64>::zeros(weights(it));
    each_tap(it, |yi, xi, wi| dw[wi] += dy[yi] * x[xi]);
    dw.into()
}

pub fn max(it: &Pool, args: &Args) -> Vec<Tensor> {
    let x = args.floats(0, plane_inputs(it));
    let mut y = ArrayD::<f64>::zeros(plane_outputs(it));
    let mut index = ArrayD::<i64>::zeros(plane_outputs(it));
    for at in indices(&plane_outputs(it)) {
        let mut best: Option<(usize, f64)> = None;
        for (position, element) in window(it, &at) {
            let candidate = x[element.as_slice()];
            if best.is_none_or(|(_, best)| best < candidate || candidate.is_nan() && !best.is_nan()) {
                best = Some((position, candidate));
            }
        }
        let (position, value) = best.expect("every window covers an element");
        y[at.as_slice()] = value;
        index[at.as_slice()] = position as i64;
    }
    vec![y.into(), Tensor::Int(index)]
}

pub fn max_grad(it: &Pool, args: &Args) -> Tensor {
    let (dy, index) = (args.floats(0, plane_outputs(it)), args.ints(1));
    let mut dx = ArrayD::<f64>::zeros(plane_inputs(it));
    for (at, &index) in indices(&plane_outputs(it)).zip(index) {
        for (_, element) in window(it, &at).into_iter().filter(|(position, _)| *position as i64 == index) {
            dx[element.as_slice()] += dy[at.as_slice()];
        }
    }
    dx.into()
}

pub fn avg(it: &Pool, args: &Args) -> Tensor {
    let x = args.floats(0, plane_inputs(it));
    let mut y = ArrayD::<f64>::zeros(plane_outputs(it));
    for at in indices(&plane_outputs(it)) {
        let sum: f64 = window(it, &at).iter().map(|(_, element)| x[element.as_slice()]).sum();
        y[at.as_slice()] = sum / divisor(it, &at);
    }
    y.into()
}

pub fn avg_grad(it: &Pool, args: &Args) -> Tensor {
    let dy = args.floats(0, plane_outputs(it));
    let mut dx = ArrayD::<f64>::zeros(plane_inputs(it));
    for at in indices(&plane_outputs(it)) {
        for (_, element) in window(it, &at) {
            dx[element.as_slice()] += dy[at.as_slice()] / divisor(it, &at);
        }
    }
    dx.into()
}

/// Visits every product of the convolution: indices of y, x and w.
fn each_tap(it: &Conv, mut visit: impl FnMut(&[usize], &[usize], &[usize])) {
    let per_group = it.c / it.groups;
    for y in indices(&output(it)) {
        let first = y[1] / (it.o / it.groups) * per_group;
        for c in 0..per_group {
            for tap in indices(&kernel(&it.axes)) {
                if let Some(element) = read(&it.axes, &y[2..], &tap) {
                    let x = [&[y[0], first + c], &element[..]].concat();
                    visit(&y, &x, &[&[y[1], c], &tap[..]].concat());
                }
            }
        }
    }
}

/// Positions of a window that are not padding, row-major, with the elements there, plane first.
fn window(it: &Pool, at: &[usize]) -> Vec<(usize, Vec<usize>)> {
    let taps = indices(&kernel(&it.axes)).enumerate();
    let read = |(position, tap): (usize, Vec<usize>)| Some((position, read(&it.axes, &at[1..], &tap)?));
    taps.filter_map(read).map(|(position, element)| (position, [&at[..1], &element[..]].concat())).collect()
}

/// The element that a tap of a window reads, unless that is padding.
fn read(axes: &[Axis], window: &[usize], tap: &[usize]) -> Option<Vec<usize>> {
    let element =
        |((it, &i), &j): ((&Axis, &usize), &usize)| inside(i * it.stride + j * it.dilation, it.begin, it.input);
    axes.iter().zip(window).zip(tap).map(element).collect()
}

fn divisor(it: &Pool, at: &[usize]) -> f64 {
    if !it.count_include_pad {
        return window(it, at).len() as f64;
    }
    let padded = |(axis, &i): (&Axis, &usize)| {
        let end = axis.begin + axis.input + axis.end;
        (0..axis.kernel).filter(|j| i * axis.stride + j * axis.dilation < end).count() as f64
    };
    it.axes.iter().zip(&at[1..]).map(padded).product()
}

fn indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    ndarray::indices(dims).into_iter().map(|it| it.slice().to_vec())
}

fn kernel(axes: &[Axis]) -> Vec<usize> {
    axes.iter().map(|it| it.kernel).collect()
}

fn input(it: &Conv) -> Vec<usize> {
    [it.n, it.c].into_iter().chain(it.axes.iter().map(|it| it.input)).collect()
}

fn output(it: &Conv) -> Vec<usize> {
    [it.n, it.o].into_iter().chain(it.axes.iter().map(|it| it.output)).collect()
}

fn weights(it: &Conv) -> Vec<usize> {
    [it.o, it.c / it.groups].into_iter().chain(kernel(&it.axes)).collect()
}

fn plane_inputs(it: &Pool) -> Vec<usize> {
    [it.planes].into_iter().chain(it.axes.iter().map(|it| it.input)).collect()
}

fn plane_outputs(it: &Pool) -> Vec<usize> {
    [it.planes].into_iter().chain(it.axes.iter().map(|it| it.output)).collect()
}
