//! Updates of tables whose gradient is sums of rows at indices: the gradient itself is never there.

use super::Kernel;
use super::call::{Call, Result};
use super::index::indices;
use super::optimizer::{Adam, Sgd, adam_of, all_wanted, sgd_of};
use super::state::State;

/// Which rows of a table have a gradient: row `indices[i]` that of row i of dy. All others have none, which decays the
/// optimizer's state and the weight as any other gradient does.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Rows of the table.
    pub len: usize,
    /// Rows of dy.
    pub count: usize,
    /// Elements of a row.
    pub inner: usize,
}

/// An update by stochastic gradient descent.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdRows {
    /// The arithmetic; the momentum buffer is there iff its momentum is above 0.
    pub sgd: Sgd,
    /// The gradient.
    pub rows: Rows,
}

/// An update by Adam or AdamW.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamRows {
    /// The arithmetic.
    pub adam: Adam,
    /// The gradient.
    pub rows: Rows,
}

pub(super) fn sgd_rows(call: &Call<'_>) -> Result<Kernel> {
    let of = |states, state: State| rows(call, states, state, 1 + usize::from(state.is_rounded()));
    let sgd = sgd_of(call, 3, |states, state| of(states, state).map(|it| it.len * it.inner))?;
    let rows = of(usize::from(0.0 < sgd.momentum), sgd.state)?;
    Ok(Kernel::SgdRows(SgdRows { sgd, rows }))
}

pub(super) fn adam_rows(call: &Call<'_>) -> Result<Kernel> {
    moments(call, false)
}

pub(super) fn adamw_rows(call: &Call<'_>) -> Result<Kernel> {
    moments(call, true)
}

fn moments(call: &Call<'_>, decoupled: bool) -> Result<Kernel> {
    let adam = adam_of(call, 3, decoupled, |state| rows(call, 2, state, 2).map(|it| it.len * it.inner))?;
    let rows = rows(call, 2, adam.state, 2)?;
    Ok(Kernel::AdamRows(AdamRows { adam, rows }))
}

/// w, dy, indices, so many tensors of state like w, and so many numbers.
fn rows(call: &Call<'_>, states: usize, state: State, scalars: usize) -> Result<Rows> {
    let count = 3 + states + scalars;
    call.operands(count..=count)?;
    let w = call.f32(0)?;
    let Some((&len, row)) = w.split_first() else {
        return Err(call.wrong_operand(0, "a table of rows"));
    };
    let indices = indices(call, 2)?;
    call.f32_of(1, &[indices, row].concat())?;
    let types = state.types(w, states);
    types.iter().enumerate().try_for_each(|(slot, ty)| call.expect(3 + slot, ty))?;
    (3 + states..count).try_for_each(|slot| call.f32_of(slot, &[]))?;
    call.results(&[vec![call.operand(0)?.clone()], types].concat())?;
    all_wanted(call)?;
    Ok(Rows { len, count: indices.iter().product(), inner: row.iter().product() })
}
