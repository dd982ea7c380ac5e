//! In-place updates of weights, optimizer state and running statistics.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::elementwise::Flat;
use super::state::State;

/// Stochastic gradient descent; the momentum buffer is there iff `momentum` is above 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// Elements.
    pub n: usize,
    /// Share of the last step's buffer.
    pub momentum: f64,
    /// Whether the step looks ahead.
    pub nesterov: bool,
    /// Times w, added to the gradient.
    pub weight_decay: f64,
    /// How the momentum buffer is stored.
    pub state: State,
    /// Whether the last operand is a factor of the gradient.
    pub clipped: bool,
}

/// The part of stochastic gradient descent that comes before the gradient: `m = momentum m + weight_decay w`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decay {
    /// Elements.
    pub n: usize,
    /// Share of the last step's buffer; 0 forgets what is there.
    pub momentum: f64,
    /// Times w.
    pub weight_decay: f64,
}

/// Adam, or AdamW when the weight decay is `decoupled`.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// Elements.
    pub n: usize,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Times w, added to the gradient; times the learning rate, taken from w when `decoupled`.
    pub weight_decay: f64,
    /// Whether the decay bypasses the moments.
    pub decoupled: bool,
    /// How the moments are stored.
    pub state: State,
    /// Whether the last operand is a factor of the gradient.
    pub clipped: bool,
}

/// Running statistics of batch normalization.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormUpdate {
    /// Channels.
    pub c: usize,
    /// Share of the old value.
    pub momentum: f64,
    /// That was added to the batch variance.
    pub epsilon: f64,
    /// Elements that each statistic is of; at least 2.
    pub count: usize,
}

pub(super) fn sgd(call: &Call<'_>) -> Result<Kernel> {
    let numbers = |count, state: State| if state.is_rounded() { vec![2 + count, 3 + count] } else { vec![2 + count] };
    Ok(Kernel::Sgd(sgd_of(call, 2, |count, state| update(call, count, state, &numbers(count, state)))?))
}

/// The arithmetic of an update of `n(tensors of state, how they are stored)` elements, whose state begins at operand `slot`. The
/// number of the step is read where state is rounded.
pub(super) fn sgd_of(call: &Call<'_>, slot: usize, n: impl Fn(usize, State) -> Result<usize>) -> Result<Sgd> {
    let momentum = call.float_in("momentum", 0.0..=1.0)?;
    let nesterov = call.flag("nesterov")?;
    let state = State::of(call, slot)?;
    if state.is_rounded() && momentum == 0.0 {
        return Err(wrong("seed", "absent, as there is no state".into()));
    }
    let n = n(usize::from(0.0 < momentum), state)?;
    Ok(Sgd { n, momentum, nesterov, weight_decay: call.float("weight_decay")?, state, clipped: false })
}

pub(super) fn decay(call: &Call<'_>) -> Result<Kernel> {
    let n = pair(call, 2, 1)?;
    let momentum = call.float_in("momentum", 0.0..=1.0)?;
    Ok(Kernel::Decay(Decay { n, momentum, weight_decay: call.float("weight_decay")? }))
}

pub(super) fn accumulate(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::Accumulate(Flat { n: pair(call, 2, 1)? }))
}

pub(super) fn descend(call: &Call<'_>) -> Result<Kernel> {
    call.operands(3..=3)?;
    call.f32_of(2, &[])?;
    Ok(Kernel::Descend(Flat { n: pair(call, 3, 0)? }))
}

/// Elements of the first two operands, which are alike; the one at `updated` is the result.
fn pair(call: &Call<'_>, count: usize, updated: usize) -> Result<usize> {
    call.operands(count..=count)?;
    let dims = call.f32(0)?;
    call.f32_of(1, dims)?;
    call.results(&[call.operand(updated)?.clone()])?;
    Ok(dims.iter().product())
}

pub(super) fn adam(call: &Call<'_>) -> Result<Kernel> {
    moments(call, false)
}

pub(super) fn adamw(call: &Call<'_>) -> Result<Kernel> {
    moments(call, true)
}

fn moments(call: &Call<'_>, decoupled: bool) -> Result<Kernel> {
    Ok(Kernel::Adam(adam_of(call, 2, decoupled, |state| update(call, 2, state, &[4, 5]))?))
}

/// The arithmetic of an update of `n(how state is stored)` elements, whose state begins at operand `slot`.
pub(super) fn adam_of(
    call: &Call<'_>,
    slot: usize,
    decoupled: bool,
    n: impl Fn(State) -> Result<usize>,
) -> Result<Adam> {
    let state = State::of(call, slot)?;
    let n = n(state)?;
    let below_one = 0.0..=1.0f64.next_down();
    Ok(Adam {
        n,
        beta1: call.float_in("beta1", below_one.clone())?,
        beta2: call.float_in("beta2", below_one)?,
        epsilon: call.float_in("epsilon", 0.0..=f64::MAX)?,
        weight_decay: call.float("weight_decay")?,
        decoupled,
        state,
        clipped: false,
    })
}

pub(super) fn batch_norm_update(call: &Call<'_>) -> Result<Kernel> {
    call.operands(4..=4)?;
    let &[c] = call.f32(0)? else {
        return Err(call.wrong_operand(0, "f32[c]"));
    };
    for slot in 1..4 {
        call.f32_of(slot, &[c])?;
    }
    call.results(&[call.operand(0)?.clone(), call.operand(1)?.clone()])?;
    all_wanted(call)?;
    Ok(Kernel::BatchNormUpdate(BatchNormUpdate {
        c,
        momentum: call.float_in("momentum", 0.0..=1.0)?,
        epsilon: call.float_in("epsilon", 0.0..=f64::MAX)?,
        count: call.size("count", 2).map_err(|_| wrong("count", "an int, at least 2".into()))?,
    }))
}

/// Elements of w; g and `states` tensors of state are like it, and the operands at `scalars` are numbers.
fn update(call: &Call<'_>, states: usize, state: State, scalars: &[usize]) -> Result<usize> {
    let count = 2 + states + scalars.len();
    call.operands(count..=count)?;
    let w = call.f32(0)?;
    call.f32_of(1, w)?;
    let types = state.types(w, states);
    for (slot, ty) in types.iter().enumerate() {
        call.expect(2 + slot, ty)?;
    }
    for &slot in scalars {
        call.f32_of(slot, &[])?;
    }
    call.results(&[vec![call.operand(0)?.clone()], types].concat())?;
    all_wanted(call)?;
    Ok(w.iter().product())
}

/// An in-place update always makes all its results.
pub(super) fn all_wanted(call: &Call<'_>) -> Result<()> {
    (0..call.results.len()).try_for_each(|slot| call.wanted(slot).map(drop))
}
