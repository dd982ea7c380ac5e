use ndarray::{Array2, ArrayView1};

use super::tensor::{Args, Tensor};
use crate::kernels::pack::{MaskTopk, Pack};
use crate::types::Kept;

pub fn compress(it: &Pack, args: &Args) -> Tensor {
    let x = args.floats(0, (it.samples, it.n));
    let kept = |x: ArrayView1<'_, f64>| {
        let mut order: Vec<usize> = (0..it.n).collect();
        // Stable, so that the lowest index wins a tie.
        order.sort_by(|&a, &b| x[b].abs().total_cmp(&x[a].abs()));
        order.truncate(it.keep);
        order.sort();
        order.into_iter().map(|i| (i, rounded(it.values, x[i]))).collect()
    };
    Tensor::Topk(x.rows().into_iter().map(kept).collect())
}

pub fn decompress(it: &Pack, args: &Args) -> Tensor {
    let mut y = Array2::<f64>::zeros((it.samples, it.n));
    for (sample, kept) in args.topk(0).iter().enumerate() {
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

fn rounded(to: Kept, value: f64) -> f64 {
    if to == Kept::F32 { value } else { to.round(value as f32).into() }
}
