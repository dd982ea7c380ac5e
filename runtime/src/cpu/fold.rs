//! Extremes, products, running sums and orders along axes.

use std::cmp::Ordering;

use super::chunks::{each, each2, rows_per_chunk};
use super::reduce::Reduction;
use crate::arena::Element;
use crate::kernels::fold::{ArgExtreme, Axis, Cumsum, Fold, How, Topk};
use crate::kernels::reduce::Reduce;
use crate::pool::{Disjoint, Pool};

/// Adjacent results that are folded side by side, at least.
const COLUMNS: usize = 64;

/// What can be folded and ordered.
pub trait Number: Element {
    /// Their sum, product, larger or smaller.
    fn fold(how: How, a: Self, b: Self) -> Self;
    /// An order of all numbers.
    fn compare(self, other: Self) -> Ordering;
}

impl Number for f32 {
    #[inline(always)]
    fn fold(how: How, a: f32, b: f32) -> f32 {
        match how {
            How::Sum => a + b,
            How::Prod => a * b,
            How::Max if a < b || b.is_nan() => b,
            How::Min if b < a || b.is_nan() => b,
            How::Max | How::Min => a,
        }
    }

    /// What is no number is larger than everything else.
    #[inline(always)]
    fn compare(self, other: f32) -> Ordering {
        self.partial_cmp(&other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
    }
}

impl Number for i64 {
    #[inline(always)]
    fn fold(how: How, a: i64, b: i64) -> i64 {
        match how {
            How::Sum => a.wrapping_add(b),
            How::Prod => a.wrapping_mul(b),
            How::Max => a.max(b),
            How::Min => a.min(b),
        }
    }

