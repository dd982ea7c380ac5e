//! Strided views, with as few axes as possible.

/// Strides of a row-major tensor.
pub(super) fn row_major(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    strides
}

/// Strides of a tensor in the index space of `to`, 0 on the axes that it is broadcast over; `None` unless it fits.
pub(super) fn broadcast(dims: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let lead = to.len().checked_sub(dims.len())?;
    let own = row_major(dims);
    let aligned = dims.iter().zip(&to[lead..]).zip(own).map(|((&dim, &to), stride)| match dim {
        _ if dim == to => Some(stride),
        1 => Some(0),
        _ => None,
    });
    std::iter::repeat_n(Some(0), lead).chain(aligned).collect()
}

/// Drops axes of length 1 and merges neighbors that every one of the strided tensors steps over as over one axis.
/// At least one axis remains.
pub(super) fn merge<const N: usize>(dims: &[usize], strides: [&[usize]; N]) -> (Vec<usize>, [Vec<usize>; N]) {
    let mut merged: Vec<usize> = Vec::new();
    let mut steps: [Vec<usize>; N] = std::array::from_fn(|_| Vec::new());
    for (axis, &dim) in dims.iter().enumerate().filter(|&(_, &dim)| dim != 1) {
        let joins = (0..N).all(|it| steps[it].last().is_some_and(|&outer| outer == strides[it][axis] * dim));
        match merged.last_mut().filter(|_| joins) {
            Some(outer) => *outer *= dim,
            None => merged.push(dim),
        }
        for (steps, strides) in steps.iter_mut().zip(strides) {
            if joins {
                steps.pop();
            }
            steps.push(strides[axis]);
        }
    }
    if merged.is_empty() {
        merged.push(1);
        steps.iter_mut().for_each(|it| it.push(0));
    }
    (merged, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_what_lies_together() {
        let (dims, [x]) = merge(&[2, 1, 3, 4], [&row_major(&[2, 1, 3, 4])]);
        assert_eq!((dims, x), (vec![24], vec![1]));
        let column = broadcast(&[3, 1], &[2, 3, 4]).unwrap();
        let (dims, [x, y]) = merge(&[2, 3, 4], [&row_major(&[2, 3, 4]), &column]);
        assert_eq!((dims, x, y), (vec![2, 3, 4], vec![12, 4, 1], vec![0, 1, 0]));
        assert_eq!(merge(&[1, 1], [&[5, 5]]), (vec![1], [vec![0]]));
    }

    #[test]
    fn broadcasts_from_the_right() {
        assert_eq!(broadcast(&[3], &[2, 3]), Some(vec![0, 1]));
        assert_eq!(broadcast(&[2, 1], &[2, 3]), Some(vec![1, 0]));
        assert_eq!(broadcast(&[2], &[2, 3]), None);
        assert_eq!(broadcast(&[1, 2, 3], &[2, 3]), None);
    }
}
