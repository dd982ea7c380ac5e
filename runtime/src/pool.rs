//! Threads that live as long as the executor and share out the tasks of one kernel at a time.
//!
//! How work is cut into tasks follows from shapes alone. The pool never tells a kernel how many threads there are, so
//! a kernel cannot help but give the same bits with one thread as with sixty-four.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

mod split;

pub use split::{Disjoint, Team};

/// A fixed number of threads, of which the caller is one. Running tasks allocates nothing.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
}

type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

struct Worker {
    handle: Option<JoinHandle<()>>,
    thread: Thread,
}

struct Shared {
    /// Raised with every job, so that a waiting worker sees that there is a new one.
    epoch: AtomicUsize,
    /// Bit 0: the job is open. Above it: how many workers are inside.
    gate: AtomicUsize,
    /// The next task that nobody has taken.
    next: AtomicUsize,
    /// Written only while the gate is closed and empty, read only by those inside.
    job: UnsafeCell<Option<Job>>,
    /// One flag for each worker: it is parked, or about to be.
    asleep: Vec<AtomicBool>,
    stop: AtomicBool,
    busy: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

struct Job {
    task: *const Task<'static>,
    n_tasks: usize,
    owner: Thread,
}

// SAFETY: `job` is handed over through the gate: the owner writes it before opening with release, workers read it after
// entering with acquire, and the owner waits until all have left before `task` goes out of scope.
unsafe impl Sync for Shared {}
// SAFETY: as above; `Task` is `Sync`, so calling it from another thread is allowed.
unsafe impl Send for Shared {}

const OPEN: usize = 1;
const INSIDE: usize = 2;
/// Rounds of waiting before a thread is parked: some tens of microseconds, the usual gap between two kernels.
const SPINS: usize = 2000;
/// More than any kernel needs on the stack.
const STACK: usize = 128 << 10;

impl Pool {
    /// Starts `threads - 1` workers; the thread that calls [`Pool::run`] is the last one. 0 counts as 1.
    pub fn new(threads: usize) -> Pool {
        let n_workers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            gate: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            asleep: (0..n_workers).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let started = Arc::new(Barrier::new(threads.max(1)));
        let workers = (0..n_workers).map(|idx| Worker::start(idx, &shared, &started)).collect();
        started.wait();
        Pool { shared, workers }
    }

    /// Threads that may run at the same time. For sizing scratch only: a kernel's result must not depend on it.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(task_idx, thread_idx)` once for every index below `n_tasks` and returns when all calls have.
    /// Two calls that run at the same time never have the same `thread_idx`.
    ///
    /// # Panics
    /// With the first panic of a task, after the other threads have stopped; and when called from inside a task.
    pub fn run(&self, n_tasks: usize, task: &Task<'_>) {
        let _busy = Busy::claim(&self.shared.busy);
        if self.workers.is_empty() || n_tasks <= 1 {
            (0..n_tasks).for_each(|it| task(it, 0));
            return;
        }
        self.open(n_tasks, task);
        self.shared.work(0);
        self.shared.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let empty = || self.shared.gate.load(Ordering::Acquire) == 0;
        while !spin_until(empty) {
            thread::park();
        }
        let panic = self.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    fn open(&self, n_tasks: usize, task: &Task<'_>) {
        // SAFETY: only the lifetime changes; `run` does not return before every worker has left the gate.
        let task = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        // SAFETY: the gate is closed and empty, and `Busy` keeps a second job out.
        unsafe { *self.shared.job.get() = Some(Job { task, n_tasks, owner: thread::current() }) };
        self.shared.next.store(0, Ordering::Relaxed);
        self.shared.gate.store(OPEN, Ordering::Release);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for (worker, asleep) in self.workers.iter().zip(&self.shared.asleep) {
            if asleep.load(Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
    }
}

struct Busy<'a>(&'a AtomicBool);

impl Busy<'_> {
    fn claim(flag: &AtomicBool) -> Busy<'_> {
        assert!(!flag.swap(true, Ordering::Acquire), "the pool runs one kernel at a time, and no kernel inside a task");
        Busy(flag)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for worker in &mut self.workers {
            worker.thread.unpark();
            if let Some(handle) = worker.handle.take() {
                let _ = handle.join();
            }
        }
    }
}

impl Worker {
    fn start(idx: usize, shared: &Arc<Shared>, started: &Arc<Barrier>) -> Worker {
        let (shared, started) = (Arc::clone(shared), Arc::clone(started));
        let serve = move || {
            touch_stack();
            started.wait();
            drop(started);
            shared.serve(idx);
        };
        let handle = thread::Builder::new()
            .name(format!("razorc-{}", idx + 1))
            .spawn(serve)
            .expect("the system refuses to start a thread");
        Worker { thread: handle.thread().clone(), handle: Some(handle) }
    }
}

impl Shared {
    fn serve(&self, idx: usize) {
        let mut seen = 0;
        loop {
            let changed = || self.epoch.load(Ordering::SeqCst) != seen;
            while !spin_until(changed) {
                self.asleep[idx].store(true, Ordering::SeqCst);
                if !changed() {
                    thread::park();
                }
                self.asleep[idx].store(false, Ordering::SeqCst);
            }
            seen = self.epoch.load(Ordering::SeqCst);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            if self.enter() {
                self.work(idx + 1);
                self.leave();
            }
        }
    }

    /// A worker that wakes up too late finds the gate closed and is not waited for.
    fn enter(&self) -> bool {
        let join = |gate| (gate & OPEN != 0).then_some(gate + INSIDE);
        self.gate.fetch_update(Ordering::AcqRel, Ordering::Acquire, join).is_ok()
    }

    fn leave(&self) {
        // SAFETY: still inside the gate. The handle is taken before leaving, the job may be gone afterwards.
        let owner = unsafe { &*self.job.get() }.as_ref().map(|it| it.owner.clone());
        if self.gate.fetch_sub(INSIDE, Ordering::AcqRel) == INSIDE {
            owner.iter().for_each(Thread::unpark);
        }
    }

    fn work(&self, thread_idx: usize) {
        // SAFETY: the caller is inside the gate or its owner, so the job stays as it is.
        let Some(job) = (unsafe { &*self.job.get() }) else {
            return;
        };
        // SAFETY: the owner keeps the closure alive until the gate is empty.
        let task = unsafe { &*job.task };
        let all = AssertUnwindSafe(|| {
            loop {
                let it = self.next.fetch_add(1, Ordering::Relaxed);
                if it >= job.n_tasks {
                    return;
                }
                task(it, thread_idx);
            }
        });
        if let Err(panic) = catch_unwind(all) {
            self.next.store(job.n_tasks, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }
}

/// Takes the memory that kernels need on a thread's stack, which the system only promises: now rather than in a step.
#[inline(never)]
fn touch_stack() {
    black_box([1u8; STACK]);
}

fn spin_until(done: impl Fn() -> bool) -> bool {
    (0..SPINS).any(|_| {
        let done = done();
        if !done {
            std::hint::spin_loop();
        }
        done
    })
}

#[cfg(test)]
mod tests;
