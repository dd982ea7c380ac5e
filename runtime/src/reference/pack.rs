use half::{bf16, f16};
use ndarray::{Array1, Array2, ArrayView1};
use razorc_proto::packed::SCALED;

use super::tensor::{Args, Tensor};
use crate::kernels::pack::{Compress, LEVELS, MaskTopk, Pack, draw, scale};
use crate::types::Kept;

pub fn compress(it: &Compress, args: &Args) -> Tensor {
    let Pack { samples, n, keep, values, .. } = it.pack;
    let x = args.floats(0, (samples, n));
    let key = it.key(if it.step { args.scalar(1) as u64 } else { 0 });
    let counts = counted(it, args);
    let kept = |(sample, x): (usize, ArrayView1<'_, f64>)| {
        let x = Array1::from_shape_fn(n, |at| if counts(sample, at) { x[at] } else { 0.0 });
        let mut order: Vec<usize> = (0..n).collect();
        // Stable, so that the lowest index wins a tie.
        order.sort_by(|&a, &b| x[b].abs().total_cmp(&x[a].abs()));
        order.truncate(keep);
        order.sort();
        let exact: Vec<f64> = order.iter().map(|&i| x[i]).collect();
        order.into_iter().zip(rounded(values, &exact, key, (sample * keep) as u64)).collect()
    };
    Tensor::Topk(x.rows().into_iter().enumerate().map(kept).collect())
}

/// Whether an element of a sample counts.
fn counted(it: &Compress, args: &Args) -> impl Fn(usize, usize) -> bool {
    let mask: Vec<bool> = match &it.rows {
        None => vec![true; it.pack.samples],
        Some(rows) => match &args.0[rows.slot] {
            Tensor::Int(it) => it.iter().map(|it| 0 < *it).collect(),
            _ => args.flat(rows.slot).iter().map(|it| 0.0 < *it).collect(),
        },
    };
    let (rows, n) = (mask.len() / it.pack.samples, it.pack.n);
    move |sample, at| {
        let mask = &mask[sample * rows..][..rows];
        mask[at / (n / rows)] || !mask.contains(&true)
    }
}

pub fn decompress(it: &Pack, args: &Args) -> Tensor {
    expand(it.n, args.topk(0))
}

/// The dense tensor, `[samples, n]`, of what is kept of each sample.
pub fn expand(n: usize, samples: &[Vec<(usize, f64)>]) -> Tensor {
    let mut y = Array2::<f64>::zeros((samples.len(), n));
    for (sample, kept) in samples.iter().enumerate() {
        for &(i, value) in kept {
            y[[sample, i]] = value;
        }
    }
    y.into()
}

pub fn mask_topk(it: &MaskTopk, args: &Args) -> Tensor {
    let mut y = args.floats(0, (it.samples, it.n)).to_owned();
    for mut sample in y.rows_mut() {
        let mut sorted: Vec<f64> = sample.iter().map(|it| it.abs()).collect();
        sorted.sort_by(f64::total_cmp);
        let threshold = sorted[it.cut - 1];
        sample.mapv_inplace(|x| if x.abs().total_cmp(&threshold).is_ge() { x } else { 0.0 });
    }
    y.into()
}

/// Values of a sample as they come back.
fn rounded(to: Kept, values: &[f64], key: u64, first: u64) -> Vec<f64> {
    let each = |round: fn(f32) -> f32| values.iter().map(|&it| round(it as f32).into()).collect();
    match to {
        Kept::F32 => values.to_vec(),
        Kept::F16 => each(|it| f16::from_f32(it).to_f32()),
        Kept::Bf16 => each(|it| bf16::from_f32(it).to_f32()),
        Kept::I8 => {
            let blocks = values.chunks(SCALED as usize).zip((first..).step_by(SCALED as usize));
            blocks.flat_map(|(block, first)| at_random(block, key, first)).collect()
        }
    }
}

/// Values that share a scale, each rounded to one of the two levels beside it, in f32.
fn at_random(values: &[f64], key: u64, first: u64) -> Vec<f64> {
    let largest = values.iter().map(|&it| (it as f32).abs().to_bits()).max().unwrap_or(0);
    let scale = scale(largest);
    let round = |(&value, rank)| {
        if scale == 0.0 {
            return 0.0;
        }
        let level = (value as f32 / scale).clamp(-LEVELS, LEVELS);
        let below = level.floor();
        let up = draw(key, rank) < level - below;
        f64::from((below + f32::from(u8::from(up))) * scale)
    };
    values.iter().zip(first..).map(round).collect()
}
