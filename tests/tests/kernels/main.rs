//! Every kernel of the processor against the reference, with one thread and with several: values within rounding, bits
//! equal whatever the number of threads.

mod attention;
mod case;
mod compare;
mod conv;
mod elementwise;
mod layout;
mod linear;
mod loss;
mod norm;
mod packing;
mod pool;
mod reduce;
mod resize;
mod row_norm;
mod slope;
mod softmax;
mod unary;
mod update;
