//! Values of ONNX tensors, wherever and however they are stored.

use std::path::Path;

use bytes::Bytes;
use half::{bf16, f16};

use crate::external::{self, ExternalError};
use crate::onnx::TensorProto;
use crate::onnx::tensor_proto::{DataLocation, DataType};

/// A decoded tensor: little-endian elements, row-major.
#[derive(Clone, Debug)]
pub struct TensorData {
    /// Name of the tensor it came from.
    pub name: String,
    /// One of the fixed-width number types, or bool.
    pub dtype: DataType,
    /// Empty for a scalar.
    pub dims: Vec<usize>,
    /// As many elements as `dims` says.
    pub bytes: Bytes,
}

/// Why a tensor has no values that razorc can use.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TensorError {
    #[error("tensor `{tensor}` holds {dtype}, which is not supported")]
    Unsupported { tensor: String, dtype: String },
    #[error("tensor `{tensor}` is stored in segments, which is not supported")]
    Segmented { tensor: String },
    #[error("tensor `{tensor}` has impossible dimensions {dims:?}")]
    Dims { tensor: String, dims: Vec<i64> },
    #[error("tensor `{tensor}` has {has} bytes of data where its dimensions {dims:?} need {needed}")]
    Length { tensor: String, dims: Vec<i64>, has: usize, needed: usize },
    #[error("tensor `{tensor}` holds {dtype} where {wanted} are needed")]
    WrongType { tensor: String, dtype: String, wanted: &'static str },
    #[error("tensor `{tensor}` holds {value}, which does not fit 64 signed bits")]
    TooLarge { tensor: String, value: u64 },
    #[error(transparent)]
    External(#[from] ExternalError),
}

impl TensorData {
    /// The values of `tensor`; `folder` is the model's, for external data.
    pub fn decode(tensor: &TensorProto, folder: Option<&Path>) -> Result<TensorData, TensorError> {
        let name = tensor.name().to_string();
        let dtype = tensor.data_type.and_then(|code| DataType::try_from(code).ok());
        let Some((dtype, width)) = dtype.and_then(|dtype| Some((dtype, width(dtype)?))) else {
            return Err(TensorError::Unsupported { tensor: name, dtype: type_name(tensor) });
        };
        if tensor.segment.is_some() {
            return Err(TensorError::Segmented { tensor: name });
        }
        let (dims, elements) = shape(tensor)?;
        let bytes = stored(tensor, dtype, folder)?;
        match elements.checked_mul(width) {
            Some(needed) if needed == bytes.len() => Ok(TensorData { name, dtype, dims, bytes }),
            Some(needed) => {
                Err(TensorError::Length { tensor: name, dims: tensor.dims.clone(), has: bytes.len(), needed })
            }
            None => Err(TensorError::Dims { tensor: name, dims: tensor.dims.clone() }),
        }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// The values of a float tensor (f16, bf16, f32, f64), rounded to f32.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        Ok(match self.dtype {
            DataType::Float => self.each(f32::from_le_bytes),
            DataType::Double => self.each(|it| f64::from_le_bytes(it) as f32),
            DataType::Float16 => self.each(|it| f16::from_le_bytes(it).to_f32()),
            DataType::Bfloat16 => self.each(|it| bf16::from_le_bytes(it).to_f32()),
            _ => return Err(self.wrong_type("floats")),
        })
    }

    /// The values of an integer or bool tensor.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        Ok(match self.dtype {
            DataType::Int64 => self.each(i64::from_le_bytes),
            DataType::Int32 => self.each(|it| i32::from_le_bytes(it).into()),
            DataType::Int16 => self.each(|it| i16::from_le_bytes(it).into()),
            DataType::Int8 => self.each(|it| i8::from_le_bytes(it).into()),
            DataType::Uint32 => self.each(|it| u32::from_le_bytes(it).into()),
            DataType::Uint16 => self.each(|it| u16::from_le_bytes(it).into()),
            DataType::Uint8 => self.each(|it| u8::from_le_bytes(it).into()),
            DataType::Bool => self.each(|[it]: [u8; 1]| (it != 0).into()),
            DataType::Uint64 => {
                let values = self.each(u64::from_le_bytes).into_iter();
                let fits = |value| {
                    i64::try_from(value).map_err(|_| TensorError::TooLarge { tensor: self.name.clone(), value })
                };
                return values.map(fits).collect();
            }
            _ => return Err(self.wrong_type("integers")),
        })
    }

    fn each<const WIDTH: usize, T>(&self, value: impl Fn([u8; WIDTH]) -> T) -> Vec<T> {
        self.bytes.as_chunks().0.iter().map(|chunk| value(*chunk)).collect()
    }

    fn wrong_type(&self, wanted: &'static str) -> TensorError {
        TensorError::WrongType { tensor: self.name.clone(), dtype: self.dtype.as_str_name().into(), wanted }
    }
}

