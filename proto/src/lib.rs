//! What razorc reads and writes: ONNX models and compiled trainers.

mod external;
mod file;
mod model;
pub mod packed;
mod tensor;
mod trainer;
mod types;

pub use external::ExternalError;
pub use file::replace;
pub use model::{Model, ModelError};
pub use tensor::{TensorData, TensorError, set_f32};
pub use trainer::{PROGRAM_VERSION, TrainerError, TrainerFile, write_trainer};
pub use types::NOT_WANTED;

/// Bytes that a message takes in a file.
pub fn encoded_len(message: &impl prost::Message) -> usize {
    message.encoded_len()
}

/// ONNX messages, generated from `onnx.proto` (proto2, so that unset and zero stay apart).
#[allow(missing_docs, clippy::all)]
pub mod onnx {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

/// The compiled trainer's messages, generated from `program.proto`.
#[allow(missing_docs, clippy::all)]
pub mod program {
    include!(concat!(env!("OUT_DIR"), "/razorc.rs"));
}
