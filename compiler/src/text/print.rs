//! Graph to text.

use std::fmt;

use super::lex::is_plain;
use crate::graph::{Graph, NodeId, Phase, Value};

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trainer @{} {{", quoted(&self.name))?;
        for node in self.phase(Phase::Declare) {
            let value = Value { node, result: 0 };
            writeln!(f, "  {:<9} {} : {}", self.node(node).op.name, name(self, value), self.ty(value))?;
        }
        let phases = [
            (Phase::Opening, "opening"),
            (Phase::Forward, "forward"),
            (Phase::Backward, "backward"),
            (Phase::Update, "update"),
        ];
        for (phase, word) in phases {
            if self.phase(phase).next().is_none() {
                continue;
            }
            write!(f, "\n  {word} ")?;
            if phase == Phase::Backward {
                write!(f, "saves({}) ", names(self, &self.saves()))?;
            }
            writeln!(f, "{{")?;
            for node in self.phase(phase) {
                writeln!(f, "    {}", line(self, node))?;
            }
            writeln!(f, "  }}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node as one line of the text form.
pub(crate) fn line(graph: &Graph, node: NodeId) -> String {
    let (results, writes) = (graph.results(node), graph.writes(node));
    let in_place = !writes.is_empty();
    let left = names(graph, if in_place { &writes } else { &results });
    let mut line = format!("{left} {} {}", if in_place { "<-" } else { "=" }, graph.node(node).op.name);
    let operands = graph.operands(node);
    if !operands.is_empty() {
        line += &format!(" {}", names(graph, &operands));
    }
    let attrs = &graph.node(node).attrs;
    if !attrs.is_empty() {
        let attrs: Vec<String> = attrs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        line += &format!(" {{{}}}", attrs.join(", "));
    }
    if !in_place {
        let types: Vec<String> = results.iter().map(|it| graph.ty(*it).to_string()).collect();
        line += &format!(" : {}", types.join(", "));
    }
    line
}

fn names(graph: &Graph, values: &[Value]) -> String {
    values.iter().map(|it| name(graph, *it)).collect::<Vec<_>>().join(", ")
}

fn name(graph: &Graph, value: Value) -> String {
    format!("%{}", quoted(graph.name(value)))
}

/// A name as it stands in text: quoted where it has other characters than plain ones.
fn quoted(name: &str) -> String {
    match !name.is_empty() && name.chars().all(is_plain) {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")),
    }
}
