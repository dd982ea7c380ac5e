use std::path::PathBuf;

use clap::Args;
use razorc_compiler::{compile, graphs, text_after};
use razorc_proto::program::task::Kind;
use razorc_proto::program::{Program, Role};
use razorc_proto::{Model, TrainerError, TrainerFile, replace};

use super::{complete, threads};
use crate::failure::{Failure, Result};
use crate::fidelity::{self, Batches};
use crate::options::{CompileOptions, DataOptions};
use crate::timeline::Timeline;
use crate::{page, report};

/// Show what a model would become, or what a trainer is
#[derive(Args)]
// Only `--fidelity` needs data, and only it looks at the path.
#[command(mut_arg("data", |it| it.required(false).default_value(".").hide_default_value(true)))]
pub struct Inspect {
    /// A model, or a trainer or checkpoint
    #[arg(value_name = "MODEL.onnx|MODEL.trainer")]
    file: PathBuf,
    /// Print the training graph after a pass, such as `autodiff` or `back-razor`
    #[arg(long, value_name = "PASS", conflicts_with_all = ["memory", "json"])]
    after: Option<String>,
    /// Print what is kept of every saved tensor, and why
    #[arg(long, conflicts_with_all = ["after", "memory", "json"])]
    saved: bool,
    /// Print the plan of the memory, and what lives where it is fullest
    #[arg(long)]
    memory: bool,
    /// Draw the plan of the memory into a page for the browser
    #[arg(long, value_name = "FILE.html", conflicts_with_all = ["after", "saved", "fidelity"])]
    html: Option<PathBuf>,
    /// Print the plan (in bytes) or the comparison as one JSON object
    #[arg(long)]
    json: bool,
    /// Compare pruned with exact gradients on batches of `--data`
    #[arg(long, requires = "data", conflicts_with_all = ["memory", "after"])]
    fidelity: bool,
    /// Batches that `--fidelity` compares on
    #[arg(long, value_name = "N", default_value_t = 3)]
    batches: u64,
    #[command(flatten)]
    options: CompileOptions,
    #[command(flatten)]
    data: DataOptions,
}

impl Inspect {
    pub fn run(&self) -> Result<()> {
        if let Some(pass) = &self.after {
            report::say(self.graph_after(pass)?.trim_end());
            return Ok(());
        }
        if self.fidelity {
            return self.compare_gradients();
        }
        if self.saved {
            if let Ok(file) = TrainerFile::open(&self.file) {
                report::say(report::saved(&file.program().saved));
                return Ok(());
            }
            let graphs = graphs(&self.model("`--saved` tells what the compiler decides")?, &self.options.parse()?)?;
            report::say(report::decisions(&graphs.decisions, &graphs.norms));
            return Ok(());
        }
        let program = self.program()?;
        let memory = program.memory.unwrap_or_default();
        if !self.memory && self.html.is_none() && !self.json {
            report::say(format_args!("{}\n{}", outline(&program), report::memory_text(&memory)));
            return Ok(());
        }
        let timeline = Timeline::of(&program)?;
        if let Some(path) = &self.html {
            let page = page::page(&timeline, &memory);
            replace(path, |file| file.write_all(page.as_bytes()))
                .map_err(|error| Failure::input(format!("{} cannot be written: {error}", path.display())))?;
        }
        match (self.memory, self.json) {
            (_, true) => {
                let mut object = report::memory_json(&memory);
                object["peak"] = report::peak_json(&timeline);
                report::say(object);
            }
            (true, _) => {
                report::say(report::memory_text(&memory));
                report::say(format_args!("\n{}", report::peak_text(&timeline)));
            }
            _ => {}
        }
        Ok(())
    }

    fn compare_gradients(&self) -> Result<()> {
        self.options.check_prunes("--fidelity")?;
        let data = &self.data;
        let (model, options, threads) = (Model::open(&self.file)?, self.options.parse()?, threads(None));
        let program = compile(&model, &options)?.program;
        let rows = data.open(&program, threads)?;
        let transform = data.transform(program.task.as_ref())?;
        let batches = Batches { data: &rows, transform: &transform, count: self.batches.max(1), threads };
        let fidelity = fidelity::measure(&model, &options, &batches)?;
        match self.json {
            true => report::say(fidelity.json()),
            false => report::say(fidelity.text()),
        }
        Ok(())
    }

    fn graph_after(&self, pass: &str) -> Result<String> {
        Ok(text_after(&self.model("`--after` shows the passes of the compiler")?, &self.options.parse()?, pass)?)
    }

    /// The model, for what a trainer does not tell.
    fn model(&self, why: &str) -> Result<Model> {
        if TrainerFile::open(&self.file).is_ok() {
            return Err(Failure::input(format!("{} is compiled already", self.file.display()))
                .hint(format!("{why}; give it the ONNX model")));
        }
        Ok(Model::open(&self.file)?)
    }

    /// That of the trainer, or the one that the model would become.
    fn program(&self) -> Result<Program> {
        match TrainerFile::open(&self.file) {
            Ok(file) => Ok(file.program().clone()),
            Err(TrainerError::NotATrainer { .. }) => {
                let (model, options) = (Model::open(&self.file)?, self.options.parse()?);
                Ok(complete(&model, &options)?.program)
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
    text += &match task.micro_batch {
        0 => format!("batch           {}\n", task.batch),
        micro => format!("batch           {}, {micro} at a time\n", task.batch),
    };
    if !matches!(task.kind(), Kind::Unspecified) {
        text += &format!("task            {}\n", task.kind().as_str_name().to_lowercase().replace('_', "-"));
    }
    if 0 < program.budget {
        text += &format!("budget          {}\n", report::bytes(program.budget));
    }
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
