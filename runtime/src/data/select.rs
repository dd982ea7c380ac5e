//! Checks of whole arrays, and choices of rows.

use super::array::Array;
use super::form::squeezed;
use super::{DataError, Dataset, Labels, Source};
use crate::rng::Rng;

/// Separates the streams of random numbers.
pub(super) const SPLIT: u64 = 1;
pub(super) const SHUFFLE: u64 = 2;
pub(super) const AUGMENT: u64 = 3;
pub(super) const MASK: u64 = 4;

/// Every number must be finite as an f32.
pub(super) fn check_finite(array: &Array) -> Result<(), DataError> {
    if !array.element.is_float() {
        return Ok(());
    }
    each_row(array, |row, values| match values.map(|it| it as f32).find(|it| !it.is_finite()) {
        Some(value) => Err(DataError::NotFinite { path: array.path.clone(), row, value }),
        None => Ok(()),
    })
}

/// Whole numbers from 0, below `end` where there is one.
pub(super) fn check_whole(array: &Array, name: &str, end: Option<u64>) -> Result<(), DataError> {
    // Larger ones are rounded as they are read.
    let most = end.unwrap_or(1 << 53) as f64;
    each_row(array, |row, values| {
        for value in values {
            if !(0.0..most).contains(&value) || value.fract() != 0.0 {
                return Err(DataError::Whole { path: array.path.clone(), row, name: name.into(), value, end });
            }
        }
        Ok(())
    })
}

/// Classes of rows, tokens or pixels: whole numbers from 0 to `count` (any number of them where it is 0), or `ignore`.
pub(super) fn classes(array: &Array, count: usize, dims: &[usize], ignore: i64) -> Result<Vec<i64>, DataError> {
    let path = || array.path.clone();
    if squeezed(array.row_dims()) != squeezed(dims) {
        let (expected, found) = (dims.to_vec(), array.row_dims().to_vec());
        return Err(match dims {
            [] => DataError::NotAClass { path: path(), found },
            _ => DataError::Shape { path: path(), expected, found },
        });
    }
    let most = if count == 0 { (1u64 << 53) as f64 } else { count as f64 };
    let mut classes = Vec::with_capacity(array.rows() * array.row_len());
    each_row(array, |row, values| {
        for value in values {
            let known = (0.0..most).contains(&value) || (!dims.is_empty() && value == ignore as f64);
            if !known || value.fract() != 0.0 {
                let (last, ignore) = (count.saturating_sub(1), (!dims.is_empty()).then_some(ignore));
                return Err(DataError::Label { path: path(), row, value, last, ignore });
            }
            classes.push(value as i64);
        }
        Ok(())
    })?;
    Ok(classes)
}

/// Targets of shape `dims`; from 0 to 1 where `unit`.
pub(super) fn values(array: Array, dims: &[usize], unit: bool) -> Result<Array, DataError> {
    if squeezed(array.row_dims()) != squeezed(dims) {
        let (path, found) = (array.path.clone(), array.row_dims().to_vec());
        return Err(DataError::Shape { path, expected: dims.to_vec(), found });
    }
    check_finite(&array)?;
    if unit {
        each_row(&array, |row, values| match values.map(|it| it as f32).find(|it| !(0.0..=1.0).contains(it)) {
            Some(value) => Err(DataError::Probability { path: array.path.clone(), row, value }),
            None => Ok(()),
        })?;
    }
    Ok(array)
}

fn each_row(
    array: &Array,
    mut check: impl FnMut(usize, &mut dyn Iterator<Item = f64>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut scratch = Vec::new();
    (0..array.rows()).try_for_each(|row| check(row, &mut array.values(row, &mut scratch)?))
}

impl Dataset {
    /// Splits off `fraction` of the rows for validation: `(training, validation)`. Every class gives its share, the
    /// seed alone decides which rows, and both sides keep the order of the rows.
    ///
    /// # Errors
    /// If a side would have no rows.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Dataset, Dataset), DataError> {
        let refuse = || DataError::Split { fraction, rows: self.len() };
        if !(0.0..1.0).contains(&fraction) {
            return Err(refuse());
        }
        let mut apart = Vec::new();
        // Rounding errors of the shares are carried from class to class, so that the sum is right.
        let mut owed = 0.5;
        for (class, mut rows) in self.by_class().into_iter().enumerate() {
            owed += rows.len() as f64 * fraction;
            // A class never leaves training altogether.
            let share = (owed.floor() as usize).min(rows.len() - 1);
            owed -= share as f64;
            Rng::keyed(&[seed, SPLIT, class as u64]).shuffle(&mut rows);
            apart.extend_from_slice(&rows[..share]);
        }
        apart.sort_unstable();
        let (validation, training): (Vec<u32>, Vec<u32>) =
            self.rows.iter().partition(|row| apart.binary_search(row).is_ok());
        if training.is_empty() || validation.is_empty() {
            return Err(refuse());
        }
        Ok((Dataset { rows: training, ..self.clone() }, Dataset { rows: validation, ..self.clone() }))
    }

    /// The first `n` rows. A folder is sorted by class, so there the classes take turns.
    ///
    /// # Errors
    /// If `n` is 0.
    pub fn take(&self, n: usize) -> Result<Dataset, DataError> {
        if n == 0 {
            return Err(DataError::NoRows { path: self.path.clone() });
        }
        let mut rows = match &*self.source {
            Source::Arrays(_) | Source::Tokens(_) => self.rows.clone(),
            Source::Folder(..) => {
                let mut turns: Vec<(usize, u32)> =
                    self.by_class().into_iter().flat_map(|rows| rows.into_iter().enumerate()).collect();
                turns.sort_unstable();
                turns.into_iter().map(|(_, row)| row).collect()
            }
        };
        rows.truncate(n);
        rows.sort_unstable();
        Ok(Dataset { rows, ..self.clone() })
    }

    /// Rows of each class; all rows at once where there are no classes.
    fn by_class(&self) -> Vec<Vec<u32>> {
        let Labels::Classes { indices: labels, per_row: 1 } = &*self.labels else { return vec![self.rows.clone()] };
        let mut classes = std::collections::BTreeMap::<i64, Vec<u32>>::new();
        for &row in &self.rows {
            classes.entry(labels[row as usize]).or_default().push(row);
        }
        classes.into_values().collect()
    }
}
