//! How pruning changes the gradients of a model on real batches.

use razorc_compiler::budget::{Calibration, SPARSITIES};
use razorc_compiler::compile;
use razorc_compiler::options::{Optimizer, OptimizerKind, Options};
use razorc_proto::{Model, TrainerFile, write_trainer};
use razorc_runtime::data::{Dataset, Loader, Order, Transform};
use razorc_runtime::fidelity::{Bound, Likeness, bounds, gradients, last_layer};
use razorc_runtime::trainer::Trainer;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};

/// The column that the terms of the bound are for.
const BOUND_AT: usize = 1;

/// What was measured.
pub struct Fidelity {
    batches: u64,
    /// By weight, in the order of the model: the mean over batches for each sparsity.
    weights: Vec<Row>,
    bounds: Vec<Bound>,
}

struct Row {
    weight: String,
    /// Whether it belongs to the last layer.
    head: bool,
    /// Elements of the weight.
    elements: usize,
    /// By sparsity, for each batch.
    likeness: [Vec<Likeness>; SPARSITIES.len()],
}

/// Rows of data and how they become input.
pub struct Batches<'a> {
    pub data: &'a Dataset,
    pub transform: &'a Transform,
    pub count: u64,
    pub threads: usize,
}

/// Compares the gradients of trainers that prune more and more with those of one that prunes nothing.
pub fn measure(model: &Model, options: &Options, batches: &Batches<'_>) -> Result<Fidelity> {
    let exact = all_gradients(model, options, 0, batches)?;
    let Some(first) = exact.gradients.first() else {
        return Err(Failure::input("there is no batch to compare gradients on").hint("give `--data` more rows"));
    };
    let row = |(weight, gradient): &(String, Vec<f32>)| Row {
        weight: weight.clone(),
        elements: gradient.len(),
        head: exact.head.contains(weight),
        likeness: std::array::from_fn(|_| vec![]),
    };
    let mut weights: Vec<Row> = first.iter().map(row).collect();
    let mut bounds = vec![];
    for (column, percent) in SPARSITIES.into_iter().enumerate() {
        let pruned = all_gradients(model, options, percent, batches)?;
        for (exact, pruned) in exact.gradients.iter().zip(&pruned.gradients) {
            for (row, (exact, pruned)) in weights.iter_mut().zip(exact.iter().zip(pruned)) {
                row.likeness[column].push(Likeness::of(&exact.1, &pruned.1));
            }
        }
        if column == BOUND_AT {
            bounds = pruned.bounds;
        }
    }
    Ok(Fidelity { batches: exact.gradients.len() as u64, weights, bounds })
}

struct Measured {
    /// By batch, then by weight.
    gradients: Vec<Vec<(String, Vec<f32>)>>,
    bounds: Vec<Bound>,
    /// Weights of the last layer.
    head: Vec<String>,
}

fn all_gradients(model: &Model, options: &Options, percent: u32, batches: &Batches<'_>) -> Result<Measured> {
    let mut options = options.clone();
    options.optimizer = Optimizer { kind: OptimizerKind::Sgd, momentum: 0.9, ..Optimizer::default() };
    options.razor.sparsity = format!("{}", f64::from(percent) / 100.0).parse().unwrap_or_default();
    options.razor.sparsity_for.clear();
    options.razor.choices.clear();
    options.micro_batch = 0;
    let compiled = compile(model, &options)?;
    let folder = tempfile::TempDir::new().map_err(|e| Failure::input(format!("no folder for a trainer: {e}")))?;
    let path = folder.path().join("model.trainer");
    let blobs: Vec<_> = compiled.blobs.iter().map(|it| it.as_deref()).collect();
    write_trainer(&path, &compiled.program, &blobs)?;
    let mut trainer = Trainer::load(TrainerFile::open(&path)?, batches.threads)?;
    let head = last_layer(trainer.program()).into_iter().map(str::to_string).collect();

    let order = Order::Shuffled { seed: 0, epoch: 0, batch: 0 };
    let mut loader = Loader::new(batches.data, batches.transform, trainer.batch(), order, batches.threads)?;
    let mut measured = Measured { gradients: vec![], bounds: vec![], head };
    for _ in 0..batches.count.min(loader.batches()) {
        let Some(batch) = loader.next_batch()? else { break };
        if measured.gradients.is_empty() && 0 < percent {
            measured.bounds = bounds(&mut trainer, &batch);
        }
        measured.gradients.push(gradients(&mut trainer, &batch));
    }
    Ok(measured)
}

impl Fidelity {
    /// A row for each weight, then the whole and the body: everything but the last layer.
    pub fn text(&self) -> String {
        let width = self.weights.iter().map(|it| it.weight.len()).max().unwrap_or(0).clamp(8, 60);
        let columns: String = SPARSITIES.iter().map(|it| format!("{it:>7} %")).collect();
        let mut text = format!("cosine between pruned and exact gradients, mean of {} batches\n\n", self.batches);
        text += &format!("{:<width$}{columns}{:>10}{:>11}{:>11}\n", "weight", "e at 90 %", "K", "e K");
        let number = |it: Option<f64>| match it {
            Some(it) if it < 1e4 => format!("{it:.3}"),
            Some(it) => format!("{it:.1e}"),
            None => "-".into(),
        };
        for row in &self.weights {
            let bound = self.bounds.iter().find(|it| it.weight == row.weight);
            let (e, k) = (bound.map(|it| it.dropped), bound.and_then(|it| it.condition));
            let cosines: String =
                (0..SPARSITIES.len()).map(|it| format!("{:>9.3}", mean(&row.likeness[it], |it| it.cosine()))).collect();
            let product = e.zip(k).map(|(e, k)| e * k);
            text +=
                &format!("{:<width$}{cosines}{:>10}{:>11}{:>11}\n", row.weight, number(e), number(k), number(product));
        }
        for (name, all) in [("all weights", true), ("body", false)] {
            let joined = (0..SPARSITIES.len()).map(|it| self.joined(it, all)).collect::<Vec<_>>();
            let cosines: String = joined.iter().map(|it| format!("{:>9.3}", mean(it, |it| it.cosine()))).collect();
            let norms: String = joined.iter().map(|it| format!("{:>9.3}", mean(it, |it| it.norm_ratio()))).collect();
            text += &format!("\n{name:<width$}{cosines}\n{:<width$}{norms}", format!("  norm / exact"));
        }
        text + "\n\ne: share of the saved input's energy that is dropped; K: squared condition number of the map from the \
               input to the gradient. The published bound promises descent where e K < 1."
    }

