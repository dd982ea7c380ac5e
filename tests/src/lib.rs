//! What crosses crates is tested in the files beside this crate's manifest; here is what those tests share.

use std::io::Write;
use std::path::{Path, PathBuf};

use razorc_compiler::compile;
use razorc_compiler::options::Options;
use razorc_proto::{Model, TrainerFile, write_trainer};

pub mod programs;

/// Compiles a model, writes the trainer to a temporary file and opens it.
pub fn trainer(model: &Model, options: &Options) -> TrainerFile {
    let compiled = compile(model, options).unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.trainer");
    let blobs: Vec<_> = compiled.blobs.iter().map(|it| it.as_deref()).collect();
    write_trainer(&path, &compiled.program, &blobs).unwrap();
    TrainerFile::open(&path).unwrap()
}

/// A file or folder of the shared models, data and goldens that lie beside the project; none, said loudly, where it is
/// absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let root = std::env::var_os("RAZORC_SHARED").map_or(beside, PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    // The test harness swallows what `println!` prints, so this goes round it.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {} is absent; RAZORC_SHARED can name its folder", path.display());
    None
}
