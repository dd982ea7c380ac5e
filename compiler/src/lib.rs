//! Turns a pretrained ONNX model into a training program: import, differentiate, rewrite, schedule, lower.

pub mod attrs;
pub mod autodiff;
pub mod graph;
pub mod import;
pub mod ops;
pub mod options;
pub mod passes;
pub mod types;
