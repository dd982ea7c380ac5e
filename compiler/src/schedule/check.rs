//! Checks a plan without knowing how it was made: a sweep over time with a map of what is live.

use std::collections::BTreeMap;

use super::arena::Buffer;

/// Two buffers have a byte in common while both live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("buffers {a} and {b} overlap at step {step}: {at}")]
pub struct Overlap {
    /// Index of the one that was there.
    pub a: usize,
    /// Index of the one that came.
    pub b: usize,
    /// When it came.
    pub step: u32,
    /// Start of the one that came.
    pub at: u64,
}

/// The bytes that a plan needs, or the first overlap.
pub fn check(buffers: &[Buffer], offsets: &[u64]) -> Result<u64, Overlap> {
    assert_eq!(buffers.len(), offsets.len(), "every buffer has an offset");
    // What ends at a step makes room before what begins there comes.
    let mut events: Vec<(u32, bool, usize)> = vec![];
    for (idx, buffer) in buffers.iter().enumerate() {
        if buffer.first < buffer.end && 0 < buffer.bytes {
            events.push((buffer.end, false, idx));
            events.push((buffer.first, true, idx));
        }
    }
    events.sort_unstable();
    let mut live: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    let mut peak = 0;
    for (step, begins, idx) in events {
        let start = offsets[idx];
        if !begins {
            live.remove(&start);
            continue;
        }
        let stop = start + buffers[idx].bytes;
        // Those that live do not overlap, so of all that start before `stop` the last one reaches furthest.
        if let Some((_, &(end, other))) = live.range(..stop).next_back()
            && start < end
        {
            return Err(Overlap { a: other, b: idx, step, at: start });
        }
        live.insert(start, (stop, idx));
        peak = peak.max(stop);
    }
    Ok(peak)
}
