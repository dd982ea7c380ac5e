//! What declarations are filled with. Bytes stay in the model's file until somebody asks for values.

use std::path::PathBuf;

use razorc_proto::onnx::TensorProto;
use razorc_proto::{TensorData, TensorError};

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
    /// In the model, or in external data in the model's folder.
    Model {
        /// As it is in the model.
        tensor: Box<TensorProto>,
        /// Of the model's file.
        folder: Option<PathBuf>,
    },
    /// Here.
    Values(Vec<f32>),
    /// The same everywhere.
    Fill(f32),
}

impl Weight {
    /// A vector of these values.
    pub fn vector(values: Vec<f32>) -> Weight {
        Weight { dims: vec![values.len() as u64], source: Source::Values(values), initializer: None }
    }

    /// The values, as many as `dims` says.
    pub fn values(&self) -> Result<Vec<f32>, TensorError> {
        match &self.source {
            Source::Model { tensor, folder } => TensorData::decode(tensor, folder.as_deref())?.to_f32(),
            Source::Values(values) => Ok(values.clone()),
            Source::Fill(value) => Ok(vec![*value; self.dims.iter().product::<u64>() as usize]),
        }
    }
}
