//! Buffers as the planner sees them: time in sections, the empty left out.

use super::Buffer;

/// A buffer that lives during the sections `[first, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    pub bytes: u64,
    pub first: u32,
    pub end: u32,
}

/// Buffers that take bytes, and time cut where one of them begins: in between, sums of live bytes only fall.
pub struct Problem {
    pub items: Vec<Item>,
    /// Bytes that live in each section.
    pub live: Vec<u64>,
    /// The buffer of each item.
    sources: Vec<usize>,
    buffers: usize,
}

impl Problem {
    pub fn new(buffers: &[Buffer]) -> Problem {
        let takes_bytes = |it: &&Buffer| 0 < it.bytes && it.first < it.end;
        let mut cuts: Vec<u32> = buffers.iter().filter(takes_bytes).map(|it| it.first).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let section = |step: u32| cuts.partition_point(|&it| it < step) as u32;
        let (mut items, mut sources, mut changes) = (vec![], vec![], vec![0u64; cuts.len() + 1]);
        for (idx, it) in buffers.iter().enumerate().filter(|it| takes_bytes(&it.1)) {
            let item = Item { bytes: it.bytes, first: section(it.first), end: section(it.end) };
            changes[item.first as usize] = changes[item.first as usize].wrapping_add(it.bytes);
            changes[item.end as usize] = changes[item.end as usize].wrapping_sub(it.bytes);
            items.push(item);
            sources.push(idx);
        }
        let mut sum = 0u64;
        let live = changes[..cuts.len()].iter().map(|change| {
            sum = sum.wrapping_add(*change);
            sum
        });
        Problem { items, live: live.collect(), sources, buffers: buffers.len() }
    }

    /// Largest sum of live bytes: no placement has a smaller peak.
    pub fn bound(&self) -> u64 {
        self.live.iter().copied().max().unwrap_or(0)
    }

    /// Offsets of items as offsets of buffers; what takes no bytes lies at 0.
    pub fn scatter(&self, offsets: &[u64]) -> Vec<u64> {
        let mut scattered = vec![0; self.buffers];
        for (&source, &offset) in self.sources.iter().zip(offsets) {
            scattered[source] = offset;
        }
        scattered
    }

    /// For each item the most bytes that live in a section of its life.
    pub fn loads(&self) -> Vec<u64> {
        // Maxima of spans of 1, 2, 4, .. sections.
        let mut spans = vec![self.live.clone()];
        while 2 << (spans.len() - 1) <= self.live.len() {
            let (last, half) = (&spans[spans.len() - 1], 1 << (spans.len() - 1));
            spans.push((0..=self.live.len() - 2 * half).map(|at| last[at].max(last[at + half])).collect());
        }
        let load = |it: &Item| {
            let (first, end) = (it.first as usize, it.end as usize);
            let level = (end - first).ilog2() as usize;
            spans[level][first].max(spans[level][end - (1 << level)])
        };
        self.items.iter().map(load).collect()
    }

    /// For each item those that live while it does; none where there are more than `most` in all.
    pub fn neighbors(&self, most: usize) -> Option<Vec<Vec<u32>>> {
        let mut by_start: Vec<u32> = (0..self.items.len() as u32).collect();
        by_start.sort_by_key(|&it| self.items[it as usize].first);
        let (mut neighbors, mut live, mut count) = (vec![vec![]; self.items.len()], Vec::<u32>::new(), 0);
        for idx in by_start {
            live.retain(|&it| self.items[idx as usize].first < self.items[it as usize].end);
            count += 2 * live.len();
            if most < count {
                return None;
            }
            for &other in &live {
                neighbors[idx as usize].push(other);
                neighbors[other as usize].push(idx);
            }
            live.push(idx);
        }
        Some(neighbors)
    }
}

impl Item {
    pub fn life(&self) -> u64 {
        u64::from(self.end - self.first)
    }

    pub fn area(&self) -> u64 {
        self.bytes.saturating_mul(self.life())
    }
}
