//! What the process really takes, to hold against the plan.

use std::fs;
use std::path::Path;

/// Planned and measured bytes of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// Arena as allocated: weights, optimizer state, activations, workspace and every thread's scratch.
    pub planned: u64,
    /// Highest resident set since the arena was allocated, less what of it was there just before or is mapped from files;
    /// `None` off Linux. Files are the data's, and the command's own code, which the first steps bring in: neither is the
    /// trainer's memory, and the system can drop their pages at any time.
    pub measured: Option<u64>,
    /// By how much pages of files have grown since then, which `measured` leaves out; `None` off Linux.
    pub files: Option<u64>,
    /// Highest resident set of the whole process since then; `None` off Linux.
    pub process: Option<u64>,
}

/// Measures growth from the moment it is made.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    before: Option<Resident>,
}

/// Bytes of the process that are in memory.
#[derive(Clone, Copy, Debug)]
struct Resident {
    own: u64,
    /// Of files.
    files: u64,
}

impl Resident {
    fn now() -> Option<Resident> {
        let files = status("RssFile:")? + status("RssShmem:")?;
        Some(Resident { own: status("RssAnon:")?, files })
    }
}

impl Meter {
    /// Forgets the process's peak so far and remembers what it holds now.
    pub fn start() -> Meter {
        Meter { before: forget_peak().and_then(|()| Resident::now()) }
    }

    /// Drops a file that was mapped, as if it had never been there.
    pub fn let_go<T>(&mut self, mapped: T) {
        let with = Resident::now();
        drop(mapped);
        let without = Resident::now().filter(|_| forget_peak().is_some());
        self.before = self.before.zip(with.zip(without)).map(|(before, (with, without))| Resident {
            own: before.own.saturating_sub(with.own.saturating_sub(without.own)),
            files: before.files.saturating_sub(with.files.saturating_sub(without.files)),
        });
    }

    /// The footprint of an arena of `planned` bytes that was allocated after the start.
    pub fn footprint(&self, planned: u64) -> Footprint {
        let process = self.before.and_then(|_| peak());
        let now = self.before.zip(Resident::now());
        let measured = process.zip(now).map(|(peak, (before, now))| peak.saturating_sub(before.own + now.files));
        Footprint { planned, measured, files: now.map(|(before, now)| now.files.saturating_sub(before.files)), process }
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

/// Bytes that can be had without swapping and within the limits of the process's control groups; `None` off Linux.
pub fn available() -> Option<u64> {
    let system = kilobytes("/proc/meminfo", "MemAvailable:");
    system.into_iter().chain(left_in_groups()).min()
}

/// The least that any control group with a limit leaves; what the kernel can take back is not counted as taken.
fn left_in_groups() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let left = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        // In the second version all controllers share one tree.
        let (root, [limit, taken, cached]) = match controllers {
            "" => ("/sys/fs/cgroup", ["memory.max", "memory.current", "file "]),
            it if it.split(',').any(|it| it == "memory") => {
                ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache "])
            }
            _ => return None,
        };
        let number = |group: &Path, name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        let left = |group: &Path| {
            let (limit, taken) = (number(group, limit)?, number(group, taken)?);
            let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
            let cached = stat.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse::<u64>().ok());
            Some(limit.saturating_sub(taken.saturating_sub(cached.unwrap_or(0))))
        };
        // In a container the group's own path may not be there, but the root is.
        let group = Path::new(root).join(path);
        group.ancestors().take_while(|it| it.starts_with(root)).filter_map(left).min()
    });
    left.min()
}

fn status(key: &str) -> Option<u64> {
    kilobytes("/proc/self/status", key)
}

fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}
