//! What the reference computes with.

use ndarray::{Array, Array1, ArrayD, ArrayView, ArrayView1, Dimension, IntoDimension};

use crate::types::{DType, Type};

/// A tensor of the reference.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    /// Any float, computed in f64.
    Float(ArrayD<f64>),
    /// Classes, tokens, positions in windows, and truth as 0 and 1.
    Int(ArrayD<i64>),
    /// Bits in row-major order.
    Bits(Vec<bool>),
    /// A small number for each element in row-major order.
    Codes(Vec<u8>),
    /// Rounded elements in row-major order, as they come back.
    Quant(Vec<f64>),
    /// For each sample the elements that were kept, as index in the sample and value, by ascending index.
    Topk(Vec<Vec<(usize, f64)>>),
}

impl Tensor {
    /// A float tensor of zeros.
    pub fn zeros(dims: &[usize]) -> Tensor {
        Tensor::Float(ArrayD::zeros(dims))
    }

    /// Zeros of a dense type.
    pub(super) fn zeros_of(ty: &Type) -> Tensor {
        match ty {
            Type::Dense(DType::F32, dims) | Type::Bf16(dims) | Type::Dynamic(_, dims) => Tensor::zeros(dims),
            _ => Tensor::Int(ArrayD::zeros(ty.dims())),
        }
    }

    /// A float tensor of these values in row-major order.
    ///
    /// # Panics
    /// When there are not as many as the axes say.
    pub fn float(dims: &[usize], values: impl IntoIterator<Item = f64>) -> Tensor {
        let values = values.into_iter().collect();
        Tensor::Float(ArrayD::from_shape_vec(dims, values).expect("as many values as elements"))
    }

    /// Integers along one axis.
    pub fn ints(values: Vec<i64>) -> Tensor {
        Tensor::Int(Array1::from(values).into_dyn())
    }

    /// A number.
    pub fn scalar(value: f64) -> Tensor {
        Tensor::float(&[], [value])
    }

    /// The floats in row-major order; none for other tensors.
    pub fn floats(&self) -> Option<&[f64]> {
        match self {
            Tensor::Float(it) => it.as_slice(),
            _ => None,
        }
    }

    /// The integers in row-major order; none for other tensors.
    pub fn integers(&self) -> Option<&[i64]> {
        match self {
            Tensor::Int(it) => it.as_slice(),
            _ => None,
        }
    }

    /// Whether it can be a value of the type.
    pub fn is_a(&self, ty: &Type) -> bool {
        match (self, ty) {
            (Tensor::Float(it), Type::Dense(DType::F32, dims) | Type::Bf16(dims) | Type::Dynamic(_, dims)) => {
                it.shape() == dims
            }
            (Tensor::Int(it), Type::Dense(DType::I64 | DType::I32 | DType::U8 | DType::Bool, dims)) => {
                it.shape() == dims
            }
            (Tensor::Bits(it), Type::Bits(_)) => it.len() == ty.elements(),
            (Tensor::Codes(it), Type::Codes(bits, _)) => {
                it.len() == ty.elements() && it.iter().all(|it| it >> bits == 0)
            }
            (Tensor::Quant(it), Type::Quant(_)) => it.len() == ty.elements(),
            (Tensor::Topk(it), Type::Topk(topk)) => {
                it.len() == topk.samples && it.iter().all(|sample| sample.len() == topk.keep)
            }
            _ => false,
        }
    }

    /// The same elements along other axes.
    pub(super) fn with_dims(&self, dims: &[usize]) -> Tensor {
        let fits = "a view has as many elements";
        match self {
            Tensor::Float(it) => Tensor::Float(it.clone().into_shape_with_order(dims).expect(fits)),
            Tensor::Int(it) => Tensor::Int(it.clone().into_shape_with_order(dims).expect(fits)),
            other => other.clone(),
        }
    }
}

impl<D: Dimension> From<Array<f64, D>> for Tensor {
    fn from(array: Array<f64, D>) -> Tensor {
        Tensor::Float(array.as_standard_layout().into_owned().into_dyn())
    }
}

/// Operands of an instruction. Their types were checked with the program.
pub(super) struct Args(pub Vec<Tensor>);

impl Args {
    /// A float operand along other axes.
    pub fn floats<S: IntoDimension>(&self, slot: usize, shape: S) -> ArrayView<'_, f64, S::Dim> {
        let Tensor::Float(it) = &self.0[slot] else { panic!("operand {slot} is checked to be dense f32") };
        it.view().into_shape_with_order(shape).expect("the kernel's sizes are those of the operand")
    }

    /// A float operand in row-major order.
    pub fn flat(&self, slot: usize) -> ArrayView1<'_, f64> {
        let Tensor::Float(it) = &self.0[slot] else { panic!("operand {slot} is checked to be dense f32") };
        self.floats(slot, it.len())
    }

    /// A float operand without axes.
    pub fn scalar(&self, slot: usize) -> f64 {
        self.flat(slot)[0]
    }

    /// Elements of a dense operand at these positions, in their order.
    pub fn at(&self, slot: usize, positions: impl Iterator<Item = usize>) -> Tensor {
        match &self.0[slot] {
            Tensor::Float(_) => positions.map(|it| self.flat(slot)[it]).collect::<Array1<f64>>().into(),
            Tensor::Int(_) => Tensor::ints(positions.map(|it| self.ints(slot)[it]).collect()),
            _ => panic!("operand {slot} is checked to be dense"),
        }
    }

    pub fn ints(&self, slot: usize) -> &[i64] {
        match &self.0[slot] {
            Tensor::Int(it) => it.as_slice().expect("tensors are kept in row-major order"),
            _ => panic!("operand {slot} is checked to be integers"),
        }
    }

    pub fn bits(&self, slot: usize) -> &[bool] {
        match &self.0[slot] {
            Tensor::Bits(it) => it,
            _ => panic!("operand {slot} is checked to be bits"),
        }
    }

    pub fn codes(&self, slot: usize) -> &[u8] {
        match &self.0[slot] {
            Tensor::Codes(it) => it,
            _ => panic!("operand {slot} is checked to be codes"),
        }
    }

    pub fn quant(&self, slot: usize) -> &[f64] {
        match &self.0[slot] {
            Tensor::Quant(it) => it,
            _ => panic!("operand {slot} is checked to be rounded"),
        }
    }

    pub fn topk(&self, slot: usize) -> &[Vec<(usize, f64)>] {
        match &self.0[slot] {
            Tensor::Topk(it) => it,
            _ => panic!("operand {slot} is checked to be topk"),
        }
    }
}

/// Every index of a row-major tensor with its position under other strides.
pub(super) fn positions(dims: &[usize], strides: &[usize]) -> impl Iterator<Item = usize> {
    let at = |index: &[usize]| index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
    ndarray::indices(dims).into_iter().map(move |it| at(it.slice())).collect::<Vec<_>>().into_iter()
}