    /// The same numbers as one object.
    pub fn json(&self) -> Value {
        let by_sparsity = |value: &dyn Fn(usize) -> f64| {
            Value::Object(SPARSITIES.iter().enumerate().map(|(at, it)| (it.to_string(), json!(value(at)))).collect())
        };
        let weights = self.weights.iter().map(|row| {
            let bound = self.bounds.iter().find(|it| it.weight == row.weight);
            json!({
                "weight": row.weight,
                "cosine": by_sparsity(&|it| mean(&row.likeness[it], |it| it.cosine())),
                "dropped_energy": bound.map(|it| it.dropped),
                "condition": bound.and_then(|it| it.condition),
            })
        });
        let whole = |all: bool| {
            json!({
                "cosine": by_sparsity(&|it| mean(&self.joined(it, all), |it| it.cosine())),
                "norm_ratio": by_sparsity(&|it| mean(&self.joined(it, all), |it| it.norm_ratio())),
            })
        };
        json!({
            "batches": self.batches,
            "weights": weights.collect::<Vec<_>>(),
            "all": whole(true),
            "body": whole(false),
        })
    }

    /// What each sparsity changes in the gradient of each weight, as a budget needs it.
    pub fn calibration(&self) -> Calibration {
        let energy = |row: &Row| row.likeness[0].iter().map(|it| it.energy()).sum::<f64>();
        let all = self.weights.iter().map(energy).sum::<f64>().max(f64::MIN_POSITIVE);
        let share = |row: &Row, column: usize| row.likeness[column].iter().map(|it| it.error()).sum::<f64>() / all;
        let errors = |row: &Row| (row.weight.clone(), std::array::from_fn(|column| share(row, column)));
        Calibration { errors: self.weights.iter().map(errors).collect() }
    }

    /// How well what can be computed without pruned gradients tells what pruning does to the gradient at 90 %: rank
    /// correlations (Spearman) over the weights whose input is pruned, with the names of the predictors.
    pub fn predictors(&self) -> [(&'static str, f64); 3] {
        let rows = self.weights.iter().filter_map(|row| {
            let bound = self.bounds.iter().find(|it| it.weight == row.weight)?;
            let energy = row.likeness[BOUND_AT].iter().map(|it| it.energy()).sum::<f64>();
            let error = row.likeness[BOUND_AT].iter().map(|it| it.error()).sum::<f64>();
            Some((error, energy, bound, row.elements as f64))
        });
        let rows: Vec<(f64, f64, &Bound, f64)> = rows.collect();
        type Of = fn(&(f64, f64, &Bound, f64), f64) -> f64;
        let all: f64 = rows.iter().map(|it| it.2.elements as f64).sum();
        let errors: Vec<f64> = rows.iter().map(|it| it.0).collect();
        let against = |of: Of| {
            let predicted: Vec<f64> = rows.iter().map(|it| of(it, all)).collect();
            correlation(&ranks(&errors), &ranks(&predicted))
        };
        [
            ("dropped energy times the gradient's energy", against(|it, _| it.2.dropped * it.1)),
            ("dropped energy", against(|it, _| it.2.dropped)),
            // SURGEON (CVPR 2025): root mean square of the gradient times the logarithm of the activations' share.
            ("SURGEON's importance", against(|it, all| (it.1 / it.3).sqrt() * -(it.2.elements as f64 / all).ln())),
        ]
    }

    /// For each batch, the gradients of all weights, or of all but the head's, as one vector.
    fn joined(&self, column: usize, all: bool) -> Vec<Likeness> {
        let rows: Vec<&Row> = self.weights.iter().filter(|it| all || !it.head).collect();
        (0..self.batches as usize)
            .map(|batch| Likeness::join(rows.iter().map(|it| it.likeness[column][batch])))
            .collect()
    }
}

/// Place of each number in their order; equal ones share the mean of their places.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let rank = |it: &f64| {
        let below = numbers.iter().filter(|other| *other < it).count();
        let equal = numbers.iter().filter(|other| *other == it).count();
        below as f64 + (equal as f64 - 1.0) / 2.0
    };
    numbers.iter().map(rank).collect()
}

/// Pearson's; 0 where either does not vary.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |it: &[f64]| it.iter().sum::<f64>() / it.len().max(1) as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |of: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| of(a - mean_a, b - mean_b)).sum::<f64>();
    let norms = (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    if norms == 0.0 { 0.0 } else { sum(&|a, b| a * b) / norms }
}

fn mean(likeness: &[Likeness], of: impl Fn(Likeness) -> f64) -> f64 {
    likeness.iter().map(|it| of(*it)).sum::<f64>() / likeness.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_share_their_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
    }

    #[test]
    fn correlation_is_of_what_varies() {
        assert!((correlation(&[1.0, 2.0, 4.0], &[-1.0, -2.0, -4.0]) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
    }
}
