//! Windows read sixteen at a time, with masks for what is padding.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{Run, Windows};
use crate::cpu::gemm::DEPTH;

const LANES: usize = 16;
/// Most vectors that a reader has: windows of one block of a sum.
const VECTORS: usize = DEPTH / LANES;
/// Most pieces of rows that a reader reads one by one; where there are more it gathers.
const PARTS: usize = 64;
/// Most taps along one axis.
const TAPS: usize = 16;

/// Reads the windows of a range at any tap.
pub struct Reader<'a> {
    windows: Windows<'a>,
    how: How,
    /// Pieces of rows, those of one vector after the other.
    parts: [Part; PARTS],
    /// Where the parts of each vector end.
    ends: [usize; VECTORS],
    /// For the same windows one by one.
    lanes: [Lanes; VECTORS],
}

/// How a vector is loaded.
#[derive(Clone, Copy)]
enum How {
    /// Part by part, where windows read neighbors (stride 1).
    Near,
    /// Part by part, where they read every other element (stride 2).
    Pairs,
    /// Lane by lane.
    Gather,
}

const NEAR: u8 = How::Near as u8;
const PAIRS: u8 = How::Pairs as u8;
const GATHER: u8 = How::Gather as u8;

/// Neighboring windows in one vector.
#[derive(Clone, Copy, Default)]
struct Part {
    /// What lane 0 would read at the first tap of channel 0.
    base: isize,
    /// For each horizontal tap the lanes that are inside.
    x: [u16; TAPS],
    /// With stride 2, which elements of two vectors those lanes read.
    pairs: [[u16; 2]; TAPS],
    /// A bit for each vertical tap that is inside.
    y: u16,
}

/// Any windows in one vector.
#[derive(Clone, Copy, Default)]
struct Lanes {
    /// What the lanes read at the first tap of channel 0.
    bases: [i32; LANES],
    /// For each tap the lanes that are inside.
    x: [u16; TAPS],
    y: [u16; TAPS],
}

impl<'a> Reader<'a> {
    /// For at most [`DEPTH`] windows; none if there is no AVX-512 or the windows are too large.
    pub fn new(windows: &Windows<'a>, range: Range<usize>) -> Option<Reader<'a>> {
        let small = windows.y.taps <= TAPS && windows.x.taps <= TAPS && i32::try_from(windows.data.len()).is_ok();
        if !small || !is_x86_feature_detected!("avx512f") {
            return None;
        }
        let mut reader = Reader {
            windows: *windows,
            how: match windows.x.stride {
                1 => How::Near,
                2 => How::Pairs,
                _ => How::Gather,
            },
            parts: [Part::default(); PARTS],
            ends: [0; VECTORS],
            lanes: [Lanes::default(); VECTORS],
        };
        if !matches!(reader.how, How::Gather) && reader.read_parts(range.clone()).is_none() {
            reader.how = How::Gather;
        }
        if let How::Gather = reader.how {
            reader.read_lanes(range);
        }
        Some(reader)
    }

    fn read_parts(&mut self, range: Range<usize>) -> Option<()> {
        let (mut lane, mut n_parts) = (0, 0);
        for run in self.windows.runs(range) {
            let mut done = 0;
            while done < run.len {
                let (vector, first) = (lane / LANES, lane % LANES);
                let len = (run.len - done).min(LANES - first);
                let run = Run { x: run.x + done, len, ..run };
                *self.parts.get_mut(n_parts)? = Part::new(&self.windows, run, first);
                n_parts += 1;
                self.ends[vector..].fill(n_parts);
                (done, lane) = (done + len, lane + len);
            }
        }
        Some(())
    }

    fn read_lanes(&mut self, range: Range<usize>) {
        let Windows { y, x, .. } = self.windows;
        let runs = self.windows.runs(range).flat_map(|run| (0..run.len).map(move |it| Run { x: run.x + it, ..run }));
        for (lane, run) in runs.enumerate() {
            let (lanes, lane) = (&mut self.lanes[lane / LANES], lane % LANES);
            lanes.bases[lane] = self.windows.base(run) as i32;
            for tap in 0..x.taps {
                lanes.x[tap] |= u16::from(x.read(run.x, tap).is_some()) << lane;
            }
            for tap in 0..y.taps {
                lanes.y[tap] |= u16::from(y.read(run.y, tap).is_some()) << lane;
            }
        }
    }

    /// Address of what a window with base 0 reads at a tap. Adding to it may leave the tensor.
    fn address(&self, [c, ty, tx]: [usize; 3]) -> *const f32 {
        let Windows { y, x, .. } = self.windows;
        let at = (c * y.size * x.size) as isize + (ty as isize * y.step) * x.size as isize + tx as isize * x.step;
        self.windows.data.as_ptr().wrapping_offset(at)
    }

    /// The sixteen windows of a vector at a tap, zero where they are padding or beyond the range.
    ///
    /// # Safety
    /// `from` is the address of the tap, whose channel is in all of the images.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load<const HOW: u8>(&self, vector: usize, [_, ty, tx]: [usize; 3], from: *const f32) -> __m512 {
        let mut values = _mm512_setzero_ps();
        if HOW != GATHER {
            let start = if vector == 0 { 0 } else { self.ends[vector - 1] };
            for part in &self.parts[start..self.ends[vector]] {
                let mask = if part.y >> ty & 1 == 1 { part.x[tx % TAPS] } else { 0 };
                let from = from.wrapping_offset(part.base);
                // SAFETY: lanes in the mask are inside the image, and so is what they stand for in `pairs`; others are
                // not read.
                values = unsafe {
                    match HOW {
                        NEAR => _mm512_mask_loadu_ps(values, mask, from),
                        _ => every_other(values, mask, from, part.pairs[tx % TAPS]),
                    }
                };
            }
            return values;
        }
        let lanes = &self.lanes[vector];
        let mask = lanes.x[tx % TAPS] & lanes.y[ty % TAPS];
        // SAFETY: as above.
        unsafe {
            let bases = _mm512_loadu_si512(lanes.bases.as_ptr().cast());
            values = _mm512_mask_i32gather_ps::<4>(values, mask, bases, from);
        }
        values
    }

