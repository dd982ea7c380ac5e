//! External data: tensors whose bytes lie in a file of their own, in the model's folder.

use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::file::map;
use crate::onnx::TensorProto;

/// Why a tensor's external data could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExternalError {
    #[error("tensor `{tensor}` has external data, but the model was not read from a file")]
    NoFolder { tensor: String },
    #[error("tensor `{tensor}` has external data without a location")]
    NoLocation { tensor: String },
    #[error("tensor `{tensor}` has external data whose {key} is `{value}`, which is not a number of bytes")]
    NotANumber { tensor: String, key: &'static str, value: String },
    #[error("tensor `{tensor}` has external data in `{location}`, outside the model's folder; that is refused")]
    Outside { tensor: String, location: String },
    #[error("tensor `{tensor}`: external data {}: {source}", .path.display())]
    Io { tensor: String, path: PathBuf, source: io::Error },
    #[error("tensor `{tensor}`: external data {} ends at byte {has}, but byte {needed} is wanted", .path.display())]
    TooShort { tensor: String, path: PathBuf, has: u64, needed: u64 },
}

/// The bytes of a tensor with external data, mapped from the file that it names in `folder`.
pub(crate) fn read(tensor: &TensorProto, folder: Option<&Path>) -> Result<Bytes, ExternalError> {
    let name = || tensor.name().to_string();
    let folder = folder.ok_or_else(|| ExternalError::NoFolder { tensor: name() })?;
    let location = entry(tensor, "location").ok_or_else(|| ExternalError::NoLocation { tensor: name() })?;
    let path = inside(folder, location)
        .map_err(|source| ExternalError::Io { tensor: name(), path: folder.join(location), source })?
        .ok_or_else(|| ExternalError::Outside { tensor: name(), location: location.into() })?;

    let bytes = map(&path).map_err(|source| ExternalError::Io { tensor: name(), path: path.clone(), source })?;
    let has = bytes.len() as u64;
    let offset = number(tensor, "offset")?.unwrap_or(0);
    let end = match number(tensor, "length")? {
        Some(length) => offset.saturating_add(length),
        None => has.max(offset),
    };
    if end > has {
        return Err(ExternalError::TooShort { tensor: name(), path, has, needed: end });
    }
    Ok(bytes.slice(offset as usize..end as usize))
}

/// Where `location` leads, if that is inside `folder`, symbolic links followed.
fn inside(folder: &Path, location: &str) -> io::Result<Option<PathBuf>> {
    let relative = Path::new(location);
    if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Ok(None);
    }
    let path = folder.join(relative).canonicalize()?;
    Ok(Some(path.clone()).filter(|path| folder.canonicalize().is_ok_and(|folder| path.starts_with(folder))))
}

fn number(tensor: &TensorProto, key: &'static str) -> Result<Option<u64>, ExternalError> {
    let Some(value) = entry(tensor, key) else { return Ok(None) };
    value.parse().map(Some).map_err(|_| ExternalError::NotANumber {
        tensor: tensor.name().into(),
        key,
        value: value.into(),
    })
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value())
}
