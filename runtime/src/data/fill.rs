//! Fills pieces of batches with rows of a data set.

use std::sync::Arc;

use super::array::Element;
use super::form::{Form, Geometry, Layout};
use super::select::AUGMENT;
use super::transform::Pipeline;
use super::{DataError, Dataset, Labels, Source, Targets, Transform, resample};
use crate::rng::Rng;

/// A few rows of a batch, or a batch.
pub(super) struct Piece {
    pub input: Vec<f32>,
    pub weights: Vec<f32>,
    labels: PieceLabels,
}

enum PieceLabels {
    Classes(Vec<i64>),
    Values(Vec<f32>),
}

/// A data set and a transform that fits it.
pub(super) struct Filler {
    dataset: Dataset,
    pipeline: Pipeline,
    row_len: usize,
    /// Numbers of a row's target; none where it is a class.
    target_len: Option<usize>,
}

/// Buffers of a worker.
#[derive(Default)]
pub(super) struct Scratch {
    stored: Vec<u8>,
    numbers: Vec<f32>,
    resample: resample::Scratch,
}

impl Filler {
    pub fn new(dataset: &Dataset, transform: &Transform) -> Result<Filler, DataError> {
        let pipeline = Pipeline::new(transform, &dataset.form)?;
        let row_len = dataset.input.iter().product();
        let target_len = match &*dataset.labels {
            Labels::Classes(_) => None,
            Labels::Values(array) => Some(array.row_len()),
        };
        Ok(Filler { dataset: dataset.clone(), pipeline, row_len, target_len })
    }

    /// Rows of the source, put into an order by `arrange`.
    pub fn order(&self, arrange: impl FnOnce(&mut [u32])) -> Arc<[u32]> {
        let mut rows: Arc<[u32]> = self.dataset.rows.as_slice().into();
        if let Some(rows) = Arc::get_mut(&mut rows) {
            arrange(rows);
        }
        rows
    }

    /// An empty piece of `rows` rows.
    pub fn piece(&self, rows: usize) -> Piece {
        let labels = match self.target_len {
            None => PieceLabels::Classes(vec![0; rows]),
            Some(len) => PieceLabels::Values(vec![0.0; rows * len]),
        };
        // Not zeros, which the system would only promise: memory is taken here and now.
        Piece { input: vec![f32::NAN; rows * self.row_len], weights: vec![f32::NAN; rows], labels }
    }

    pub fn piece_bytes(&self, rows: usize) -> usize {
        4 * rows * (self.row_len + 1) + rows * self.target_len.map_or(8, |len| 4 * len)
    }

    pub fn scratch(&self) -> Scratch {
        Scratch::default()
    }

    /// The most bytes that a worker takes besides its piece.
    pub fn scratch_bytes(&self) -> usize {
        let row = |bytes: usize, numbers: usize| bytes * numbers + 4 * numbers;
        let input = match &*self.dataset.source {
            Source::Folder(folder) => {
                let size = folder.largest;
                folder.decoding_bytes() + self.pipeline.scratch_bytes(size.height, size.width)
            }
            Source::Array(array) => {
                let image = match self.dataset.form {
                    Form::Image { stored: Some(it), .. } => self.pipeline.scratch_bytes(it.height, it.width),
                    _ => 0,
                };
                row(array.element.bytes(), array.row_len()) + image
            }
        };
        match &*self.dataset.labels {
            Labels::Classes(_) => input,
            Labels::Values(array) => input + row(array.element.bytes(), array.row_len()),
        }
    }

    /// Fills the first rows of `piece` with `rows` of the source, and the others, like those that are none, with
    /// zeros. `augment` is the seed and the epoch in training.
    pub fn fill(
        &self,
        piece: &mut Piece,
        rows: impl Iterator<Item = Option<u32>>,
        augment: Option<[u64; 2]>,
        scratch: &mut Scratch,
    ) -> Result<(), DataError> {
        piece.input.fill(0.0);
        piece.weights.fill(0.0);
        match &mut piece.labels {
            PieceLabels::Classes(classes) => classes.fill(0),
            PieceLabels::Values(values) => values.fill(0.0),
        }
        for (at, row) in rows.enumerate() {
            let Some(row) = row else { continue };
            let rng = augment.map(|[seed, epoch]| Rng::keyed(&[seed, AUGMENT, epoch, u64::from(row)]));
            let input = &mut piece.input[at * self.row_len..(at + 1) * self.row_len];
            self.fill_input(row as usize, rng, scratch, input)?;
            match (&mut piece.labels, &*self.dataset.labels) {
                (PieceLabels::Classes(classes), Labels::Classes(labels)) => classes[at] = labels[row as usize],
                (PieceLabels::Values(values), Labels::Values(array)) => {
                    let values = values.chunks_exact_mut(array.row_len()).skip(at).take(1).flatten();
                    let numbers = array.values(row as usize, &mut scratch.stored)?;
                    values.zip(numbers).for_each(|(place, number)| *place = number as f32);
                }
                _ => {}
            }
            piece.weights[at] = 1.0;
        }
        Ok(())
    }

    fn fill_input(
        &self,
        row: usize,
        rng: Option<Rng>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let Scratch { stored, numbers, resample } = scratch;
        match (&*self.dataset.source, self.dataset.form) {
            (Source::Folder(folder), _) => folder.with(row, |image| {
                let (height, width, channels) = (image.height, image.width, folder.channels);
                let geometry = Geometry { height, width, channels, layout: Layout::Interleaved };
                self.pipeline.fill_image(&image.bytes, geometry, rng, resample, out);
            }),
            (Source::Array(array), Form::Image { stored: Some(geometry), .. }) => {
                if array.element == Element::U8 {
                    self.pipeline.fill_image(array.row(row, stored)?, geometry, rng, resample, out);
                } else {
                    numbers.clear();
                    numbers.extend(array.values(row, stored)?.map(|it| it as f32));
                    self.pipeline.fill_image(numbers, geometry, rng, resample, out);
                }
                Ok(())
            }
            (Source::Array(array), _) => {
                self.pipeline.fill_flat(array.values(row, stored)?.map(|it| it as f32), out);
                Ok(())
            }
        }
    }
}

impl Piece {
    /// Copies the rows of `part` to `at`, as far as they fit.
    pub fn put(&mut self, at: usize, part: &Piece) {
        let rows = part.weights.len().min(self.weights.len() - at);
        copy_rows(&mut self.input, &part.input, at, rows, part.weights.len());
        copy_rows(&mut self.weights, &part.weights, at, rows, part.weights.len());
        match (&mut self.labels, &part.labels) {
            (PieceLabels::Classes(to), PieceLabels::Classes(from)) => copy_rows(to, from, at, rows, part.weights.len()),
            (PieceLabels::Values(to), PieceLabels::Values(from)) => copy_rows(to, from, at, rows, part.weights.len()),
            _ => {}
        }
    }

    pub fn targets(&self) -> Targets<'_> {
        match &self.labels {
            PieceLabels::Classes(classes) => Targets::Classes(classes),
            PieceLabels::Values(values) => Targets::Values(values),
        }
    }
}

fn copy_rows<T: Copy>(to: &mut [T], from: &[T], at: usize, rows: usize, of: usize) {
    let len = from.len() / of;
    to[at * len..(at + rows) * len].copy_from_slice(&from[..rows * len]);
}
