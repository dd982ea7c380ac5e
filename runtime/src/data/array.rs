//! Arrays of `.npy` and `.npz` files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::DataError;
use super::npy::Header;

/// An array in memory or on disk, read row by row. Its first dimension counts the rows.
#[derive(Debug)]
pub(super) struct Array {
    pub path: PathBuf,
    pub dims: Vec<usize>,
    pub element: Element,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    Memory(Vec<u8>),
    Disk { file: Mutex<File>, start: u64 },
}

const RANK: usize = 8;

impl Array {
    /// Opens an `.npy` file. One of at most `bound` bytes is read into memory, others stay on disk.
    pub fn open(path: &Path, bound: u64) -> Result<Array, DataError> {
        let failed = |source| DataError::Read { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Array::within(path, file, 0, bytes, bound)
    }

    /// Opens the member of an `.npz` file that has one of these names. A compressed one must fit into `bound`.
    pub fn open_member(path: &Path, names: &[&str], bound: u64) -> Result<Array, DataError> {
        let bad = |reason: String| DataError::BadArray { path: path.into(), reason };
        let file = File::open(path).map_err(|source| DataError::Read { path: path.into(), source })?;
        let mut archive = zip::ZipArchive::new(file).map_err(|error| bad(error.to_string()))?;
        let index = names
            .iter()
            .find_map(|name| archive.index_for_name(&format!("{name}.npy")).or_else(|| archive.index_for_name(name)));
        let Some(index) = index else {
            let found = archive.file_names().take(10).collect::<Vec<_>>().join(", ");
            let name = names.first().copied().unwrap_or_default().into();
            return Err(DataError::MissingArray { path: path.into(), name, found });
        };
        let mut member = archive.by_index(index).map_err(|error| bad(error.to_string()))?;
        let (start, bytes) = (member.data_start(), member.size());
        if member.compression() == zip::CompressionMethod::Stored && !member.encrypted() {
            drop(member);
            return Array::within(path, archive.into_inner(), start, bytes, bound);
        }
        if bound < bytes {
            let remedy = "save it with `numpy.savez`, without compression";
            return Err(DataError::TooLarge { path: path.into(), what: "a compressed array", bytes, bound, remedy });
        }
        let header = Header::read(&mut member).map_err(bad)?;
        let layout = Layout::check(path, header, bytes, bound)?;
        let mut content = Vec::new();
        member.take(layout.bytes).read_to_end(&mut content).map_err(|error| bad(error.to_string()))?;
        if content.len() as u64 != layout.bytes {
            return Err(bad("it ends early".into()));
        }
        Ok(layout.array(path, content))
    }

    /// Reads the array in the `bytes` of `file` from `at` on.
    fn within(path: &Path, mut file: File, at: u64, bytes: u64, bound: u64) -> Result<Array, DataError> {
        let failed = |source| DataError::Read { path: path.into(), source };
        let bad = |reason: &str| DataError::BadArray { path: path.into(), reason: reason.into() };
        let end = at.checked_add(bytes).filter(|&end| file.metadata().is_ok_and(|it| end <= it.len()));
        let end = end.ok_or_else(|| bad("it ends early"))?;
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        let header = Header::read(&mut file).map_err(|reason| bad(&reason))?;
        let layout = Layout::check(path, header, bytes, bound)?;
        if bound < layout.bytes {
            let payload = Payload::Disk { file: Mutex::new(file), start: end - layout.bytes };
            return Ok(Array { path: path.into(), dims: layout.dims, element: layout.element, payload });
        }
        let mut content = vec![0; layout.bytes as usize];
        file.read_exact(&mut content).map_err(failed)?;
        Ok(layout.array(path, content))
    }

    /// An array in memory; `name` stands for its path in errors.
    pub fn of_bytes(name: &str, dims: Vec<usize>, element: Element, content: Vec<u8>) -> Result<Array, DataError> {
        let header = Header { descr: element.descr().into(), fortran: false, dims, bytes: 0 };
        let (path, bytes) = (Path::new(name), content.len() as u64);
        Ok(Layout::check(path, header, bytes, bytes)?.array(path, content))
    }

    pub fn rows(&self) -> usize {
        self.dims[0]
    }

    pub fn row_dims(&self) -> &[usize] {
        &self.dims[1..]
    }

    pub fn row_len(&self) -> usize {
        self.row_dims().iter().product()
    }

    /// Bytes of memory that the array occupies.
    pub fn bytes(&self) -> usize {
        match &self.payload {
            Payload::Memory(content) => content.capacity(),
            Payload::Disk { .. } => 0,
        }
    }

    /// The stored bytes of a row; `scratch` holds them where the array is on disk.
    pub fn row<'a>(&'a self, row: usize, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], DataError> {
        let length = self.row_len() * self.element.bytes();
        match &self.payload {
            Payload::Memory(content) => Ok(&content[row * length..(row + 1) * length]),
            Payload::Disk { file, start } => {
                scratch.resize(length, 0);
                let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                file.seek(SeekFrom::Start(start + (row * length) as u64))
                    .and_then(|_| file.read_exact(scratch))
                    .map_err(|source| DataError::Read { path: self.path.clone(), source })?;
                Ok(scratch)
            }
        }
    }

