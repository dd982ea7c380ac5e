use std::path::PathBuf;

use clap::Args;
use razorc_compiler::budget::{self, BudgetError, Calibration};
use razorc_compiler::options::{Clip, ClipScope, Options};
use razorc_compiler::{compile, graphs, memory};
use razorc_proto::program::Memory;
use razorc_proto::{Model, write_trainer};

use super::{complete, threads};
use crate::failure::Result;
use crate::fidelity::{self, Batches};
use crate::options::{CompileOptions, DataOptions};
use crate::report;

/// Stands for an absent `--calibrate`.
const NO_DATA: &str = "-";

/// Make a trainer from a pretrained ONNX model
#[derive(Args)]
// Only calibration needs data, and it has a name of its own for them.
#[command(mut_arg("data", |it| it.long("calibrate").required(false).default_value(NO_DATA).hide_default_value(true)
    .help("Choose what is kept by the errors of gradients on batches of this data; without `--memory`, in the bytes that `--sparsity` takes")
    .long_help(None)))]
pub struct Compile {
    /// The model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// The trainer; by default, the model's name in the current folder
    #[arg(short, long, value_name = "MODEL.trainer")]
    output: Option<PathBuf>,
    /// Plan at most so much memory, such as 64MB, 1.5GiB or bytes: chooses what is kept of each saved tensor, and
    /// `--micro-batch` unless that is given
    #[arg(long, value_name = "SIZE", value_parser = size,
          conflicts_with_all = ["sparsity", "values", "reference_mask"])]
    memory: Option<u64>,
    /// Batches that `--calibrate` measures on
    #[arg(long, value_name = "N", default_value_t = 2)]
    batches: u64,
    #[command(flatten)]
    options: CompileOptions,
    #[command(flatten)]
    data: DataOptions,
}

impl Compile {
    pub fn run(&self) -> Result<()> {
        let options = self.options.parse()?;
        let model = Model::open(&self.model)?;
        let output = self.output();
        let (options, label) = match self.fitted(&model, &options)? {
            Some(fitted) => (fitted, "as chosen".to_string()),
            None => (options, self.options.method_label()),
        };
        let packed = complete(&model, &options)?.fill()?;
        let mut program = packed.program;
        if let Some(origin) = &mut program.origin {
            origin.file = self.model.display().to_string();
        }
        program.budget = self.memory.unwrap_or(0);
        let blobs: Vec<_> = packed.blobs.iter().map(|blob| blob.as_deref()).collect();
        write_trainer(&output, &program, &blobs)?;

        let plan = program.memory.unwrap_or_default();
        report::say(report::comparison(&packed.dense, &plan, &label));
        self.say_clipping(&model, &options, &plan)?;
        if let Some(memory) = self.memory {
            let rows = if options.has_parts() { format!(", {} rows at a time", options.rows()) } else { String::new() };
            report::say(format_args!("\n{} of {memory} bytes are planned{rows}", plan.planned_peak));
        }
        if program.saved.iter().any(|it| it.chosen) {
            report::say(report::choices(&program.saved));
        }
        report::say(format_args!("wrote {}", output.display()));
        Ok(())
    }

    /// What it costs to clip all gradients together. In parts of a batch they add up in any case.
    fn say_clipping(&self, model: &Model, options: &Options, plan: &Memory) -> Result<()> {
        let waits = |it: &Clip| it.scope == ClipScope::Global && !options.has_parts();
        let Some(clip) = options.optimizer.clip.filter(waits) else { return Ok(()) };
        let mut apart = options.clone();
        apart.optimizer.clip = Some(Clip { scope: ClipScope::PerWeight, ..clip });
        let without = memory(&graphs(model, &apart)?);
        let more = report::bytes(plan.planned_peak.saturating_sub(without.planned_peak));
        report::say(format_args!(
            "\nclipping waits until all gradients are in memory: {more} more than `--clip per-weight`"
        ));
        Ok(())
    }

    /// The options that fit the memory; none where nothing is to be chosen.
    fn fitted(&self, model: &Model, options: &Options) -> Result<Option<Options>> {
        let calibrates = self.data.data.as_os_str() != NO_DATA;
        let calibration = if calibrates { self.calibrate(model, options)? } else { Calibration::default() };
        let (memory, options) = match self.memory {
            Some(memory) => (memory, options.clone()),
            None if calibrates => {
                let uniform = memory(&graphs(model, options)?).planned_peak;
                (uniform, Options { micro_batch: options.rows(), ..options.clone() })
            }
            None => return Ok(None),
        };
        match budget::fit(model, &options, memory, &calibration) {
            // Where saved tensors do not decide the peak, other choices can take a few bytes more than the uniform ones.
            Err(BudgetError::Infeasible(it)) if self.memory.is_none() => {
                Ok(Some(budget::fit(model, &options, it.smallest, &calibration)?))
            }
            found => Ok(Some(found?)),
        }
    }

    fn calibrate(&self, model: &Model, options: &Options) -> Result<Calibration> {
        let (data, threads) = (&self.data, threads(None));
        let program = compile(model, options)?.program;
        let rows = data.open(&program, threads)?;
        let transform = data.transform(program.task.as_ref())?;
        let batches = Batches { data: &rows, transform: &transform, count: self.batches.max(1), threads };
        let fidelity = fidelity::measure(model, options, &batches)?;
        report::say("rank correlation with the error of gradients at 90 %");
        for (name, correlation) in fidelity.predictors() {
            report::say(format_args!("{correlation:>8.2}  {name}"));
        }
        report::say("");
        Ok(fidelity.calibration())
    }

    fn output(&self) -> PathBuf {
        let name = || PathBuf::from(self.model.file_name().unwrap_or("model".as_ref()));
        self.output.clone().unwrap_or_else(|| name().with_extension("trainer"))
    }
}

/// Bytes, with a unit of powers of 1000 or 1024 if one is given.
fn size(text: &str) -> std::result::Result<u64, String> {
    let digits = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err("the units are KB, MB, GB, TB, KiB, MiB, GiB and TiB; write `--memory 64MB`".into()),
    };
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() && 1.0 <= number * factor => Ok((number * factor) as u64),
        _ => Err("a size is a number above 0, perhaps with a unit; write `--memory 64MB`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units_of_both_kinds() {
        let sizes = [("512MB", 512_000_000), ("64MiB", 64 << 20), ("1.5GB", 1_500_000_000), ("4096", 4096)];
        for (text, expected) in sizes {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "MB", "-1MB", "0", "12X", "1.2.3MB", "infMB", "1e3"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
