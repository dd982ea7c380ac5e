use std::path::PathBuf;

use clap::Args;
use razorc_compiler::{compile, dense_single};
use razorc_proto::{Model, write_trainer};

use crate::failure::Result;
use crate::options::CompileOptions;
use crate::report;

/// Make a trainer from a pretrained ONNX model
#[derive(Args)]
pub struct Compile {
    /// The model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// The trainer; by default, the model's name in the current folder
    #[arg(short, long, value_name = "MODEL.trainer")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: CompileOptions,
}

impl Compile {
    pub fn run(&self) -> Result<()> {
        let options = self.options.parse()?;
        let model = Model::open(&self.model)?;
        let output = self.output();
        let packed = compile(&model, &options)?;
        let mut program = packed.program;
        if let Some(origin) = &mut program.origin {
            origin.file = self.model.display().to_string();
        }
        if let Some(memory) = &mut program.memory {
            memory.dense_single = dense_single(&model, &options).ok();
        }
        let blobs: Vec<_> = packed.blobs.iter().map(|blob| blob.as_deref()).collect();
        write_trainer(&output, &program, &blobs)?;

        let plan = program.memory.unwrap_or_default();
        report::say(report::comparison(&packed.dense, &plan, &self.options.method_label()));
        report::say(format_args!("wrote {}", output.display()));
        Ok(())
    }

    fn output(&self) -> PathBuf {
        let name = || PathBuf::from(self.model.file_name().unwrap_or("model".as_ref()));
        self.output.clone().unwrap_or_else(|| name().with_extension("trainer"))
    }
}