    /// The numbers of a row. An i64 beyond 2^53 is rounded.
    pub fn values<'a>(
        &'a self,
        row: usize,
        scratch: &'a mut Vec<u8>,
    ) -> Result<impl Iterator<Item = f64> + 'a, DataError> {
        let element = self.element;
        Ok(self.row(row, scratch)?.chunks_exact(element.bytes()).map(move |bytes| element.value(bytes)))
    }
}

/// A header that agrees with its file.
struct Layout {
    element: Element,
    dims: Vec<usize>,
    /// Of the elements.
    bytes: u64,
    permuted: bool,
}

impl Layout {
    /// Checks what a header claims against the `held` bytes of the file, header included.
    fn check(path: &Path, header: Header, held: u64, bound: u64) -> Result<Layout, DataError> {
        let Header { descr, fortran, dims, bytes } = header;
        let bad = |reason: String| DataError::BadArray { path: path.into(), reason };
        let element = Element::parse(&descr)
            .ok_or_else(|| DataError::UnsupportedType { path: path.into(), found: format!("`{descr}`") })?;
        if dims.is_empty() || RANK < dims.len() {
            return Err(bad(format!("it has {} dimensions; 1 to {RANK} are allowed", dims.len())));
        }
        if dims.contains(&0) {
            return Err(DataError::NoRows { path: path.into() });
        }
        if u32::MAX as usize <= dims[0] {
            return Err(bad(format!("it has {} rows; fewer than 2^32 - 1 are allowed", dims[0])));
        }
        let left = held.saturating_sub(bytes);
        let claimed = dims.iter().try_fold(element.bytes(), |bytes, &dim| bytes.checked_mul(dim));
        if claimed.is_none_or(|claimed| claimed as u64 != left) {
            return Err(bad(format!("its header claims shape {dims:?} of `{descr}`, but {left} bytes follow")));
        }
        let permuted = fortran && 1 < dims.iter().filter(|&&dim| dim != 1).count();
        if permuted && bound < left {
            let remedy = "save it with `numpy.ascontiguousarray`";
            let what = "an array in Fortran order";
            return Err(DataError::TooLarge { path: path.into(), what, bytes: left, bound, remedy });
        }
        Ok(Layout { element, dims, bytes: left, permuted })
    }

    fn array(self, path: &Path, content: Vec<u8>) -> Array {
        let content = if self.permuted { row_major(&content, &self.dims, self.element.bytes()) } else { content };
        Array { path: path.into(), dims: self.dims, element: self.element, payload: Payload::Memory(content) }
    }
}

fn row_major(fortran: &[u8], dims: &[usize], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(fortran.len());
    let mut index = vec![0; dims.len()];
    for _ in 0..fortran.len() / width {
        let place = index.iter().zip(dims).rev().fold(0, |place, (at, dim)| place * dim + at);
        out.extend_from_slice(&fortran[place * width..(place + 1) * width]);
        for (at, dim) in index.iter_mut().zip(dims).rev() {
            *at += 1;
            if *at < *dim {
                break;
            }
            *at = 0;
        }
    }
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    U8,
    I8,
    U16,
    I32,
    I64,
    F32,
    F64,
}

impl Element {
    fn parse(descr: &str) -> Option<Element> {
        Some(match descr {
            "|u1" | "<u1" | "|b1" => Element::U8,
            "|i1" | "<i1" => Element::I8,
            "<u2" => Element::U16,
            "<i4" => Element::I32,
            "<i8" => Element::I64,
            "<f4" => Element::F32,
            "<f8" => Element::F64,
            _ => return None,
        })
    }

    fn descr(self) -> &'static str {
        match self {
            Element::U8 => "|u1",
            Element::I8 => "|i1",
            Element::U16 => "<u2",
            Element::I32 => "<i4",
            Element::I64 => "<i8",
            Element::F32 => "<f4",
            Element::F64 => "<f8",
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Element::U8 | Element::I8 => 1,
            Element::U16 => 2,
            Element::I32 | Element::F32 => 4,
            Element::I64 | Element::F64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Element::F32 | Element::F64)
    }

    fn value(self, bytes: &[u8]) -> f64 {
        match (self, bytes) {
            (Element::U8, &[a]) => f64::from(a),
            (Element::I8, &[a]) => f64::from(a as i8),
            (Element::U16, &[a, b]) => f64::from(u16::from_le_bytes([a, b])),
            (Element::I32, &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])),
            (Element::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            (Element::I64, &[a, b, c, d, e, f, g, h]) => i64::from_le_bytes([a, b, c, d, e, f, g, h]) as f64,
            (Element::F64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => f64::NAN,
        }
    }
}
