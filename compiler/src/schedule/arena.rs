//! Offsets for buffers whose lifetimes are known: greedy placement in many orders, of which the best counts.
//!
//! Offsets are sums of sizes, so they are as aligned as the sizes are.

use std::cmp::Reverse;

/// Bytes that are needed during the half-open interval of steps `[first, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Buffer {
    pub bytes: u64,
    pub first: u32,
    pub end: u32,
}

/// Where buffers lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In bytes, by buffer.
    pub offsets: Vec<u64>,
    /// Bytes of the whole.
    pub peak: u64,
    /// Largest sum of live bytes of any step.
    pub bound: u64,
}

/// Places buffers so that those that live at once do not overlap; stops as soon as a plan is as small as can be.
pub fn plan(buffers: &[Buffer]) -> Plan {
    let loads = loads(buffers);
    let bound = loads.iter().copied().max().unwrap_or(0);
    let best = improve(buffers, bound, portfolio(buffers, &loads, bound));
    Plan { offsets: best.offsets, peak: best.peak, bound }
}

/// Largest sum of live bytes of any step.
pub fn bound(buffers: &[Buffer]) -> u64 {
    loads(buffers).into_iter().max().unwrap_or(0)
}

/// Buffers placed in some order.
#[derive(Clone)]
struct Attempt {
    order: Vec<usize>,
    fit: Fit,
    offsets: Vec<u64>,
    peak: u64,
}

/// The best of all keys and fits.
fn portfolio(buffers: &[Buffer], loads: &[u64], bound: u64) -> Attempt {
    let mut best = Attempt { order: vec![], fit: Fit::First, offsets: vec![], peak: u64::MAX };
    for key in KEYS {
        let mut order: Vec<usize> = (0..buffers.len()).collect();
        order.sort_by_cached_key(|&idx| Reverse(key(&buffers[idx], loads[idx])));
        for fit in [Fit::First, Fit::Best] {
            let attempt = place(buffers, &order, fit);
            if attempt.peak < best.peak {
                best = attempt;
            }
            if best.peak <= bound {
                return best;
            }
        }
    }
    best
}

/// Moves what ends above the bound forward in the order, again and again, and keeps the best that was seen.
fn improve(buffers: &[Buffer], bound: u64, start: Attempt) -> Attempt {
    // Time is quadratic in buffers: fewer rounds for many.
    let rounds = 40_000 / buffers.len().max(1000);
    let mut ranks = vec![0; buffers.len()];
    for (at, &idx) in start.order.iter().enumerate() {
        ranks[idx] = (at as u64 + 1) << 24;
    }
    let mut current = start.clone();
    let mut best = start;
    for _ in 0..rounds {
        if best.peak <= bound {
            break;
        }
        for (idx, buffer) in buffers.iter().enumerate() {
            if bound < current.offsets[idx] + buffer.bytes {
                ranks[idx] -= ranks[idx] / 4;
            }
        }
        current.order.sort_by_key(|&idx| ranks[idx]);
        current = place(buffers, &current.order, current.fit);
        if current.peak < best.peak {
            best = current.clone();
        }
    }
    best
}

/// What is placed first: the largest key. `load` is the largest sum of live bytes during a buffer's life.
type Key = fn(&Buffer, u64) -> [u64; 3];

const KEYS: &[Key] = &[
    |it, _| [it.bytes, it.life(), 0],
    |it, _| [it.life(), it.bytes, 0],
    |it, _| [it.area(), 0, 0],
    |it, load| [load, it.bytes, it.life()],
    |it, load| [load, it.life(), it.bytes],
    |it, load| [load, it.area(), 0],
    |it, _| [u64::MAX - u64::from(it.first), it.life(), it.bytes],
];

/// Which of the gaps that are large enough is taken.
#[derive(Clone, Copy, PartialEq)]
enum Fit {
    /// The lowest.
    First,
    /// The smallest.
    Best,
}

struct Placed {
    start: u64,
    stop: u64,
    buffer: Buffer,
}

/// Places buffers one after the other.
fn place(buffers: &[Buffer], order: &[usize], fit: Fit) -> Attempt {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<Placed> = Vec::with_capacity(buffers.len());
    for &idx in order {
        let buffer = buffers[idx];
        let start = gap(&placed, buffer, fit);
        offsets[idx] = start;
        let at = placed.partition_point(|it| it.start < start);
        placed.insert(at, Placed { start, stop: start + buffer.bytes, buffer });
    }
    let peak = placed.iter().map(|it| it.stop).max().unwrap_or(0);
    Attempt { order: order.to_vec(), fit, offsets, peak }
}

/// Start of a gap between those of `placed`, sorted by start, that live while `buffer` does; or the end of the last.
fn gap(placed: &[Placed], buffer: Buffer, fit: Fit) -> u64 {
    let mut end = 0;
    let mut best: Option<(u64, u64)> = None;
    for it in placed.iter().filter(|it| it.buffer.meets(&buffer)) {
        if end + buffer.bytes <= it.start {
            let room = it.start - end;
            if fit == Fit::First {
                return end;
            }
            if best.is_none_or(|(least, _)| room < least) {
                best = Some((room, end));
            }
        }
        end = end.max(it.stop);
    }
    best.map_or(end, |(_, start)| start)
}

impl Buffer {
    fn meets(&self, other: &Buffer) -> bool {
        self.first < other.end && other.first < self.end
    }

    fn life(&self) -> u64 {
        u64::from(self.end.saturating_sub(self.first))
    }

    fn area(&self) -> u64 {
        self.bytes.saturating_mul(self.life())
    }
}

/// For each buffer the largest sum of bytes that live at a step of its life.
fn loads(buffers: &[Buffer]) -> Vec<u64> {
    let mut steps: Vec<u32> = buffers.iter().map(|it| it.first).collect();
    steps.sort_unstable();
    steps.dedup();
    // Sums change where buffers begin and end; the largest of a life is where one begins.
    let span = |it: &Buffer| steps.partition_point(|&s| s < it.first)..steps.partition_point(|&s| s < it.end);
    let mut live = vec![0; steps.len()];
    for buffer in buffers {
        live[span(buffer)].iter_mut().for_each(|sum| *sum += buffer.bytes);
    }
    buffers.iter().map(|it| live[span(it)].iter().copied().max().unwrap_or(0)).collect()
}