    #[inline(always)]
    fn compare(self, other: i64) -> Ordering {
        self.cmp(&other)
    }
}

/// y = all of x that belong to it, folded in their order.
pub fn fold<T: Number>(pool: &Pool, it: &Fold, x: &[T], y: &mut [T]) {
    match it.how {
        How::Sum => fold_by(pool, &it.sizes, x, y, |a, b| T::fold(How::Sum, a, b)),
        How::Prod => fold_by(pool, &it.sizes, x, y, |a, b| T::fold(How::Prod, a, b)),
        How::Max => fold_by(pool, &it.sizes, x, y, |a, b| T::fold(How::Max, a, b)),
        How::Min => fold_by(pool, &it.sizes, x, y, |a, b| T::fold(How::Min, a, b)),
    }
}

fn fold_by<T: Number>(pool: &Pool, sizes: &Reduce, x: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Sync) {
    let Reduction { kept, summed, columns } = &Reduction::new(&sizes.dims, &sizes.strides);
    let summands = summed.points();
    let size = if *columns { rows_per_chunk(summands).max(COLUMNS) } else { rows_per_chunk(summands) };
    each(pool, y, size, |idx, y| {
        if !columns {
            for (i, y) in y.iter_mut().enumerate() {
                let [base] = kept.offsets(idx * size + i);
                let mut all = None;
                summed.runs(0..summands, |[at], n| {
                    let run = &x[base + at..][..n];
                    all = Some(run[1..].iter().fold(all.map_or(run[0], |it| f(it, run[0])), |a, &b| f(a, b)));
                });
                *y = all.unwrap_or_default();
            }
            return;
        }
        let mut done = 0;
        kept.runs(idx * size..idx * size + y.len(), |[base], n| {
            let y = &mut y[done..][..n];
            y.copy_from_slice(&x[base..][..n]);
            for row in 1..summands {
                let [at] = summed.offsets(row);
                y.iter_mut().zip(&x[base + at..][..n]).for_each(|(y, &x)| *y = f(*y, x));
            }
            done += n;
        });
    });
}

/// dx = dy times the product of all the others. With one 0 only that one has a gradient, with two none has.
pub fn reduce_prod_grad(pool: &Pool, it: &Reduce, [dy, x]: [&[f32]; 2], dx: &mut [f32]) {
    let Reduction { kept, summed, .. } = &Reduction::new(&it.dims, &it.strides);
    let summands = summed.points();
    let dx = Disjoint::new(dx);
    pool.run(dy.len(), &|output, _| {
        let [base] = kept.offsets(output);
        let (mut zeros, mut product) = (0, f64::from(dy[output]));
        for row in 0..summands {
            match x[base + summed.offsets(row)[0]] {
                0.0 => zeros += 1,
                x => product *= f64::from(x),
            }
        }
        for row in 0..summands {
            let at = base + summed.offsets(row)[0];
            let others = match (zeros, x[at]) {
                (0, x) => product / f64::from(x),
                (1, 0.0) => product,
                _ => 0.0,
            };
            // SAFETY: every element belongs to one output.
            unsafe { dx.part(at..at + 1)[0] = others as f32 };
        }
    });
}

/// y = sums of all of x up to each along the axis.
pub fn cumsum<T: Number>(pool: &Pool, it: &Cumsum, x: &[T], y: &mut [T]) {
    let Axis { len, inner, .. } = it.axis;
    each(pool, y, len * inner, |outer, y| {
        let x = &x[outer * len * inner..][..len * inner];
        let mut last: Option<usize> = None;
        for step in 0..len {
            let at = if it.reverse { len - 1 - step } else { step };
            for i in 0..inner {
                let before = last.map_or(T::default(), |last| y[last * inner + i]);
                let own = match it.exclusive {
                    true => last.map_or(T::default(), |last| x[last * inner + i]),
                    false => x[at * inner + i],
                };
                y[at * inner + i] = T::fold(How::Sum, before, own);
            }
            last = Some(at);
        }
    });
}

/// The first elements in order, and where they are. A result that nothing reads is empty.
pub fn top_k(pool: &Pool, it: &Topk, x: &[f32], y: &mut [f32], index: &mut [i64]) {
    let Axis { len, inner, .. } = it.axis;
    let (k, size) = (it.k, it.k * inner);
    let ahead = |a: f32, b: f32| if it.largest { a.compare(b) } else { b.compare(a) }.is_gt();
    each2(pool, (y, size), (index, size), |outer, y, index| {
        let x = &x[outer * len * inner..][..len * inner];
        for lane in 0..inner {
            let value = |at: usize| x[at * inner + lane];
            // Each goes as far forward as it is ahead, so that the lowest index wins a tie.
            for at in 0..len {
                let mut rank = at.min(k);
                let before = |rank: usize| match index.get((rank - 1) * inner + lane) {
                    Some(&before) => value(before as usize),
                    None => y[(rank - 1) * inner + lane],
                };
                while 0 < rank && ahead(value(at), before(rank)) {
                    rank -= 1;
                }
                for rank in (rank + 1..k.min(at + 1)).rev() {
                    shift(y, rank * inner + lane, inner);
                    shift(index, rank * inner + lane, inner);
                }
                if rank < k {
                    set(y, rank * inner + lane, value(at));
                    set(index, rank * inner + lane, at as i64);
                }
            }
        }
    });
}

fn shift<T: Copy>(slice: &mut [T], to: usize, by: usize) {
    if !slice.is_empty() {
        slice[to] = slice[to - by];
    }
}

fn set<T>(slice: &mut [T], at: usize, value: T) {
    if let Some(place) = slice.get_mut(at) {
        *place = value;
    }
}

/// The index of the extreme along the axis.
pub fn arg_extreme<T: Number>(pool: &Pool, it: &ArgExtreme, x: &[T], y: &mut [i64]) {
    let Axis { len, inner, .. } = it.axis;
    let size = rows_per_chunk(len);
    each(pool, y, size, |idx, y| {
        for (result, y) in (idx * size..).zip(y) {
            let value = |at: usize| x[(result / inner * len + at) * inner + result % inner];
            let mut best = 0;
            for at in 1..len {
                let order = if it.largest { value(at).compare(value(best)) } else { value(best).compare(value(at)) };
                if order.is_gt() || it.last && order.is_eq() {
                    best = at;
                }
            }
            *y = best as i64;
        }
    });
}
