//! Tables of rotary embeddings: a cosine and a sine for each position and frequency. Exporters write them like weights.

use std::collections::{HashMap, HashSet};

use razorc_proto::Model;
use razorc_proto::onnx::GraphProto;

use super::probe::{is_float, is_literal, weight_dims};
use super::weights::{Source, Weight};

/// What reads such a table: what multiplies by it, after what picks or arranges its rows.
const READERS: &[&str] = &[
    "Mul",
    "Gather",
    "GatherElements",
    "Slice",
    "Split",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Expand",
    "Tile",
    "Concat",
    "Cast",
    "Identity",
    "Neg",
];

/// How far the sum of two squares may be from 1: as far as it is where both were rounded to f16.
const OFF: f32 = 1e-3;

/// Fewer elements may be so by chance.
const FEWEST: usize = 8;

/// Elements of a table that are looked at before all of them are.
const SAMPLE: usize = 64;

/// More tensors of the same sizes are none of a network's tables.
const MOST_ALIKE: usize = 1 << 10;

/// Names of initializers that come in pairs a and b of the same sizes, not vectors, where `a² + b² = 1` in each place and
/// not all of them are ones and zeros.
pub fn rotations(model: &Model) -> HashSet<String> {
    let graph = model.graph();
    let others = read_otherwise(graph);
    let mut alike: HashMap<Vec<u64>, Vec<Weight>> = HashMap::new();
    for tensor in &graph.initializer {
        let dims = weight_dims(tensor).unwrap_or_default();
        if 2 <= dims.len() && is_float(tensor) && !is_literal(tensor) && !others.contains(tensor.name()) {
            let source = Source::Model { tensor: Box::new(tensor.clone()), folder: model.folder().map(Into::into) };
            let weight = Weight { dims: dims.clone(), source, initializer: Some(tensor.name().to_string()) };
            alike.entry(dims).or_default().push(weight);
        }
    }
    let groups = alike.into_values().filter(|it| (2..=MOST_ALIKE).contains(&it.len()));
    groups.flat_map(|it| paired(&it)).collect()
}

/// Values that are read by an operator that no table of rotations is read by, or are outputs.
fn read_otherwise(graph: &GraphProto) -> HashSet<&str> {
    let odd = graph.node.iter().filter(|it| !READERS.contains(&it.op_type()));
    let inputs = odd.flat_map(|it| it.input.iter().map(String::as_str));
    inputs.chain(graph.output.iter().map(|it| it.name())).collect()
}

/// Names of those that have a partner. At no time more than two are decoded.
fn paired(weights: &[Weight]) -> Vec<String> {
    let samples: Vec<Option<Vec<f32>>> = weights.iter().map(sample).collect();
    let mut found = vec![false; weights.len()];
    for a in 0..weights.len() {
        for b in a + 1..weights.len() {
            let (Some(x), Some(y)) = (&samples[a], &samples[b]) else { continue };
            if !(found[a] && found[b]) && circles(x, y) && rotate(&weights[a], &weights[b]) {
                (found[a], found[b]) = (true, true);
            }
        }
    }
    let names = weights.iter().zip(found).filter(|it| it.1).filter_map(|it| it.0.initializer.clone());
    names.collect()
}

/// Some elements of what may be a table; none where it is not one.
fn sample(weight: &Weight) -> Option<Vec<f32>> {
    let values = floats(weight).filter(|it| FEWEST <= it.len() && it.iter().all(|x| x.abs() <= 1.0 + OFF))?;
    let step = values.len().div_ceil(SAMPLE);
    Some(values.into_iter().step_by(step).collect())
}

fn floats(weight: &Weight) -> Option<Vec<f32>> {
    weight.floats().ok().flatten()
}

fn rotate(a: &Weight, b: &Weight) -> bool {
    let (Some(a), Some(b)) = (floats(a), floats(b)) else { return false };
    // A scale of ones and a bias of zeros would do, too.
    let turns = |x: &f32| (0.1..0.9).contains(&(x * x));
    circles(&a, &b) && a.iter().any(turns)
}

/// Whether each pair of numbers is a point of the unit circle.
fn circles(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a * a + b * b - 1.0).abs() <= OFF)
}
