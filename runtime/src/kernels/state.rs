//! How optimizer state is stored in fewer bits: as bf16, or in 8 bits by a dynamic tree code with a scale for each block
//! (Dettmers et al., 8-bit Optimizers via Block-wise Quantization, 2022).
//!
//! Both are rounded up or down at random, by a seed and the number of the step, so that updates smaller than half of the way
//! to the next level are not lost (Zamirai et al., Revisiting BFloat16 Training, 2020).
//!
//! In 8 bits Adam's variance must not become zero: the quickstart's network, trained on all ten digits by Adam for 468 steps,
//! broke down within them for each of 4 seeds where the smallest numbers were rounded to zero, to the nearest or at random. With
//! at least the smallest level its validation loss was 0.066 for both roundings (f32 0.067, bf16 0.065). A block of 256 is the
//! authors' later choice; relative error (root of the squares' ratio) of 131072 numbers, to the nearest and at random:
//!
//! | block | bytes an element | normal, signed | squares of normal, unsigned |
//! |---|---|---|---|
//! | 64 | 1.063 | 0.0094, 0.0132 | 0.0052, 0.0073 |
//! | 256 | 1.016 | 0.0108, 0.0152 | 0.0065, 0.0091 |
//! | 2048 | 1.002 | 0.0124, 0.0175 | 0.0080, 0.0113 |

use razorc_proto::packed;

use super::call::{Call, Result};
use super::pack::draw;
use crate::rng::splitmix64;
use crate::types::Type;

/// How the state of an update is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As f32.
    Exact,
    /// As bf16.
    Bf16 {
        /// Of the weight.
        seed: u64,
    },
    /// In 8 bits.
    Dynamic {
        /// Of the weight.
        seed: u64,
    },
}

impl State {
    /// As the seed says, and the type of the operand at `slot`, the first tensor of state.
    pub(super) fn of(call: &Call<'_>, slot: usize) -> Result<State> {
        let Some(seed) = call.optional_int("seed")?.map(|it| it as u64) else { return Ok(State::Exact) };
        Ok(match call.operands.get(slot) {
            Some(Type::Dynamic(..)) => State::Dynamic { seed },
            _ => State::Bf16 { seed },
        })
    }

    /// Whether it is rounded.
    pub fn is_rounded(self) -> bool {
        self != State::Exact
    }

    /// Types of so many tensors of state of a weight with these axes: averages of the gradient, then of its square.
    pub(super) fn types(self, dims: &[usize], count: usize) -> Vec<Type> {
        let ty = |slot| match self {
            State::Exact => Type::f32(dims),
            State::Bf16 { .. } => Type::Bf16(dims.to_vec()),
            State::Dynamic { .. } => Type::Dynamic(slot == 0, dims.to_vec()),
        };
        (0..count).map(ty).collect()
    }

    /// Decides all roundings of a weight's state in a step.
    pub fn key(self, step: f32) -> u64 {
        match self {
            State::Exact => 0,
            State::Bf16 { seed } | State::Dynamic { seed } => splitmix64(seed ^ splitmix64(step.to_bits().into())),
        }
    }
}

