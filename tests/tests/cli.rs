//! The command, as its user sees it.

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/budget.rs"]
mod budget;
#[path = "cli/course.rs"]
mod course;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/page.rs"]
mod page;
#[path = "cli/saved.rs"]
mod saved;
#[path = "cli/self_check.rs"]
mod self_check;
#[path = "cli/tasks.rs"]
mod tasks;
#[path = "cli/texts.rs"]
mod texts;
#[path = "cli/updates.rs"]
mod updates;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::{Array1, Array2};
use razorc_fixtures::mlp;
use tempfile::TempDir;

/// A folder to run commands in.
struct Sandbox(TempDir);

impl Sandbox {
    fn new() -> Sandbox {
        Sandbox(TempDir::new().unwrap())
    }

    /// With `mlp.onnx`, `mlp.trainer`, and 40 rows for it in `x.npy` and `y.npy`.
    fn with_trainer() -> Sandbox {
        let sandbox = Sandbox::new();
        mlp().save(sandbox.path("mlp.onnx")).unwrap();
        sandbox.succeed("compile mlp.onnx --classes 3");
        let class = |row: usize| (row * 7 % 3) as u8;
        let x = Array2::from_shape_fn((40, 16), |(row, column)| {
            let noise = ((row * 31 + column * 17) % 23) as f32 / 23.0;
            noise + if column % 3 == class(row) as usize { 1.0 } else { 0.0 }
        });
        ndarray_npy::write_npy(sandbox.path("x.npy"), &x).unwrap();
        ndarray_npy::write_npy(sandbox.path("y.npy"), &Array1::from_shape_fn(40, class)).unwrap();
        sandbox
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_razorc-under-test"));
        command.current_dir(self.folder()).args(arguments.split_whitespace());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it writes to stdout.
    fn succeed(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "razorc {arguments}\n{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it writes to stderr; it must exit with 1 and leave the folder as it was.
    fn refuse(&self, arguments: &str) -> String {
        let before = self.files();
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "razorc {arguments}\n{errors}");
        assert_eq!(self.files(), before, "razorc {arguments} left something behind");
        errors
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
