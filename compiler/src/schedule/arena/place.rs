//! Places items one after the other into gaps between those that are placed.

use super::Placement;
use super::problem::{Item, Problem};

/// Which of the gaps that are large enough is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fit {
    /// The lowest.
    First,
    /// The smallest.
    Best,
}

/// Places all items in this order.
pub fn place(problem: &Problem, order: &[u32], fit: Fit) -> Placement {
    let mut offsets = vec![0; problem.items.len()];
    let mut placed = Placed { blocks: vec![Block::default()] };
    let mut peak = 0;
    for &idx in order {
        let item = problem.items[idx as usize];
        let start = placed.gap(item, fit);
        placed.insert(start, item);
        offsets[idx as usize] = start;
        peak = peak.max(start + item.bytes);
    }
    Placement { offsets, peak }
}

/// What is placed, by start, in blocks that a scan skips where nothing of them lives at the time.
struct Placed {
    blocks: Vec<Block>,
}

/// Entries by start; a column each, so that lifetimes are compared many at a time.
#[derive(Default, Clone)]
struct Block {
    firsts: Vec<u32>,
    ends: Vec<u32>,
    /// `[start, stop)` in bytes.
    bytes: Vec<(u64, u64)>,
    first: u32,
    end: u32,
}

/// Entries at which a block is halved.
const FULL: usize = 256;

impl Placed {
    /// Start of a gap between those that live while `item` does; or the end of the last.
    fn gap(&self, item: Item, fit: Fit) -> u64 {
        let mut end = 0;
        let mut best: Option<(u64, u64)> = None;
        for block in self.blocks.iter().filter(|it| it.first < item.end && item.first < it.end) {
            let lanes = block.firsts.chunks(64).zip(block.ends.chunks(64)).zip(block.bytes.chunks(64));
            for ((firsts, ends), bytes) in lanes {
                let mut meets = [0u8; 64];
                for ((meets, first), stop) in meets.iter_mut().zip(firsts).zip(ends) {
                    *meets = u8::from((*first < item.end) & (item.first < *stop));
                }
                for (at, lanes) in meets.as_chunks::<8>().0.iter().enumerate() {
                    if *lanes == [0; 8] {
                        continue;
                    }
                    for (&(start, stop), _) in bytes[8 * at..].iter().zip(lanes).filter(|it| *it.1 != 0) {
                        if end + item.bytes <= start {
                            if fit == Fit::First {
                                return end;
                            }
                            if best.is_none_or(|(least, _)| start - end < least) {
                                best = Some((start - end, end));
                            }
                        }
                        end = end.max(stop);
                    }
                }
            }
        }
        best.map_or(end, |(_, start)| start)
    }

    fn insert(&mut self, start: u64, item: Item) {
        let at = self.blocks.partition_point(|it| it.bytes.first().is_some_and(|it| it.0 < start)).saturating_sub(1);
        let block = &mut self.blocks[at];
        let row = block.bytes.partition_point(|it| it.0 < start);
        block.firsts.insert(row, item.first);
        block.ends.insert(row, item.end);
        block.bytes.insert(row, (start, start + item.bytes));
        block.bounds();
        if FULL <= block.bytes.len() {
            let mut upper = Block {
                firsts: block.firsts.split_off(FULL / 2),
                ends: block.ends.split_off(FULL / 2),
                bytes: block.bytes.split_off(FULL / 2),
                ..Block::default()
            };
            block.bounds();
            upper.bounds();
            self.blocks.insert(at + 1, upper);
        }
    }
}

impl Block {
    fn bounds(&mut self) {
        self.first = self.firsts.iter().copied().min().unwrap_or(u32::MAX);
        self.end = self.ends.iter().copied().max().unwrap_or(0);
    }
}
