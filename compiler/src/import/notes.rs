//! What import made of each node of a model, for people who want to know before they train.

use razorc_proto::onnx::NodeProto;

use super::order::label;
use crate::graph::{Graph, NodeId, Phase};
use crate::ops::OpDef;

/// What became of the nodes that a model's output depends on, in the order in which they were looked at.
#[derive(Default)]
pub struct Notes {
    /// A note for each of those nodes.
    pub nodes: Vec<Note>,
    /// Operators of the nodes that the output does not depend on.
    pub unused: Vec<String>,
    /// Version of the operator set; 0 where it could not be found out.
    pub opset: i64,
}

/// What became of a node of the model.
pub struct Note {
    /// Name of the node, or of its first output where it has none.
    pub node: String,
    /// ONNX operator.
    pub operator: String,
    /// Why it cannot be imported; none where it can.
    pub refused: Option<String>,
    /// Whether its results are known when compiling.
    pub constant: bool,
    /// Whether it was not looked at, as a node before it cannot be imported.
    pub behind: bool,
    /// Ops that it became.
    pub ops: Vec<&'static OpDef>,
    /// Weights that those read, with their roles.
    pub reads: Vec<(String, &'static str)>,
    /// What a weight that it reads is, if that is a constant whatever it looks like.
    pub holds: Option<&'static str>,
}

impl Note {
    /// A note of a node that nothing became of yet.
    pub fn of(node: &NodeProto) -> Note {
        Note {
            node: label(node),
            operator: node.op_type().to_string(),
            refused: None,
            constant: false,
            behind: false,
            ops: vec![],
            reads: vec![],
            holds: None,
        }
    }

    /// Adds what came into a graph after `last`, and what weights that reads.
    pub fn add(&mut self, graph: &Graph, last: Option<NodeId>, is_weight: impl Fn(&str) -> bool) {
        let new = graph.phase(Phase::Forward).rev().take_while(|it| Some(*it) != last);
        for node in new {
            self.ops.push(graph.node(node).op);
            for operand in graph.operands(node).into_iter().map(|it| graph.root(it)) {
                let role = graph.node(operand.node).op.name;
                if graph.is_declared(operand) && is_weight(graph.name(operand)) {
                    self.reads.push((graph.name(operand).to_string(), role));
                }
            }
        }
    }
}