/// Puts new values into a float tensor, in its own type and dimensions, in the model file itself.
pub fn set_f32(tensor: &mut TensorProto, values: &[f32]) -> Result<(), TensorError> {
    let (_, elements) = shape(tensor)?;
    let bytes: Vec<u8> = match DataType::try_from(tensor.data_type()) {
        Ok(DataType::Float) => values.iter().flat_map(|it| it.to_le_bytes()).collect(),
        Ok(DataType::Double) => values.iter().flat_map(|it| f64::from(*it).to_le_bytes()).collect(),
        Ok(DataType::Float16) => values.iter().flat_map(|it| f16::from_f32(*it).to_le_bytes()).collect(),
        Ok(DataType::Bfloat16) => values.iter().flat_map(|it| bf16::from_f32(*it).to_le_bytes()).collect(),
        _ => {
            let (tensor, dtype) = (tensor.name().to_string(), type_name(tensor));
            return Err(TensorError::WrongType { tensor, dtype, wanted: "floats" });
        }
    };
    if values.len() != elements {
        let width = bytes.len() / values.len().max(1);
        let (tensor, dims) = (tensor.name().to_string(), tensor.dims.clone());
        return Err(TensorError::Length { tensor, dims, has: bytes.len(), needed: elements.saturating_mul(width) });
    }
    *tensor = TensorProto {
        dims: std::mem::take(&mut tensor.dims),
        data_type: tensor.data_type,
        name: tensor.name.take(),
        doc_string: tensor.doc_string.take(),
        metadata_props: std::mem::take(&mut tensor.metadata_props),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    };
    Ok(())
}

fn shape(tensor: &TensorProto) -> Result<(Vec<usize>, usize), TensorError> {
    let impossible = || TensorError::Dims { tensor: tensor.name().into(), dims: tensor.dims.clone() };
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let dims = dims.ok_or_else(impossible)?;
    let elements = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
    Ok((dims, elements.ok_or_else(impossible)?))
}

/// The tensor's little-endian bytes, of whatever length.
fn stored(tensor: &TensorProto, dtype: DataType, folder: Option<&Path>) -> Result<Bytes, TensorError> {
    if tensor.data_location() == DataLocation::External {
        return Ok(external::read(tensor, folder)?);
    }
    if let Some(raw) = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty()) {
        return Ok(raw.clone());
    }
    let ints = &tensor.int32_data;
    let bytes: Vec<u8> = match dtype {
        DataType::Float => tensor.float_data.iter().flat_map(|it| it.to_le_bytes()).collect(),
        DataType::Double => tensor.double_data.iter().flat_map(|it| it.to_le_bytes()).collect(),
        DataType::Int64 => tensor.int64_data.iter().flat_map(|it| it.to_le_bytes()).collect(),
        DataType::Uint64 => tensor.uint64_data.iter().flat_map(|it| it.to_le_bytes()).collect(),
        DataType::Uint32 => tensor.uint64_data.iter().flat_map(|it| (*it as u32).to_le_bytes()).collect(),
        DataType::Int32 => ints.iter().flat_map(|it| it.to_le_bytes()).collect(),
        // Narrow types take the low bits of an int32; the two 16-bit floats as bit patterns.
        _ if width(dtype) == Some(2) => ints.iter().flat_map(|it| (*it as u16).to_le_bytes()).collect(),
        _ => ints.iter().map(|it| *it as u8).collect(),
    };
    Ok(bytes.into())
}

fn width(dtype: DataType) -> Option<usize> {
    match dtype {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => Some(1),
        DataType::Int16 | DataType::Uint16 | DataType::Float16 | DataType::Bfloat16 => Some(2),
        DataType::Int32 | DataType::Uint32 | DataType::Float => Some(4),
        DataType::Int64 | DataType::Uint64 | DataType::Double => Some(8),
        _ => None,
    }
}

fn type_name(tensor: &TensorProto) -> String {
    match tensor.data_type.map(DataType::try_from) {
        None => "no element type".into(),
        Some(Ok(dtype)) => dtype.as_str_name().into(),
        Some(Err(_)) => format!("element type {}", tensor.data_type()),
    }
}
