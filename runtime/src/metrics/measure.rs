//! What the predictions of an evaluation are worth, by the task.

use razorc_proto::program::Task;
use razorc_proto::program::task::Kind;

use crate::data::Targets;
use crate::trainer::kind;

/// What was measured beside loss and accuracy; none where the task does not call for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// Share of rows or tokens whose class is among the five with the largest scores.
    pub top5: Option<f64>,
    /// Mean over the classes that occur of the harmonic mean of precision and recall.
    pub f1: Option<f64>,
    /// e to the power of the mean loss of a token.
    pub perplexity: Option<f64>,
    /// Mean over the classes that occur of what a class and its prediction share, over what they cover together.
    pub miou: Option<f64>,
    /// Share of rows whose labels are all right.
    pub subset_accuracy: Option<f64>,
    /// Mean squared error.
    pub mse: Option<f64>,
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Share of the targets' variance that is explained.
    pub r2: Option<f64>,
}

impl Measures {
    /// What there is: a key for machines, words for people, the value.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
        let all = [
            ("top5_accuracy", "top-5 accuracy", self.top5),
            ("f1", "F1", self.f1),
            ("perplexity", "perplexity", self.perplexity),
            ("miou", "mIoU", self.miou),
            ("subset_accuracy", "subset accuracy", self.subset_accuracy),
            ("mse", "MSE", self.mse),
            ("mae", "MAE", self.mae),
            ("r2", "R2", self.r2),
        ];
        all.into_iter().filter_map(|(key, words, value)| Some((key, words, value?)))
    }
}

/// Looks at the predictions of an evaluation, batch by batch.
pub struct Measure {
    kind: Kind,
    class_axis: usize,
    classes: usize,
    ignore: i64,
    /// Right, predicted and true, of each class or label.
    counts: Vec<[u64; 3]>,
    top5: u64,
    positions: u64,
    whole_rows: u64,
    rows: u64,
    numbers: Numbers,
}

/// Sums over the elements of a regression.
#[derive(Default)]
struct Numbers {
    n: f64,
    squares: f64,
    distances: f64,
    target: f64,
    target_squares: f64,
}

impl Measure {
    /// For the task of a trainer.
    pub fn new(task: &Task) -> Measure {
        let classes = usize::try_from(task.classes).unwrap_or(0);
        Measure {
            kind: kind(task),
            class_axis: task.class_axis as usize,
            classes,
            ignore: task.ignore_index,
            counts: vec![[0; 3]; classes],
            top5: 0,
            positions: 0,
            whole_rows: 0,
            rows: 0,
            numbers: Numbers::default(),
        }
    }

    /// Adds the first `len` rows of a batch of predictions with these axes.
    pub fn add(&mut self, predictions: &[f32], dims: &[usize], targets: Targets<'_>, len: usize) {
        let per_row = dims[1..].iter().product::<usize>();
        match targets {
            Targets::Classes(targets) if self.classes != 0 => self.add_classes(predictions, dims, targets, len),
            Targets::Values(targets) if targets.len() == predictions.len() => {
                let pairs = predictions.chunks(per_row).zip(targets.chunks(per_row)).take(len);
                pairs.for_each(|(prediction, target)| self.add_row(prediction, target));
            }
            _ => {}
        }
    }

    fn add_classes(&mut self, scores: &[f32], dims: &[usize], targets: &[i64], len: usize) {
        let axis = if self.class_axis == 0 { dims.len() - 1 } else { self.class_axis };
        let inner: usize = dims[axis + 1..].iter().product();
        let per_row = targets.len() / dims[0];
        if dims[axis] != self.classes || scores.len() != targets.len() * self.classes {
            return;
        }
        for (position, &target) in targets.iter().enumerate().take(per_row * len) {
            let class = usize::try_from(target).ok().filter(|&it| it < self.classes && target != self.ignore);
            let Some(class) = class else { continue };
            let first = position / inner * self.classes * inner + position % inner;
            let score = |class: usize| scores[first + class * inner];
            let (own, mut best, mut above) = (score(class), 0, 0);
            for other in 0..self.classes {
                best = if score(best) < score(other) { other } else { best };
                above += usize::from(own < score(other) || (own == score(other) && other < class));
            }
            self.positions += 1;
            self.top5 += u64::from(above < 5);
            self.counts[best][1] += 1;
            self.counts[class][2] += 1;
            if best == class {
                self.counts[class][0] += 1;
            }
        }
    }

