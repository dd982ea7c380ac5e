//! Types of tensors, with the bytes that follow from them.

use std::fmt;

use razorc_proto::packed;
pub use razorc_proto::program::r#type::IndexForm;
use razorc_proto::program::{self as proto, r#type::Kind};

use crate::error::TypeError;

/// Largest number of axes of a tensor.
pub const MAX_RANK: usize = 8;
/// Largest length of an axis; leaves room for sums and products of two lengths in 64 bits.
pub const MAX_DIM: usize = (1 << 31) - 1;
/// Largest number of elements of a tensor.
pub const MAX_ELEMENTS: usize = 1 << 40;

/// Type of a value; made by [`Type::parse`] it is within all bounds, and no axis is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Row-major elements.
    Dense(DType, Vec<usize>),
    /// An f32 tensor rounded to bf16: optimizer state, which updates alone read.
    Bf16(Vec<usize>),
    /// Optimizer state like an f32 tensor, in 8 bits with a scale for each 256 elements. Whether it may be below zero.
    Dynamic(bool, Vec<usize>),
    /// One bit for each element, flat, least significant bit first.
    Bits(Vec<usize>),
    /// A number of so many bits, 2 to 4, for each element of an f32 tensor. For each 64 elements there are as many words,
    /// that of the lowest bits first.
    Codes(usize, Vec<usize>),
    /// An f32 tensor rounded to few bits.
    Quant(Quant),
    /// A pruned copy of an f32 tensor.
    Topk(Topk),
}

/// Element of a dense tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// 32-bit float: everything but the rest of this list.
    F32,
    /// Integers: classes, tokens, indices.
    I64,
    /// Positions in large pooling windows.
    I32,
    /// Positions in pooling windows.
    U8,
    /// One byte; 0 is false.
    Bool,
}

/// A pruned copy of an f32 tensor: `keep` values for each sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topk {
    /// Of the tensor that was compressed.
    pub dims: Vec<usize>,
    /// Parts that were pruned on their own; divides the elements.
    pub samples: usize,
    /// Values that each sample keeps, 1 to elements / samples.
    pub keep: usize,
    /// Element of the kept values.
    pub values: Kept,
    /// How it says which elements are kept.
    pub form: IndexForm,
}

/// An f32 tensor rounded to few bits, in blocks of its last axis that have a scale and an offset each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quant {
    /// Of the tensor that was rounded.
    pub dims: Vec<usize>,
    /// Of each element: 2, 4 or 8.
    pub bits: usize,
    /// Elements of a block, a multiple of 16; every row of the last axis starts a new one.
    pub block: usize,
}

/// Element of the values that a pruned copy keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Not rounded.
    F32,
    /// Rounded to nearest even.
    F16,
    /// Rounded to nearest even.
    Bf16,
    /// A whole number of scales, -127 to 127, rounded up or down at random. 256 values share a scale.
    I8,
}

impl Type {
    /// Checks a type that comes from a file.
    pub fn parse(message: &proto::Type) -> Result<Type, TypeError> {
        let dims = parse_dims(&message.dims)?;
        let kind = Kind::try_from(message.kind).map_err(|_| TypeError::Kind(message.kind))?;
        let dtype = parse_dtype(message.dtype)?;
        match (kind, dtype) {
            (Kind::Dense, proto::DType::F32) => Ok(Type::Dense(DType::F32, dims)),
            (Kind::Dense, proto::DType::Bf16) => Ok(Type::Bf16(dims)),
            (Kind::Dense, proto::DType::I64) => Ok(Type::Dense(DType::I64, dims)),
            (Kind::Dense, proto::DType::I32) => Ok(Type::Dense(DType::I32, dims)),
            (Kind::Dense, proto::DType::U8) => Ok(Type::Dense(DType::U8, dims)),
            (Kind::Dense, proto::DType::Bool) => Ok(Type::Dense(DType::Bool, dims)),
            (Kind::Bits, _) => Ok(Type::Bits(dims)),
            (Kind::Codes, proto::DType::F32) => match message.bits {
                bits @ 2..=4 => Ok(Type::Codes(bits as usize, dims)),
                bits => Err(TypeError::Bits(bits)),
            },
            (Kind::Quant, proto::DType::F32) => match (message.bits, message.block) {
                (bits, block) if packed::can_quantize(bits.into(), block.into()) => {
                    Ok(Type::Quant(Quant { dims, bits: bits as usize, block: block as usize }))
                }
                (bits, block) => Err(TypeError::Quant { bits, block }),
            },
            (Kind::Dynamic, proto::DType::F32) => match parse_dtype(message.values)? {
                proto::DType::I8 => Ok(Type::Dynamic(true, dims)),
                proto::DType::U8 => Ok(Type::Dynamic(false, dims)),
                other => Err(TypeError::DType(other.as_str_name())),
            },
            (Kind::Topk, proto::DType::F32) => parse_topk(message, dims).map(Type::Topk),
            (_, other) => Err(TypeError::DType(other.as_str_name())),
        }
    }

    /// A dense f32 tensor.
    pub fn f32(dims: &[usize]) -> Type {
        Type::Dense(DType::F32, dims.to_vec())
    }

    /// Lengths of the axes; those of the compressed tensor for a pruned copy.
    pub fn dims(&self) -> &[usize] {
        match self {
            Type::Dense(_, dims)
            | Type::Bf16(dims)
            | Type::Dynamic(_, dims)
            | Type::Bits(dims)
            | Type::Codes(_, dims)
            | Type::Quant(Quant { dims, .. })
            | Type::Topk(Topk { dims, .. }) => dims,
        }
    }

