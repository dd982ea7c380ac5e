//! Offsets for buffers whose lifetimes are known: greedy placement in many orders, then a search that keeps the best.
//!
//! Offsets are sums of sizes, so they are as aligned as the sizes are. Nothing here knows a clock: work is counted in
//! buffers looked at, so a plan is a function of the buffers and the effort alone.

mod greedy;
mod improve;
mod place;
mod problem;
mod restarts;
mod search;

use problem::Problem;

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

/// The effort that costs an ordinary compile less than half a second, and only where a gap remains.
pub const EFFORT: u32 = 1;

/// Places buffers so that those that live at once do not overlap; stops as soon as a plan is as small as can be.
///
/// Where greedy placement leaves a gap, a search may take up to `effort` times half a second on a present processor,
/// less for few buffers.
pub fn plan(buffers: &[Buffer], effort: u32) -> Plan {
    let problem = Problem::new(buffers);
    let bound = problem.bound();
    let mut best = greedy::best(&problem, bound);
    let work = u64::from(effort) * WORK.min((problem.items.len() as u64) << 17);
    let least = restarts::tighten(&problem, bound, &mut best, &mut Work { left: work / 4 * 3 });
    improve::improve(&problem, least, &mut best, &mut Work { left: work / 4 });
    Plan { offsets: problem.scatter(&best.offsets), peak: best.peak, bound }
}

/// Largest sum of live bytes of any step.
pub fn bound(buffers: &[Buffer]) -> u64 {
    Problem::new(buffers).bound()
}

/// Offsets of a problem's items, and the bytes that they need.
struct Placement {
    offsets: Vec<u64>,
    peak: u64,
}

impl Placement {
    fn new(problem: &Problem, offsets: Vec<u64>) -> Placement {
        let ends = offsets.iter().zip(&problem.items).map(|(offset, it)| offset + it.bytes);
        Placement { peak: ends.max().unwrap_or(0), offsets }
    }
}

/// Work of an effort of 1.
const WORK: u64 = 1 << 26;

/// What is left of the permitted work, in items looked at.
struct Work {
    left: u64,
}

impl Work {
    /// Takes some of it, or says that there is none.
    fn take(&mut self, n: u64) -> bool {
        let enough = n <= self.left;
        self.left = self.left.saturating_sub(n);
        enough
    }
}
