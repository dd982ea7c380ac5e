use ndarray::Array1;

use super::tensor::{Args, Tensor};
use crate::kernels::pack::draw;
use crate::kernels::quant::{Levels, Quantize};

pub fn quantize(it: &Quantize, args: &Args) -> Tensor {
    let quant = &it.quant;
    let x = args.floats(0, (quant.rows, quant.len));
    let key = it.key(if it.step { args.scalar(1) as u64 } else { 0 });
    let mut values = vec![];
    for row in x.rows() {
        for block in row.to_vec().chunks(quant.block) {
            values.extend(rounded(block, quant.most(), key, values.len() as u64));
        }
    }
    Tensor::Quant(values)
}

pub fn dequantize(args: &Args) -> Tensor {
    Array1::from(args.quant(0).to_vec()).into()
}

/// Elements of a block as they come back, computed in f32.
fn rounded(block: &[f64], most: f32, key: Option<u64>, first: u64) -> Vec<f64> {
    let x = block.iter().map(|&it| it as f32);
    let finite = x.clone().all(f32::is_finite);
    let (smallest, largest) = (x.clone().fold(f32::INFINITY, f32::min), x.clone().fold(f32::NEG_INFINITY, f32::max));
    let levels = Levels::of(smallest, largest, finite, most);
    let round = |(x, rank)| {
        let level = levels.level(x, most);
        let code = match key {
            None => level.round_ties_even(),
            Some(key) => level.floor() + f32::from(u8::from(draw(key, rank) < level.fract())),
        };
        levels.value(code as u8).into()
    };
    x.zip(first..).map(round).collect()
}
