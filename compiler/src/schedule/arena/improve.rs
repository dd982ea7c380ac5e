//! A squeaky wheel: what ends too high moves forward in the order, again and again, and the best that was seen stays.
//!
//! It is for more buffers than the search can take. After Joslin and Clements, "Squeaky wheel optimization", 1999.

use super::place::{Fit, place};
use super::problem::Problem;
use super::{Placement, Work};

/// Replaces `best` where rounds of placement find better, until the work is done.
pub fn improve(problem: &Problem, bound: u64, best: &mut Placement, work: &mut Work) {
    let n = problem.items.len() as u64;
    // Placed by start, everything lies where it did or lower.
    let mut order: Vec<u32> = (0..problem.items.len() as u32).collect();
    order.sort_by_key(|&it| best.offsets[it as usize]);
    let mut ranks = vec![0u64; order.len()];
    for (at, &idx) in order.iter().enumerate() {
        ranks[idx as usize] = (at as u64 + 1) << 24;
    }
    // A placement looks at about half of all pairs, many at a time.
    while bound < best.peak && work.take(n * (n / 2 + 64)) {
        let placement = place(problem, &order, Fit::First);
        for (idx, item) in problem.items.iter().enumerate() {
            if bound < placement.offsets[idx] + item.bytes {
                ranks[idx] -= ranks[idx] / 4;
            }
        }
        if placement.peak < best.peak {
            *best = placement;
        }
        order.sort_by_key(|&it| ranks[it as usize]);
    }
}
