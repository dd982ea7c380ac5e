//! Fills pieces of batches with rows of a data set.

use std::sync::Arc;

use super::array::{Array, Element};
use super::form::{Form, Geometry, Layout};
use super::select::{AUGMENT, MASK};
use super::transform::Pipeline;
use super::{Column, DataError, Dataset, Labels, Numbers, Source, Targets, Transform, resample};
use crate::rng::Rng;

/// A few rows of a batch, or a batch.
pub(super) struct Piece {
    pub inputs: Vec<Column>,
    pub weights: Vec<f32>,
    labels: PieceLabels,
}

enum PieceLabels {
    None,
    Classes(Vec<i64>),
    Values(Vec<f32>),
}

/// A data set and a transform that fits it.
pub(super) struct Filler {
    dataset: Dataset,
    /// For each input.
    pipelines: Vec<Pipeline>,
    row_lens: Vec<usize>,
    target: TargetForm,
}

/// Elements of a row's target.
#[derive(Clone, Copy)]
enum TargetForm {
    None,
    Classes(usize),
    Values(usize),
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
        let pipelines = match &*dataset.source {
            Source::Folder(_, form) => vec![Pipeline::new(transform, form)?],
            Source::Tokens(_) => vec![],
            Source::Arrays(arrays) => {
                let inputs = arrays.iter().zip(&*dataset.inputs);
                // What scales images leaves the numbers beside them as they are.
                let images = arrays.iter().any(|(_, form)| *form != Form::Flat);
                let raw = Transform::raw();
                let pipeline = |((_, form), input): (&(Array, Form), &super::Input)| {
                    let flat = *form == Form::Flat && (images || input.numbers != Numbers::Real);
                    Pipeline::new(if flat { &raw } else { transform }, form)
                };
                inputs.map(pipeline).collect::<Result<_, _>>()?
            }
        };
        let row_lens = dataset.inputs.iter().map(|it| it.dims.iter().product()).collect();
        let target = match (&*dataset.labels, &*dataset.source) {
            (Labels::Classes { per_row, .. }, _) => TargetForm::Classes(*per_row),
            (Labels::Masks(masks), _) => TargetForm::Classes(masks.row_len()),
            (Labels::Values(array), _) => TargetForm::Values(array.row_len()),
            (Labels::Tokens, Source::Tokens(tokens)) => TargetForm::Classes(tokens.len()),
            (Labels::None | Labels::Tokens, _) => TargetForm::None,
        };
        Ok(Filler { dataset: dataset.clone(), pipelines, row_lens, target })
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
        // Not zeros, which the system would only promise: memory is taken here and now.
        let labels = match self.target {
            TargetForm::None => PieceLabels::None,
            TargetForm::Classes(len) => PieceLabels::Classes(vec![-1; rows * len]),
            TargetForm::Values(len) => PieceLabels::Values(vec![f32::NAN; rows * len]),
        };
        let column = |(input, &len): (&super::Input, &usize)| match input.numbers {
            Numbers::Real => Column::Real(vec![f32::NAN; rows * len]),
            Numbers::Whole { .. } => Column::Whole(vec![-1; rows * len]),
            Numbers::Truth => Column::Truth(vec![1; rows * len]),
        };
        let inputs = self.dataset.inputs.iter().zip(&self.row_lens).map(column).collect();
        Piece { inputs, weights: vec![f32::NAN; rows], labels }
    }

    pub fn piece_bytes(&self, rows: usize) -> usize {
        let width = |input: &super::Input| match input.numbers {
            Numbers::Real => 4,
            Numbers::Whole { .. } => 8,
            Numbers::Truth => 1,
        };
        let inputs = self.dataset.inputs.iter().zip(&self.row_lens).map(|(input, len)| width(input) * len);
        let target = match self.target {
            TargetForm::None => 0,
            TargetForm::Classes(len) => 8 * len,
            TargetForm::Values(len) => 4 * len,
        };
        rows * (inputs.sum::<usize>() + 4 + target)
    }

    pub fn scratch(&self) -> Scratch {
        Scratch::default()
    }

    /// The most bytes that a worker takes besides its piece.
    pub fn scratch_bytes(&self) -> usize {
        let row = |array: &Array| array.element.bytes() * array.row_len() + 4 * array.row_len();
        let input = match &*self.dataset.source {
            Source::Folder(folder, _) => {
                let size = folder.largest;
                folder.decoding_bytes() + self.pipelines[0].scratch_bytes(size.height, size.width)
            }
            Source::Arrays(arrays) => {
                let each = arrays.iter().zip(&self.pipelines).map(|((array, form), pipeline)| {
                    let image = match form {
                        Form::Image { stored: Some(it), .. } => pipeline.scratch_bytes(it.height, it.width),
                        _ => 0,
                    };
                    row(array) + image
                });
                each.max().unwrap_or(0)
            }
            Source::Tokens(_) => 0,
        };
        match &*self.dataset.labels {
            Labels::Values(array) => input + row(array),
            Labels::Masks(masks) => input + masks.decoding_bytes(),
            Labels::Classes { .. } | Labels::Tokens | Labels::None => input,
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
        for column in &mut piece.inputs {
            match column {
                Column::Real(numbers) => numbers.fill(0.0),
                Column::Whole(numbers) => numbers.fill(0),
                Column::Truth(truths) => truths.fill(0),
            }
        }
        piece.weights.fill(0.0);
        match &mut piece.labels {
            PieceLabels::None => {}
            PieceLabels::Classes(classes) => classes.fill(0),
            PieceLabels::Values(values) => values.fill(0.0),
        }
        for (at, row) in rows.enumerate() {
            let Some(row) = row else { continue };
            let rng = augment.map(|[seed, epoch]| Rng::keyed(&[seed, AUGMENT, epoch, u64::from(row)]));
            self.fill_targets(at, row as usize, rng.clone(), &mut piece.labels, scratch)?;
            self.fill_inputs(at, row as usize, rng, piece, scratch)?;
            if matches!((&*self.dataset.labels, &*self.dataset.source), (Labels::Tokens, Source::Tokens(_))) {
                self.mask(at, row, augment, piece);
            }
            piece.weights[at] = 1.0;
        }
        Ok(())
    }

    fn fill_targets(
        &self,
        at: usize,
        row: usize,
        rng: Option<Rng>,
        to: &mut PieceLabels,
        scratch: &mut Scratch,
    ) -> Result<(), DataError> {
        match (to, &*self.dataset.labels) {
            (PieceLabels::Classes(classes), Labels::Classes { indices, per_row }) => {
                classes[at * per_row..][..*per_row].copy_from_slice(&indices[row * per_row..][..*per_row]);
            }
            (PieceLabels::Classes(classes), Labels::Masks(masks)) => {
                let len = masks.row_len();
                masks.fill(row, &self.pipelines[0], rng, &mut classes[at * len..][..len])?;
            }
            (PieceLabels::Classes(classes), Labels::Tokens) => {
                if let Source::Tokens(tokens) = &*self.dataset.source {
                    tokens.targets(row, &mut classes[at * tokens.len()..][..tokens.len()]);
                }
            }
            (PieceLabels::Values(values), Labels::Values(array)) => {
                let values = &mut values[at * array.row_len()..][..array.row_len()];
                let numbers = array.values(row, &mut scratch.stored)?;
                values.iter_mut().zip(numbers).for_each(|(place, number)| *place = number as f32);
            }
            _ => {}
        }
        Ok(())
    }

    fn fill_inputs(
        &self,
        at: usize,
        row: usize,
        rng: Option<Rng>,
        piece: &mut Piece,
        scratch: &mut Scratch,
    ) -> Result<(), DataError> {
        for (slot, column) in piece.inputs.iter_mut().enumerate() {
            let len = self.row_lens[slot];
            match (&*self.dataset.source, column) {
                (Source::Tokens(tokens), Column::Real(out)) => {
                    tokens.fill(slot, row, &mut out[at * len..][..len], |it| it as f32);
                }
                (Source::Tokens(tokens), Column::Whole(out)) => {
                    tokens.fill(slot, row, &mut out[at * len..][..len], |it| it);
                }
                (Source::Tokens(tokens), Column::Truth(out)) => {
                    tokens.fill(slot, row, &mut out[at * len..][..len], |it| u8::from(it != 0));
                }
                (Source::Arrays(arrays), Column::Truth(out)) => {
                    let truths = arrays[slot].0.values(row, &mut scratch.stored)?;
                    out[at * len..][..len].iter_mut().zip(truths).for_each(|(place, it)| *place = u8::from(it != 0.0));
                }
                (Source::Arrays(arrays), Column::Whole(out)) => {
                    let numbers = arrays[slot].0.values(row, &mut scratch.stored)?;
                    out[at * len..][..len].iter_mut().zip(numbers).for_each(|(place, it)| *place = it as i64);
                }
                (Source::Folder(..) | Source::Arrays(_), Column::Real(out)) => {
                    self.fill_real(slot, row, rng.clone(), scratch, &mut out[at * len..][..len])?;
                }
                (Source::Folder(..), Column::Whole(_) | Column::Truth(_)) => {}
            }
        }
        Ok(())
    }

    fn fill_real(
        &self,
        slot: usize,
        row: usize,
        rng: Option<Rng>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let Scratch { stored, numbers, resample } = scratch;
        let pipeline = &self.pipelines[slot];
        match &*self.dataset.source {
            Source::Folder(folder, _) => folder.with(row, |image| {
                let (height, width, channels) = (image.height, image.width, folder.channels);
                let geometry = Geometry { height, width, channels, layout: Layout::Interleaved };
                pipeline.fill_image(&image.bytes, geometry, rng, resample, out);
            }),
            Source::Arrays(arrays) => match &arrays[slot] {
                (array, Form::Image { stored: Some(geometry), .. }) => {
                    if array.element == Element::U8 {
                        pipeline.fill_image(array.row(row, stored)?, *geometry, rng, resample, out);
                    } else {
                        numbers.clear();
                        numbers.extend(array.values(row, stored)?.map(|it| it as f32));
                        pipeline.fill_image(numbers, *geometry, rng, resample, out);
                    }
                    Ok(())
                }
                (array, _) => {
                    pipeline.fill_flat(array.values(row, stored)?.map(|it| it as f32), out);
                    Ok(())
                }
            },
            Source::Tokens(_) => Ok(()),
        }
    }

    /// Masks tokens of a row: in training other ones in every epoch, in evaluation always the same.
    fn mask(&self, at: usize, row: u32, augment: Option<[u64; 2]>, piece: &mut Piece) {
        let Source::Tokens(tokens) = &*self.dataset.source else { return };
        let (Some(slot), PieceLabels::Classes(targets)) = (tokens.masked_input(), &mut piece.labels) else { return };
        let [seed, epoch] = augment.unwrap_or([0, u64::MAX]);
        let rng = Rng::keyed(&[seed, MASK, epoch, u64::from(row)]);
        let len = tokens.len();
        if let Column::Whole(ids) = &mut piece.inputs[slot] {
            tokens.mask(row as usize, rng, &mut ids[at * len..][..len], &mut targets[at * len..][..len]);
        }
    }
}

