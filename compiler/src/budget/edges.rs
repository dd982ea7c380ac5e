//! What may be kept of each saved tensor, and how wrong gradients get by it.

use std::collections::{BTreeMap, HashSet};
use std::f64::consts::PI;

use super::knapsack::Level;
use crate::graph::{Graph, Value};
use crate::options::{Choice, Options, Razor, Sparsity};
use crate::passes::{back_razor, round_saves};
use crate::schedule::arena_bytes;
use crate::types::DType;

/// Fractions that a budget chooses from, in percent.
pub const SPARSITIES: [u32; 4] = [80, 90, 95, 97];
/// Squared error of 8 bits with a scale for 64 elements, relative to the tensor's energy: a normal distribution's 64
/// elements span 4.8 deviations, and rounding to a 255th of that has a variance of a twelfth of its square.
const ROUNDED: f64 = 3e-5;
/// As `ROUNDED`, of one kept value of i8: 256 kept values reach 3.5 deviations, a 127th of that is a step, and rounding at
/// random has a variance of a sixth of its square.
const STEP: f64 = 1.3e-4;

/// Errors that were measured on real batches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    /// By the name of a weight, for each of [`SPARSITIES`]: the squared length of what pruning changes in its gradient, as a
    /// share of the squared length of the gradient of all weights. These add up to the error of the whole gradient.
    pub errors: BTreeMap<String, [f64; SPARSITIES.len()]>,
}

/// A saved tensor about which a budget decides.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Of the saved value.
    pub name: String,
    /// From most to least bytes; the first one keeps all of it.
    pub choices: Vec<Choice>,
    /// Of the choices.
    pub levels: Vec<Level>,
}

/// The edges of a step that saves every tensor whole, with all choices up to a sparsity of `most` percent.
pub fn edges(graph: &Graph, options: &Options, calibration: &Calibration, most: u32) -> Vec<Edge> {
    let (razor, rows) = (&options.razor, options.rows());
    let razor = &Razor { choices: BTreeMap::new(), ..razor.clone() };
    let prunable: HashSet<String> = back_razor::decisions(graph, razor, rows)
        .into_iter()
        .filter_map(|it| it.outcome.is_ok().then_some(it.value))
        .collect();
    let roundable: HashSet<String> = round_saves::decisions(graph, razor).into_iter().map(|it| it.value).collect();
    let free = graph.saves().into_iter().filter(|it| !back_razor::is_asked_for(graph, *it, razor));
    let saves: Vec<Value> =
        free.filter(|it| prunable.contains(graph.name(*it)) || roundable.contains(graph.name(*it))).collect();
    let equal = 1.0 / saves.len().max(1) as f64;
    let edge = |saved: &Value| {
        let name = graph.name(*saved).to_string();
        let mut choices = vec![Choice::Whole];
        choices.extend(roundable.contains(&name).then_some(Choice::Rounded));
        if prunable.contains(&name) {
            let pruned = SPARSITIES.into_iter().filter(|it| *it <= most);
            let pruned = pruned.flat_map(|it| [DType::F16, DType::I8].map(|values| (Sparsity::percent(it), values)));
            choices.extend(pruned.map(|(sparsity, values)| Choice::Pruned(sparsity, values)));
        }
        let measured = measured(graph, *saved, calibration);
        let mut edge = Edge { name, choices: vec![], levels: vec![] };
        for choice in choices {
            let level =
                Level { bytes: bytes(graph, *saved, choice, razor, rows), error: error(choice, equal, measured) };
            // Rounding an index up to whole words can make the smaller fraction the larger copy.
            if edge.levels.last().is_none_or(|it| level.bytes < it.bytes) {
                edge.choices.push(choice);
                edge.levels.push(level);
            }
        }
        edge
    };
    saves.iter().map(edge).collect()
}

/// Sum of what was measured for the weights that read a saved value; none where nothing was.
fn measured(graph: &Graph, saved: Value, calibration: &Calibration) -> Option<[f64; SPARSITIES.len()]> {
    let weights = back_razor::layers(graph, saved).into_iter().map(|(_, weight)| graph.name(graph.root(weight)));
    let found = weights.filter_map(|it| calibration.errors.get(it));
    found.copied().reduce(|a, b| std::array::from_fn(|it| a[it] + b[it]))
}

fn bytes(graph: &Graph, saved: Value, choice: Choice, razor: &Razor, rows: u64) -> u64 {
    let ty = graph.ty(saved);
    match choice {
        Choice::Whole => arena_bytes(ty),
        Choice::Rounded => arena_bytes(&round_saves::rounded(ty, razor)),
        Choice::Pruned(sparsity, values) => {
            let mut razor = razor.clone();
            razor.values = values;
            arena_bytes(&back_razor::packed(graph, saved, sparsity, &razor, rows))
        }
    }
}

/// What a choice adds to the squared error of the gradient. Without a measurement, every edge has the share `equal` of the
/// gradient, and what is dropped of it is what is dropped of a normal distribution's energy.
fn error(choice: Choice, equal: f64, measured: Option<[f64; SPARSITIES.len()]>) -> f64 {
    let last = SPARSITIES.len() - 1;
    let share = measured.map_or(equal, |it| it[last] / dropped(SPARSITIES[last]));
    match choice {
        Choice::Whole => 0.0,
        Choice::Rounded => ROUNDED * share,
        Choice::Pruned(sparsity, values) => {
            let at = SPARSITIES.iter().position(|it| Sparsity::percent(*it) == sparsity).unwrap_or(last);
            let pruned = measured.map_or(equal * dropped(SPARSITIES[at]), |it| it[at]);
            let kept = 1.0 - f64::from(SPARSITIES[at]) / 100.0;
            pruned + if values == DType::I8 { STEP * kept * share } else { 0.0 }
        }
    }
}

/// Share of the energy of a normal distribution that its smallest magnitudes hold, so many percent of all.
pub fn dropped(percent: u32) -> f64 {
    let (wanted, dx) = (f64::from(percent) / 100.0, 1e-4f64);
    let (mut x, mut probability, mut energy) = (dx / 2.0, 0.0, 0.0);
    while probability < wanted {
        let part = (2.0 / PI).sqrt() * (-x * x / 2.0).exp() * dx;
        probability += part;
        energy += x * x * part;
        x += dx;
    }
    energy
}

#[cfg(test)]
mod tests {
    use super::*;

    /// s − 2 t φ(t), where t is the quantile: 1.2816, 1.6449, 2.1701.
    #[test]
    fn dropped_energy_is_that_of_a_normal_distribution() {
        for (percent, expected) in [(80, 0.3501), (90, 0.5607), (97, 0.8056)] {
            assert!((dropped(percent) - expected).abs() < 1e-3, "{percent}: {}", dropped(percent));
        }
    }

    #[test]
    fn measured_errors_win_over_those_of_the_model() {
        let choice = Choice::Pruned(Sparsity::percent(90), DType::F16);
        assert_eq!(error(choice, 0.1, Some([0.1, 0.2, 0.3, 0.4])), 0.2);
        assert!((error(choice, 0.1, None) - 0.1 * dropped(90)).abs() < 1e-12);
    }
}
