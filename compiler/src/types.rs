//! Types of values. Bytes follow from the type, so the text form tells all about memory.

use std::fmt;

use razorc_proto::packed;
use razorc_proto::program;
pub use razorc_proto::program::r#type::IndexForm;

/// Element type of a dense tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    U8,
    Bool,
    /// Of kept values only.
    I8,
}

/// Type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// Row-major elements.
    Dense {
        /// Of the elements.
        dtype: DType,
        /// Sizes of the axes.
        dims: Vec<u64>,
    },
    /// One bit an element, flat, padded to 8 bytes.
    Bits {
        /// Sizes of the axes.
        dims: Vec<u64>,
    },
    /// A small number for each element of a dense f32 tensor.
    Codes {
        /// Of that tensor.
        dims: Vec<u64>,
        /// Of each number: 2 to 4.
        bits: u64,
    },
    /// A dense f32 tensor rounded to few bits, with a scale and an offset for each block of its last axis.
    Quant {
        /// Of that tensor.
        dims: Vec<u64>,
        /// Of each element: 2, 4 or 8.
        bits: u64,
        /// Elements of a block; every row of the last axis starts a new one.
        block: u64,
    },
    /// Optimizer state like a dense f32 tensor, in 8 bits with a scale for each 256 elements.
    Dynamic {
        /// Of that tensor.
        dims: Vec<u64>,
        /// Whether it may be below zero.
        signed: bool,
    },
    /// A pruned, packed copy of a dense f32 tensor: an index and `keep` values for each sample.
    TopK {
        /// Of the tensor that was compressed.
        dims: Vec<u64>,
        /// Batch entries in the tensor; their elements lie together.
        samples: u64,
        /// Elements kept of every sample.
        keep: u64,
        /// Type of the kept values: f32, f16, bf16 or i8.
        values: DType,
        /// How it says which elements are kept.
        form: IndexForm,
    },
}

impl DType {
    /// Every element type, by its word in the text form.
    pub const WORDS: &'static [(&'static str, DType)] = &[
        ("f64", DType::F64),
        ("f32", DType::F32),
        ("f16", DType::F16),
        ("bf16", DType::Bf16),
        ("i64", DType::I64),
        ("i32", DType::I32),
        ("u8", DType::U8),
        ("bool", DType::Bool),
        ("i8", DType::I8),
    ];

    /// Bytes of one element.
    pub fn width(self) -> u64 {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::Bf16 => 2,
            DType::U8 | DType::Bool | DType::I8 => 1,
        }
    }

    /// Its name in a program.
    pub(crate) fn proto(self) -> program::DType {
        match self {
            DType::F64 => program::DType::F64,
            DType::F32 => program::DType::F32,
            DType::F16 => program::DType::F16,
            DType::Bf16 => program::DType::Bf16,
            DType::I64 => program::DType::I64,
            DType::I32 => program::DType::I32,
            DType::U8 => program::DType::U8,
            DType::Bool => program::DType::Bool,
            DType::I8 => program::DType::I8,
        }
    }

    /// The type that `word` names in the text form.
    pub fn from_word(word: &str) -> Option<DType> {
        DType::WORDS.iter().find(|it| it.0 == word).map(|it| it.1)
    }
}

impl Type {
    /// A dense f32 tensor.
    pub fn f32(dims: &[u64]) -> Type {
        Type::dense(DType::F32, dims)
    }

    /// A dense tensor.
    pub fn dense(dtype: DType, dims: &[u64]) -> Type {
        Type::Dense { dtype, dims: dims.to_vec() }
    }

    /// One bit for every element of a tensor of these sizes.
    pub fn bits(dims: &[u64]) -> Type {
        Type::Bits { dims: dims.to_vec() }
    }

    /// Sizes of the axes; of a packed copy, those of the tensor that was compressed.
    pub fn dims(&self) -> &[u64] {
        match self {
            Type::Dense { dims, .. }
            | Type::Bits { dims }
            | Type::Codes { dims, .. }
            | Type::Quant { dims, .. }
            | Type::Dynamic { dims, .. }
            | Type::TopK { dims, .. } => dims,
        }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.dims().len()
    }

    /// Elements, before any pruning; saturates.
    pub fn elements(&self) -> u64 {
        self.dims().iter().fold(1, |all, &dim| all.saturating_mul(dim))
    }

    /// Whether this is a dense f32 tensor.
    pub fn is_f32(&self) -> bool {
        matches!(self, Type::Dense { dtype: DType::F32, .. })
    }

    /// Whether this is a copy of a dense f32 tensor of the same sizes, in fewer bytes.
    pub fn is_packed(&self) -> bool {
        matches!(self, Type::TopK { .. } | Type::Quant { .. })
    }

    /// A packed copy seen with other axes; none where its bytes would then mean something else.
    pub fn viewed(&self, dims: &[u64]) -> Option<Type> {
        match self {
            Type::TopK { samples, keep, values, form, .. } => {
                Some(Type::TopK { dims: dims.to_vec(), samples: *samples, keep: *keep, values: *values, form: *form })
            }
            // Blocks end with the rows of the last axis.
            Type::Quant { dims: own, bits, block } if own.last() == dims.last() => {
                Some(Type::Quant { dims: dims.to_vec(), bits: *bits, block: *block })
            }
            _ => None,
        }
    }

    /// Bytes in the arena, before alignment.
    pub fn bytes(&self) -> u64 {
        match self {
            Type::Dense { dtype, .. } => self.elements().saturating_mul(dtype.width()),
            Type::Bits { .. } => self.elements().div_ceil(64) * 8,
            Type::Codes { bits, .. } => (self.elements().div_ceil(64) * 8).saturating_mul(*bits),
            Type::Quant { dims, bits, block } => packed::quant_bytes(dims, *bits, *block).unwrap_or(u64::MAX),
            Type::Dynamic { .. } => packed::dynamic_bytes(self.elements()).unwrap_or(u64::MAX),
            Type::TopK { samples, keep, values, form, .. } => {
                let n = self.elements() / (*samples).max(1);
                let index = packed::index_bytes(*form, n, *keep).unwrap_or(u64::MAX);
                let values = packed::value_bytes(values.proto(), *keep).unwrap_or(u64::MAX);
                samples.saturating_mul(index.saturating_add(values))
            }
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = DType::WORDS.iter().find(|it| it.1 == *self).map_or("?", |it| it.0);
        f.write_str(word)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims().iter().map(u64::to_string).collect();
        let dims = dims.join(",");
        match self {
            Type::Dense { dtype, .. } => write!(f, "{dtype}[{dims}]"),
            Type::Bits { .. } => write!(f, "bits[{dims}]"),
            Type::Codes { bits, .. } => write!(f, "codes<f32[{dims}], bits={bits}>"),
            Type::Quant { bits, block, .. } => write!(f, "quant<f32[{dims}], bits={bits}, block={block}>"),
            Type::Dynamic { signed: true, .. } => write!(f, "dynamic<f32[{dims}], signed>"),
            Type::Dynamic { .. } => write!(f, "dynamic<f32[{dims}], unsigned>"),
            Type::TopK { samples, keep, values, form, .. } => {
                write!(f, "topk<f32[{dims}], samples={samples}, keep={keep}, values={values}")?;
                match form {
                    IndexForm::Bitmap => f.write_str(">"),
                    form => write!(f, ", form={}>", form.word()),
                }
            }
        }
    }
}
