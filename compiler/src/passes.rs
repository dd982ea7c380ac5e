//! Rewrites of the training graph, a pass a file.

pub mod back_razor;
pub mod batch_statistics;
pub mod dead_code;
pub mod evaluation;
pub mod rebuild_views;
pub mod samples;