    /// Packs windows as lines: for each k the values of all windows.
    pub fn pack_windows(&self, width: usize, lines: usize, k: Range<usize>, out: &mut [f32]) {
        self.check(
            lines <= width && width.is_multiple_of(LANES) && width * k.len() <= out.len(),
            k.end.div_ceil(self.taps()),
        );
        // SAFETY: the processor was asked by `new`, and the sizes are checked.
        unsafe {
            match self.how {
                How::Near => self.windows_as_lines::<NEAR>(width, lines, k, out),
                How::Pairs => self.windows_as_lines::<PAIRS>(width, lines, k, out),
                How::Gather => self.windows_as_lines::<GATHER>(width, lines, k, out),
            }
        }
    }

    /// Packs taps as lines: for each window the values at all taps.
    pub fn pack_taps(&self, width: usize, taps: Range<usize>, depth: usize, out: &mut [f32]) {
        let fits = depth <= DEPTH && width.is_multiple_of(LANES) && taps.len() <= width && width * depth <= out.len();
        self.check(fits, taps.end.div_ceil(self.taps()));
        // SAFETY: as above.
        unsafe {
            match self.how {
                How::Near => self.taps_as_lines::<NEAR>(width, taps, depth, out),
                How::Pairs => self.taps_as_lines::<PAIRS>(width, taps, depth, out),
                How::Gather => self.taps_as_lines::<GATHER>(width, taps, depth, out),
            }
        }
    }

    fn taps(&self) -> usize {
        self.windows.y.taps * self.windows.x.taps
    }

    fn check(&self, fits: bool, channels: usize) {
        let Windows { data, y, x, samples, sample } = self.windows;
        assert!(fits && (samples - 1) * sample + channels * y.size * x.size <= data.len());
    }

    /// # Safety
    /// As `check` says.
    #[target_feature(enable = "avx512f")]
    unsafe fn windows_as_lines<const HOW: u8>(&self, width: usize, lines: usize, k: Range<usize>, out: &mut [f32]) {
        let mut tap = self.windows.tap(k.start);
        for out in out.chunks_exact_mut(width).take(k.len()) {
            let from = self.address(tap);
            for (vector, out) in out.chunks_exact_mut(LANES).take(lines.div_ceil(LANES)).enumerate() {
                // SAFETY: the channel is inside, and `out` has sixteen elements.
                unsafe { _mm512_storeu_ps(out.as_mut_ptr(), self.load::<HOW>(vector, tap, from)) };
            }
            tap = self.windows.next(tap);
        }
    }

