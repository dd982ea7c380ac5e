use std::cmp::Ordering;

use ndarray::{Array1, ArrayView1};

use super::tensor::{Args, Tensor, positions};
use crate::kernels::fold::{ArgExtreme, Axis, Cumsum, Fold, How, Topk};
use crate::kernels::reduce::Reduce;
use crate::types::DType;

pub fn fold(it: &Fold, args: &Args) -> Tensor {
    let places = positions(&it.sizes.dims, &it.sizes.strides);
    match it.element {
        DType::F32 => {
            let mut y: Vec<Option<f64>> = vec![None; it.sizes.outputs];
            for (at, &x) in places.zip(args.flat(0)) {
                y[at] = Some(y[at].map_or(x, |old| match it.how {
                    How::Sum => old + x,
                    How::Prod => old * x,
                    _ if old.is_nan() || x.is_nan() => f64::NAN,
                    How::Max => old.max(x),
                    How::Min => old.min(x),
                }));
            }
            y.into_iter().map(|it| it.expect("no axis is empty")).collect::<Array1<f64>>().into()
        }
        _ => {
            let mut y: Vec<Option<i64>> = vec![None; it.sizes.outputs];
            for (at, &x) in places.zip(args.ints(0)) {
                y[at] = Some(y[at].map_or(x, |old| match it.how {
                    How::Sum => old.wrapping_add(x),
                    How::Prod => old.wrapping_mul(x),
                    How::Max => old.max(x),
                    How::Min => old.min(x),
                }));
            }
            Tensor::ints(y.into_iter().map(|it| it.expect("no axis is empty")).collect())
        }
    }
}

pub fn reduce_prod_grad(it: &Reduce, args: &Args) -> Tensor {
    let (dy, x) = (args.flat(0), args.flat(1));
    let mut factors = vec![vec![]; it.outputs];
    for (i, at) in positions(&it.dims, &it.strides).enumerate() {
        factors[at].push(i);
    }
    let mut dx = Array1::<f64>::zeros(x.len());
    for (at, factors) in factors.iter().enumerate() {
        for &i in factors {
            let others: f64 = factors.iter().filter(|&&it| it != i).map(|&it| x[it]).product();
            dx[i] = dy[at] * others;
        }
    }
    dx.into()
}

pub fn cumsum(it: &Cumsum, args: &Args) -> Tensor {
    let counted = |from: usize, to: usize| {
        let (from, to) = if it.reverse { (to, from) } else { (from, to) };
        if it.exclusive { from < to } else { from <= to }
    };
    let lane = |to: usize| (0..it.axis.len).filter(move |&from| counted(from, to));
    let places = elements(&it.axis);
    match it.element {
        DType::F32 => {
            let x = args.flat(0);
            let sums = places.map(|(base, at)| lane(at).map(|from| x[base + from * it.axis.inner]).sum::<f64>());
            sums.collect::<Array1<f64>>().into()
        }
        _ => {
            let x = args.ints(0);
            let sum = |a: i64, b: i64| a.wrapping_add(b);
            Tensor::ints(
                places.map(|(base, at)| lane(at).map(|from| x[base + from * it.axis.inner]).fold(0, sum)).collect(),
            )
        }
    }
}

pub fn top_k(it: &Topk, args: &Args) -> Vec<Tensor> {
    let x = args.flat(0);
    let mut y = vec![0.0; it.axis.outer * it.k * it.axis.inner];
    let mut index = vec![0; y.len()];
    for (outer, inner) in ndarray::indices((it.axis.outer, it.axis.inner)) {
        let lane = lane(&it.axis, x, outer, inner);
        let mut order: Vec<usize> = (0..it.axis.len).collect();
        // Stable, so that the lowest index wins a tie.
        order.sort_by(|&a, &b| if it.largest { compare(lane[b], lane[a]) } else { compare(lane[a], lane[b]) });
        for (rank, &at) in order[..it.k].iter().enumerate() {
            let to = (outer * it.k + rank) * it.axis.inner + inner;
            (y[to], index[to]) = (lane[at], at as i64);
        }
    }
    vec![Array1::from(y).into(), Tensor::ints(index)]
}

pub fn arg_extreme(it: &ArgExtreme, args: &Args) -> Tensor {
    let best = |lane: &dyn Fn(usize, usize) -> Ordering| {
        (1..it.axis.len).fold(0, |best, at| {
            let ahead = if it.largest { lane(at, best) } else { lane(best, at) };
            if ahead == Ordering::Greater || it.last && ahead == Ordering::Equal { at } else { best }
        })
    };
    let lanes = ndarray::indices((it.axis.outer, it.axis.inner)).into_iter();
    let start = |outer: usize, inner: usize| outer * it.axis.len * it.axis.inner + inner;
    let found = lanes.map(|(outer, inner)| {
        let at = |i: usize| start(outer, inner) + i * it.axis.inner;
        match it.element {
            DType::F32 => best(&|a, b| compare(args.flat(0)[at(a)], args.flat(0)[at(b)])),
            _ => best(&|a, b| args.ints(0)[at(a)].cmp(&args.ints(0)[at(b)])),
        }
    });
    Tensor::ints(found.map(|it| it as i64).collect())
}

/// What is no number is larger than everything else.
fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn lane(axis: &Axis, x: ArrayView1<'_, f64>, outer: usize, inner: usize) -> Vec<f64> {
    (0..axis.len).map(|at| x[(outer * axis.len + at) * axis.inner + inner]).collect()
}

/// For every element in order, where its lane starts and how far along it is.
fn elements(axis: &Axis) -> impl Iterator<Item = (usize, usize)> {
    let (len, width) = (axis.len, axis.inner);
    let all = ndarray::indices((axis.outer, len, width)).into_iter();
    all.map(move |(outer, at, inner)| (outer * len * width + inner, at))
}
