//! Makes the backward phase view saved tensors anew, so that a tensor and its reshapes are saved once.

use crate::attrs::Attrs;
use crate::graph::{Graph, Phase, Value};
use crate::ops;

/// Replaces every saved view by a view, in the backward phase, of the value that it is a view of.
pub fn run(graph: &mut Graph) {
    for saved in graph.saves() {
        let root = graph.root(saved);
        if root == saved || graph.is_declared(root) && graph.node(root.node).op.name != "input" {
            continue;
        }
        let dims = graph.ty(saved).dims().to_vec();
        let name = format!("{}.view", graph.name(saved));
        let attrs = Attrs::new().with("shape", dims.as_slice());
        let node = graph
            .add(Phase::Backward, ops::get("reshape"), &[root], attrs, &name)
            .unwrap_or_else(|e| panic!("a view of a view of {name}: {e}"));
        let view = Value { node, result: 0 };
        let backward = |graph: &Graph, it| graph.node(it).phase == Phase::Backward && it != node;
        let first = graph.readers(saved).into_iter().map(|it| it.0).find(|&it| backward(graph, it));
        graph.redirect(saved, view, backward);
        if let Some(first) = first {
            graph.move_before(node, first);
        }
    }
}
