//! Cotangents of a tensor that is read twice add up as the second one is made, which then never has bytes of its own.

use super::pattern::is_inner;
use crate::graph::{Graph, NodeId, Phase, Value};

/// Turns sums of the backward phase into the op that makes the later operand, if that can add onto the earlier one.
pub fn run(graph: &mut Graph) {
    for sum in graph.phase(Phase::Backward).collect::<Vec<_>>() {
        let Some((earlier, later)) = found(graph, sum) else { continue };
        let (op, attrs) = (graph.node(later.node).op, graph.node(later.node).attrs.clone());
        let operands = [graph.operands(later.node), vec![earlier]].concat();
        graph.move_before(sum, later.node);
        graph.rewrite(sum, op, &operands, attrs).unwrap_or_else(|e| panic!("{} adds onto a cotangent: {e}", op.name));
        graph.remove(later.node);
    }
}

/// What a sum adds up, in the order of its making, if the maker of the second can do that.
fn found(graph: &Graph, sum: NodeId) -> Option<(Value, Value)> {
    let operands = graph.operands(sum);
    let &[a, b] = operands.as_slice() else { return None };
    let (earlier, later) = if graph.position(a.node) < graph.position(b.node) { (a, b) } else { (b, a) };
    let maker = graph.node(later.node);
    let operands = [graph.operands(later.node), vec![earlier]].concat();
    let alone = maker.phase == Phase::Backward && graph.results(later.node).len() == 1 && is_inner(graph, later);
    let takes = maker.op.reuses.contains(&(operands.len() - 1));
    if graph.node(sum).op.name != "add" || !alone || !takes {
        return None;
    }
    let types: Vec<_> = operands.iter().map(|it| graph.ty(*it).clone()).collect();
    let made = (maker.op.shape)(&types, &maker.attrs).ok()?;
    (made == [graph.ty(Value { node: sum, result: 0 }).clone()]).then_some((earlier, later))
}
