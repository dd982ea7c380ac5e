//! Kernels for the processor.

pub mod activation;
pub mod bits;
pub mod broadcast;
pub mod channels;
pub mod chunks;
pub mod conv;
pub mod depthwise;
pub mod dropout;
pub mod elementwise;
pub mod gemm;
pub mod layout;
pub mod linear;
pub mod loss;
pub mod lrn;
pub mod math;
pub mod nest;
pub mod norm;
pub mod optimizer;
pub mod pack;
pub mod pool2d;
pub mod reduce;
pub mod softmax;
pub mod topk;
pub mod wide;
pub mod window;
