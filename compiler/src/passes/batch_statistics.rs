//! Batch normalization by the batch's own statistics.

use crate::attrs::Attrs;
use crate::graph::{Graph, Phase, Value};
use crate::ops;

/// Turns `batch_norm` into `batch_norm_train` and adds the update of its running statistics.
///
/// The momentum is the node's own (ONNX: the share of the old value), 0.9 where it has none.
pub fn run(graph: &mut Graph) {
    let norms: Vec<_> = graph.phase(Phase::Forward).filter(|it| graph.node(*it).op.name == "batch_norm").collect();
    for norm in norms {
        let [x, scale, bias, mean, var] = graph.operands(norm)[..] else { continue };
        let [y] = graph.results(norm)[..] else { continue };
        let attrs = graph.node(norm).attrs.clone();
        let name = graph.name(y).to_string();
        let count = graph.ty(x).elements() / graph.ty(scale).elements().max(1);

        graph
            .rewrite(norm, ops::get("batch_norm_train"), &[x, scale, bias], attrs.only(&["epsilon"]))
            .unwrap_or_else(|e| panic!("batch statistics of {name}: {e}"));
        for running in [mean, var] {
            graph.set_role(running.node, "statistic");
        }
        let statistic = |result| Value { node: norm, result };
        let update = Attrs::new()
            .with("momentum", attrs.float_or("momentum", 0.9))
            .with("epsilon", attrs.float_or("epsilon", 1e-5))
            .with("count", count as i64);
        graph
            .add(Phase::Update, ops::get("batch_norm_update"), &[mean, var, statistic(1), statistic(2)], update, &name)
            .unwrap_or_else(|e| panic!("running statistics of {name}: {e}"));
    }
}
