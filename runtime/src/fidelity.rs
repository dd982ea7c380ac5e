//! How like the exact gradient a gradient from pruned copies is.

mod sketch;

use std::collections::{HashMap, HashSet};

use crate::arena::Arena;
use crate::data::Batch;
use crate::kernels::Kernel;
use crate::kernels::pack::Pack;
use crate::program::{Home, Instruction, Program};
use crate::trainer::Trainer;
pub use sketch::Sketch;

/// Gradient of every trained weight on a batch, by the weight's name, times a factor that depends on the optimizer.
///
/// Nothing is updated but the optimizer's state, which is forgotten. Empty where the optimizer keeps no average.
pub fn gradients(trainer: &mut Trainer, batch: &Batch<'_>) -> Vec<(String, Vec<f32>)> {
    trainer.forget_state();
    trainer.step(batch, 0.0, 1);
    let names: Vec<String> = trainer.residents().map(|it| it.0.to_string()).collect();
    let average = |name: &String| Some((name.clone(), trainer.average(name)?.collect()));
    let found = names.iter().filter_map(average).collect();
    trainer.forget_state();
    found
}

/// Names of the weights that the last layer of the forward phase reads; what is trained before them is the body.
///
/// Of a program that computes nothing again in its backward phase, such as an exact one.
pub fn last_layer(program: &Program) -> HashSet<&str> {
    let (values, residents) = (program.train().values(), program.residents());
    let last = program.train().instructions().iter().rfind(|it| ["linear", "conv"].contains(&it.op()));
    let name = |value: usize| match values[value].home() {
        Home::Resident(idx) => residents[idx].name(),
        Home::Storage(_) => values[value].name(),
    };
    last.into_iter().flat_map(|it| &it.operands()[1..]).map(|it| name(it.value())).collect()
}

/// Two gradients, by their inner products.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likeness {
    product: f64,
    exact: f64,
    pruned: f64,
}

impl Likeness {
    /// Of two gradients of one weight.
    pub fn of(exact: &[f32], pruned: &[f32]) -> Likeness {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        Likeness { product: dot(exact, pruned), exact: dot(exact, exact), pruned: dot(pruned, pruned) }
    }

    /// Of two gradients by their sketches.
    pub fn of_sketches(exact: &Sketch, pruned: &Sketch) -> Likeness {
        Likeness { product: exact.product(pruned), exact: exact.energy(), pruned: pruned.energy() }
    }

    /// Of the gradients of several weights as one vector.
    pub fn join(parts: impl IntoIterator<Item = Likeness>) -> Likeness {
        parts.into_iter().fold(Likeness::default(), |all, it| Likeness {
            product: all.product + it.product,
            exact: all.exact + it.exact,
            pruned: all.pruned + it.pruned,
        })
    }

    /// Squared length of their difference.
    pub fn error(self) -> f64 {
        (self.exact - 2.0 * self.product + self.pruned).max(0.0)
    }

    /// Squared length of the exact one.
    pub fn energy(self) -> f64 {
        self.exact
    }

    /// Cosine of the angle between them; 1 where both are zero.
    pub fn cosine(self) -> f64 {
        match self.exact * self.pruned {
            0.0 => f64::from(self.exact == self.pruned),
            norms => self.product / norms.sqrt(),
        }
    }

    /// Length of the pruned one over that of the exact one.
    pub fn norm_ratio(self) -> f64 {
        if self.exact == self.pruned { 1.0 } else { (self.pruned / self.exact).sqrt() }
    }
}

/// The terms of the published bound (appendix A) for the gradient of one weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Name of the weight.
    pub weight: String,
    /// Share `e` of the energy of the weight's saved input that pruning drops, at most the sparsity.
    pub dropped: f64,
    /// Of the saved input.
    pub elements: u64,
    /// Squared condition number `K` of the map from a sample's input to the gradient: the ratio of the largest to the
    /// smallest positive eigenvalue of the cotangent's Gram matrix. None for convolutions, and for long samples.
    pub condition: Option<f64>,
}

/// Largest Gram matrix whose eigenvalues are computed.
const GRAM: usize = 256;

/// The terms of the bound for each weight whose saved input is pruned, on a batch.
pub fn bounds(trainer: &mut Trainer, batch: &Batch<'_>) -> Vec<Bound> {
    let layers = pruned_layers(trainer.program());
    let samples = trainer.batch();
    let mut dropped: HashMap<usize, (f64, u64)> = HashMap::new();
    let mut conditions: HashMap<usize, f64> = HashMap::new();
    trainer.watch(batch, |at, instruction, arena| match instruction.kernel() {
        Kernel::Compress(it) => {
            let elements = arena.value::<f32>(instruction.operands()[0]).len() as u64;
            dropped.insert(at, (dropped_energy(&it.pack, instruction, arena), elements));
        }
        Kernel::LinearWeightGrad(it) if layers.contains_key(&at) => {
            let dy = arena.value::<f32>(instruction.operands()[0]);
            conditions.extend(condition(dy, it.rows / samples, it.n).map(|it| (at, it)));
        }
        _ => {}
    });
    trainer.forget_state();
    let bound = |(at, layer): (usize, Layer)| {
        let condition = conditions.get(&at).copied();
        let (dropped, elements) = *dropped.get(&layer.compress)?;
        Some((at, Bound { weight: layer.weight, dropped, elements, condition }))
    };
    let mut bounds: Vec<(usize, Bound)> = layers.into_iter().filter_map(bound).collect();
    bounds.sort_by_key(|it| std::cmp::Reverse(it.0));
    bounds.into_iter().map(|it| it.1).collect()
}

