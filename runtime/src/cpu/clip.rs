//! Norms of gradients, and the factors that clip them.

use super::chunks::{CHUNK, each};
use super::wide::wide;
use crate::pool::Pool;

/// Most partial sums of a gradient.
const PARTS: usize = 64;

/// Euclidean norm, summed in f64 in parts that follow from the length alone.
pub fn norm(pool: &Pool, g: &[f32]) -> f32 {
    let size = g.len().div_ceil(PARTS).next_multiple_of(CHUNK);
    let mut parts = [0.0; PARTS];
    let parts = &mut parts[..g.len().div_ceil(size)];
    each(pool, parts, 1, |idx, part| part[0] = squares(&g[idx * size..g.len().min((idx + 1) * size)]));
    parts.iter().sum::<f64>().sqrt() as f32
}

/// Numbers that are added up side by side.
const LANES: usize = 32;

wide! {
    fn squares(g: &[f32]) -> f64 {
        let square = |x: f32| f64::from(x) * f64::from(x);
        let mut lanes = [0.0; LANES];
        let (groups, rest) = g.as_chunks::<LANES>();
        for group in groups {
            lanes.iter_mut().zip(group).for_each(|(lane, &x)| *lane += square(x));
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane += square(x));
        lanes.iter().sum()
    }
}
