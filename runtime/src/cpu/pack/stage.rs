//! Kept values on their way between f32 and how they are stored.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use razorc_proto::packed::SCALED;

use crate::cpu::topk::magnitude;
use crate::cpu::wide::wide;
use crate::kernels::pack::{LEVELS, draw, scale};
use crate::types::Kept;

/// Values that are converted at once: those that share a scale.
const BLOCK: usize = SCALED as usize;
/// Most values of one group.
pub const GROUP: usize = 64;

/// Gathers the values of one sample as f32 and stores them in blocks.
pub struct Sink<'a> {
    values: Kept,
    bytes: &'a mut [u8],
    scales: std::slice::IterMut<'a, [u8; 4]>,
    key: u64,
    /// Of the first value that is staged, counted over all samples.
    rank: u64,
    staged: [f32; BLOCK + GROUP],
    len: usize,
}

impl<'a> Sink<'a> {
    /// Stores to `bytes` and `scales`, which have room for all values. The key and the rank of the first value decide how
    /// values of I8 are rounded.
    pub fn new(values: Kept, bytes: &'a mut [u8], scales: &'a mut [u8], key: u64, rank: u64) -> Self {
        let scales = scales.as_chunks_mut().0.iter_mut();
        Self { values, bytes, scales, key, rank, staged: [0.0; BLOCK + GROUP], len: 0 }
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
            self.store(BLOCK);
            self.staged.copy_within(BLOCK.., 0);
            self.len -= BLOCK;
        }
    }

    /// Stores what is staged.
    pub fn finish(mut self) {
        if self.len != 0 {
            self.store(self.len);
        }
    }

    fn store(&mut self, n: usize) {
        let (now, later) = std::mem::take(&mut self.bytes).split_at_mut(n * self.values.bytes());
        let staged = &self.staged[..n];
        match self.values {
            Kept::I8 => {
                let scale = store_i8(staged, self.key, self.rank, now);
                *self.scales.next().expect("a scale for each block") = scale.to_le_bytes();
            }
            values => store(values, staged, now),
        }
        self.bytes = later;
        self.rank += n as u64;
    }
}

/// Values of one sample as they are stored.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// Their element.
    pub values: Kept,
    /// Of I8, one for each 256 values.
    pub scales: &'a [u8],
    /// The values.
    pub bytes: &'a [u8],
}

/// Loads values in blocks and hands them out as f32.
#[derive(Clone)]
pub struct Source<'a> {
    stored: Stored<'a>,
    /// The next value to be loaded.
    next: usize,
    staged: [f32; BLOCK + GROUP],
    start: usize,
    end: usize,
}

impl<'a> Source<'a> {
    /// Values from the `first` one on.
    pub fn new(stored: Stored<'a>, first: usize) -> Self {
        let mut source = Self { stored, next: first, staged: [0.0; BLOCK + GROUP], start: 0, end: 0 };
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
        // Never behind what is staged, whatever an index says.
        self.start = (self.start + n).min(BLOCK);
        if self.end < self.start + GROUP {
            self.refill();
        }
    }

    fn refill(&mut self) {
        let unread = self.stored.len().saturating_sub(self.next);
        if unread == 0 {
            return;
        }
        self.staged.copy_within(self.start.min(self.end)..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        // Never more than two scales' worth.
        let n = (BLOCK - self.end).min(unread);
        self.stored.load(self.next, &mut self.staged[self.end..][..n]);
        self.next += n;
        self.end += n;
    }
}

impl Stored<'_> {
    fn len(&self) -> usize {
        self.bytes.len() / self.values.bytes()
    }

    /// Loads values from the `first` one on.
    fn load(&self, first: usize, x: &mut [f32]) {
        let width = self.values.bytes();
        let bytes = &self.bytes[first * width..][..x.len() * width];
        if self.values != Kept::I8 {
            return load(self.values, bytes, x);
        }
        let scales = self.scales.as_chunks().0;
        let head = (BLOCK - first % BLOCK).min(x.len());
        let (x, x_later) = x.split_at_mut(head);
        let (bytes, later) = bytes.split_at(head);
        load_i8(bytes, f32::from_le_bytes(scales[first / BLOCK]), x);
        if !later.is_empty() {
            load_i8(later, f32::from_le_bytes(scales[first / BLOCK + 1]), x_later);
        }
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
        Kept::I8 => unreachable!("scaled values are stored apart"),
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
        Kept::I8 => unreachable!("scaled values are loaded apart"),
    }
}

wide! {
    /// Rounds values that share a scale, each up or down at random so that the mean is right, and returns the scale.
    fn store_i8(x: &[f32], key: u64, rank: u64, bytes: &mut [u8]) -> f32 {
        let largest = x.iter().fold(0, |it, &x| magnitude(x).max(it));
        let scale = scale(largest);
        // Zeros stay zeros.
        let unit = if scale == 0.0 { 1.0 } else { scale };
        for ((byte, &x), rank) in bytes.iter_mut().zip(x).zip(rank..) {
            let level = (x / unit).clamp(-LEVELS, LEVELS);
            let below = level.floor();
            let up = draw(key, rank) < level - below;
            *byte = (below as i32 + i32::from(up)) as u8;
        }
        scale
    }
}

wide! {
    fn load_i8(bytes: &[u8], scale: f32, x: &mut [f32]) {
        for (x, &byte) in x.iter_mut().zip(bytes) {
            *x = f32::from(byte as i8) * scale;
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
