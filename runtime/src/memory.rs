//! What the process really takes, to hold against the plan.

use std::fs;

/// Planned and measured bytes of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// Arena as allocated: weights, optimizer state, activations, workspace and every thread's scratch.
    pub planned: u64,
    /// Highest resident set since the arena was allocated, less what of it was there just before or is mapped from files;
    /// `None` off Linux. Files are the data's, and the command's own code, which the first steps bring in: neither is the
    /// trainer's memory, and the system can drop their pages at any time.
    pub measured: Option<u64>,
    /// Highest resident set of the whole process since then; `None` off Linux.
    pub process: Option<u64>,
}

/// Measures growth from the moment it is made.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Bytes that were no file's.
    before: Option<u64>,
}

impl Meter {
    /// Forgets the process's peak so far and remembers what it holds now.
    pub fn start() -> Meter {
        Meter { before: forget_peak().and_then(|()| status("RssAnon:")) }
    }

    /// Drops a file that was mapped, as if it had never been there.
    pub fn let_go<T>(&mut self, mapped: T) {
        let with = status("RssAnon:");
        drop(mapped);
        let released = with.zip(status("RssAnon:")).map_or(0, |(with, without)| with.saturating_sub(without));
        self.before = self.before.filter(|_| forget_peak().is_some()).map(|it| it.saturating_sub(released));
    }

    /// The footprint of an arena of `planned` bytes that was allocated after the start.
    pub fn footprint(&self, planned: u64) -> Footprint {
        let process = self.before.and_then(|_| peak());
        let files = status("RssFile:").zip(status("RssShmem:")).map(|(mapped, shared)| mapped + shared);
        let others = self.before.zip(files).map(|(before, files)| before + files);
        let measured = process.zip(others).map(|(peak, others)| peak.saturating_sub(others));
        Footprint { planned, measured, process }
    }
}

/// Makes the peak what there is now. Writing 5 does that (proc(5)); where it is refused, growth can't be told from history.
fn forget_peak() -> Option<()> {
    fs::write("/proc/self/clear_refs", "5").ok()
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
