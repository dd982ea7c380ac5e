//! Searches again and again, for other peaks and in other orders, as long as there is work left.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::problem::Problem;
use super::search::{Found, search};
use super::{Placement, Work, greedy};

/// Pairs of items that live at once, at most: for more the search is too slow to help.
const PAIRS: usize = 1 << 22;

/// Looks for placements between `bound` and the best one: at the bound first, then by halving what lies between. Gives a
/// peak below which there is none.
pub fn tighten(problem: &Problem, bound: u64, best: &mut Placement, work: &mut Work) -> u64 {
    if best.peak <= bound || work.left == 0 {
        return bound;
    }
    let Some(neighbors) = problem.neighbors(PAIRS) else { return bound };
    let mut hunt = Hunt { problem, neighbors, orders: greedy::orders(problem), random: ChaCha8Rng::seed_from_u64(1) };
    // Less than the first is impossible, less than the second was looked for.
    let (mut least, mut tried) = (bound, bound);
    let mut limit = bound;
    while least < best.peak && 0 < work.left {
        let is_last = limit == least && least < tried;
        let given = if is_last { work.left } else { work.left.div_ceil(4) };
        let mut share = Work { left: given };
        let found = hunt.within(limit, &mut share);
        work.left -= given - share.left;
        match found {
            Found::Offsets(offsets) => *best = Placement::new(problem, offsets),
            Found::Nothing => (least, tried) = (limit + 1, tried.max(limit + 1)),
            Found::Unknown => tried = tried.max(limit + 1),
        }
        let gap = best.peak.saturating_sub(tried);
        limit = if bound / 1000 < gap { tried + gap / 2 } else { least };
    }
    least
}

struct Hunt<'a> {
    problem: &'a Problem,
    neighbors: Vec<Vec<u32>>,
    orders: Vec<Vec<u32>>,
    random: ChaCha8Rng,
}

impl Hunt<'_> {
    /// Searches in each order with more and more work, and between these rounds in shuffled orders with little work: how
    /// long a search takes has little to do with whether another order finds something at once.
    fn within(&mut self, limit: u64, work: &mut Work) -> Found {
        let n = self.problem.items.len();
        let dive = (n * (4 * n + self.problem.live.len())) as u64;
        let mut shuffles = 0;
        for round in 0.. {
            let most = dive << round.min(32);
            for at in 0..self.orders.len() {
                let order = self.orders[at].clone();
                match self.once(&order, limit, most, work) {
                    Found::Unknown if work.left == 0 => return Found::Unknown,
                    Found::Unknown => {}
                    found => return found,
                }
            }
            let mut spent = 0;
            while spent < most * self.orders.len() as u64 {
                let order = self.shuffled(shuffles % self.orders.len());
                shuffles += 1;
                let most = dive * luby(shuffles as u64);
                spent += most;
                match self.once(&order, limit, most, work) {
                    Found::Unknown if work.left == 0 => return Found::Unknown,
                    Found::Unknown => {}
                    found => return found,
                }
            }
        }
        Found::Unknown
    }

    fn once(&self, order: &[u32], limit: u64, most: u64, work: &mut Work) -> Found {
        let given = most.min(work.left);
        let mut share = Work { left: given };
        let found = search(self.problem, &self.neighbors, order, limit, &mut share);
        work.left -= given - share.left;
        found
    }

    /// An order in which every place has changed by up to a third.
    fn shuffled(&mut self, which: usize) -> Vec<u32> {
        let keys = self.orders[which].iter().zip(1u64..).map(|(&it, at)| (at * self.random.random_range(70..130), it));
        let mut keys: Vec<(u64, u32)> = keys.collect();
        keys.sort_unstable();
        keys.into_iter().map(|it| it.1).collect()
    }
}

/// 1, 1, 2, 1, 1, 2, 4, ..: of all schedules of restarts the best if nothing is known (Luby, Sinclair, Zuckerman, 1993).
fn luby(n: u64) -> u64 {
    let length = (n + 1).next_power_of_two();
    if length == n + 1 { length / 2 } else { luby(n + 1 - length / 2) }
}
