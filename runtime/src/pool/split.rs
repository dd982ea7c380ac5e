use std::marker::PhantomData;
use std::ops::Range;

use super::Pool;

impl Pool {
    /// Cuts `out` into chunks of `chunk_len` elements, the last one perhaps shorter, and calls `task(i, chunk)` for each.
    ///
    /// # Panics
    /// When `chunk_len` is 0.
    pub fn chunks<T: Send>(&self, out: &mut [T], chunk_len: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        let n_chunks = out.len().div_ceil(chunk_len);
        let out = Disjoint::new(out);
        self.run(n_chunks, &|it, _| {
            // SAFETY: every task has its own chunk.
            task(it, unsafe { out.chunk(it, chunk_len) });
        });
    }

    /// [`Pool::chunks`] for two outputs whose chunks belong together: `task(i, a_chunk, b_chunk)`.
    ///
    /// # Panics
    /// When a length is 0 or the outputs have different numbers of chunks.
    pub fn chunks2<T: Send, U: Send>(
        &self,
        (a, a_len): (&mut [T], usize),
        (b, b_len): (&mut [U], usize),
        task: impl Fn(usize, &mut [T], &mut [U]) + Sync,
    ) {
        let n_chunks = a.len().div_ceil(a_len);
        assert_eq!(n_chunks, b.len().div_ceil(b_len), "outputs are cut into different numbers of chunks");
        let (a, b) = (Disjoint::new(a), Disjoint::new(b));
        self.run(n_chunks, &|it, _| {
            // SAFETY: every task has its own chunk of each.
            unsafe { task(it, a.chunk(it, a_len), b.chunk(it, b_len)) };
        });
    }
}

/// A pool and the scratch of its threads: what a kernel needs to run.
pub struct Team<'a> {
    /// The threads.
    pub pool: &'a Pool,
    scratch: Disjoint<'a, f32>,
    each: usize,
}

impl<'a> Team<'a> {
    /// Gives every thread an equal part of `scratch`, cut to a multiple of 16 elements so that all stay aligned.
    pub fn new(pool: &'a Pool, scratch: &'a mut [f32]) -> Team<'a> {
        let each = scratch.len() / pool.threads() / 16 * 16;
        Team { pool, scratch: Disjoint::new(scratch), each }
    }

    /// Elements of scratch that every thread has.
    pub fn scratch_len(&self) -> usize {
        self.each
    }

    /// Like [`Pool::run`], but hands each task the scratch of the thread that runs it. Its content is arbitrary.
    pub fn run(&self, n_tasks: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
        self.pool.run(n_tasks, &|it, thread| {
            // SAFETY: no two tasks that run at the same time have the same thread.
            task(it, unsafe { self.scratch.chunk(thread, self.each) });
        });
    }
}

impl Team<'_> {
    /// Like [`Team::run`], but takes `len` elements from the scratch of every thread and hands one and the same `len`
    /// elements to all tasks. They stay as they are until the next call.
    ///
    /// # Panics
    /// When a thread has less scratch.
    pub fn run_shared(&self, len: usize, n_tasks: usize, task: impl Fn(usize, &mut [f32], &Disjoint<'_, f32>) + Sync) {
        assert!(len <= self.each, "{len} elements to share, and a thread has {}", self.each);
        // SAFETY: of the first thread's scratch tasks get only what is behind these elements.
        let shared = Disjoint::new(unsafe { self.scratch.part(0..len) });
        let len = len.next_multiple_of(16);
        self.run(n_tasks, |it, scratch| task(it, &mut scratch[len..], &shared));
    }
}

/// A slice whose parts go to different tasks.
pub struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Disjoint` only hands out parts that its users promise not to overlap; each part moves to one thread.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    /// Takes over the slice for as long as tasks run.
    pub fn new(slice: &'a mut [T]) -> Disjoint<'a, T> {
        Disjoint { start: slice.as_mut_ptr(), len: slice.len(), of: PhantomData }
    }

    /// Elements of the whole slice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to share out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of element `idx`, which is not checked.
    pub(crate) fn at(&self, idx: usize) -> *mut T {
        debug_assert!(idx < self.len);
        self.start.wrapping_add(idx)
    }

    /// The part in `range`.
    ///
    /// # Safety
    /// No other part that is alive at the same time may overlap it.
    ///
    /// # Panics
    /// When the range is not inside the slice.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {} elements", self.len);
        // SAFETY: inside the slice, and alone by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// The part in `range`, to be read by any number of tasks.
    ///
    /// # Safety
    /// Nobody writes to it while it is alive.
    ///
    /// # Panics
    /// When the range is not inside the slice.
    pub unsafe fn seen(&self, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {} elements", self.len);
        // SAFETY: inside the slice, and not written to by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }

    /// The `idx`-th chunk of `len` elements; the last one is shorter where `len` does not divide the slice.
    ///
    /// # Safety
    /// As for [`Disjoint::part`].
    #[expect(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
    pub unsafe fn chunk(&self, idx: usize, len: usize) -> &mut [T] {
        let start = idx * len;
        // SAFETY: by the caller's promise.
        unsafe { self.part(start..(start + len).min(self.len)) }
    }
}