/// A layer whose weight's gradient reads a pruned copy.
struct Layer {
    weight: String,
    /// Instruction that makes the copy.
    compress: usize,
}

/// Layers by the instruction that makes their weight's gradient.
fn pruned_layers(program: &Program) -> HashMap<usize, Layer> {
    let (values, instructions) = (program.train().values(), program.train().instructions());
    // Who wrote a storage last, and for a packed or expanded copy, who compressed it.
    let mut makers = HashMap::new();
    let mut copies = HashMap::new();
    let mut layers = HashMap::new();
    for (at, instruction) in instructions.iter().enumerate() {
        let maker = |slot: usize| makers.get(&values[instruction.operands()[slot].value()].home()).copied();
        match instruction.kernel() {
            Kernel::Compress(_) => copies.extend([(at, at)]),
            Kernel::Decompress(_) => copies.extend(maker(0).map(|it| (at, it))),
            Kernel::LinearWeightGrad(_) | Kernel::ConvWeightGrad(_) => {
                let copy = maker(1).and_then(|it| copies.get(&it).copied());
                layers.extend(copy.map(|compress| (at, Layer { weight: String::new(), compress })));
            }
            Kernel::Sgd(_) | Kernel::Adam(_) | Kernel::Descend(_) => {
                if let Some(layer) = maker(1).and_then(|it| layers.get_mut(&it)) {
                    layer.weight = values[instruction.operands()[0].value()].name().to_string();
                }
            }
            _ => {}
        }
        for result in instruction.results().iter().flatten() {
            makers.insert(values[result.value()].home(), at);
        }
    }
    layers.retain(|_, it| !it.weight.is_empty());
    layers
}

fn dropped_energy(pack: &Pack, instruction: &Instruction, arena: &Arena) -> f64 {
    let x = arena.value::<f32>(instruction.operands()[0]);
    let energy = |it: &[f32]| it.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let kept: f64 = x
        .chunks(pack.n)
        .map(|sample| {
            let mut magnitudes: Vec<f32> = sample.iter().map(|it| it.abs()).collect();
            magnitudes.sort_unstable_by(|a, b| b.total_cmp(a));
            energy(&magnitudes[..pack.keep])
        })
        .sum();
    match energy(x) {
        0.0 => 0.0,
        all => (1.0 - kept / all).max(0.0),
    }
}

/// Squared condition number of the first sample's cotangent, `[rows, width]`; none where it is zero or too long.
fn condition(dy: &[f32], rows: usize, width: usize) -> Option<f64> {
    let n = rows.min(width);
    if n == 0 || GRAM < n || dy.len() < rows * width {
        return None;
    }
    let at = |row: usize, column: usize| f64::from(dy[row * width + column]);
    let entry = |i: usize, j: usize| -> f64 {
        match rows < width {
            true => (0..width).map(|it| at(i, it) * at(j, it)).sum(),
            false => (0..rows).map(|it| at(it, i) * at(it, j)).sum(),
        }
    };
    let mut gram: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
    let values = eigenvalues(&mut gram);
    let largest = values.iter().copied().fold(0.0, f64::max);
    // What rounding of f32 leaves of a zero is not positive.
    let smallest = values.into_iter().filter(|it| 1e-10 * largest < *it).fold(f64::INFINITY, f64::min);
    (0.0 < largest).then_some(largest / smallest)
}

/// Eigenvalues of a symmetric matrix by Jacobi's rotations (Golub and Van Loan, Matrix Computations, section 8.5).
fn eigenvalues(a: &mut [Vec<f64>]) -> Vec<f64> {
    let n = a.len();
    for _ in 0..30 {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j] * a[i][j]).sum();
        let diagonal: f64 = (0..n).map(|i| a[i][i] * a[i][i]).sum();
        if off <= 1e-24 * diagonal {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let tau = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
                let c = 1.0 / (1.0 + t * t).sqrt();
                let s = t * c;
                for row in a.iter_mut() {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (head, tail) = a.split_at_mut(q);
                for (x, y) in head[p].iter_mut().zip(&mut tail[0]) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
    }
    (0..n).map(|i| a[i][i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_of_a_known_matrix() {
        let mut a = vec![vec![2.0, -1.0, 0.0], vec![-1.0, 2.0, -1.0], vec![0.0, -1.0, 2.0]];
        let mut found = eigenvalues(&mut a);
        found.sort_by(f64::total_cmp);
        let root = 2f64.sqrt();
        for (found, expected) in found.into_iter().zip([2.0 - root, 2.0, 2.0 + root]) {
            assert!((found - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn condition_is_the_ratio_of_squared_singular_values() {
        // Rows (3, 0), (0, 1), (0, 0): singular values 3 and 1.
        let found = condition(&[3.0, 0.0, 0.0, 1.0, 0.0, 0.0], 3, 2).unwrap();
        assert!((found - 9.0).abs() < 1e-12);
        assert_eq!(condition(&[0.0; 4], 2, 2), None);
    }

    #[test]
    fn likeness_joins_as_one_vector() {
        let parts = [Likeness::of(&[1.0, 0.0], &[1.0, 0.0]), Likeness::of(&[1.0], &[0.0])];
        let whole = Likeness::join(parts);
        assert!((whole.cosine() - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!((whole.error(), whole.energy()), (1.0, 2.0));
        assert!((whole.norm_ratio() - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(Likeness::of(&[0.0], &[0.0]).cosine(), 1.0);
    }
}
