//! Truths, integers, and changes of the element type.

use super::chunks::{CHUNK, each};
use super::elementwise::map_slice;
use super::nest::Nest;
use super::wide::wide;
use crate::arena::{Element, Step};
use crate::kernels::elementwise::Broadcast;
use crate::kernels::logic::{Arithmetic, Cast, Compare, Comparison, Connect, Connective, Integer, Select, Where};
use crate::pool::Pool;
use crate::types::DType;

/// y = x as another type.
pub fn cast(pool: &Pool, it: &Cast, step: &Step<'_>) {
    match (it.from, it.to) {
        (DType::F32, DType::I64) => map(pool, step, |x: f32| x as i64),
        (DType::F32, DType::Bool) => map(pool, step, |x: f32| u8::from(x != 0.0)),
        (DType::I64, DType::F32) => map(pool, step, |x: i64| x as f32),
        (DType::I64, DType::Bool) => map(pool, step, |x: i64| u8::from(x != 0)),
        (DType::Bool, DType::F32) => map(pool, step, |x: u8| f32::from(u8::from(x != 0))),
        (DType::Bool, DType::I64) => map(pool, step, |x: u8| i64::from(x != 0)),
        (DType::F32, _) => map(pool, step, |x: f32| x),
        (DType::I64, _) => map(pool, step, |x: i64| x),
        _ => map(pool, step, |x: u8| u8::from(x != 0)),
    }
}

/// y = a ? b.
pub fn compare(pool: &Pool, it: &Compare, step: &Step<'_>) {
    match it.element {
        DType::F32 => compare_of::<f32>(pool, it, step),
        DType::I64 => compare_of::<i64>(pool, it, step),
        _ => zip(pool, &it.sizes, (step.operand(0), step.operand(1)), step.result(0), |a: u8, b: u8| {
            u8::from((a != 0) == (b != 0))
        }),
    }
}

/// y = a ? b for truths.
pub fn connect(pool: &Pool, it: &Connect, operands: (&[u8], &[u8]), y: &mut [u8]) {
    match it.how {
        Connective::And => zip(pool, &it.sizes, operands, y, |a, b| u8::from(Connective::And.of(a != 0, b != 0))),
        Connective::Or => zip(pool, &it.sizes, operands, y, |a, b| u8::from(Connective::Or.of(a != 0, b != 0))),
        Connective::Xor => zip(pool, &it.sizes, operands, y, |a, b| u8::from(Connective::Xor.of(a != 0, b != 0))),
    }
}

/// y = not x.
pub fn not(pool: &Pool, x: &[u8], y: &mut [u8]) {
    each(pool, y, CHUNK, |idx, y| map_slice(&x[idx * CHUNK..][..y.len()], y, |x| u8::from(x == 0)));
}

/// y = condition ? a : b.
pub fn choose<T: Element>(pool: &Pool, it: &Where, condition: &[u8], [a, b]: [&[T]; 2], y: &mut [T]) {
    let [c_strides, a_strides, b_strides] = &it.strides;
    let nest = Nest::over(&it.dims, [c_strides, a_strides, b_strides]);
    let strides = nest.inner_strides();
    each(pool, y, CHUNK, |idx, y| {
        let mut done = 0;
        nest.runs(idx * CHUNK..idx * CHUNK + y.len(), |[c_at, a_at, b_at], n| {
            let y = &mut y[done..][..n];
            match strides {
                [0, ..] if condition[c_at] != 0 => spread(a, a_at, strides[1], y),
                [0, ..] => spread(b, b_at, strides[2], y),
                [_, 0, 0] => {
                    let (a, b) = (a[a_at], b[b_at]);
                    map_slice(&condition[c_at..][..n], y, |c| if c != 0 { a } else { b });
                }
                [_, 0, _] => {
                    let a = a[a_at];
                    zip_slice(&condition[c_at..][..n], &b[b_at..][..n], y, |c, b| if c != 0 { a } else { b });
                }
                [_, _, 0] => {
                    let b = b[b_at];
                    zip_slice(&condition[c_at..][..n], &a[a_at..][..n], y, |c, a| if c != 0 { a } else { b });
                }
                _ => choose_slice(&condition[c_at..][..n], &a[a_at..][..n], &b[b_at..][..n], y),
            }
            done += n;
        });
    });
}

