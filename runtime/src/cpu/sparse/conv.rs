//! The weight's gradient of a convolution whose input was pruned.
//!
//! A kept element meets the cotangents of all windows that it is in: those of the window at its own place, shifted by
//! each tap. So a panel holds, for some output channels, the cotangents of a block of rows with a margin of zeros.

use std::ops::Range;

use super::Sparse;
use super::lanes::{self, NARROW, TAPS, WIDTH};
use super::lists::{Lists, Planes, Room, in_turns};
use crate::cpu::gemm::transpose::{LINES, interleave};
use crate::kernels::conv::Conv;
use crate::pool::{Disjoint, Team};

/// Places of a panel; it then fits in the first cache.
const PANEL: usize = 12 * 1024;
/// Most lists at a time.
const LISTS: usize = 8192;
/// Most elements of sums at a time.
const SUMS: usize = 32 * 1024;

/// Whether the gradient can be computed from kept elements: in windows of several taps, a stride would need a list of
/// elements for each tap.
pub fn fits(conv: &Conv) -> bool {
    let taps = conv.kh * conv.kw;
    let (margin, pitch) = margin(conv);
    conv.groups == 1
        && match taps {
            1 => {
                let row = if [conv.sh, conv.sw] == [1, 1] { 1 } else { conv.ow };
                [conv.pt, conv.pl, conv.pb, conv.pr] == [0; 4] && row * WIDTH <= PANEL
            }
            _ => {
                let row = (1 + margin) * pitch * NARROW;
                taps <= MOST * TAPS && [conv.sh, conv.sw] == [1, 1] && row <= PANEL
            }
        }
}

/// Elements of scratch with which the gradient can be computed: two rooms for a plane that is kept whole, or for 4096
/// elements, a panel, and sums. More lets more channels be sorted at a time. The compiler reckons with the same.
pub fn scratch(conv: &Conv) -> usize {
    4 * conv.ih * conv.iw + 80 * 1024
}

/// Rows of zeros above and below the cotangents, and the distance of rows in a panel.
fn margin(conv: &Conv) -> (usize, usize) {
    match conv.kh * conv.kw {
        1 => (0, conv.ow),
        _ => ((conv.kh - 1) * conv.dh, conv.iw + (conv.kw - 1) * conv.dw),
    }
}

/// `dw += dy * x`, of x only what was kept.
pub fn weight_grad(team: &Team<'_>, conv: &Conv, dy: &[f32], kept: &impl Sparse, dw: &mut [f32]) {
    let taps = conv.kh * conv.kw;
    let width = if taps == 1 { WIDTH } else { NARROW };
    let conv = &match taps == 1 && conv.sh == 1 && conv.sw == 1 {
        true => lined_up(conv),
        false => conv.clone(),
    };
    let (margin, pitch) = margin(conv);
    let places = PANEL / width / pitch;
    let block = (places - margin).clamp(1, conv.ih.div_ceil(conv.sh));
    let planes =
        Planes { height: conv.ih, width: conv.iw, strides: [conv.sh, conv.sw], block, steps: [pitch * width, width] };
    let sums = taps.next_multiple_of(if taps == 1 { 1 } else { TAPS }) * width;
    let most_channels = (LISTS / planes.blocks()).min(SUMS / sums).max(1);
    let lists = LISTS.max(planes.blocks());
    let panel = (block + margin) * pitch * width;
    let own = panel + most_channels * sums + 16 * width;
    let len = (team.scratch_len() - own.next_multiple_of(16)) / 32 * 32;
    let rooms = Room::pair(len, lists);

    let (mut sample, mut start) = (0, 0);
    let next = || {
        let mut channels = start..(start + most_channels).min(conv.c);
        if sample == conv.n {
            return None;
        }
        while 1 < channels.len() && rooms[0].most < kept.count(sample, planes.elements(channels.clone())) {
            channels.end = start + channels.len().div_ceil(2);
        }
        let unit = Unit { sample, channels };
        (sample, start) = if unit.channels.end == conv.c { (sample + 1, 0) } else { (sample, unit.channels.end) };
        Some(unit)
    };
    // SAFETY: nobody else uses the room.
    let sort = |unit: &Unit, room: &Room, shared: &Disjoint<'_, f32>| unsafe {
        planes.sort(kept, unit.sample, unit.channels.clone(), room, shared);
    };
    let dw = Disjoint::new(dw);
    in_turns(team, (len, rooms), conv.o.div_ceil(width), next, sort, |panel, unit, lists, scratch| {
        let outputs = panel * width..((panel + 1) * width).min(conv.o);
        let panel = Panel { conv, planes, outputs, width, margin, pitch, sums };
        panel.multiply(dy, unit, lists, scratch, &dw);
    });
}

/// The convolution with its pixels, which are looked at one by one, in rows as long as a panel takes.
fn lined_up(conv: &Conv) -> Conv {
    let pixels = conv.ih * conv.iw;
    let row = (1..=pixels.min(PANEL / WIDTH)).rev().find(|it| pixels.is_multiple_of(*it)).unwrap_or(1);
    let rows = pixels / row;
    Conv { ih: rows, iw: row, oh: rows, ow: row, ..conv.clone() }
}

/// Some channels of a sample, whose kept elements are sorted at a time.
struct Unit {
    sample: usize,
    channels: Range<usize>,
}

