//! ONNX to forward graph.

/// How an ONNX node becomes nodes of the graph.
pub type ImportRule = fn();
