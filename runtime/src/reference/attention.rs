use ndarray::{Array1, Array3, Array4, ArrayView1, ArrayView4, s};

use super::softmax::log_probabilities;
use super::tensor::{Args, Tensor};
use crate::kernels::attention::Attention;

pub fn attention(it: &Attention, args: &Args) -> Vec<Tensor> {
    let (q, k, v) = (queries(it, args, 0), keys(it, args, 1), values(it, args, 2));
    let mut y = Array4::<f64>::zeros((it.batch(), it.heads, it.queries, it.width));
    let mut lse = Array3::<f64>::zeros((it.batch(), it.heads, it.queries));
    for (b, h, t) in each_query(it) {
        let scores = scores(it, args, 3, (b, h, t), q, k);
        // Told by the largest score: one that is hidden by minus infinity says nothing.
        let top = (0..scores.len()).fold(0, |top, s| if scores[top] < scores[s] { s } else { top });
        lse[[b, h, t]] = match is_blind(it, &scores) {
            true => f64::INFINITY,
            false => scores[top] - log_probabilities(scores.view())[top],
        };
        for (s, p) in probabilities(it, &scores).into_iter().enumerate() {
            y.slice_mut(s![b, h, t, ..]).scaled_add(p, &v.slice(s![b, it.kv_head(h), s, ..]));
        }
    }
    vec![y.into(), lse.into()]
}

/// The probabilities are computed anew from the scores; lse, which other executors need, is not read.
pub fn attention_grad(it: &Attention, args: &Args) -> Vec<Tensor> {
    let dy = args.floats(0, (it.batch(), it.heads, it.queries, it.width));
    let (q, k, v) = (queries(it, args, 1), keys(it, args, 2), values(it, args, 3));
    let (mut dq, mut dk) = (Array4::<f64>::zeros(q.dim()), Array4::<f64>::zeros(k.dim()));
    let mut dv = Array4::<f64>::zeros(v.dim());
    for (b, h, t) in each_query(it) {
        let (g, dy) = (it.kv_head(h), dy.slice(s![b, h, t, ..]));
        let p = probabilities(it, &scores(it, args, 5, (b, h, t), q, k));
        let dp: Array1<f64> = (0..p.len()).map(|s| dy.dot(&v.slice(s![b, g, s, ..]))).collect();
        let mean = p.dot(&dp);
        for s in 0..p.len() {
            let ds = p[s] * (dp[s] - mean) * it.scale;
            dq.slice_mut(s![b, h, t, ..]).scaled_add(ds, &k.slice(s![b, g, s, ..]));
            dk.slice_mut(s![b, g, s, ..]).scaled_add(ds, &q.slice(s![b, h, t, ..]));
            dv.slice_mut(s![b, g, s, ..]).scaled_add(p[s], &dy);
        }
    }
    vec![dq.into(), dk.into(), dv.into()]
}

/// Scores of the keys that a query sees.
fn scores(
    it: &Attention,
    args: &Args,
    mask: usize,
    (b, h, t): (usize, usize, usize),
    q: ArrayView4<'_, f64>,
    k: ArrayView4<'_, f64>,
) -> Array1<f64> {
    let q: ArrayView1<'_, f64> = q.slice_move(s![b, h, t, ..]);
    let mask = it.mask_row(b, h, t).map(|at| (args.flat(mask), at));
    let score = |s| {
        let product = q.dot(&k.slice(s![b, it.kv_head(h), s, ..])) * it.scale;
        mask.map_or(product, |(mask, (start, stride))| product + mask[start + s * stride])
    };
    (0..it.seen(t)).map(score).collect()
}

fn probabilities(it: &Attention, scores: &Array1<f64>) -> Array1<f64> {
    match is_blind(it, scores) {
        true => Array1::zeros(scores.len()),
        false => log_probabilities(scores.view()).mapv(f64::exp),
    }
}

/// Whether a query sees nothing, and that is foreseen.
fn is_blind(it: &Attention, scores: &Array1<f64>) -> bool {
    it.safe && scores.iter().all(|&it| it == f64::NEG_INFINITY)
}

fn each_query(it: &Attention) -> impl Iterator<Item = (usize, usize, usize)> {
    ndarray::indices((it.batch(), it.heads, it.queries)).into_iter()
}

fn queries<'a>(it: &Attention, args: &'a Args, slot: usize) -> ArrayView4<'a, f64> {
    args.floats(slot, (it.batch(), it.heads, it.queries, it.depth))
}

fn keys<'a>(it: &Attention, args: &'a Args, slot: usize) -> ArrayView4<'a, f64> {
    args.floats(slot, (it.batch(), it.kv_heads, it.keys, it.depth))
}

fn values<'a>(it: &Attention, args: &'a Args, slot: usize) -> ArrayView4<'a, f64> {
    args.floats(slot, (it.batch(), it.kv_heads, it.keys, it.width))
}
