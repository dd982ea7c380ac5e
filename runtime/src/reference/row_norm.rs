use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::tensor::{Args, Tensor};
use crate::kernels::row_norm::{OUTPUT_LIMIT, RowNorm, Rows};

pub fn norm(it: &RowNorm, args: &Args) -> Vec<Tensor> {
    let Rows { centered, scale, bias, .. } = it.rows;
    let x = view(&it.rows, args, 0);
    let mean = if centered { means(&x.to_owned()) } else { Array1::zeros(it.rows.rows) };
    let shifted = Array2::from_shape_fn(x.dim(), |(row, i)| x[[row, i]] - mean[row]);
    let rstd = means(&(&shifted * &shifted)).mapv(|var| 1.0 / (var + it.epsilon).sqrt());
    let y = Array2::from_shape_fn(x.dim(), |(row, i)| {
        let normalized = shifted[[row, i]] * rstd[row];
        let scaled = if scale { normalized * args.flat(1)[i] } else { normalized };
        if bias { scaled + args.flat(2)[i] } else { scaled }
    });
    match centered {
        true => vec![y.into(), mean.into(), rstd.into()],
        false => vec![y.into(), rstd.into()],
    }
}

pub fn grad(it: &Rows, args: &Args) -> Vec<Tensor> {
    let x = view(it, args, 1);
    let rstd_slot = if it.centered { 3 } else { 2 };
    let rstd = args.flat(rstd_slot);
    let mean = |row| if it.centered { args.flat(2)[row] } else { 0.0 };
    let hat = Array2::from_shape_fn(x.dim(), |(row, i)| (x[[row, i]] - mean(row)) * rstd[row]);
    let scale = it.scale.then(|| args.flat(rstd_slot + 1));
    from_normalized(it, args, &hat, rstd, scale)
}

/// As [`grad`], the normalized rows being those that made y. What is zero in y was pruned and counts as zero, and so does
/// what the scale makes so small beside y that y cannot tell it.
pub fn grad_from_output(it: &Rows, args: &Args) -> Vec<Tensor> {
    let y = view(it, args, 1);
    let scale = it.scale.then(|| args.flat(3));
    let hat = Array2::from_shape_fn(y.dim(), |(row, i)| {
        let y = y[[row, i]];
        let Some(scale) = scale.map(|it| it[i]) else { return y };
        if y == 0.0 || y.abs() > OUTPUT_LIMIT * scale.abs() {
            return 0.0;
        }
        let bias = if it.bias { args.flat(4)[i] } else { 0.0 };
        (y - bias) / scale
    });
    from_normalized(it, args, &hat, args.flat(2), scale)
}

fn from_normalized(
    it: &Rows,
    args: &Args,
    hat: &Array2<f64>,
    rstd: ArrayView1<'_, f64>,
    scale: Option<ArrayView1<'_, f64>>,
) -> Vec<Tensor> {
    let dy = view(it, args, 0);
    let scaled = Array2::from_shape_fn(dy.dim(), |(row, i)| dy[[row, i]] * scale.map_or(1.0, |it| it[i]));
    let along_hat = means(&(&scaled * hat));
    let along_ones = if it.centered { means(&scaled) } else { Array1::zeros(it.rows) };
    let dx = Array2::from_shape_fn(dy.dim(), |(row, i)| {
        rstd[row] * (scaled[[row, i]] - along_ones[row] - hat[[row, i]] * along_hat[row])
    });
    let mut results: Vec<Tensor> = vec![dx.into()];
    if it.scale {
        results.push((&dy * hat).sum_axis(Axis(0)).into());
    }
    if it.scale && it.centered {
        results.push(dy.sum_axis(Axis(0)).into());
    }
    results
}

fn view<'a>(it: &Rows, args: &'a Args, slot: usize) -> ArrayView2<'a, f64> {
    args.floats(slot, (it.rows, it.len))
}

/// Mean of each row.
fn means(x: &Array2<f64>) -> Array1<f64> {
    x.sum_axis(Axis(1)) / x.ncols() as f64
}
