//! Every kernel of the processor against the reference, with one thread and with several: values within rounding, bits
//! equal whatever the number of threads.

mod case;
mod conv;
mod linear;
mod pool;
