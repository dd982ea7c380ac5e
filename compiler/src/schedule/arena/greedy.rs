//! Greedy placement: the best of several orders.

use std::cmp::Reverse;

use super::Placement;
use super::place::{Fit, place};
use super::problem::{Item, Problem};

/// What is placed first: the largest key. `load` is the most bytes that live during an item's life.
type Key = fn(&Item, u64) -> [u64; 3];

/// The most useful first, as many buffers leave time for few.
const KEYS: &[Key] = &[
    |it, load| [load, it.bytes, it.life()],
    |it, _| [it.bytes, it.life(), 0],
    |it, load| [load, it.life(), it.bytes],
    |it, _| [it.life(), it.bytes, 0],
    |it, _| [it.area(), 0, 0],
    |it, load| [load, it.area(), 0],
    |it, _| [u64::MAX - u64::from(it.first), it.life(), it.bytes],
];

const SEARCH_KEYS: &[Key] = &[
    |it, load| [it.life(), it.area(), load],
    |it, load| [load, it.area(), it.life()],
    |it, load| [load, it.life(), it.area()],
    |it, load| [it.area(), it.life(), load],
    |it, _| [it.bytes, it.life(), 0],
];

/// The best of all keys and fits that the number of items leaves time for.
pub fn best(problem: &Problem, bound: u64) -> Placement {
    let loads = problem.loads();
    let (keys, fits): (&[Key], &[Fit]) = match problem.items.len() {
        0..500 => (KEYS, &[Fit::First, Fit::Best]),
        500..5_000 => (&KEYS[..3], &[Fit::First, Fit::Best]),
        5_000..20_000 => (&KEYS[..3], &[Fit::First]),
        _ => (&KEYS[..2], &[Fit::First]),
    };
    let mut best = Placement { offsets: vec![], peak: u64::MAX };
    for key in keys {
        let order = order(problem, &loads, *key);
        for fit in fits {
            if best.peak <= bound {
                return best;
            }
            let placement = place(problem, &order, *fit);
            if placement.peak < best.peak {
                best = placement;
            }
        }
    }
    best
}

/// The orders that the search tries.
pub fn orders(problem: &Problem) -> Vec<Vec<u32>> {
    let loads = problem.loads();
    SEARCH_KEYS.iter().map(|key| order(problem, &loads, *key)).collect()
}

/// Items with the largest key first.
fn order(problem: &Problem, loads: &[u64], key: Key) -> Vec<u32> {
    let mut order: Vec<u32> = (0..problem.items.len() as u32).collect();
    order.sort_by_cached_key(|&it| Reverse(key(&problem.items[it as usize], loads[it as usize])));
    order
}