    fn add_row(&mut self, prediction: &[f32], target: &[f32]) {
        self.rows += 1;
        if self.kind == Kind::MultiLabel {
            self.counts.resize(prediction.len(), [0; 3]);
            let mut whole = true;
            for ((counts, &x), &t) in self.counts.iter_mut().zip(prediction).zip(target) {
                let (said, is) = (0.0 < x, 0.5 < t);
                counts[0] += u64::from(said && is);
                counts[1] += u64::from(said);
                counts[2] += u64::from(is);
                whole &= said == is;
            }
            self.whole_rows += u64::from(whole);
            return;
        }
        for (&x, &t) in prediction.iter().zip(target) {
            let (x, t) = (f64::from(x), f64::from(t));
            let numbers = &mut self.numbers;
            numbers.n += 1.0;
            numbers.squares += (x - t).powi(2);
            numbers.distances += (x - t).abs();
            numbers.target += t;
            numbers.target_squares += t * t;
        }
    }

    /// What came out, given the mean loss.
    pub fn measures(&self, loss: f64) -> Measures {
        let mut it = Measures::default();
        let share = |part: u64, of: u64| (0 < of).then(|| part as f64 / of as f64);
        // Of the classes that are there or were predicted.
        let mean = |part: fn([f64; 3]) -> f64| {
            let counts = self.counts.iter().filter(|it| 0 < it[1] + it[2]);
            let values: Vec<f64> = counts.map(|it| part(it.map(|n| n as f64))).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let f1 = |[right, said, is]: [f64; 3]| 2.0 * right / (said + is);
        match self.kind {
            Kind::Classification => {
                it.top5 = share(self.top5, self.positions).filter(|_| 5 < self.classes);
                it.f1 = mean(f1);
            }
            Kind::TokenClassification => it.f1 = mean(f1),
            Kind::CausalLm | Kind::MaskedLm => {
                it.top5 = share(self.top5, self.positions).filter(|_| 5 < self.classes);
                it.perplexity = Some(loss.exp());
            }
            Kind::Segmentation => it.miou = mean(|[right, said, is]| right / (said + is - right)),
            Kind::MultiLabel => {
                it.f1 = mean(f1);
                it.subset_accuracy = share(self.whole_rows, self.rows);
            }
            Kind::Regression if 0.0 < self.numbers.n => {
                let Numbers { n, squares, distances, target, target_squares } = self.numbers;
                it.mse = Some(squares / n);
                it.mae = Some(distances / n);
                let spread = target_squares - target * target / n;
                it.r2 = (0.0 < spread).then(|| 1.0 - squares / spread);
            }
            Kind::Regression | Kind::Unspecified => {}
        }
        it
    }
}

#[cfg(test)]
mod tests {
    use razorc_proto::program::task::Loss;

    use super::*;

    fn task(kind: Kind, loss: Loss, classes: u64, class_axis: u32) -> Task {
        let (kind, loss) = (kind.into(), loss.into());
        Task { kind, loss, classes, class_axis, ignore_index: -100, ..Task::default() }
    }

    fn near(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|it| (it - expected).abs() < 1e-12), "{found:?} is not {expected}");
    }

    #[test]
    fn pixels_are_scored_by_class_and_the_ignored_are_not() {
        let mut measure = Measure::new(&task(Kind::Segmentation, Loss::CrossEntropy, 2, 1));
        // Two pixels a row; the second row is padding.
        let scores = [1.0, 0.0, 0.0, 1.0, 9.0, 9.0, 0.0, 0.0];
        measure.add(&scores, &[2, 2, 2], Targets::Classes(&[0, 0, 0, 0]), 1);
        // Class 0: 1 right, 1 predicted, 2 true; class 1: 0, 1, 0.
        near(measure.measures(0.0).miou, (0.5 + 0.0) / 2.0);
        measure.add(&scores, &[2, 2, 2], Targets::Classes(&[-100, 1, 0, 0]), 1);
        near(measure.measures(0.0).miou, (0.5 + 0.5) / 2.0);
    }

    #[test]
    fn ties_go_to_the_lower_class_among_five_too() {
        let mut measure = Measure::new(&task(Kind::Classification, Loss::CrossEntropy, 7, 1));
        measure.add(&[0.0; 14], &[2, 7], Targets::Classes(&[4, 5]), 2);
        near(measure.measures(0.0).top5, 0.5);
        near(measure.measures(0.0).f1, 0.0);
    }

    #[test]
    fn labels_and_numbers() {
        let mut measure = Measure::new(&task(Kind::MultiLabel, Loss::BinaryCrossEntropy, 0, 0));
        measure.add(&[1.0, -1.0, 1.0, 1.0], &[2, 2], Targets::Values(&[1.0, 0.0, 0.0, 1.0]), 2);
        near(measure.measures(0.0).subset_accuracy, 0.5);
        near(measure.measures(0.0).f1, (2.0 / 3.0 + 1.0) / 2.0);

        let mut measure = Measure::new(&task(Kind::Regression, Loss::MeanSquaredError, 0, 0));
        measure.add(&[1.0, 2.0, 4.0], &[3, 1], Targets::Values(&[1.0, 2.0, 3.0]), 3);
        near(measure.measures(0.0).mse, 1.0 / 3.0);
        near(measure.measures(0.0).r2, 0.5);
    }
}
