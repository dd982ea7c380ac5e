//! In-place updates of weights, optimizer state and running statistics.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::elementwise::Flat;
use crate::rng::splitmix64;
use crate::types::Type;

/// How the state of an update is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As f32.
    Exact,
    /// As bf16, rounded up or down at random by a seed and the number of the step, so that updates smaller than half of the
    /// last place are not lost (Zamirai et al., Revisiting BFloat16 Training, 2020).
    Bf16 {
        /// Of the weight.
        seed: u64,
    },
}

impl State {
    fn of(call: &Call<'_>) -> Result<State> {
        Ok(call.optional_int("seed")?.map_or(State::Exact, |seed| State::Bf16 { seed: seed as u64 }))
    }

    /// Whether it is rounded.
    pub fn is_rounded(self) -> bool {
        self != State::Exact
    }

    /// Type of the state of a weight with these axes.
    pub(super) fn ty(self, dims: &[usize]) -> Type {
        match self {
            State::Exact => Type::f32(dims),
            State::Bf16 { .. } => Type::Bf16(dims.to_vec()),
        }
    }

    /// Decides all roundings of a weight's state in a step; none where nothing is rounded.
    pub fn key(self, step: f32) -> Option<u64> {
        match self {
            State::Exact => None,
            State::Bf16 { seed } => Some(splitmix64(seed ^ splitmix64(step.to_bits().into()))),
        }
    }
}

/// What is stored as bf16.
#[inline(always)]
pub fn load(stored: u16) -> f32 {
    f32::from_bits(u32::from(stored) << 16)
}

/// Rounds the element of this rank to one of the two bf16 beside it; the mean of all draws is x.
#[inline(always)]
pub fn store(x: f32, key: u64, rank: u64) -> u16 {
    let draw = (splitmix64(key.wrapping_add(rank)) >> 48) as u32;
    // No carry leaves the number: the largest bits are those of an infinity, which have only zeros to round.
    let rounded = if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() + draw };
    (rounded >> 16) as u16
}

/// Number of an element among those of all states of a weight.
pub fn rank(slot: usize, at: usize) -> u64 {
    (slot as u64) << 48 | at as u64
}

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
    Ok(Kernel::Sgd(sgd_of(call, |count, state| update(call, count, state, &numbers(count, state)))?))
}

/// The arithmetic of an update of `n(tensors of state, how they are stored)` elements. The number of the step is read where
/// state is rounded.
pub(super) fn sgd_of(call: &Call<'_>, n: impl Fn(usize, State) -> Result<usize>) -> Result<Sgd> {
    let momentum = call.float_in("momentum", 0.0..=1.0)?;
    let nesterov = call.flag("nesterov")?;
    let state = State::of(call)?;
    if state.is_rounded() && momentum == 0.0 {
        return Err(wrong("seed", "absent, as there is no state".into()));
    }
    let n = n(usize::from(0.0 < momentum), state)?;
    Ok(Sgd { n, momentum, nesterov, weight_decay: call.float("weight_decay")?, state })
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
    Ok(Kernel::Adam(adam_of(call, decoupled, |state| update(call, 2, state, &[4, 5]))?))
}

/// The arithmetic of an update of `n(how state is stored)` elements.
pub(super) fn adam_of(call: &Call<'_>, decoupled: bool, n: impl Fn(State) -> Result<usize>) -> Result<Adam> {
    let state = State::of(call)?;
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
    for slot in 2..2 + states {
        call.expect(slot, &state.ty(w))?;
    }
    for &slot in scalars {
        call.f32_of(slot, &[])?;
    }
    call.results(&[vec![call.operand(0)?.clone()], vec![state.ty(w); states]].concat())?;
    all_wanted(call)?;
    Ok(w.iter().product())
}

/// An in-place update always makes all its results.
pub(super) fn all_wanted(call: &Call<'_>) -> Result<()> {
    (0..call.results.len()).try_for_each(|slot| call.wanted(slot).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_at_random_keeps_the_mean() {
        for x in [1.0 + 1.0 / 512.0, -3.3, 1e-20, 0.4999, -1e-40] {
            let drawn = (0..20_000).map(|rank| f64::from(load(store(x, 11, rank))));
            let mean = drawn.sum::<f64>() / 20_000.0;
            // The smallest numbers have few bits, so draws are far apart.
            let near = if x.abs() < f32::MIN_POSITIVE { 1e-2 } else { 2e-4 };
            assert!((mean / f64::from(x) - 1.0).abs() < near, "{x} is {mean} in the mean");
        }
    }

    #[test]
    fn what_bf16_can_hold_stays() {
        for x in [0.0, -0.0, 1.0, -2.5, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE] {
            assert!((0..1000).all(|rank| load(store(x, 3, rank)).to_bits() == x.to_bits()), "{x}");
        }
        assert!((0..1000).all(|rank| load(store(f32::from_bits(0x7f80_0001), 3, rank)).is_nan()));
        assert!(load(store(f32::MAX, 3, 1)) >= 3.3e38);
    }
}
