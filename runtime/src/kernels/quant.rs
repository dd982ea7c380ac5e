//! Tensors rounded to few bits, with a scale and an offset for each block.
//!
//! An offset is worth its two bytes: blocks of 64 with one have smaller errors than blocks of 32 without, most of all behind
//! activations whose values are of one sign. Relative error of a tensor (root of the squares' ratio), measured on a million
//! numbers in blocks of 64, to nearest:
//!
//! | data | bits | with offset | bytes an element | without offset, blocks of 32 | bytes an element |
//! |---|---|---|---|---|---|
//! | normal | 8 | 0.0054 | 1.063 | 0.0055 | 1.063 |
//! | normal | 4 | 0.090 | 0.563 | 0.097 | 0.563 |
//! | normal | 2 | 0.45 | 0.313 | 0.66 | 0.313 |
//! | ReLU of normal | 8 | 0.0027 | 1.063 | 0.0049 | 1.063 |
//! | ReLU of normal | 4 | 0.045 | 0.563 | 0.086 | 0.563 |
//! | ReLU of normal | 2 | 0.23 | 0.313 | 0.59 | 0.313 |
//!
//! Larger blocks take less and err more: normal data in blocks of 256, 0.0065, 0.11 and 0.55 for 1.016, 0.516 and 0.266 bytes.

use razorc_proto::packed;

use super::Kernel;
use super::call::{Call, Result};
use super::pack::draw;
use crate::rng::splitmix64;
use crate::types::{self, Type};

/// A rounded tensor seen as `[rows, len]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quant {
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub len: usize,
    /// Of each element: 2, 4 or 8.
    pub bits: usize,
    /// Elements of a block, a multiple of 16.
    pub block: usize,
}

/// Rounds a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantize {
    /// What it becomes.
    pub quant: Quant,
    /// Decides which of the two levels beside it an element is rounded to; to the nearest one where there is none.
    pub seed: Option<u64>,
    /// Whether the number of the step, the second operand, decides it too.
    pub step: bool,
}

/// What the codes of a block stand for: `offset + code * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// Between two levels; no number where the block has an element that is none or is infinite, and then all of it is none.
    pub scale: f32,
    /// Of code 0.
    pub offset: f32,
}

impl Quant {
    /// Bytes of the scales and offsets of one row.
    pub fn scale_bytes(&self) -> usize {
        packed::row_scale_bytes(self.len as u64, self.block as u64) as usize
    }

    /// Bytes of the codes of one row.
    pub fn code_bytes(&self) -> usize {
        packed::row_code_bytes(self.len as u64, self.bits as u64).expect("sizes are within bounds") as usize
    }

    /// Bytes of the whole tensor.
    pub fn bytes(&self) -> usize {
        self.rows * (self.scale_bytes() + self.code_bytes())
    }

    /// The largest code.
    pub fn most(&self) -> f32 {
        ((1 << self.bits) - 1) as f32
    }
}

impl Quantize {
    /// Decides all roundings of a step; none where they are to nearest.
    pub fn key(&self, step: u64) -> Option<u64> {
        self.seed.map(|seed| seed ^ splitmix64(step))
    }
}

impl Levels {
    /// Levels from the smallest to the largest element of a block. Both numbers have 16 bits (bf16) and are rounded outwards, so
    /// that no element lies beyond the levels by more than the arithmetic's error.
    #[inline(always)]
    pub fn of(smallest: f32, largest: f32, finite: bool, most: f32) -> Levels {
        // Adding zero makes one zero of both.
        let offset = down(smallest + 0.0);
        let scale = (largest - offset) / most + 0.0;
        if !finite || !scale.is_finite() {
            return Levels { scale: f32::NAN, offset: 0.0 };
        }
        Levels { scale: away(scale), offset }
    }

    /// How many levels an element is above code 0, within 0 and the largest code; 0 where it is no number.
    #[inline(always)]
    pub fn level(self, x: f32, most: f32) -> f32 {
        let unit = if self.scale == 0.0 { 1.0 } else { self.scale };
        ((x - self.offset) / unit).max(0.0).min(most)
    }

    /// The element that a code stands for.
    #[inline(always)]
    pub fn value(self, code: u8) -> f32 {
        self.offset + f32::from(code) * self.scale
    }

    /// As they are stored.
    #[inline(always)]
    pub fn to_bytes(self) -> [u8; 4] {
        let high = |it: f32| ((it.to_bits() >> 16) as u16).to_le_bytes();
        let ([a, b], [c, d]) = (high(self.scale), high(self.offset));
        [a, b, c, d]
    }

    /// From what is stored.
    #[inline(always)]
    pub fn from_bytes([a, b, c, d]: [u8; 4]) -> Levels {
        let high = |it| f32::from_bits(u32::from(u16::from_le_bytes(it)) << 16);
        Levels { scale: high([a, b]), offset: high([c, d]) }
    }
}

/// The code beside a level: the nearest, to the even one of two, or at random so that the mean is right. The rank is that of the
/// element in the whole tensor.
#[inline(always)]
pub fn code(level: f32, key: Option<u64>, rank: u64) -> u8 {
    match key {
        None => nearest(level),
        Some(key) => {
            let below = level as i32;
            (below + i32::from(draw(key, rank) < level - below as f32)) as u8
        }
    }
}

/// The nearest whole number of 0 to 255, to the even one of two.
#[inline(always)]
fn nearest(level: f32) -> u8 {
    // The sum has no bits for fractions, and its rounding is the processor's.
    (level + (1 << 23) as f32).to_bits() as u8
}

/// The largest bf16 that is not larger.
#[inline(always)]
fn down(x: f32) -> f32 {
    if x < 0.0 { away(x) } else { f32::from_bits(x.to_bits() & 0xffff_0000) }
}

/// The bf16 next to x on the side away from zero.
#[inline(always)]
fn away(x: f32) -> f32 {
    f32::from_bits((x.to_bits() + 0xffff) & 0xffff_0000)
}

pub(super) fn quantize(call: &Call<'_>) -> Result<Kernel> {
    let result = call.wanted(0)?;
    let Type::Quant(quant) = result else {
        return Err(call.wrong_result(0, "a rounded tensor"));
    };
    let seed = call.optional_int("seed")?.map(|it| it as u64);
    let operands = call.operands(1..=if seed.is_some() { 2 } else { 1 })?;
    let x = call.f32(0)?;
    call.results(&[Type::Quant(types::Quant { dims: x.to_vec(), ..quant.clone() })])?;
    if operands == 2 {
        call.f32_of(1, &[])?;
    }
    Ok(Kernel::Quantize(Quantize { quant: rows(quant), seed, step: operands == 2 }))
}

pub(super) fn dequantize(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let quant = call.quant(0)?;
    call.result(&quant.dims)?;
    Ok(Kernel::Dequantize(rows(quant)))
}

/// The layout of a rounded tensor.
pub(super) fn rows(quant: &types::Quant) -> Quant {
    let (&len, outer) = quant.dims.split_last().unwrap_or((&1, &[]));
    Quant { rows: outer.iter().product(), len, bits: quant.bits, block: quant.block }
}
