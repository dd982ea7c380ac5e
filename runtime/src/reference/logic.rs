use ndarray::Array1;

use super::elementwise::pairs;
use super::tensor::{Args, Tensor, positions};
use crate::kernels::logic::{Cast, Compare, Connect, Integer, Select, Where};
use crate::types::DType;

pub fn cast(it: &Cast, args: &Args) -> Tensor {
    match (&args.0[0], it.to) {
        (Tensor::Float(x), DType::F32) => Tensor::Float(x.clone()),
        (Tensor::Float(x), DType::Bool) => truths(x.iter().map(|&x| x != 0.0)),
        // `as` drops the fraction, keeps to the range, and makes 0 of what is not a number.
        (Tensor::Float(x), _) => Tensor::ints(x.iter().map(|&x| x as i64).collect()),
        (_, DType::F32) => truthful(it.from, args).map(|x| x as f64).collect::<Array1<f64>>().into(),
        (_, DType::Bool) => truths(args.ints(0).iter().map(|&x| x != 0)),
        _ => Tensor::ints(truthful(it.from, args).collect()),
    }
}

pub fn compare(it: &Compare, args: &Args) -> Tensor {
    match it.element {
        DType::F32 => {
            let (a, b) = (args.flat(0), args.flat(1));
            truths(pairs(&it.sizes).map(|(i, j)| it.how.holds(a[i], b[j])))
        }
        DType::Bool => {
            let (a, b) = (args.ints(0), args.ints(1));
            truths(pairs(&it.sizes).map(|(i, j)| (a[i] != 0) == (b[j] != 0)))
        }
        _ => {
            let (a, b) = (args.ints(0), args.ints(1));
            truths(pairs(&it.sizes).map(|(i, j)| it.how.holds(a[i], b[j])))
        }
    }
}

pub fn connect(it: &Connect, args: &Args) -> Tensor {
    let (a, b) = (args.ints(0), args.ints(1));
    truths(pairs(&it.sizes).map(|(i, j)| it.how.of(a[i] != 0, b[j] != 0)))
}

pub fn not(args: &Args) -> Tensor {
    truths(args.ints(0).iter().map(|&x| x == 0))
}

pub fn choose(it: &Where, args: &Args) -> Tensor {
    let condition = args.ints(0);
    let [at, a, b] = [0, 1, 2].map(|side| positions(&it.dims, &it.strides[side]));
    let sides = at.zip(a.zip(b)).map(|(at, (a, b))| (condition[at] != 0, a, b));
    match it.element {
        DType::F32 => {
            let (x, y) = (args.flat(1), args.flat(2));
            sides.map(|(first, a, b)| if first { x[a] } else { y[b] }).collect::<Array1<f64>>().into()
        }
        _ => {
            let (x, y) = (args.ints(1), args.ints(2));
            Tensor::ints(sides.map(|(first, a, b)| if first { x[a] } else { y[b] }).collect())
        }
    }
}

pub fn select(it: &Select, args: &Args) -> Tensor {
    let (dy, condition) = (args.flat(0), args.ints(1));
    let kept = pairs(&it.sizes).map(|(i, at)| if (condition[at] != 0) == it.when { dy[i] } else { 0.0 });
    kept.collect::<Array1<f64>>().into()
}

pub fn integer(it: &Integer, args: &Args) -> Tensor {
    let (a, b) = (args.ints(0), args.ints(1));
    Tensor::ints(pairs(&it.sizes).map(|(i, j)| it.how.of(a[i], b[j])).collect())
}

fn truths(values: impl Iterator<Item = bool>) -> Tensor {
    Tensor::ints(values.map(i64::from).collect())
}

/// Integers, or truths as 0 and 1 whatever byte they are.
fn truthful(from: DType, args: &Args) -> impl Iterator<Item = i64> {
    args.ints(0).iter().map(move |&x| if from == DType::Bool { i64::from(x != 0) } else { x })
}
