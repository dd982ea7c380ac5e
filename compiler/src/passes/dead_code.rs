//! Removes what nobody reads.

use crate::graph::{Graph, Value};

/// Removes nodes, and declarations, none of whose results are read or kept and that write nothing in place.
pub fn run(graph: &mut Graph, kept: &[Value]) {
    let order: Vec<_> = graph.order().iter().rev().copied().collect();
    for node in order {
        let results = graph.results(node);
        let live = !graph.writes(node).is_empty()
            || results.iter().any(|&it| kept.contains(&it) || !graph.readers(it).is_empty());
        let filled_by_caller = graph.node(node).op.name == "input";
        if !live && !filled_by_caller {
            graph.remove(node);
        }
    }
}
