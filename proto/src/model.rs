//! An ONNX file.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use sha2::{Digest, Sha256};

use crate::file::{folder_of, map, replace};
use crate::onnx::{GraphProto, ModelProto};

/// Protobuf's own limit; larger models keep their weights in external data.
const MAX_BYTES: usize = i32::MAX as usize;

/// An ONNX file, decoded. Weights stay where they were: in the mapped file.
#[derive(Clone)]
pub struct Model {
    path: Option<PathBuf>,
    digest: [u8; 32],
    proto: ModelProto,
}

/// Why a file is no ONNX model, or could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ModelError {
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{name} is empty")]
    Empty { name: String },
    #[error("{name} is {bytes} bytes long, more than the 2 GiB an ONNX file can have; export it with external data")]
    TooLarge { name: String, bytes: usize },
    #[error("{name} is a Git LFS pointer, not the model itself; fetch it with `git lfs pull`")]
    LfsPointer { name: String },
    #[error("{name} is cut short: {missing} bytes are missing at the end")]
    Truncated { name: String, missing: u64 },
    #[error("{name} is not an ONNX file, or is damaged: {source}")]
    NotOnnx { name: String, source: prost::DecodeError },
    #[error("{name} has no graph; it is not an ONNX model, or is cut short")]
    NoGraph { name: String },
}

impl Model {
    /// Reads an ONNX file; external data stays unread until a tensor is decoded.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, ModelError> {
        let path = path.as_ref();
        let bytes = map(path).map_err(|source| ModelError::Io { path: path.into(), source })?;
        let model = Model::decode(bytes, &path.display().to_string())?;
        Ok(Model { path: Some(path.into()), ..model })
    }

    /// Decodes an ONNX file that is in memory; it has no folder, so external data is refused.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Model, ModelError> {
        Model::decode(bytes.into(), "the model")
    }

    /// The file it was read from, if it was.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The folder that external data is relative to.
    pub fn folder(&self) -> Option<&Path> {
        self.path.as_deref().map(folder_of)
    }

    /// SHA-256 of the file as it was read.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The whole message.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// The same file with other contents; external data still lies in its folder.
    pub fn with_proto(&self, proto: ModelProto) -> Model {
        let graph = proto.graph.or_else(|| Some(GraphProto::default()));
        Model { path: self.path.clone(), digest: self.digest, proto: ModelProto { graph, ..proto } }
    }

    /// The main graph.
    pub fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("a model without a graph is refused when it is read")
    }

    /// The main graph, to put trained weights into.
    pub fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.as_mut().expect("a model without a graph is refused when it is read")
    }

    /// The message alone.
    pub fn into_proto(self) -> ModelProto {
        self.proto
    }

    /// The file's bytes; the very ones that were read, if nothing was changed and the file was written canonically.
    pub fn encode(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// Writes the model in place of `path`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let path = path.as_ref();
        let bytes = self.encode();
        let name = path.display().to_string();
        if bytes.len() > MAX_BYTES {
            return Err(ModelError::TooLarge { name, bytes: bytes.len() });
        }
        replace(path, |file| file.write_all(&bytes)).map_err(|source| ModelError::Io { path: path.into(), source })
    }

    fn decode(bytes: Bytes, name: &str) -> Result<Model, ModelError> {
        let name = name.to_string();
        if bytes.is_empty() {
            return Err(ModelError::Empty { name });
        }
        if bytes.len() > MAX_BYTES {
            return Err(ModelError::TooLarge { name, bytes: bytes.len() });
        }
        if bytes.starts_with(b"version https://git-lfs") {
            return Err(ModelError::LfsPointer { name });
        }
        let digest = Sha256::digest(&bytes).into();
        let proto = match ModelProto::decode(bytes.clone()) {
            Ok(proto) => proto,
            Err(source) => {
                return Err(match missing_bytes(bytes) {
                    Some(missing) => ModelError::Truncated { name, missing },
                    None => ModelError::NotOnnx { name, source },
                });
            }
        };
        if proto.graph.is_none() {
            return Err(ModelError::NoGraph { name });
        }
        Ok(Model { path: None, digest, proto })
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("path", &self.path).field("nodes", &self.graph().node.len()).finish()
    }
}

/// How many bytes a file lacks whose outline is that of a model, up to its last field; none if it is not cut short.
fn missing_bytes(mut bytes: Bytes) -> Option<u64> {
    while bytes.has_remaining() {
        match decode_key(&mut bytes).ok()? {
            // ir_version, model_version
            (1 | 5, WireType::Varint) => _ = decode_varint(&mut bytes).ok()?,
            // Names and notes, graph, opset_import, metadata_props, training_info, functions, configuration
            (2..=4 | 6..=8 | 14 | 20 | 25 | 26, WireType::LengthDelimited) => {
                let length = decode_varint(&mut bytes).ok()?;
                match length.checked_sub(bytes.remaining() as u64) {
                    Some(missing) if missing > 0 => return Some(missing).filter(|_| length <= MAX_BYTES as u64),
                    _ => bytes.advance(length as usize),
                }
            }
            _ => return None,
        }
    }
    None
}
