//! What declarations are filled with. Bytes stay in the model's file until somebody asks for values.

use std::path::PathBuf;

use razorc_proto::onnx::TensorProto;
use razorc_proto::{TensorData, TensorError};

use crate::types::{DType, Type};

/// A weight or a constant tensor.
#[derive(Debug, Clone)]
pub struct Weight {
    /// Sizes of the axes.
    pub dims: Vec<u64>,
    /// Where its values are.
    pub source: Source,
    /// The model's initializer that it is; none for constants.
    pub initializer: Option<String>,
}

/// Where the values of a weight are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In the model, or in external data in the model's folder: floats.
    Model {
        /// As it is in the model.
        tensor: Box<TensorProto>,
        /// Of the model's file.
        folder: Option<PathBuf>,
    },
    /// Floats, here.
    Values(Vec<f32>),
    /// Integers, here.
    Integers(Vec<i64>),
    /// Truths, here.
    Truths(Vec<bool>),
    /// The same float everywhere.
    Fill(f32),
}

impl Weight {
    /// A vector of these values.
    pub fn vector(values: Vec<f32>) -> Weight {
        Weight { dims: vec![values.len() as u64], source: Source::Values(values), initializer: None }
    }

    /// Type of the declaration.
    pub fn ty(&self) -> Type {
        let dtype = match self.source {
            Source::Integers(_) => DType::I64,
            Source::Truths(_) => DType::Bool,
            Source::Model { .. } | Source::Values(_) | Source::Fill(_) => DType::F32,
        };
        Type::dense(dtype, &self.dims)
    }

    /// Values of floats, as many as `dims` says; none for integers and truths.
    pub fn floats(&self) -> Result<Option<Vec<f32>>, TensorError> {
        Ok(match &self.source {
            Source::Model { tensor, folder } => Some(TensorData::decode(tensor, folder.as_deref())?.to_f32()?),
            Source::Values(values) => Some(values.clone()),
            Source::Fill(value) => Some(vec![*value; self.dims.iter().product::<u64>() as usize]),
            Source::Integers(_) | Source::Truths(_) => None,
        })
    }

    /// Little-endian elements, as many as `dims` says.
    pub fn bytes(&self) -> Result<Vec<u8>, TensorError> {
        Ok(match &self.source {
            Source::Integers(values) => values.iter().flat_map(|it| it.to_le_bytes()).collect(),
            Source::Truths(values) => values.iter().map(|&it| it.into()).collect(),
            _ => self.floats()?.unwrap_or_default().iter().flat_map(|it| it.to_le_bytes()).collect(),
        })
    }
}