/// Some output channels.
struct Panel<'a> {
    conv: &'a Conv,
    planes: Planes,
    outputs: Range<usize>,
    width: usize,
    margin: usize,
    pitch: usize,
    /// Elements of a channel's sums.
    sums: usize,
}

impl Panel<'_> {
    fn multiply(&self, dy: &[f32], unit: &Unit, lists: Lists<'_>, scratch: &mut [f32], dw: &Disjoint<'_, f32>) {
        let (conv, width, blocks) = (self.conv, self.width, self.planes.blocks());
        let taps = conv.kh * conv.kw;
        let loops = lanes::best();
        let offsets = self.offsets();
        let (panel, scratch) = scratch.split_at_mut((self.planes.block + self.margin) * self.pitch * width);
        let sums = &mut scratch[..unit.channels.len() * self.sums];
        sums.fill(0.0);
        for block in 0..blocks {
            self.fill(dy, unit.sample, block, panel);
            for (channel, sums) in sums.chunks_exact_mut(self.sums).enumerate() {
                let list = lists.list(channel * blocks + block);
                if list.is_empty() {
                    continue;
                }
                if let (1, Ok(sums)) = (taps, <&mut [f32; WIDTH]>::try_from(&mut *sums)) {
                    // SAFETY: places in the lists are those of rows of the panel.
                    unsafe { lanes::add_products(loops, list, panel, sums) };
                    continue;
                }
                for (offsets, sums) in offsets.chunks().zip(sums.as_chunks_mut().0) {
                    // SAFETY: the panel has a margin for every tap.
                    unsafe { lanes::add_tap_products(loops, list, panel, offsets, sums) };
                }
            }
        }
        self.store(unit, sums, dw);
    }

    /// Where each tap's cotangents are, from an element's own place on; the first tap again until the chunk is full.
    fn offsets(&self) -> Offsets {
        let conv = self.conv;
        let mut offsets = Offsets { taps: conv.kh * conv.kw, places: [[0; TAPS]; MOST] };
        for tap in 0..offsets.taps {
            let (ty, tx) = (tap / conv.kw, tap % conv.kw);
            let [down, right] = [(conv.kh - 1 - ty) * conv.dh, (conv.kw - 1 - tx) * conv.dw];
            offsets.places[tap / TAPS][tap % TAPS] = (down * self.pitch + right) * self.width;
        }
        offsets
    }

    /// Writes the cotangents that a block's elements meet, output channels side by side.
    fn fill(&self, dy: &[f32], sample: usize, block: usize, panel: &mut [f32]) {
        let (conv, width, pitch) = (self.conv, self.width, self.pitch);
        let out = conv.oh * conv.ow;
        // Row and column of dy at the panel's first place.
        let (top, left) = match conv.kh * conv.kw {
            1 => (block * self.planes.block, 0),
            _ => (block * self.planes.block + conv.pt, conv.pl as isize - (pitch - conv.iw) as isize),
        };
        let before = left.min(0).unsigned_abs();
        let from = left.max(0) as usize;
        let inside = conv.ow.saturating_sub(from).min(pitch - before);
        for (row, panel) in panel.chunks_exact_mut(pitch * width).enumerate() {
            let Some(y) = (top + row).checked_sub(self.margin).filter(|it| *it < conv.oh && 0 < inside) else {
                panel.fill(0.0);
                continue;
            };
            panel[..before * width].fill(0.0);
            panel[(before + inside) * width..].fill(0.0);
            let panel = &mut panel[before * width..(before + inside) * width];
            for first in (0..width).step_by(LINES) {
                let line = |it: usize| {
                    let output = (self.outputs.start + first + it).min(conv.o - 1);
                    &dy[(sample * conv.o + output) * out + y * conv.ow + from..][..inside]
                };
                let lines: [&[f32]; LINES] = std::array::from_fn(line);
                interleave(&lines, &mut panel[first..], width);
            }
        }
    }

    /// Adds the sums of all channels to dw.
    fn store(&self, unit: &Unit, sums: &[f32], dw: &Disjoint<'_, f32>) {
        let (conv, width) = (self.conv, self.width);
        let taps = conv.kh * conv.kw;
        let (row, first) = (conv.c * taps, unit.channels.start * taps);
        let count = unit.channels.len() * taps;
        const NONE: &[f32] = &[0.0; WIDTH];
        for start in (0..count).step_by(LINES) {
            let together = LINES.min(count - start);
            let line = |it: usize| match start + it {
                it if it < count => &sums[it / taps * self.sums + it % taps * width..][..width],
                _ => &NONE[..width],
            };
            let lines: [&[f32]; LINES] = std::array::from_fn(line);
            let mut turned = [0.0; WIDTH * LINES];
            interleave(&lines, &mut turned[..width * LINES], LINES);
            for (output, turned) in self.outputs.clone().zip(turned.chunks_exact(LINES)) {
                let at = output * row + first + start;
                // SAFETY: these rows of dw are this task's.
                let dw = unsafe { dw.part(at..at + together) };
                dw.iter_mut().zip(turned).for_each(|(dw, sum)| *dw += sum);
            }
        }
    }
}

/// Chunks of taps of the largest window.
const MOST: usize = 16;

/// Places of all taps, [`TAPS`] at a time.
struct Offsets {
    taps: usize,
    places: [[usize; TAPS]; MOST],
}

impl Offsets {
    fn chunks(&self) -> std::slice::Iter<'_, [usize; TAPS]> {
        self.places[..self.taps.div_ceil(TAPS)].iter()
    }
}
