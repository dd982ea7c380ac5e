//! The trainer file: a checked header, one program, and the bytes of its residents.
//!
//! ```text
//! 8  magic                     4  format version, little-endian     4  CRC-32 of the program
//! 8  bytes of the program      .. the program                       .. zeros up to a multiple of 64
//! .. blobs in the order of their residents, each followed by zeros up to a multiple of 64
//! ```
//! Nothing else is in the file, so no byte of it can change without being noticed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use crate::file::{map, replace};
use crate::program::{Program, Resident, Type};

/// What this razorc writes into [`Program::version`], and the newest that it reads.
pub const PROGRAM_VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"\x89razorc\n";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const ALIGN: usize = 64;
/// Far above any real program; a hostile one cannot make the decoder allocate without end.
const MAX_PROGRAM_BYTES: u64 = 64 << 20;

/// A trainer or checkpoint whose every byte has been checked, mapped from its file.
///
/// It knows that the blobs are what was written, not that the program makes sense: that is for who runs it.
#[derive(Clone, Debug)]
pub struct TrainerFile {
    program: Program,
    blobs: Bytes,
}

/// Why a trainer could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TrainerError {
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not a trainer; `razorc compile` makes one from an ONNX model", .path.display())]
    NotATrainer { path: PathBuf },
    #[error("{} is cut short: {needed} bytes are needed, it has {has}", .path.display())]
    Truncated { path: PathBuf, needed: u64, has: u64 },
    #[error("{} is damaged: {part}", .path.display())]
    Corrupt { path: PathBuf, part: String },
    #[error("{} has version {version}, newer than the {ours} that this razorc reads; update razorc", .path.display())]
    Newer { path: PathBuf, version: u32, ours: u32 },
    #[error("resident `{resident}` cannot be written: {problem}")]
    Unwritable { resident: String, problem: String },
}

impl TrainerFile {
    /// Maps and checks a trainer.
    pub fn open(path: impl AsRef<Path>) -> Result<TrainerFile, TrainerError> {
        let path = path.as_ref();
        let bytes = map(path).map_err(|source| TrainerError::Io { path: path.into(), source })?;
        TrainerFile::from_bytes(path, bytes)
    }

    /// Checks a trainer that is in memory; `path` is its name in errors.
    pub fn from_bytes(path: &Path, bytes: impl Into<Bytes>) -> Result<TrainerFile, TrainerError> {
        check(bytes.into()).map_err(|fault| fault.of(path))
    }

    /// What the trainer does.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Bytes of a resident, 64-byte aligned in the file; none where it starts as zeros.
    pub fn blob(&self, resident_idx: usize) -> Option<&[u8]> {
        let resident = self.program.residents.get(resident_idx)?;
        let start = resident.blob? as usize;
        Some(&self.blobs[start..start + blob_bytes(resident)?])
    }
}

/// Writes a trainer in place of `path`, with one blob or none (zeros) for each resident. Offsets and checksums of the
/// blobs are filled in, as is the version; those in `program` are not looked at.
pub fn write_trainer(path: impl AsRef<Path>, program: &Program, blobs: &[Option<&[u8]>]) -> Result<(), TrainerError> {
    let path = path.as_ref();
    let (program, laid_out) = lay_out(program, blobs)?;
    let message = program.encode_to_vec();
    replace(path, |file| {
        file.write_all(MAGIC)?;
        file.write_all(&FORMAT_VERSION.to_le_bytes())?;
        file.write_all(&crc32fast::hash(&message).to_le_bytes())?;
        file.write_all(&(message.len() as u64).to_le_bytes())?;
        file.write_all(&message)?;
        pad(file, HEADER_BYTES + message.len())?;
        for blob in laid_out {
            file.write_all(blob)?;
            pad(file, blob.len())?;
        }
        Ok(())
    })
    .map_err(|source| TrainerError::Io { path: path.into(), source })
}

fn lay_out<'a>(program: &Program, blobs: &[Option<&'a [u8]>]) -> Result<(Program, Vec<&'a [u8]>), TrainerError> {
    let mut program = Program { version: PROGRAM_VERSION, ..program.clone() };
    let mut laid_out = Vec::new();
    let mut end = 0;
    for (idx, resident) in program.residents.iter_mut().enumerate() {
        let unwritable =
            |resident: &Resident, problem| Err(TrainerError::Unwritable { resident: resident.name.clone(), problem });
        let Some(blob) = blobs.get(idx) else {
            return unwritable(resident, format!("it is resident {idx}, but {} blobs were given", blobs.len()));
        };
        (resident.blob, resident.checksum) = (None, 0);
        let Some(blob) = blob else { continue };
        if blob_bytes(resident) != Some(blob.len()) {
            let needed = blob_bytes(resident).map_or("an unknown number of".into(), |bytes| bytes.to_string());
            return unwritable(resident, format!("its type has {needed} bytes, its blob {}", blob.len()));
        }
        (resident.blob, resident.checksum) = (Some(end as u64), crc32fast::hash(blob));
        end += blob.len().next_multiple_of(ALIGN);
        laid_out.push(*blob);
    }
    Ok((program, laid_out))
}

