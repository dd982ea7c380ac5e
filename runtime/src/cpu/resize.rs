//! Resizing along one axis.

use super::chunks::{each, rows_per_chunk};
use super::wide::wide;
use crate::kernels::resize::Resize;
use crate::pool::Pool;

/// y from x. Along the innermost axis a line at a time, else a row of the axes behind at a time.
pub fn resize(pool: &Pool, resize: &Resize, x: &[f32], y: &mut [f32]) {
    let Resize { input, output, inner, .. } = *resize;
    if inner == 1 {
        let lines = rows_per_chunk(output);
        each(pool, y, lines * output, |idx, y| {
            let x = x[idx * lines * input..].chunks_exact(input);
            y.chunks_exact_mut(output).zip(x).for_each(|(y, x)| line(resize, x, y));
        });
        return;
    }
    let rows = rows_per_chunk(inner);
    each(pool, y, rows * inner, |idx, y| {
        for (row, y) in (idx * rows..).zip(y.chunks_exact_mut(inner)) {
            let (outer, i) = (row / output, row % output);
            y.fill(resize.constants[i]);
            for (t, &weight) in resize.weights(i).iter().enumerate() {
                let x = &x[(outer * input + resize.starts[i] + t) * inner..][..inner];
                add(x, weight, y);
            }
        }
    });
}

/// Gradient of [`resize`]; a task makes the whole axis for some of the axes before it.
pub fn resize_grad(pool: &Pool, resize: &Resize, dy: &[f32], dx: &mut [f32]) {
    let Resize { input, output, inner, .. } = *resize;
    let planes = rows_per_chunk(output * inner);
    each(pool, dx, planes * input * inner, |idx, dx| {
        let dy = dy[idx * planes * output * inner..].chunks_exact(output * inner);
        for (dx, dy) in dx.chunks_exact_mut(input * inner).zip(dy) {
            dx.fill(0.0);
            if inner == 1 {
                line_grad(resize, dy, dx);
                continue;
            }
            for (i, dy) in dy.chunks_exact(inner).enumerate() {
                for (t, &weight) in resize.weights(i).iter().enumerate() {
                    add(dy, weight, &mut dx[(resize.starts[i] + t) * inner..][..inner]);
                }
            }
        }
    });
}

impl Resize {
    fn weights(&self, i: usize) -> &[f32] {
        &self.weights[i * self.width..][..self.width]
    }
}

fn line(resize: &Resize, x: &[f32], y: &mut [f32]) {
    let of_all = y.iter_mut().zip(&resize.starts).zip(&resize.constants);
    match resize.width {
        1 => of_all
            .zip(&resize.weights)
            .for_each(|(((y, &start), &constant), &weight)| *y = constant + weight * x[start]),
        2 => {
            let (weights, _) = resize.weights.as_chunks::<2>();
            for (((y, &start), &constant), w) in of_all.zip(weights) {
                *y = constant + (w[0] * x[start] + w[1] * x[start + 1]);
            }
        }
        width => {
            for (((y, &start), &constant), w) in of_all.zip(resize.weights.chunks_exact(width)) {
                *y = w.iter().zip(&x[start..start + width]).fold(constant, |sum, (w, x)| sum + w * x);
            }
        }
    }
}

fn line_grad(resize: &Resize, dy: &[f32], dx: &mut [f32]) {
    let all = dy.iter().zip(&resize.starts).zip(resize.weights.chunks_exact(resize.width));
    for ((dy, &start), weights) in all {
        dx[start..start + resize.width].iter_mut().zip(weights).for_each(|(dx, weight)| *dx += weight * dy);
    }
}

wide! {
    /// y += weight * x.
    fn add(x: &[f32], weight: f32, y: &mut [f32]) {
        if weight == 0.0 {
            return;
        }
        for (y, x) in y.iter_mut().zip(x) {
            *y += weight * x;
        }
    }
}
