//! Every kernel of the processor against the reference, with one thread and with several: values within rounding, bits
//! equal whatever the number of threads.

mod attention;
mod case;
mod compare;
mod conv;
mod elementwise;
mod fold;
mod index;
mod layout;
mod linear;
mod logic;
mod loss;
mod norm;
mod packing;
mod places;
mod pool;
mod reduce;
mod resize;
mod row_norm;
mod rows;
mod slope;
mod softmax;
mod unary;
mod update;
