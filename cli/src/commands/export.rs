use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use razorc_compiler::export::export;
use razorc_proto::program::Program;
use razorc_proto::{Model, TrainerFile};
use razorc_runtime::trainer::tuned;

use crate::failure::{Failure, Result};

/// Put tuned weights back into the ONNX model
#[derive(Args)]
pub struct Export {
    /// The checkpoint, such as `DIR/best.trainer`
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// The original model, if it is not where it was compiled
    #[arg(long, value_name = "MODEL.onnx")]
    model: Option<PathBuf>,
    /// The tuned model
    #[arg(short, long, value_name = "TUNED.onnx")]
    output: PathBuf,
}

impl Export {
    pub fn run(&self) -> Result<()> {
        let file = TrainerFile::open(&self.checkpoint)?;
        let program = file.program();
        let model = find_model(program, &self.checkpoint, self.model.as_deref())?;
        let names = program.task.as_ref().map_or(&[][..], |task| &task.class_names);
        save_tuned(&model, program, tuned(&file), names, &self.output)?;
        crate::report::say(format_args!("wrote {}", self.output.display()));
        Ok(())
    }
}

/// The model that a trainer was compiled from: as given, where it was, or beside the trainer.
pub fn find_model(program: &Program, trainer: &Path, given: Option<&Path>) -> Result<Model> {
    let origin = program.origin.clone().unwrap_or_default();
    let recorded = PathBuf::from(&origin.file);
    let beside = recorded.file_name().map(|name| trainer.with_file_name(name));
    let places: Vec<PathBuf> = match given {
        Some(path) => vec![path.into()],
        None => [Some(recorded), beside].into_iter().flatten().filter(|path| path.is_file()).collect(),
    };
    for path in &places {
        let model = Model::open(path)?;
        if model.digest()[..] == origin.digest {
            return Ok(model);
        }
    }
    let name = &origin.file;
    Err(match places.first() {
        None => Failure::input(format!("{}: the original model {name} is not there", trainer.display()))
            .hint("say where it is with `--model MODEL.onnx`"),
        Some(path) => {
            Failure::input(format!("{} is not the model that {} was made from", path.display(), trainer.display()))
                .hint(format!("give `--model` the file that was compiled, {name}, unchanged"))
        }
    })
}

/// Writes the model with tuned weights, by name, in place of its own.
pub fn save_tuned(
    model: &Model,
    program: &Program,
    tuned: HashMap<String, Vec<f32>>,
    class_names: &[String],
    output: &Path,
) -> Result<()> {
    let preparation = program.origin.clone().unwrap_or_default().preparation.unwrap_or_default();
    Ok(export(model, &preparation, &tuned, class_names)?.save(output)?)
}
