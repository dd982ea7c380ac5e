//! Turns a pretrained ONNX model into a training program: import, differentiate, rewrite, schedule, lower.
