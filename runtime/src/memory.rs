//! What the process really takes, to hold against the plan.

use std::fs;

/// Planned and measured bytes of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// Arena as allocated: weights, optimizer state, activations, workspace and every thread's scratch.
    pub planned: u64,
    /// Highest resident set since the arena was allocated, less the resident set just before; `None` off Linux.
    pub measured: Option<u64>,
    /// Highest resident set of the whole process since then; `None` off Linux.
    pub process: Option<u64>,
}

/// Measures growth from the moment it is made.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    before: Option<u64>,
}

impl Meter {
    /// Forgets the process's peak so far and remembers what it holds now.
    pub fn start() -> Meter {
        // Writing 5 resets the peak (proc(5)); where that is refused, growth can't be told from history.
        let before = fs::write("/proc/self/clear_refs", "5").ok().and_then(|()| resident());
        Meter { before }
    }

    /// Drops what was mapped before the start, as if it had never been there.
    pub fn let_go<T>(&mut self, mapped: T) {
        let with = resident().unwrap_or(0);
        drop(mapped);
        let released = with.saturating_sub(Meter::start().before.unwrap_or(with));
        self.before = self.before.map(|before| before.saturating_sub(released));
    }

    /// The footprint of an arena of `planned` bytes that was allocated after the start.
    pub fn footprint(&self, planned: u64) -> Footprint {
        let process = self.before.and_then(|_| peak());
        let measured = process.zip(self.before).map(|(peak, before)| peak.saturating_sub(before));
        Footprint { planned, measured, process }
    }
}

/// Bytes of the process that are in memory now; `None` off Linux.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// The most there ever were since the process began or a [`Meter`] started; `None` off Linux.
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

fn status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}
