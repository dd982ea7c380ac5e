//! Every op, by hand or against finite differences of the op that it is the gradient of.

use std::collections::BTreeSet;

use razorc_proto::program::Attr;

use super::compute;
use super::tensor::{Args, Tensor};
use crate::kernels::Kernel;
use crate::types::{DType, IndexForm, Kept, Quant, Topk, Type};

mod functions;
mod gradients;
mod hand;

/// A tensor and its type.
type Typed = (Type, Tensor);

/// One instruction with what it should make.
struct Case {
    op: &'static str,
    operands: Vec<Typed>,
    attrs: Vec<Attr>,
    results: Vec<Typed>,
}

#[test]
fn every_op_has_a_case() {
    let by_hand = hand::cases().into_iter().chain(functions::cases()).map(|it| it.op);
    let tested: BTreeSet<_> = by_hand.chain(gradients::cases().into_iter().map(|it| it.grad)).collect();
    let missing: Vec<_> = Kernel::ops().filter(|it| !tested.contains(it)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn every_op_makes_what_was_computed_by_hand() {
    for case in hand::cases().into_iter().chain(functions::cases()) {
        let types: Vec<_> = case.results.iter().map(|it| it.0.clone()).collect();
        let made = run(case.op, &case.operands, &types, &case.attrs);
        for (slot, (made, (_, expected))) in made.iter().zip(&case.results).enumerate() {
            assert!(close(made, expected), "{} result {slot}: {made:?} is not {expected:?}", case.op);
        }
    }
}

fn run(op: &str, operands: &[Typed], results: &[Type], attrs: &[Attr]) -> Vec<Tensor> {
    let types: Vec<_> = operands.iter().map(|it| &it.0).collect();
    let wanted: Vec<_> = results.iter().map(Some).collect();
    let kernel = Kernel::parse(op, &types, &wanted, attrs).unwrap_or_else(|e| panic!("{op}: {e}"));
    let made = compute(&kernel, &Args(operands.iter().map(|it| it.1.clone()).collect()));
    assert_eq!(made.len(), results.len(), "{op}");
    made.iter().zip(results).map(|(tensor, ty)| tensor.with_dims(ty.dims())).collect()
}

fn close(a: &Tensor, b: &Tensor) -> bool {
    match (a, b) {
        (Tensor::Float(a), Tensor::Float(b)) => {
            a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + b.abs()))
        }
        _ => a == b,
    }
}

fn f32(dims: &[usize], values: &[f64]) -> Typed {
    (Type::f32(dims), Tensor::float(dims, values.iter().copied()))
}

fn ints(dtype: DType, dims: &[usize], values: &[i64]) -> Typed {
    let array = ndarray::ArrayD::from_shape_vec(dims, values.to_vec()).expect("as many values as elements");
    (Type::Dense(dtype, dims.to_vec()), Tensor::Int(array))
}

fn bits(dims: &[usize], values: &str) -> Typed {
    (Type::Bits(dims.to_vec()), Tensor::Bits(values.chars().map(|it| it == '1').collect()))
}

fn codes(bits: usize, dims: &[usize], values: &[u8]) -> Typed {
    (Type::Codes(bits, dims.to_vec()), Tensor::Codes(values.to_vec()))
}

fn quant(dims: &[usize], values: &[f64]) -> Typed {
    (Type::Quant(Quant { dims: dims.to_vec(), bits: 2, block: 16 }), Tensor::Quant(values.to_vec()))
}

fn topk(dims: &[usize], values: Kept, kept: &[&[(usize, f64)]]) -> Typed {
    let ty = Topk { dims: dims.to_vec(), samples: kept.len(), keep: kept[0].len(), values, form: IndexForm::Bitmap };
    (Type::Topk(ty), Tensor::Topk(kept.iter().map(|it| it.to_vec()).collect()))
}