    /// # Safety
    /// As `check` says.
    #[target_feature(enable = "avx512f")]
    unsafe fn taps_as_lines<const HOW: u8>(&self, width: usize, taps: Range<usize>, depth: usize, out: &mut [f32]) {
        for first in (0..taps.len()).step_by(LANES) {
            let mut places = [([0; 3], std::ptr::null()); LANES];
            let mut tap = self.windows.tap(taps.start + first);
            let here = (taps.len() - first).min(LANES);
            for place in &mut places[..here] {
                *place = (tap, self.address(tap));
                tap = self.windows.next(tap);
            }
            for (vector, start) in (0..depth).step_by(LANES).enumerate() {
                let mut square = [_mm512_setzero_ps(); LANES];
                for (row, &(tap, from)) in square.iter_mut().zip(&places[..here]) {
                    // SAFETY: the channel is inside.
                    *row = unsafe { self.load::<HOW>(vector, tap, from) };
                }
                let square = transpose(square);
                for (k, row) in (start..depth).zip(square) {
                    // SAFETY: sixteen of the `width` elements of line `k`.
                    unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(k * width + first), row) };
                }
            }
        }
    }
}

impl Part {
    /// The windows of `run`, the first of which is lane `first`.
    fn new(windows: &Windows<'_>, run: Run, first: usize) -> Part {
        let Windows { y, x, .. } = windows;
        let before = (first * x.stride) as isize;
        let mut part = Part { base: windows.base(run) - before, ..Part::default() };
        for tap in 0..x.taps {
            let lane_0 = x.at(run.x, tap) - before;
            for lane in first..first + run.len {
                let at = lane * x.stride;
                if usize::try_from(lane_0 + at as isize).is_ok_and(|it| it < x.size) {
                    part.x[tap] |= 1 << lane;
                    part.pairs[tap][at / LANES % 2] |= 1 << (at % LANES);
                }
            }
        }
        for tap in 0..y.taps {
            part.y |= u16::from(y.read(run.y, tap).is_some()) << tap;
        }
        part
    }
}

impl Windows<'_> {
    /// What the first window of a run reads at the first tap of channel 0, which may be before its image.
    fn base(&self, run: Run) -> isize {
        let row = self.y.at(run.y, 0) * self.x.size as isize;
        (run.sample * self.sample) as isize + row + self.x.at(run.x, 0)
    }
}

/// Lane i reads element 2 i.
///
/// # Safety
/// Elements of the sixteen at `from`, and of the sixteen behind them, may be read where the masks have bits.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn every_other(values: __m512, mask: u16, from: *const f32, [low, high]: [u16; 2]) -> __m512 {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    // SAFETY: by the caller's promise; what masks leave out is not read.
    let (low, high) = unsafe {
        let high = if mask == 0 { 0 } else { high };
        let low = if mask == 0 { 0 } else { low };
        (_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from.wrapping_add(LANES)))
    };
    _mm512_mask_mov_ps(values, mask, _mm512_permutex2var_ps(low, even, high))
}

/// Rows become columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512; LANES]) -> [__m512; LANES] {
    let zero = _mm512_setzero_ps();
    let (mut a, mut b) = ([zero; LANES], [zero; LANES]);
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    for i in 0..4 {
        for high in 0..2 {
            let (low, other) = (a[4 * i + high], a[4 * i + 2 + high]);
            b[4 * i + 2 * high] = _mm512_shuffle_ps::<0x44>(low, other);
            b[4 * i + 2 * high + 1] = _mm512_shuffle_ps::<0xee>(low, other);
        }
    }
    // `b[4 i + j]` holds column `j + 4 q` of rows `4 i` to `4 i + 3` in its quarter `q`.
    for j in 0..4 {
        a[j] = _mm512_shuffle_f32x4::<0x88>(b[j], b[4 + j]);
        a[4 + j] = _mm512_shuffle_f32x4::<0xdd>(b[j], b[4 + j]);
        a[8 + j] = _mm512_shuffle_f32x4::<0x88>(b[8 + j], b[12 + j]);
        a[12 + j] = _mm512_shuffle_f32x4::<0xdd>(b[8 + j], b[12 + j]);
    }
    for j in 0..4 {
        b[j] = _mm512_shuffle_f32x4::<0x88>(a[j], a[8 + j]);
        b[8 + j] = _mm512_shuffle_f32x4::<0xdd>(a[j], a[8 + j]);
        b[4 + j] = _mm512_shuffle_f32x4::<0x88>(a[4 + j], a[12 + j]);
        b[12 + j] = _mm512_shuffle_f32x4::<0xdd>(a[4 + j], a[12 + j]);
    }
    b
}
