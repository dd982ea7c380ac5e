//! How a stored row becomes a row of the model's input: decided once, from the two shapes.

use std::path::Path;

use super::{DataError, Expect, Numbers};

/// Where the channels of an image are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Channels first: `[c, h, w]`.
    Planar,
    /// Channels last: `[h, w, c]`.
    Interleaved,
}

/// Height and width, channels, and their layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub layout: Layout,
}

/// What rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As many numbers as the input has, in its order.
    Flat,
    /// Images. `stored` is absent where every file has its own size.
    Image { input: Geometry, stored: Option<Geometry> },
}

impl Geometry {
    fn planar(dims: &[usize; 3]) -> Geometry {
        Geometry { channels: dims[0], height: dims[1], width: dims[2], layout: Layout::Planar }
    }

    fn interleaved(dims: &[usize; 3]) -> Geometry {
        Geometry { height: dims[0], width: dims[1], channels: dims[2], layout: Layout::Interleaved }
    }

    /// The image that an input `[c, h, w]` or `[h, w, c]` with 1 or 3 channels is; none if it is neither or both.
    fn of_input(dims: &[usize]) -> Option<Geometry> {
        let dims: &[usize; 3] = dims.try_into().ok()?;
        let colors = |geometry: &Geometry| matches!(geometry.channels, 1 | 3);
        one_of(Some(Geometry::planar(dims)).filter(colors), Some(Geometry::interleaved(dims)).filter(colors))
    }
}

/// The form of an image folder that fills the one input that is expected.
pub(super) fn of_folder(expect: &Expect) -> Result<Form, DataError> {
    let [input] = &expect.inputs[..] else {
        return Err(DataError::FolderInputs { names: names(expect) });
    };
    let image = Geometry::of_input(&input.dims).filter(|_| input.numbers == Numbers::Real);
    let image = image.ok_or_else(|| DataError::NotAnImage { expected: input.dims.clone() })?;
    Ok(Form::Image { input: image, stored: None })
}

/// Names of the inputs, for a person.
pub(super) fn names(expect: &Expect) -> String {
    expect.inputs.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The form of an array with rows of shape `found`. The rules, in their order:
///
/// 1. A shape that equals the input's but for dimensions of 1 is taken as it is.
/// 2. If the input is an image of `c` = 1 or 3 channels, rows `[c, h, w]` are images with channels first and
///    `[h, w, c]` with channels last, of any size; where both fit, the shape is ambiguous and refused.
/// 3. A flat input or flat rows of the same number of elements are taken in order.
pub(super) fn of_array(path: &Path, input: &[usize], found: &[usize]) -> Result<Form, DataError> {
    let image = Geometry::of_input(input);
    let shape = || (path.to_path_buf(), input.to_vec(), found.to_vec());
    if squeezed(found) == squeezed(input) {
        return Ok(image.map_or(Form::Flat, |input| Form::Image { input, stored: Some(input) }));
    }
    if let (Some(input), Ok(dims)) = (image, <&[usize; 3]>::try_from(found)) {
        let fits = |stored: &Geometry| stored.channels == input.channels;
        let first = Some(Geometry::planar(dims)).filter(fits);
        let last = Some(Geometry::interleaved(dims)).filter(fits);
        if first.is_some() && last.is_some() {
            let (path, expected, found) = shape();
            return Err(DataError::AmbiguousShape { path, expected, found });
        }
        if let Some(stored) = first.or(last) {
            return Ok(Form::Image { input, stored: Some(stored) });
        }
    }
    if let (Some(input), &[height, width]) = (image, found)
        && input.channels == 1
    {
        return Ok(Form::Image { input, stored: Some(Geometry::planar(&[1, height, width])) });
    }
    let flat = input.len() == 1 || found.len() == 1;
    if flat && found.iter().product::<usize>() == input.iter().product::<usize>() {
        return Ok(Form::Flat);
    }
    let (path, expected, found) = shape();
    Err(DataError::Shape { path, expected, found })
}

pub(super) fn squeezed(dims: &[usize]) -> Vec<usize> {
    dims.iter().copied().filter(|&dim| dim != 1).collect()
}

fn one_of<T>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(_), Some(_)) => None,
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(input: &[usize], found: &[usize]) -> Result<Form, DataError> {
        of_array(Path::new("x.npy"), input, found)
    }

    fn stored(input: &[usize], found: &[usize]) -> (usize, usize, usize, Layout) {
        match form(input, found) {
            Ok(Form::Image { stored: Some(it), .. }) => (it.channels, it.height, it.width, it.layout),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn images_are_recognized_by_their_shape() {
        assert_eq!(stored(&[3, 32, 32], &[3, 32, 32]), (3, 32, 32, Layout::Planar));
        assert_eq!(stored(&[3, 32, 32], &[32, 32, 3]), (3, 32, 32, Layout::Interleaved));
        assert_eq!(stored(&[32, 32, 3], &[32, 32, 3]), (3, 32, 32, Layout::Interleaved));
        assert_eq!(stored(&[3, 32, 32], &[48, 64, 3]), (3, 48, 64, Layout::Interleaved));
        assert_eq!(stored(&[1, 8, 8], &[8, 8]), (1, 8, 8, Layout::Planar));
        assert_eq!(stored(&[1, 16, 16], &[8, 8]), (1, 8, 8, Layout::Planar));
    }

    #[test]
    fn other_rows_are_taken_in_order() {
        assert_eq!(form(&[64], &[64]).unwrap(), Form::Flat);
        assert_eq!(form(&[64], &[8, 8]).unwrap(), Form::Flat);
        assert_eq!(form(&[64], &[64, 1]).unwrap(), Form::Flat);
        assert_eq!(form(&[16, 8, 8], &[16, 8, 8]).unwrap(), Form::Flat);
        assert_eq!(form(&[3, 8, 3], &[3, 8, 3]).unwrap(), Form::Flat);
        assert_eq!(form(&[], &[]).unwrap(), Form::Flat);
        assert_eq!(form(&[1], &[]).unwrap(), Form::Flat);
    }

    #[test]
    fn what_fits_twice_or_never_is_refused() {
        assert!(matches!(form(&[3, 32, 32], &[3, 48, 3]), Err(DataError::AmbiguousShape { .. })));
        assert!(matches!(form(&[3, 32, 32], &[32, 32, 4]), Err(DataError::Shape { .. })));
        assert!(matches!(form(&[16, 8, 8], &[8, 8, 16]), Err(DataError::Shape { .. })));
        assert!(matches!(form(&[64], &[63]), Err(DataError::Shape { .. })));
    }
}
