//! Kernels that move elements and compute nothing.

use super::chunks::{CHUNK, each, rows_per_chunk};
use super::nest::Nest;
use super::wide::wide;
use crate::pool::{Disjoint, Pool};

/// Side of the tiles of a transpose.
const TILE: usize = 16;

/// y = x.
pub fn copy(pool: &Pool, x: &[f32], y: &mut [f32]) {
    each(pool, y, CHUNK, |idx, y| y.copy_from_slice(&x[idx * CHUNK..][..y.len()]));
}

/// y, row-major over the nest, is x read along it from element `first`: a transpose or a slice.
pub fn strided_read(pool: &Pool, x: &[f32], first: usize, nest: &Nest<1>, y: &mut [f32]) {
    let x = &x[first..];
    let last = nest.dims().len().saturating_sub(1);
    let Some(p) = nest.strides()[..last].iter().position(|&[stride]| stride == 1) else {
        return gather(pool, x, nest, y);
    };
    // y is rows [.., p] of matrices [between, last]; x is contiguous along p.
    let dims = nest.dims();
    let width: usize = dims[p + 1..].iter().product();
    let rows = rows_per_chunk(width).next_multiple_of(TILE);
    let between = Nest::new(dims[p + 1..last].iter().copied().zip(nest.strides()[p + 1..last].iter().copied()));
    each(pool, y, rows * width, |idx, y| {
        let mut rest = y;
        let mut row = idx * rows;
        while !rest.is_empty() {
            let height = (dims[p] - row % dims[p]).min(rest.len() / width);
            let (block, next) = rest.split_at_mut(height * width);
            let [base] = nest.offsets(row * width);
            for part in 0..between.points() {
                let [at] = between.offsets(part);
                let [stride] = nest.inner_strides();
                tiles(&x[base + at..], stride, &mut block[part * dims[last]..], [height, dims[last], width]);
            }
            row += height;
            rest = next;
        }
    });
}

wide! {
    /// y[i * width + j] = x[i + j * stride] for i < rows, j < columns.
    fn tiles(x: &[f32], stride: usize, y: &mut [f32], size: [usize; 3]) {
        let [rows, columns, width] = size;
        for i in (0..rows).step_by(TILE) {
            for j in (0..columns).step_by(TILE) {
                let (height, length) = (TILE.min(rows - i), TILE.min(columns - j));
                let mut tile = [[0f32; TILE]; TILE];
                for (j, tile) in (j..j + length).zip(&mut tile) {
                    tile[..height].copy_from_slice(&x[i + j * stride..][..height]);
                }
                for (k, i) in (i..i + height).enumerate() {
                    for (y, tile) in y[i * width + j..][..length].iter_mut().zip(&tile) {
                        *y = tile[k];
                    }
                }
            }
        }
    }
}

/// Copies along axis-wise joined parts: each is its elements and its length along `axis` times the axes behind it.
pub fn concat<'a>(pool: &Pool, parts: impl Fn(usize) -> Option<(&'a [f32], usize)> + Sync, y: &mut [f32]) {
    let all = || (0..).map_while(&parts);
    let width: usize = all().map(|(_, width)| width).sum();
    let rows = rows_per_chunk(width);
    each(pool, y, rows * width, |idx, y| {
        for (i, y) in y.chunks_mut(width).enumerate() {
            let mut rest = y;
            for (part, width) in all() {
                let (to, next) = rest.split_at_mut(width);
                to.copy_from_slice(&part[(idx * rows + i) * width..][..width]);
                rest = next;
            }
        }
    });
}

/// y = x read along a walk.
fn gather(pool: &Pool, x: &[f32], nest: &Nest<1>, y: &mut [f32]) {
    let [stride] = nest.inner_strides();
    each(pool, y, CHUNK, |idx, y| {
        let mut done = 0;
        nest.runs(idx * CHUNK..idx * CHUNK + y.len(), |[at], n| {
            let y = &mut y[done..][..n];
            match stride {
                1 => y.copy_from_slice(&x[at..][..n]),
                _ => y.iter_mut().enumerate().for_each(|(i, y)| *y = x[at + i * stride]),
            }
            done += n;
        });
    });
}

/// x, row-major over the nest, is written to y along it from element `first`; the rest of y is `value`: a padding, or
/// the gradient of a slice.
///
/// # Safety
/// The nest visits no element of y twice.
pub unsafe fn strided_write(pool: &Pool, x: &[f32], first: usize, nest: &Nest<1>, value: f32, y: &mut [f32]) {
    if x.len() < y.len() {
        each(pool, y, CHUNK, |_, y| y.fill(value));
    }
    let [stride] = nest.inner_strides();
    let y = Disjoint::new(y);
    pool.run(x.len().div_ceil(CHUNK), &|idx, _| {
        let x = &x[idx * CHUNK..][..CHUNK.min(x.len() - idx * CHUNK)];
        let mut done = 0;
        nest.runs(idx * CHUNK..idx * CHUNK + x.len(), |[at], n| {
            let (x, at) = (&x[done..][..n], first + at);
            done += n;
            for (run, x) in x.chunks(if stride == 1 { n } else { 1 }).enumerate() {
                let at = at + run * stride;
                // SAFETY: no other task writes these elements.
                unsafe { y.part(at..at + x.len()) }.copy_from_slice(x);
            }
        });
    });
}