/// dx = condition == when ? dy : 0.
pub fn select(pool: &Pool, it: &Select, dy: &[f32], condition: &[u8], dx: &mut [f32]) {
    match it.when {
        true => zip(pool, &it.sizes, (dy, condition), dx, |dy, c: u8| if c != 0 { dy } else { 0.0 }),
        false => zip(pool, &it.sizes, (dy, condition), dx, |dy, c: u8| if c == 0 { dy } else { 0.0 }),
    }
}

/// Arithmetic of integers.
pub fn integer(pool: &Pool, it: &Integer, operands: (&[i64], &[i64]), y: &mut [i64]) {
    match it.how {
        Arithmetic::Add => zip(pool, &it.sizes, operands, y, |a, b| Arithmetic::Add.of(a, b)),
        Arithmetic::Sub => zip(pool, &it.sizes, operands, y, |a, b| Arithmetic::Sub.of(a, b)),
        Arithmetic::Mul => zip(pool, &it.sizes, operands, y, |a, b| Arithmetic::Mul.of(a, b)),
        how => zip(pool, &it.sizes, operands, y, move |a, b| how.of(a, b)),
    }
}

fn map<T: Element, U: Element>(pool: &Pool, step: &Step<'_>, f: impl Fn(T) -> U + Copy + Sync) {
    let (x, y) = (step.operand::<T>(0), step.result::<U>(0));
    each(pool, y, CHUNK, |idx, y| map_slice(&x[idx * CHUNK..][..y.len()], y, f));
}

fn compare_of<T: Element + PartialOrd>(pool: &Pool, it: &Compare, step: &Step<'_>) {
    let (operands, y) = ((step.operand::<T>(0), step.operand::<T>(1)), step.result(0));
    match it.how {
        Comparison::Equal => zip(pool, &it.sizes, operands, y, |a, b| u8::from(a == b)),
        Comparison::Less => zip(pool, &it.sizes, operands, y, |a, b| u8::from(a < b)),
        Comparison::LessOrEqual => zip(pool, &it.sizes, operands, y, |a, b| u8::from(a <= b)),
        Comparison::Greater => zip(pool, &it.sizes, operands, y, |a, b| u8::from(a > b)),
        Comparison::GreaterOrEqual => zip(pool, &it.sizes, operands, y, |a, b| u8::from(a >= b)),
    }
}

/// y = f(a, b) where each may be stretched to the other.
fn zip<T: Element, U: Element, V: Element>(
    pool: &Pool,
    sizes: &Broadcast,
    (a, b): (&[T], &[U]),
    y: &mut [V],
    f: impl Fn(T, U) -> V + Copy + Sync,
) {
    let nest = Nest::over(&sizes.dims, [&sizes.a, &sizes.b]);
    let strides = nest.inner_strides();
    each(pool, y, CHUNK, |idx, y| {
        let mut done = 0;
        nest.runs(idx * CHUNK..idx * CHUNK + y.len(), |[a_at, b_at], n| {
            let y = &mut y[done..][..n];
            match strides {
                [0, 0] => y.fill(f(a[a_at], b[b_at])),
                [0, _] => {
                    let a = a[a_at];
                    map_slice(&b[b_at..][..n], y, |b| f(a, b));
                }
                [_, 0] => {
                    let b = b[b_at];
                    map_slice(&a[a_at..][..n], y, |a| f(a, b));
                }
                _ => zip_slice(&a[a_at..][..n], &b[b_at..][..n], y, f),
            }
            done += n;
        });
    });
}

fn spread<T: Element>(x: &[T], at: usize, stride: usize, y: &mut [T]) {
    match stride {
        0 => y.fill(x[at]),
        _ => y.copy_from_slice(&x[at..][..y.len()]),
    }
}

wide! {
    fn zip_slice[T: Copy, U: Copy, V, F: Fn(T, U) -> V](a: &[T], b: &[U], y: &mut [V], f: F) {
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            *y = f(a, b);
        }
    }
}

wide! {
    fn choose_slice[T: Copy](condition: &[u8], a: &[T], b: &[T], y: &mut [T]) {
        for (y, (&c, (&a, &b))) in y.iter_mut().zip(condition.iter().zip(a.iter().zip(b))) {
            *y = if c != 0 { a } else { b };
        }
    }
}