    /// Number of elements; of the compressed tensor for a pruned copy.
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }

    /// Bytes that a value of this type takes.
    pub fn bytes(&self) -> usize {
        match self {
            Type::Dense(dtype, _) => self.elements() * dtype.bytes(),
            Type::Bf16(_) => self.elements() * 2,
            Type::Dynamic(..) => {
                packed::dynamic_bytes(self.elements() as u64).expect("sizes are within bounds") as usize
            }
            Type::Bits(_) => self.elements().div_ceil(64) * 8,
            Type::Codes(bits, _) => self.elements().div_ceil(64) * 8 * bits,
            Type::Quant(quant) => {
                let dims: Vec<u64> = quant.dims.iter().map(|&it| it as u64).collect();
                let bytes = packed::quant_bytes(&dims, quant.bits as u64, quant.block as u64);
                bytes.expect("sizes are within bounds") as usize
            }
            Type::Topk(topk) => topk.samples * (topk.index_bytes() + topk.value_bytes()),
        }
    }
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::I64 => 8,
            DType::U8 | DType::Bool => 1,
        }
    }
}

impl Topk {
    /// Elements of one sample.
    pub fn n(&self) -> usize {
        self.dims.iter().product::<usize>() / self.samples
    }

    /// Bytes of one sample's index.
    pub fn index_bytes(&self) -> usize {
        packed::index_bytes(self.form, self.n() as u64, self.keep as u64).expect("sizes are within bounds") as usize
    }

    /// Bytes of one sample's values, scales included.
    pub fn value_bytes(&self) -> usize {
        packed::value_bytes(self.values.proto(), self.keep as u64).expect("sizes are within bounds") as usize
    }
}

impl Kept {
    /// Bytes of one kept value, scales apart.
    pub fn bytes(self) -> usize {
        match self {
            Kept::F32 => 4,
            Kept::F16 | Kept::Bf16 => 2,
            Kept::I8 => 1,
        }
    }

    /// Its name in a program.
    pub fn proto(self) -> proto::DType {
        match self {
            Kept::F32 => proto::DType::F32,
            Kept::F16 => proto::DType::F16,
            Kept::Bf16 => proto::DType::Bf16,
            Kept::I8 => proto::DType::I8,
        }
    }
}

/// Number of elements of these axes, within all bounds.
pub(crate) fn check_dims(dims: &[usize]) -> Result<usize, TypeError> {
    if MAX_RANK < dims.len() {
        return Err(TypeError::Rank(dims.len()));
    }
    let mut elements: usize = 1;
    for &dim in dims {
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(TypeError::Dim(dim as u64));
        }
        elements = elements.checked_mul(dim).filter(|&it| it <= MAX_ELEMENTS).ok_or(TypeError::Elements)?;
    }
    Ok(elements)
}

fn parse_dims(dims: &[u64]) -> Result<Vec<usize>, TypeError> {
    let dims =
        dims.iter().map(|&it| usize::try_from(it).map_err(|_| TypeError::Dim(it))).collect::<Result<Vec<_>, _>>()?;
    check_dims(&dims)?;
    Ok(dims)
}

fn parse_dtype(dtype: i32) -> Result<proto::DType, TypeError> {
    proto::DType::try_from(dtype).map_err(|_| TypeError::UnknownDType(dtype))
}

fn parse_topk(message: &proto::Type, dims: Vec<usize>) -> Result<Topk, TypeError> {
    let values = match parse_dtype(message.values)? {
        proto::DType::F32 => Kept::F32,
        proto::DType::F16 => Kept::F16,
        proto::DType::Bf16 => Kept::Bf16,
        proto::DType::I8 => Kept::I8,
        other => return Err(TypeError::DType(other.as_str_name())),
    };
    let form = IndexForm::try_from(message.form).map_err(|_| TypeError::Form(message.form))?;
    let elements: usize = dims.iter().product();
    let samples = usize::try_from(message.samples)
        .ok()
        .filter(|&it| it != 0 && elements.is_multiple_of(it))
        .ok_or(TypeError::Samples(message.samples))?;
    let keep = usize::try_from(message.keep)
        .ok()
        .filter(|it| (1..=elements / samples).contains(it))
        .ok_or(TypeError::Keep(message.keep))?;
    Ok(Topk { dims, samples, keep, values, form })
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dense(dtype, dims) => {
                write!(f, "{}{}", format!("{dtype:?}").to_lowercase(), Dims(dims))
            }
            Type::Bf16(dims) => write!(f, "bf16{}", Dims(dims)),
            Type::Dynamic(true, dims) => write!(f, "dynamic<f32{}, signed>", Dims(dims)),
            Type::Dynamic(false, dims) => write!(f, "dynamic<f32{}, unsigned>", Dims(dims)),
            Type::Bits(dims) => write!(f, "bits{}", Dims(dims)),
            Type::Codes(bits, dims) => write!(f, "codes<f32{}, bits={bits}>", Dims(dims)),
            Type::Quant(Quant { dims, bits, block }) => {
                write!(f, "quant<f32{}, bits={bits}, block={block}>", Dims(dims))
            }
            Type::Topk(topk) => write!(
                f,
                "topk<f32{}, samples={}, keep={}, values={}, form={}>",
                Dims(&topk.dims),
                topk.samples,
                topk.keep,
                topk.values.proto().word(),
                topk.form.word(),
            ),
        }
    }
}

struct Dims<'a>(&'a [usize]);

impl fmt::Display for Dims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<_> = self.0.iter().map(usize::to_string).collect();
        write!(f, "[{}]", dims.join(","))
    }
}
