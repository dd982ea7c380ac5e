//! What the contract's messages mean: sizes of types, and attributes by name.

use crate::packed;
use crate::program::attr::Value as AttrValue;
use crate::program::r#type::{IndexForm, Kind};
use crate::program::{Attr, DType, Instruction, Ints, Type};

/// Marks a result that nothing reads, in [`Instruction::results`].
pub const NOT_WANTED: u32 = u32::MAX;

impl Type {
    /// A plain tensor, row-major; no `dims` for a scalar.
    pub fn dense(dtype: DType, dims: &[u64]) -> Type {
        Type { kind: Kind::Dense.into(), dtype: dtype.into(), dims: dims.to_vec(), ..Type::default() }
    }

    /// One bit for each element of a tensor of `dims`.
    pub fn bits(dims: &[u64]) -> Type {
        Type { kind: Kind::Bits.into(), dtype: DType::Bool.into(), dims: dims.to_vec(), ..Type::default() }
    }

    /// What is kept of an f32 tensor of `dims`: `keep` elements of each of `samples`, as `values`, found by a bitmap.
    pub fn topk(dims: &[u64], samples: u64, keep: u64, values: DType) -> Type {
        Type {
            kind: Kind::Topk.into(),
            dtype: DType::F32.into(),
            dims: dims.to_vec(),
            samples,
            keep,
            values: values.into(),
            ..Type::default()
        }
    }

    /// This pruned copy with another form of its index.
    pub fn with_form(self, form: IndexForm) -> Type {
        Type { form: form.into(), ..self }
    }

    /// A number of so many bits for each element of an f32 tensor of `dims`.
    pub fn codes(dims: &[u64], bits: u32) -> Type {
        Type { kind: Kind::Codes.into(), dtype: DType::F32.into(), dims: dims.to_vec(), bits, ..Type::default() }
    }

    /// An f32 tensor of `dims` rounded to so many bits, in blocks of so many elements of its last axis.
    pub fn quant(dims: &[u64], bits: u32, block: u32) -> Type {
        Type { kind: Kind::Quant.into(), block, ..Type::codes(dims, bits) }
    }

    /// Optimizer state like an f32 tensor of `dims` in 8 bits; `signed` where it may be below zero.
    pub fn dynamic(dims: &[u64], signed: bool) -> Type {
        let values = if signed { DType::I8 } else { DType::U8 };
        Type { kind: Kind::Dynamic.into(), values: values.into(), ..Type::dense(DType::F32, dims) }
    }

    /// Elements of the tensor (for topk: of the one that was compressed); none where they overflow.
    pub fn elements(&self) -> Option<u64> {
        self.dims.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim))
    }

    /// Bytes in memory; none for a type that makes no sense or overflows.
    pub fn bytes(&self) -> Option<u64> {
        let elements = self.elements()?;
        match Kind::try_from(self.kind).ok()? {
            Kind::Dense => elements.checked_mul(DType::try_from(self.dtype).ok()?.width()?),
            Kind::Bits => elements.div_ceil(64).checked_mul(8),
            Kind::Codes if !(2..=4).contains(&self.bits) => None,
            Kind::Codes => elements.div_ceil(64).checked_mul(8 * u64::from(self.bits)),
            Kind::Quant => packed::quant_bytes(&self.dims, self.bits.into(), self.block.into()),
            Kind::Dynamic if ![DType::I8, DType::U8].map(i32::from).contains(&self.values) => None,
            Kind::Dynamic => packed::dynamic_bytes(elements),
            Kind::Topk => {
                let n = elements.checked_div(self.samples)?;
                if n * self.samples != elements || n < self.keep {
                    return None;
                }
                let index = packed::index_bytes(IndexForm::try_from(self.form).ok()?, n, self.keep)?;
                let values = packed::value_bytes(DType::try_from(self.values).ok()?, self.keep)?;
                index.checked_add(values)?.checked_mul(self.samples)
            }
        }
    }
}

impl DType {
    /// Bytes of one element; none for the unspecified type.
    pub fn width(self) -> Option<u64> {
        match self {
            DType::DtypeUnspecified => None,
            DType::U8 | DType::Bool | DType::I8 => Some(1),
            DType::F16 | DType::Bf16 => Some(2),
            DType::F32 | DType::I32 => Some(4),
            DType::F64 | DType::I64 => Some(8),
        }
    }

    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::Bf16 | DType::F64)
    }

    /// The word used in text: `f32`, `bf16`, `bool`, ...
    pub fn word(self) -> &'static str {
        match self {
            DType::DtypeUnspecified => "unspecified",
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::U8 => "u8",
            DType::F64 => "f64",
            DType::Bool => "bool",
            DType::I8 => "i8",
        }
    }
}

impl IndexForm {
    /// The word used in text.
    pub fn word(self) -> &'static str {
        match self {
            IndexForm::Bitmap => "bitmap",
            IndexForm::Gaps => "gaps",
        }
    }

    /// The form that `word` names in text.
    pub fn from_word(word: &str) -> Option<IndexForm> {
        [IndexForm::Bitmap, IndexForm::Gaps].into_iter().find(|it| it.word() == word)
    }
}

impl Attr {
    /// An integer, also a flag as 0 or 1.
    pub fn int(name: &str, value: i64) -> Attr {
        Attr { name: name.into(), value: Some(AttrValue::Int(value)) }
    }

    /// A number.
    pub fn float(name: &str, value: f64) -> Attr {
        Attr { name: name.into(), value: Some(AttrValue::Float(value)) }
    }

    /// One of an op's words, such as `kind=argmax`.
    pub fn word(name: &str, value: &str) -> Attr {
        Attr { name: name.into(), value: Some(AttrValue::Word(value.into())) }
    }

    /// A list of integers: shapes, axes, pads.
    pub fn ints(name: &str, values: &[i64]) -> Attr {
        Attr { name: name.into(), value: Some(AttrValue::Ints(Ints { values: values.to_vec() })) }
    }
}

impl Instruction {
    /// The integer attribute of that name; none where it is absent or of another type.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.attr(name)? {
            AttrValue::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The float attribute of that name; none where it is absent or of another type.
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.attr(name)? {
            AttrValue::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The word attribute of that name; none where it is absent or of another type.
    pub fn word(&self, name: &str) -> Option<&str> {
        match self.attr(name)? {
            AttrValue::Word(value) => Some(value),
            _ => None,
        }
    }

    /// The list attribute of that name; none where it is absent or of another type.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attr(name)? {
            AttrValue::Ints(list) => Some(&list.values),
            _ => None,
        }
    }

    fn attr(&self, name: &str) -> Option<&AttrValue> {
        self.attrs.iter().find(|attr| attr.name == name)?.value.as_ref()
    }
}
