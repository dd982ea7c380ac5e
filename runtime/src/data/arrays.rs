//! Rows from arrays: one for each input, and one for the targets.

use std::path::Path;

use razorc_proto::program::task::Kind;

use super::array::Array;
use super::form::{self, Form, names, squeezed};
use super::tokens::Tokens;
use super::{DataError, Dataset, Expect, Input, Labels, Numbers, Options, Source, Target, select};

/// What the targets are called in an `.npz` file.
const TARGETS: [&str; 3] = ["y", "labels", "targets"];

pub(super) fn open_npz(path: &Path, expect: &Expect, options: &Options) -> Result<Dataset, DataError> {
    let bound = options.cache_bytes as u64;
    let of_input = |input: &Input| match &expect.inputs[..] {
        [_] => Array::open_member(path, &["x", input.name.as_str()], bound),
        _ => Array::open_member(path, &[input.name.as_str()], bound),
    };
    let inputs = expect.inputs.iter().map(of_input).collect::<Result<Vec<_>, _>>()?;
    let wanted = !matches!(expect.target, Target::None);
    let targets = wanted.then(|| Array::open_member(path, &TARGETS, bound)).transpose()?;
    dataset(inputs, targets, expect)
}

pub(super) fn open_npy(
    path: &Path,
    targets: Option<&Path>,
    expect: &Expect,
    options: &Options,
) -> Result<Dataset, DataError> {
    let bound = options.cache_bytes as u64;
    let x = Array::open(path, bound)?;
    let of_tokens = matches!(expect.kind, Kind::CausalLm | Kind::MaskedLm) && targets.is_none();
    let many = 1 < expect.inputs.len() && expect.inputs.iter().any(|it| it.numbers != Numbers::Real);
    if of_tokens || many {
        let tokens = Tokens::of_array(&x, expect, options)?;
        let rows = tokens.rows();
        let labels = match (targets, &expect.target) {
            (None, Target::None) => Labels::None,
            (None, _) if of_tokens => Labels::Tokens,
            (None, _) => return Err(DataError::MissingTargets { path: path.into() }),
            (Some(targets), _) => {
                let y = Array::open(targets, bound)?;
                same_rows(&x.path, rows, &y)?;
                labels(y, expect)?
            }
        };
        return Ok(Dataset::new(path, Source::Tokens(tokens), labels, rows, expect));
    }
    if expect.inputs.len() != 1 {
        return Err(DataError::ArrayInputs { path: path.into(), names: names(expect) });
    }
    let y = match (targets, &expect.target) {
        (_, Target::None) => None,
        (None, _) => return Err(DataError::MissingTargets { path: path.into() }),
        (Some(targets), _) => Some(Array::open(targets, bound)?),
    };
    dataset(vec![x], y, expect)
}

/// The rows of arrays, `x` in the order of the inputs.
pub(super) fn dataset(x: Vec<Array>, y: Option<Array>, expect: &Expect) -> Result<Dataset, DataError> {
    let first = &x[0];
    let (path, rows) = (first.path.clone(), first.rows());
    for other in x[1..].iter().chain(&y) {
        same_rows(&path, rows, other)?;
    }
    let inputs = x.into_iter().zip(&expect.inputs).map(|(array, input)| {
        let form = match input.numbers {
            Numbers::Real => {
                let form = form::of_array(&array.path, &input.dims, array.row_dims())?;
                select::check_finite(&array)?;
                form
            }
            Numbers::Whole { .. } | Numbers::Truth => {
                if squeezed(array.row_dims()) != squeezed(&input.dims) {
                    let (path, found) = (array.path.clone(), array.row_dims().to_vec());
                    return Err(DataError::Shape { path, expected: input.dims.clone(), found });
                }
                let end = if let Numbers::Whole { end } = input.numbers { end } else { Some(2) };
                select::check_whole(&array, &input.name, end)?;
                Form::Flat
            }
        };
        Ok((array, form))
    });
    let inputs = inputs.collect::<Result<Vec<_>, DataError>>()?;
    let labels = match y {
        Some(y) => labels(y, expect)?,
        None => Labels::None,
    };
    Ok(Dataset::new(&path, Source::Arrays(inputs), labels, rows, expect))
}

fn labels(y: Array, expect: &Expect) -> Result<Labels, DataError> {
    Ok(match &expect.target {
        Target::None => Labels::None,
        Target::Class { count, dims, ignore, .. } => {
            let per_row = dims.iter().product();
            Labels::Classes { indices: select::classes(&y, *count, dims, *ignore)?, per_row }
        }
        Target::Values { dims, unit } => Labels::Values(select::values(y, dims, *unit)?),
    })
}

fn same_rows(path: &Path, rows: usize, other: &Array) -> Result<(), DataError> {
    if rows == other.rows() {
        return Ok(());
    }
    Err(DataError::RowCount { x: path.into(), x_rows: rows, y: other.path.clone(), y_rows: other.rows() })
}
