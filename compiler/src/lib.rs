//! Turns a pretrained ONNX model into a training program: import, differentiate, rewrite, schedule, lower.
//!
//! Graphs have a text form, so a pass is tested by reading: text in, text out. A pass of one's own, and its test:
//!
//! ```
//! use razorc_compiler::{graph::Graph, passes, text, verify::verify};
//!
//! /// Swaps the operands of every addition.
//! fn swap(graph: &mut Graph) {
//!     for node in graph.order().to_vec() {
//!         if graph.node(node).op.name == "add" {
//!             let operands: Vec<_> = graph.operands(node).into_iter().rev().collect();
//!             graph.set_operands(node, &operands);
//!         }
//!     }
//! }
//!
//! let text = "trainer @sum {
//!   input     %x : f32[8,4]
//!   param     %b : f32[4]
//!
//!   forward {
//!     %y = add %x, %b : f32[8,4]
//!   }
//! }
//! ";
//! let mut graph = text::parse(text).map_err(|it| it[0].clone())?.graph;
//! assert_eq!(graph.to_string(), text);
//! swap(&mut graph);
//! assert_eq!(verify(&graph), []);
//! // With insta: `insta::assert_snapshot!(graph)`.
//! assert!(graph.to_string().contains("%y = add %b, %x : f32[8,4]"));
//!
//! // Passes of the compiler run by name.
//! let options = razorc_compiler::options::Options::default();
//! passes::run("dead-code", &mut graph, &options)?;
//! assert!(!graph.to_string().contains("%y"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod attrs;
pub mod autodiff;
pub mod budget;
mod compile;
pub mod doctor;
pub mod error;
mod exact;
pub mod export;
pub mod graph;
pub mod import;
pub mod lower;
pub mod ops;
pub mod options;
pub mod passes;
pub mod prepare;
pub mod report;
pub mod schedule;
pub mod sizes;
pub mod step;
pub mod text;
pub mod types;
pub mod verify;

pub use compile::{
    CompileError, Compiled, Graphs, Planned, compile, dense_single, graphs, memory, planned, plans, text_after,
};
