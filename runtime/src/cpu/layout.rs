//! Kernels that move elements and compute nothing.

use super::chunks::{CHUNK, each, rows_per_chunk};
use super::nest::Nest;
use super::wide::wide;
use crate::arena::Element;
use crate::kernels::layout::{Concat, StridedRead, StridedWrite};
use crate::pool::Pool;

/// Side of the tiles of a transpose.
const TILE: usize = 16;

/// y = x.
pub fn copy<T: Element>(pool: &Pool, x: &[T], y: &mut [T]) {
    each(pool, y, CHUNK, |idx, y| y.copy_from_slice(&x[idx * CHUNK..][..y.len()]));
}

/// y is x read along the strides: a transpose or a slice.
pub fn strided_read<T: Element>(pool: &Pool, read: &StridedRead, x: &[T], y: &mut [T]) {
    let (x, nest) = (&x[read.offset..], &Nest::over(&read.dims, [&read.strides]));
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
    fn tiles[T: Element](x: &[T], stride: usize, y: &mut [T], size: [usize; 3]) {
        let [rows, columns, width] = size;
        for i in (0..rows).step_by(TILE) {
            for j in (0..columns).step_by(TILE) {
                let (height, length) = (TILE.min(rows - i), TILE.min(columns - j));
                let mut tile = [[T::default(); TILE]; TILE];
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

/// Writes operands one behind the other along an axis.
pub fn concat<'a, T: Element + 'a>(pool: &Pool, concat: &Concat, operand: impl Fn(usize) -> &'a [T], y: &mut [T]) {
    let width: usize = concat.parts.iter().sum();
    let mut first = 0;
    for (slot, &part) in concat.parts.iter().enumerate() {
        scatter(pool, operand(slot), &Nest::new([(concat.outer, [width]), (part, [1])]), &mut y[first..]);
        first += part;
    }
}

/// y = x read along a walk.
fn gather<T: Element>(pool: &Pool, x: &[T], nest: &Nest<1>, y: &mut [T]) {
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

/// x is written along the strides, the rest of y is filled: a padding, or the gradient of a slice.
pub fn strided_write<T: Element>(pool: &Pool, write: &StridedWrite, x: &[T], y: &mut [T], value: T) {
    if x.len() < y.len() {
        each(pool, y, CHUNK, |_, y| y.fill(value));
    }
    scatter(pool, x, &Nest::over(&write.dims, [&write.strides]), &mut y[write.offset..]);
}

/// y along a walk = x. Between two steps of the outermost axis all that is inside must have room.
fn scatter<T: Element>(pool: &Pool, x: &[T], nest: &Nest<1>, y: &mut [T]) {
    let [stride] = nest.inner_strides();
    let (&height, &[pitch]) = match (nest.dims().first(), nest.strides().first()) {
        (Some(height), Some(pitch)) => (height, pitch),
        _ => return y[0] = x[0],
    };
    let width = x.len() / height;
    let rows = rows_per_chunk(width);
    each(pool, y, rows * pitch, |idx, y| {
        let first = height.min(idx * rows);
        let mut at = first * width;
        nest.runs(at..height.min(first + rows) * width, |[to], n| {
            let (x, to) = (&x[at..][..n], to - first * pitch);
            match stride {
                1 => y[to..][..n].copy_from_slice(x),
                _ => x.iter().enumerate().for_each(|(i, &x)| y[to + i * stride] = x),
            }
            at += n;
        });
    });
}
