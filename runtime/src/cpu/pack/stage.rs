//! Kept values on their way between f32 and how they are stored.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::cpu::wide::wide;
use crate::types::Kept;

/// Values that are converted at once.
const BLOCK: usize = 512;
/// Most values of one group.
pub const GROUP: usize = 64;

/// Gathers f32 values and stores them in blocks.
pub struct Sink<'a> {
    values: Kept,
    bytes: &'a mut [u8],
    staged: [f32; BLOCK + GROUP],
    len: usize,
}

impl<'a> Sink<'a> {
    /// Stores to `bytes`, which has room for all values.
    pub fn new(values: Kept, bytes: &'a mut [u8]) -> Self {
        Self { values, bytes, staged: [0.0; BLOCK + GROUP], len: 0 }
    }

    /// Where up to 64 further values go.
    #[inline(always)]
    pub fn room(&mut self) -> &mut [f32; GROUP] {
        let len = self.len;
        self.staged[len..].first_chunk_mut().expect("less than a block is staged between groups")
    }

    /// Takes the first `n` values of the room.
    #[inline(always)]
    pub fn advance(&mut self, n: usize) {
        self.len += n;
        if BLOCK <= self.len {
            self.flush();
        }
    }

    /// Stores what is staged.
    pub fn flush(&mut self) {
        let staged = &self.staged[..self.len];
        let (now, later) = std::mem::take(&mut self.bytes).split_at_mut(self.len * self.values.bytes());
        store(self.values, staged, now);
        self.bytes = later;
        self.len = 0;
    }
}

/// Loads values in blocks and hands them out as f32.
pub struct Source<'a> {
    values: Kept,
    bytes: &'a [u8],
    staged: [f32; BLOCK + GROUP],
    start: usize,
    end: usize,
}

impl<'a> Source<'a> {
    /// Loads from `bytes`.
    pub fn new(values: Kept, bytes: &'a [u8]) -> Self {
        let mut source = Self { values, bytes, staged: [0.0; BLOCK + GROUP], start: 0, end: 0 };
        source.refill();
        source
    }

    /// The next 64 values; those behind the last one mean nothing.
    #[inline(always)]
    pub fn next(&self) -> &[f32; GROUP] {
        self.staged[self.start..].first_chunk().expect("a group is staged")
    }

    /// Goes on behind `n` values.
    #[inline(always)]
    pub fn advance(&mut self, n: usize) {
        self.start += n;
        if self.end < self.start + GROUP && !self.bytes.is_empty() {
            self.refill();
        }
    }

    fn refill(&mut self) {
        self.staged.copy_within(self.start.min(self.end)..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        let width = self.values.bytes();
        let n = (BLOCK - self.end).min(self.bytes.len() / width);
        let (now, later) = self.bytes.split_at(n * width);
        load(self.values, now, &mut self.staged[self.end..][..n]);
        self.bytes = later;
        self.end += n;
    }
}

fn store(values: Kept, x: &[f32], bytes: &mut [u8]) {
    match values {
        Kept::F32 => bytes.as_chunks_mut().0.iter_mut().zip(x).for_each(|(to, x)| *to = x.to_le_bytes()),
        Kept::Bf16 => store_bf16(x, bytes),
        Kept::F16 => {
            let mut rounded = [f16::ZERO; BLOCK + GROUP];
            rounded[..x.len()].convert_from_f32_slice(x);
            bytes.as_chunks_mut().0.iter_mut().zip(rounded).for_each(|(to, x)| *to = x.to_le_bytes());
        }
    }
}

fn load(values: Kept, bytes: &[u8], x: &mut [f32]) {
    match values {
        Kept::F32 => x.iter_mut().zip(bytes.as_chunks().0).for_each(|(x, from)| *x = f32::from_le_bytes(*from)),
        Kept::Bf16 => load_bf16(bytes, x),
        Kept::F16 => {
            let mut stored = [f16::ZERO; BLOCK + GROUP];
            stored.iter_mut().zip(bytes.as_chunks().0).for_each(|(to, from)| *to = f16::from_le_bytes(*from));
            stored[..x.len()].convert_to_f32_slice(x);
        }
    }
}

wide! {
    fn store_bf16(x: &[f32], bytes: &mut [u8]) {
        bytes.as_chunks_mut().0.iter_mut().zip(x).for_each(|(to, &x)| *to = bf16::from_f32(x).to_le_bytes());
    }
}

wide! {
    fn load_bf16(bytes: &[u8], x: &mut [f32]) {
        for (x, from) in x.iter_mut().zip(bytes.as_chunks().0) {
            *x = f32::from_bits((u16::from_le_bytes(*from) as u32) << 16);
        }
    }
}