/// Number of an element among those of all states of a weight.
pub fn rank(slot: usize, at: usize) -> u64 {
    (slot as u64) << 48 | at as u64
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

/// Elements that share a scale in 8 bits.
pub const BLOCK: usize = packed::STATE_BLOCK as usize;

/// What a block's scale is of elements with these bits, of which the sign is ignored: the largest magnitude, or no number
/// where one of them is none or is infinite.
#[inline(always)]
pub fn scale(x: &[f32]) -> f32 {
    // Magnitudes are ordered as their bits are.
    let largest = x.iter().fold(0, |most: u32, it| most.max(it.to_bits() & 0x7fff_ffff));
    let largest = f32::from_bits(largest);
    if largest.is_finite() { largest } else { f32::NAN }
}

/// Levels of a code of 8 bits: 0, then seven decades of ever more levels at even distances, the last one from 0.1 to 1.
///
/// A level is the middle of an interval of its decade, as in the authors' library, and the largest is 1, so that a block's
/// largest element comes back as it was. Of signed levels the highest bit is the sign.
pub struct Code {
    signed: bool,
    /// By code, without the sign; behind the last one infinity, which nothing reaches.
    levels: [f32; 257],
    /// The last level that is not above the smallest number of a cell.
    below: [u8; CELLS],
}

/// Cells are the numbers that have the highest 16 bits in common; the first one begins at 2^-22, below all levels but 0.
const FIRST_CELL: u32 = 105 << 7;
/// From the first one to that of 1.
const CELLS: usize = ((127 << 7) - FIRST_CELL + 1) as usize;

static SIGNED: Code = Code::new(true);
static UNSIGNED: Code = Code::new(false);

impl Code {
    /// The code of what may be below zero, or of what may not.
    pub fn of(signed: bool) -> &'static Code {
        if signed { &SIGNED } else { &UNSIGNED }
    }

    const fn new(signed: bool) -> Code {
        let mut levels = [f32::INFINITY; 257];
        levels[0] = 0.0;
        let (mut count, mut decade, mut end) = (1, 0, 1e-6);
        while decade < 7 {
            let intervals = if signed { 1 << decade } else { 2 << decade };
            let mut at = 0;
            while at < intervals {
                levels[count] = (end * (0.1 + 0.9 * (at as f64 + 0.5) / intervals as f64)) as f32;
                at += 1;
                count += 1;
            }
            decade += 1;
            end *= 10.0;
        }
        // Of both signs there is no room for a level more.
        levels[if signed { count - 1 } else { count }] = 1.0;
        let mut below = [0; CELLS];
        let (mut cell, mut level) = (0, 0);
        while cell < CELLS {
            let smallest = f32::from_bits((FIRST_CELL + cell as u32) << 16);
            while levels[level + 1] <= smallest {
                level += 1;
            }
            below[cell] = level as u8;
            cell += 1;
        }
        Code { signed, levels, below }
    }

    /// What a code stands for.
    #[inline(always)]
    pub fn load(&self, code: u8, scale: f32) -> f32 {
        let level = if self.signed { self.levels[usize::from(code & 127)] } else { self.levels[usize::from(code)] };
        let x = level * scale;
        if self.signed && 127 < code { -x } else { x }
    }

    /// Rounds the element of this rank to one of the two levels beside it; the mean of all draws is x. But what is above zero
    /// and has no sign never becomes zero, as Adam divides by it.
    #[inline(always)]
    pub fn store(&self, x: f32, scale: f32, key: u64, rank: u64) -> u8 {
        let y = x.abs() / if scale == 0.0 { 1.0 } else { scale };
        let cell = ((y.to_bits() >> 16).saturating_sub(FIRST_CELL) as usize).min(CELLS - 1);
        let below = usize::from(self.below[cell]);
        let below = below + usize::from(self.levels[below + 1] <= y);
        let (low, high) = (self.levels[below], self.levels[below + 1]);
        let level = below + usize::from(draw(key, rank) < (y - low) / (high - low));
        match self.signed {
            true => level as u8 | u8::from(x < 0.0) << 7,
            false => level.max(usize::from(0.0 < y)) as u8,
        }
    }
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

    /// Levels as the authors' library makes them, apart from the end.
    #[test]
    fn levels_are_those_of_the_dynamic_tree_code() {
        let near = |x: f32, y: f64| (f64::from(x) / y - 1.0).abs() < 1e-6;
        let [signed, unsigned] = [true, false].map(Code::of);
        assert!(
            near(signed.levels[1], 0.55e-6) && near(signed.levels[2], 0.325e-5) && near(signed.levels[3], 0.775e-5)
        );
        assert!(near(unsigned.levels[1], 0.325e-6) && near(unsigned.levels[254], 1.0 - 0.9 / 256.0));
        assert!(near(signed.levels[126], 1.0 - 0.9 * 1.5 / 64.0));
        for (code, last) in [(signed, 127), (unsigned, 255)] {
            assert_eq!([code.levels[0], code.levels[last], code.levels[last + 1]], [0.0, 1.0, f32::INFINITY]);
            assert!(code.levels[..=last].is_sorted_by(|a, b| a < b));
        }
    }

    /// Also that no cell has two levels in it.
    #[test]
    fn levels_come_back_and_what_is_between_becomes_a_neighbor() {
        for signed in [true, false] {
            let code = Code::of(signed);
            let last = if signed { 127 } else { 255 };
            for scale in [1.0, 0.25, 2048.0] {
                for level in 0..=last {
                    let x = code.levels[level] * scale;
                    assert_eq!(code.store(x, scale, 5, level as u64), level as u8);
                    assert_eq!(code.load(level as u8, scale), x);
                    if signed && 0 < level {
                        assert_eq!(code.load(code.store(-x, scale, 5, 1), scale), -x);
                    }
                }
            }
            for i in 1..100_000u32 {
                let y = i as f32 / 100_000.0;
                let found = code.load(code.store(y, 1.0, 9, i.into()), 1.0);
                let above = code.levels.partition_point(|it| *it <= y);
                assert!([above - 1, above].iter().any(|it| code.levels[*it] == found), "{y} became {found}");
            }
        }
    }

    #[test]
    fn draws_of_eight_bits_keep_the_mean_but_near_zero() {
        let mean = |signed, x: f32| {
            let code = Code::of(signed);
            let drawn = (0..100_000).map(|rank| f64::from(code.load(code.store(x, 2.0, 11, rank), 2.0)));
            drawn.sum::<f64>() / 100_000.0
        };
        for x in [1.99, 0.333, 0.04, 1.1e-3, 1e-5] {
            for (signed, x) in [(true, x), (true, -x), (false, x)] {
                let mean = mean(signed, x);
                assert!((mean / f64::from(x) - 1.0).abs() < 1e-2, "{x} is {mean} in the mean");
            }
        }
        assert!((mean(true, 1e-7) / 1e-7 - 1.0).abs() < 0.05);
        let smallest = f64::from(UNSIGNED.levels[1]) * 2.0;
        assert!((mean(false, 1e-9) / smallest - 1.0).abs() < 1e-6);
        assert_eq!((mean(true, 0.0), mean(false, 0.0)), (0.0, 0.0));
    }

    #[test]
    fn a_block_that_is_not_finite_is_no_number() {
        assert_eq!(scale(&[0.0, -3.0, 2.0]), 3.0);
        assert_eq!(scale(&[0.0, -0.0]), 0.0);
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let unit = scale(&[1.0, x]);
            for code in [true, false].map(Code::of) {
                assert!([x, 1.0, 0.0].iter().all(|it| code.load(code.store(*it, unit, 1, 1), unit).is_nan()), "{x}");
            }
        }
    }
}
