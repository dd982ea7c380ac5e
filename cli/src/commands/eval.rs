use std::path::PathBuf;

use clap::Args;
use razorc_proto::TrainerFile;
use razorc_runtime::train::evaluate;
use razorc_runtime::trainer::Trainer;
use serde_json::json;

use super::threads;
use crate::failure::Result;
use crate::options::DataOptions;
use crate::report;

/// Score a trainer or a checkpoint on data
#[derive(Args)]
pub struct Eval {
    /// The trainer or checkpoint
    #[arg(value_name = "MODEL.trainer")]
    trainer: PathBuf,
    /// Threads that compute; by default one for each processor
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write one JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataOptions,
}

impl Eval {
    pub fn run(&self) -> Result<()> {
        let threads = threads(self.threads);
        let file = TrainerFile::open(&self.trainer)?;
        let transform = self.data.transform(file.program().task.as_ref())?;
        let data = self.data.open(file.program(), threads)?;
        let mut trainer = Trainer::load(file, threads)?;
        let score = evaluate(&mut trainer, &data, &transform, threads)?;
        if self.json {
            let mut object = json!({ "rows": data.len(), "counted": score.rows });
            report::add_score(&mut object, "", Some(&score));
            report::say(object);
        } else {
            report::say(format_args!("{} of {} rows", report::score(&score), data.len()));
        }
        Ok(())
    }
}
