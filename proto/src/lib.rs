//! What razorc reads and writes: ONNX models and compiled trainers.

mod types;

pub use types::NOT_WANTED;

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
