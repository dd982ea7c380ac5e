//! The model as the rest of import sees it: one flat graph of f32.
//!
//! Functions of the model's own are put where they are called, an `If` whose condition is known gives way to the branch
//! that it takes, and floats of other widths become f32. The model's file keeps all of that: export starts from the file.

mod branches;
mod floats;
mod functions;
mod scope;

use std::borrow::Cow;
use std::collections::HashMap;

use razorc_proto::Model;
use razorc_proto::onnx::{GraphProto, ModelProto, NodeProto};

use self::scope::Names;
use super::probe::Sizes;
use super::versions::{CHECKED, OLDEST, change};
use crate::error::ImportError;

pub(crate) use floats::moving;
pub(crate) use scope::{subgraphs, subgraphs_mut, values_read};

/// Nodes that may come of functions and branches; a few bytes can ask for any number.
const MOST_NODES: usize = 1 << 18;

/// Bytes of those nodes.
const MOST_BYTES: usize = 1 << 30;

/// Operators of other domains that are the default domain's own, or whose names mean nothing else there.
const SAME: &[(&str, &str)] = &[
    ("com.microsoft", "Gelu"),
    ("com.microsoft", "SimplifiedLayerNormalization"),
    ("com.microsoft", "SkipLayerNormalization"),
    ("com.microsoft", "SkipSimplifiedLayerNormalization"),
];

/// A flat model, and what could not be made flat.
pub struct Flat<'a> {
    /// The model itself where there was nothing to do.
    pub model: Cow<'a, Model>,
    /// Why nodes cannot be imported, by their first outputs; to be read after their operators.
    pub obstacles: Obstacles,
}

/// Why nodes cannot be imported, by their first outputs.
pub type Obstacles = HashMap<String, String>;

/// Makes a model flat, where inputs have these sizes.
pub fn flatten<'a>(model: &'a Model, opset: i64, sizes: &Sizes<'_>) -> Result<Flat<'a>, ImportError> {
    let mut flat = Flat { model: Cow::Borrowed(model), obstacles: Obstacles::new() };
    let has_branches = model.graph().node.iter().any(branches::is_if);
    if !model.proto().functions.is_empty() || has_branches {
        let mut unfolding = Unfolding::new(model.proto(), opset);
        let graph = flat.model.to_mut().graph_mut();
        let nodes = std::mem::take(&mut graph.node);
        graph.node = unfolding.functions(nodes)?;
        unfolding.branches(flat.model.to_mut(), sizes)?;
        flat.obstacles = unfolding.obstacles;
    }
    let foreign = |it: &NodeProto| SAME.contains(&(it.domain(), it.op_type()));
    if flat.model.graph().node.iter().any(foreign) {
        let nodes = &mut flat.model.to_mut().graph_mut().node;
        nodes.iter_mut().filter(|it| foreign(it)).for_each(|it| it.domain = None);
    }
    floats::widen(&mut flat.model);
    for node in flat.model.graph().node.iter().filter(|it| it.domain().is_empty()) {
        if let Some(since) = change(node.op_type(), CHECKED.max(OLDEST), opset) {
            let reason = format!("means something new since opset {since}; export with opset {CHECKED} or below");
            flat.obstacles.entry(first_output(node)).or_insert(reason);
        }
    }
    Ok(flat)
}

/// Unfolds functions and branches within bounds.
struct Unfolding<'a> {
    functions: HashMap<Key<'a>, functions::Function<'a>>,
    opset: i64,
    names: Names,
    obstacles: Obstacles,
    nodes: usize,
    bytes: usize,
}

/// Domain, name and overload of a function.
type Key<'a> = (&'a str, &'a str, &'a str);

impl<'a> Unfolding<'a> {
    fn new(model: &'a ModelProto, opset: i64) -> Unfolding<'a> {
        let empty = GraphProto::default();
        Unfolding {
            functions: functions::table(model),
            opset,
            names: Names::of(model.graph.as_ref().unwrap_or(&empty)),
            obstacles: Obstacles::new(),
            nodes: 0,
            bytes: 0,
        }
    }

    /// Counts nodes that are about to be made.
    fn spend(&mut self, nodes: usize, bytes: usize) -> Result<(), ImportError> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        match self.nodes <= MOST_NODES && self.bytes <= MOST_BYTES {
            true => Ok(()),
            false => Err(ImportError::Unfolded { most: MOST_NODES }),
        }
    }

    fn obstacle(&mut self, node: &NodeProto, reason: impl Into<String>) {
        self.obstacles.insert(first_output(node), reason.into());
    }
}

/// The name that an obstacle goes by.
pub fn first_output(node: &NodeProto) -> String {
    node.output.iter().find(|it| !it.is_empty()).cloned().unwrap_or_default()
}