fn pad(file: &mut dyn Write, written: usize) -> io::Result<()> {
    file.write_all(&[0; ALIGN][..written.next_multiple_of(ALIGN) - written])
}

/// What is wrong with a trainer's bytes; the path comes later.
enum Fault {
    NotATrainer,
    Truncated { needed: u64, has: u64 },
    Corrupt(String),
    Newer { version: u32, ours: u32 },
}

impl Fault {
    fn of(self, path: &Path) -> TrainerError {
        let path = path.to_path_buf();
        match self {
            Fault::NotATrainer => TrainerError::NotATrainer { path },
            Fault::Truncated { needed, has } => TrainerError::Truncated { path, needed, has },
            Fault::Corrupt(part) => TrainerError::Corrupt { path, part },
            Fault::Newer { version, ours } => TrainerError::Newer { path, version, ours },
        }
    }
}

fn check(bytes: Bytes) -> Result<TrainerFile, Fault> {
    let has = bytes.len() as u64;
    let Some((magic, header)) = bytes.split_at_checked(MAGIC.len()) else { return Err(Fault::NotATrainer) };
    if magic != MAGIC {
        return Err(Fault::NotATrainer);
    }
    let Some(header) = header.first_chunk::<{ HEADER_BYTES - MAGIC.len() }>() else {
        return Err(Fault::Truncated { needed: HEADER_BYTES as u64, has });
    };
    let [v0, v1, v2, v3, c0, c1, c2, c3, length @ ..] = *header;
    supported(u32::from_le_bytes([v0, v1, v2, v3]), FORMAT_VERSION)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_PROGRAM_BYTES {
        return Err(Fault::Corrupt(format!("its header speaks of a program of {length} bytes")));
    }
    let end = HEADER_BYTES + length as usize;
    let start_of_blobs = end.next_multiple_of(ALIGN);
    if has < start_of_blobs as u64 {
        return Err(Fault::Truncated { needed: start_of_blobs as u64, has });
    }

    let message = bytes.slice(HEADER_BYTES..end);
    if crc32fast::hash(&message) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Fault::Corrupt("the program's checksum does not match".into()));
    }
    let program = Program::decode(message).map_err(|error| Fault::Corrupt(format!("the program: {error}")))?;
    supported(program.version, PROGRAM_VERSION)?;
    zeros(&bytes[end..start_of_blobs], || "the bytes after the program are not zeros".into())?;
    let blobs = bytes.slice(start_of_blobs..);
    check_blobs(&program.residents, &blobs).map_err(|fault| match fault {
        Fault::Truncated { needed, .. } => {
            Fault::Truncated { needed: needed.saturating_add(start_of_blobs as u64), has }
        }
        other => other,
    })?;
    Ok(TrainerFile { program, blobs })
}

fn supported(version: u32, ours: u32) -> Result<(), Fault> {
    match version {
        0 => Err(Fault::Corrupt("it has no version".into())),
        version if version > ours => Err(Fault::Newer { version, ours }),
        _ => Ok(()),
    }
}

fn check_blobs(residents: &[Resident], blobs: &[u8]) -> Result<(), Fault> {
    let mut end = 0usize;
    for resident in residents {
        let Some(start) = resident.blob else { continue };
        let of = |what: &str| Fault::Corrupt(format!("{what} of resident `{}`", resident.name));
        let length = blob_bytes(resident).ok_or_else(|| of("the type"))?;
        if start != end as u64 {
            return Err(of("the place of the blob"));
        }
        let stop = end.checked_add(length).and_then(|stop| stop.checked_next_multiple_of(ALIGN));
        let stop = stop.ok_or_else(|| of("the type"))?;
        let Some(blob) = blobs.get(end..stop) else {
            return Err(Fault::Truncated { needed: stop as u64, has: blobs.len() as u64 });
        };
        let (blob, padding) = blob.split_at(length);
        if crc32fast::hash(blob) != resident.checksum {
            return Err(of("the checksum does not match that"));
        }
        zeros(padding, || format!("the bytes after resident `{}` are not zeros", resident.name))?;
        end = stop;
    }
    match blobs.len() - end {
        0 => Ok(()),
        extra => Err(Fault::Corrupt(format!("{extra} bytes follow its end"))),
    }
}

fn zeros(bytes: &[u8], part: impl Fn() -> String) -> Result<(), Fault> {
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Fault::Corrupt(part())) }
}

fn blob_bytes(resident: &Resident) -> Option<usize> {
    resident.r#type.as_ref().and_then(Type::bytes)?.try_into().ok()
}
