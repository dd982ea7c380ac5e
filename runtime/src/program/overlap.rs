//! Whether two things are in the same bytes at the same time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

/// Bytes that are taken for some steps.
pub(super) struct Taken {
    pub bytes: Range<usize>,
    pub steps: Range<u32>,
}

/// The first two, by index, that share a byte at some step. Goes through the steps in order and knows what is live.
pub(super) fn find(all: &[Taken]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&it| all[it].steps.start);
    let mut live: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ends = BinaryHeap::new();
    for it in order {
        let taken = &all[it];
        while let Some(&Reverse((end, start))) = ends.peek() {
            if taken.steps.start < end {
                break;
            }
            live.remove(&start);
            ends.pop();
        }
        let below = live.range(..taken.bytes.end).next_back().map(|(_, &other)| other);
        if let Some(other) = below.filter(|&other| taken.bytes.start < all[other].bytes.end) {
            return Some((other, it));
        }
        live.insert(taken.bytes.start, it);
        ends.push(Reverse((taken.steps.end, taken.bytes.start)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(all: &[(Range<usize>, Range<u32>)]) -> Vec<Taken> {
        all.iter().cloned().map(|(bytes, steps)| Taken { bytes, steps }).collect()
    }

    #[test]
    fn bytes_may_be_taken_again_once_they_are_free() {
        assert_eq!(find(&taken(&[(0..64, 0..3), (0..64, 3..5), (64..128, 0..5)])), None);
        assert_eq!(find(&taken(&[(0..64, 0..4), (0..64, 3..5)])), Some((0, 1)));
    }

    #[test]
    fn one_may_lie_within_the_other() {
        assert_eq!(find(&taken(&[(0..256, 0..9), (64..128, 2..3)])), Some((0, 1)));
        assert_eq!(find(&taken(&[(64..128, 0..9), (0..256, 2..3)])), Some((0, 1)));
    }

    #[test]
    fn agrees_with_comparing_all_pairs() {
        let mut state = 1u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..2000 {
            let all: Vec<_> = (0..4)
                .map(|_| {
                    let (byte, step) = (next(12) as usize, next(12) as u32);
                    let (bytes, steps) = (1 + next(4) as usize, 1 + next(4) as u32);
                    Taken { bytes: byte..byte + bytes, steps: step..step + steps }
                })
                .collect();
            let meet = |a: &Taken, b: &Taken| {
                a.bytes.start < b.bytes.end
                    && b.bytes.start < a.bytes.end
                    && a.steps.start < b.steps.end
                    && b.steps.start < a.steps.end
            };
            let expected = (0..4).any(|i| (0..i).any(|j| meet(&all[i], &all[j])));
            assert_eq!(find(&all).is_some(), expected);
        }
    }
}
