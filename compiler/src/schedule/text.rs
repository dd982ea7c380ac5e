//! The text form of a schedule, for tests and for `inspect --memory`.

use std::fmt::Write;

use super::{Place, Schedule};
use crate::graph::Graph;

impl Schedule {
    /// Two tables: what runs at which step, and what lies where from which step to which.
    pub fn to_text(&self, graph: &Graph) -> String {
        let mut text =
            format!("plan @{} arena={} bound={} align={}\n", graph.name, self.peak, self.bound, super::ALIGN);
        self.write_steps(graph, &mut text);
        self.write_values(graph, &mut text);
        text
    }

    fn write_steps(&self, graph: &Graph, text: &mut String) {
        *text += "  step  instruction\n";
        for (step, &node) in self.steps.iter().enumerate() {
            let names = |values: Vec<_>| {
                let names: Vec<String> = values.into_iter().map(|it| format!("%{}", graph.name(it))).collect();
                names.join(", ")
            };
            let made = match graph.writes(node) {
                written if written.is_empty() => format!("{} =", names(graph.results(node))),
                written => format!("{} <-", names(written)),
            };
            let _ = writeln!(text, "  {step:>4}  {made} {} {}", graph.node(node).op.name, names(graph.operands(node)));
        }
    }

    fn write_values(&self, graph: &Graph, text: &mut String) {
        let mut rows: Vec<[String; 4]> = vec![["value", "bytes", "live", "offset"].map(String::from)];
        for value in graph.order().iter().flat_map(|it| graph.results(*it)) {
            let Some(&Place::Storage(idx)) = self.places.get(&value) else {
                continue;
            };
            let storage = &self.storages[idx];
            let live = format!("[{}, {})", storage.buffer.first, storage.buffer.end);
            let bytes = graph.ty(value).bytes();
            rows.push([format!("%{}", graph.name(value)), bytes.to_string(), live, storage.offset.to_string()]);
        }
        let width = |column: usize| rows.iter().map(|it| it[column].chars().count()).max().unwrap_or(0);
        let [a, b, c, d] = [0, 1, 2, 3].map(width);
        for [value, bytes, live, offset] in &rows {
            let _ = writeln!(text, "  {value:<a$}  {bytes:>b$}  {live:<c$}  {offset:>d$}");
        }
    }
}
