use ndarray::Array1;

use super::index::picked;
use super::tensor::{Args, Tensor};
use crate::kernels::places::{Pick, Places, Put, Reduction};

pub fn pick(it: &Pick, args: &Args) -> Tensor {
    let (places, indices) = (&it.places, args.ints(1));
    let elements = (0..places.count()).flat_map(|slice| {
        let start = places.of(indices, slice);
        (0..places.inner).map(move |at| Some(start? + at))
    });
    picked(it.element, args, elements)
}

pub fn pick_grad(it: &Places, args: &Args) -> Tensor {
    let (dy, indices) = (args.flat(0), args.ints(1));
    let mut dx = Array1::<f64>::zeros(it.data);
    for (slice, start) in starts(it, indices) {
        for at in 0..it.inner {
            dx[start + at] += dy[slice * it.inner + at];
        }
    }
    dx.into()
}

pub fn put(it: &Put, args: &Args) -> Tensor {
    match &args.0[0] {
        Tensor::Int(_) => {
            let updates: &[i64] = if it.how == Reduction::Clear { &[] } else { args.ints(2) };
            Tensor::ints(changed(it, args.ints(0).to_vec(), updates, args.ints(1), |old, new| match it.how {
                Reduction::Set => new,
                Reduction::Clear => 0,
                Reduction::Add => old.wrapping_add(new),
                Reduction::Mul => old.wrapping_mul(new),
                Reduction::Min => old.min(new),
                Reduction::Max => old.max(new),
            }))
        }
        _ => {
            let updates = if it.how == Reduction::Clear { vec![] } else { args.flat(2).to_vec() };
            let y = changed(it, args.flat(0).to_vec(), &updates, args.ints(1), |old, new| match it.how {
                Reduction::Set => new,
                Reduction::Clear => 0.0,
                Reduction::Add => old + new,
                Reduction::Mul => old * new,
                Reduction::Min if old.is_nan() || old <= new => old,
                Reduction::Max if old.is_nan() || new <= old => old,
                Reduction::Min | Reduction::Max => new,
            });
            Array1::from(y).into()
        }
    }
}

fn changed<T: Copy + Default>(
    it: &Put,
    mut y: Vec<T>,
    updates: &[T],
    indices: &[i64],
    f: impl Fn(T, T) -> T,
) -> Vec<T> {
    let inner = it.places.inner;
    for (slice, start) in starts(&it.places, indices) {
        for at in 0..inner {
            y[start + at] = f(y[start + at], updates.get(slice * inner + at).copied().unwrap_or_default());
        }
    }
    y
}

fn starts(places: &Places, indices: &[i64]) -> impl Iterator<Item = (usize, usize)> {
    (0..places.count()).filter_map(move |slice| Some((slice, places.of(indices, slice)?)))
}