impl Piece {
    /// Copies the rows of `part` to `at`, as far as they fit.
    pub fn put(&mut self, at: usize, part: &Piece) {
        let (rows, of) = (part.weights.len().min(self.weights.len() - at), part.weights.len());
        for (to, from) in self.inputs.iter_mut().zip(&part.inputs) {
            match (to, from) {
                (Column::Real(to), Column::Real(from)) => copy_rows(to, from, at, rows, of),
                (Column::Whole(to), Column::Whole(from)) => copy_rows(to, from, at, rows, of),
                (Column::Truth(to), Column::Truth(from)) => copy_rows(to, from, at, rows, of),
                _ => {}
            }
        }
        copy_rows(&mut self.weights, &part.weights, at, rows, of);
        match (&mut self.labels, &part.labels) {
            (PieceLabels::Classes(to), PieceLabels::Classes(from)) => copy_rows(to, from, at, rows, of),
            (PieceLabels::Values(to), PieceLabels::Values(from)) => copy_rows(to, from, at, rows, of),
            _ => {}
        }
    }

    pub fn targets(&self) -> Targets<'_> {
        match &self.labels {
            PieceLabels::None => Targets::None,
            PieceLabels::Classes(classes) => Targets::Classes(classes),
            PieceLabels::Values(values) => Targets::Values(values),
        }
    }
}

fn copy_rows<T: Copy>(to: &mut [T], from: &[T], at: usize, rows: usize, of: usize) {
    let len = from.len() / of;
    to[at * len..(at + rows) * len].copy_from_slice(&from[..rows * len]);
}
