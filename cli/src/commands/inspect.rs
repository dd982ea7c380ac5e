use std::path::PathBuf;

use clap::Args;
use razorc_compiler::{compile, text_after};
use razorc_proto::program::{Program, Role};
use razorc_proto::{Model, TrainerError, TrainerFile};

use crate::failure::{Failure, Result};
use crate::options::CompileOptions;
use crate::report;

/// Show what a model would become, or what a trainer is
#[derive(Args)]
pub struct Inspect {
    /// A model, or a trainer or checkpoint
    #[arg(value_name = "MODEL.onnx|MODEL.trainer")]
    file: PathBuf,
    /// Print the training graph after a pass, such as `autodiff` or `back-razor`
    #[arg(long, value_name = "PASS", conflicts_with_all = ["memory", "json"])]
    after: Option<String>,
    /// Print what is saved of each tensor for the backward pass, and why
    #[arg(long, conflicts_with_all = ["after", "memory", "json"])]
    saves: bool,
    /// Print the plan of the memory
    #[arg(long)]
    memory: bool,
    /// Print the plan as one JSON object, in bytes
    #[arg(long, requires = "memory")]
    json: bool,
    #[command(flatten)]
    options: CompileOptions,
}

impl Inspect {
    pub fn run(&self) -> Result<()> {
        if let Some(pass) = &self.after {
            report::say(self.graph_after(pass)?.trim_end());
            return Ok(());
        }
        if self.saves {
            report::say(self.decisions()?.trim_end());
            return Ok(());
        }
        let program = self.program()?;
        let memory = program.memory.unwrap_or_default();
        match (self.memory, self.json) {
            (_, true) => report::say(report::memory_json(&memory)),
            (true, _) => report::say(report::memory_text(&memory)),
            _ => report::say(format_args!("{}\n{}", outline(&program), report::memory_text(&memory))),
        }
        Ok(())
    }

    fn graph_after(&self, pass: &str) -> Result<String> {
        Ok(text_after(&self.model("--after")?, &self.options.parse()?, pass)?)
    }

    /// A line for each tensor that is saved.
    fn decisions(&self) -> Result<String> {
        let compiled = compile(&self.model("--saves")?, &self.options.parse()?)?;
        let width = compiled.decisions.iter().map(|it| it.value.chars().count()).max().unwrap_or(0);
        Ok(compiled.decisions.iter().map(|it| format!("{:width$}  {it}\n", it.value)).collect())
    }

    /// The ONNX model, for an option that shows what the compiler does.
    fn model(&self, option: &str) -> Result<Model> {
        if TrainerFile::open(&self.file).is_ok() {
            return Err(Failure::input(format!("{} is compiled already", self.file.display()))
                .hint(format!("`{option}` shows the passes of the compiler; give it the ONNX model")));
        }
        Ok(Model::open(&self.file)?)
    }

    /// That of the trainer, or the one that the model would become.
    fn program(&self) -> Result<Program> {
        match TrainerFile::open(&self.file) {
            Ok(file) => Ok(file.program().clone()),
            Err(TrainerError::NotATrainer { .. }) => {
                Ok(compile(&Model::open(&self.file)?, &self.options.parse()?)?.program)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn outline(program: &Program) -> String {
    let count = |role: Role| {
        let of_role = program.residents.iter().filter(|it| it.role() == role);
        let (tensors, elements) = of_role.fold((0, 0), |(tensors, elements), it| {
            (tensors + 1, elements + it.r#type.as_ref().and_then(|it| it.elements()).unwrap_or(0))
        });
        format!("{elements} in {tensors} tensors")
    };
    let task = program.task.clone().unwrap_or_default();
    let instructions = |sequence: &Option<_>| {
        sequence.as_ref().map_or(0, |it: &razorc_proto::program::Sequence| it.instructions.len())
    };
    let mut text = format!("name            {}\n", program.name);
    text += &format!("inputs          {}\n", task.inputs.join(", "));
    text += &format!("batch           {}\n", task.batch);
    text += &format!("loss            {}\n", task.loss().as_str_name().to_lowercase().replace('_', " "));
    if 0 < task.classes {
        text += &format!("classes         {} {}\n", task.classes, task.class_names.join(", "));
    }
    text += &format!("trained         {}\n", count(Role::Param));
    text += &format!("frozen          {}\n", count(Role::Frozen));
    text += &format!(
        "instructions    {} in a step, {} in evaluation\n",
        instructions(&program.train),
        instructions(&program.eval)
    );
    if let Some(progress) = &program.progress {
        text += &format!("progress        step {}, epoch {}\n", progress.step, progress.epoch);
    }
    text
}
