//! Kernels for the processor.

pub mod activation;
pub mod bits;
pub mod broadcast;
pub mod channels;
pub mod chunks;
pub mod dropout;
pub mod elementwise;
pub mod layout;
pub mod loss;
pub mod lrn;
pub mod math;
pub mod nest;
pub mod norm;
pub mod optimizer;
pub mod pack;
pub mod reduce;
pub mod softmax;
pub mod topk;
pub mod wide;
