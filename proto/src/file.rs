//! Files that are either the old ones or the new ones, never half of each.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

/// Puts what `write` writes in place of `path`: beside it first, synced, then renamed over it. On any error, a full
/// disk too, the old file is as it was.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its folder does not exist"));
    }
    // Renaming would put a file in the place of a device or a pipe.
    if std::fs::metadata(path).is_ok_and(|it| !it.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file, so it is not replaced"));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".razorc-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder)?;

    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file());
    write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path)?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// The folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The file's bytes, mapped rather than read.
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    // A pipe would block the open, so its kind is looked at first.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: razorc replaces files by renaming and never writes into one, so nothing here changes mapped bytes.
    let mapped = unsafe { Mmap::map(&file)? };
    Ok(Bytes::from_owner(mapped))
}
