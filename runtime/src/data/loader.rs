//! Batches, prepared in the background.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::fill::{Filler, Piece, Scratch};
use super::select::SHUFFLE;
use super::{Column, DataError, Dataset, Transform};
use crate::rng::Rng;

/// Which rows come when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Training: epoch after epoch without end, shuffled anew for each. Rows that do not fill a last batch are left
    /// out of the epoch. Starts anywhere, and gives what a loader that came there by itself would give.
    Shuffled {
        /// Decides the order and the augmentation, together with the epoch.
        seed: u64,
        /// Epoch of the first batch, from 0.
        epoch: u64,
        /// Number of the first batch in its epoch, from 0; one past the last starts the next epoch.
        batch: u64,
    },
    /// Evaluation: every row once, in order, without augmentation. The last batch is filled up with rows of zeros whose
    /// weight is 0; where the model computes its own loss, rows that do not fill a batch are left out.
    Sequential,
}

/// Prepares batches on threads of its own. Memory is bounded by [`Loader::bytes`].
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    current: Piece,
    next: u64,
    /// Whether `current` holds the next batch.
    peeked: bool,
    failed: bool,
    bytes: usize,
}

/// A batch, to be read before the next one is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Epoch from 0; 0 in evaluation.
    pub epoch: u64,
    /// Number in the epoch, from 0.
    pub number: u64,
    /// Rows that are not padding.
    pub len: usize,
    /// The model's inputs in its order, `[batch, ..]` each.
    pub inputs: &'a [Column],
    /// What the loss compares with.
    pub targets: Targets<'a>,
    /// Weights of the rows, `[batch]`: 1, or 0 for padding.
    pub rows: &'a [f32],
}

/// What the loss compares with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Targets<'a> {
    /// Nothing.
    None,
    /// Class indices, `[batch, ..]`.
    Classes(&'a [i64]),
    /// Numbers, `[batch, ..]`.
    Values(&'a [f32]),
}

/// Work is cut into pieces of a few rows, numbered through all batches and epochs. Piece `i` lies in slot
/// `i % slots.len()`, so pieces are at most one round ahead of the reader.
struct Shared {
    plan: Plan,
    filler: Filler,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    slots: Vec<Slot>,
    /// Piece that the next idle worker takes.
    next: u64,
    /// Pieces that the reader is done with.
    read: u64,
    /// Workers that have not prepared their first piece.
    idle: usize,
    /// Orders of the epochs in work, at most two.
    orders: Vec<(u64, Arc<[u32]>)>,
    stop: bool,
}

enum Slot {
    Free(Piece),
    Taken,
    Done(Result<Piece, DataError>),
}

/// The arithmetic of pieces.
struct Plan {
    order: Order,
    n_rows: usize,
    batch: usize,
    /// Rows of a piece; the last one of a batch may have fewer.
    rows: usize,
    /// Of an epoch.
    n_batches: u64,
}

impl Loader {
    /// Starts `threads` threads (at least one) that prepare batches of `batch` rows, and waits until each has prepared
    /// something: buffers grow to their size now, and not while somebody measures what a step takes.
    ///
    /// # Errors
    /// If the transform does not fit the input, the rows of a shuffled data set do not fill one batch, or its position
    /// is absurd.
    pub fn new(
        dataset: &Dataset,
        transform: &Transform,
        batch: usize,
        order: Order,
        threads: usize,
    ) -> Result<Loader, DataError> {
        let (n_rows, batch, threads) = (dataset.len(), batch.max(1), threads.max(1));
        let n_batches = match order {
            Order::Shuffled { .. } if n_rows < batch => {
                return Err(DataError::BatchTooLarge { rows: n_rows, batch });
            }
            Order::Shuffled { .. } => n_rows / batch,
            Order::Sequential if dataset.padded => n_rows.div_ceil(batch),
            // No row can weigh nothing, so none can be added.
            Order::Sequential if n_rows < batch => return Err(DataError::BatchTooLarge { rows: n_rows, batch }),
            Order::Sequential => n_rows / batch,
        };
        let plan = Plan { order, n_rows, batch, rows: batch.div_ceil(2 * threads), n_batches: n_batches as u64 };
        let filler = Filler::new(dataset, transform)?;
        let slots: Vec<Slot> = (0..plan.pieces()).map(|_| Slot::Free(filler.piece(plan.rows))).collect();
        let current = filler.piece(batch);
        let orders = 2 * 4 * n_rows;
        let pieces = slots.len() * filler.piece_bytes(plan.rows);
        let bytes = dataset.bytes() + orders + filler.piece_bytes(batch) + pieces + threads * filler.scratch_bytes();
        let next = plan.first_batch()?;
        let first = next * plan.pieces();
        let own = plan.left(first).min(threads as u64).min(slots.len() as u64);
        let state = State { slots, next: first + own, read: first, idle: threads, orders: Vec::new(), stop: false };
        let shared = Arc::new(Shared { plan, filler, state: Mutex::new(state), changed: Condvar::new() });
        let workers = (0..threads as u64)
            .map(|worker| {
                let (shared, own) = (shared.clone(), (worker < own).then_some(first + worker));
                std::thread::spawn(move || shared.work(own))
            })
            .collect();
        shared.wait_until_all_began();
        Ok(Loader { shared, workers, current, next, peeked: false, failed: false, bytes })
    }

    /// Waits for the next batch; none after the last one of an evaluation.
    ///
    /// # Errors
    /// If a file changed after its data set was opened. Nothing comes after an error.
    pub fn next_batch(&mut self) -> Result<Option<Batch<'_>>, DataError> {
        let peeked = self.peek()?.is_some();
        self.peeked = false;
        self.next += u64::from(peeked);
        Ok(peeked.then(|| self.batch(self.next - 1)))
    }

    /// Waits for the next batch, which is the next one still.
    ///
    /// # Errors
    /// As [`Loader::next_batch`].
    pub fn peek(&mut self) -> Result<Option<Batch<'_>>, DataError> {
        let plan = &self.shared.plan;
        if self.failed || plan.order == Order::Sequential && plan.n_batches <= self.next {
            return Ok(None);
        }
        for piece in 0..if self.peeked { 0 } else { plan.pieces() } {
            let at = piece as usize * plan.rows;
            let read = self.shared.read(self.next * plan.pieces() + piece, |piece| self.current.put(at, piece));
            self.failed = read.is_err();
            read?;
        }
        self.peeked = true;
        Ok(Some(self.batch(self.next)))
    }

    /// The batch of this number, counted through the epochs, which is there.
    fn batch(&self, idx: u64) -> Batch<'_> {
        let plan = &self.shared.plan;
        let (epoch, number) = (idx / plan.n_batches, idx % plan.n_batches);
        let len = plan.batch.min(plan.n_rows - number as usize * plan.batch);
        Batch {
            epoch,
            number,
            len,
            inputs: &self.current.inputs,
            targets: self.current.targets(),
            rows: &self.current.weights,
        }
    }

    /// Batches of an epoch.
    pub fn batches(&self) -> u64 {
        self.shared.plan.n_batches
    }

    /// Bytes of memory that data takes while batches are prepared: the data set's, batches, and an upper estimate of
    /// what decoding takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its work.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait_until_all_began(&self) {
        let mut state = self.lock();
        while state.idle != 0 {
            state = self.wait(state);
        }
    }

    fn began(&self) {
        self.lock().idle -= 1;
        self.changed.notify_all();
    }

    /// Prepares pieces, the first of them `own`.
    fn work(&self, own: Option<u64>) {
        let mut scratch = self.filler.scratch();
        let first = own.and_then(|idx| self.take_slot(&mut self.lock(), idx).map(|piece| (idx, piece)));
        if let Some((idx, piece)) = first {
            self.prepare(idx, piece, &mut scratch);
        }
        self.began();
        while let Some((idx, piece)) = self.take() {
            self.prepare(idx, piece, &mut scratch);
        }
    }

    fn prepare(&self, idx: u64, mut piece: Piece, scratch: &mut Scratch) {
        let (epoch, rows) = self.plan.rows_of(idx);
        let order = self.order(epoch);
        let augment = match self.plan.order {
            Order::Shuffled { seed, .. } => Some([seed, epoch]),
            Order::Sequential => None,
        };
        let row = rows.start;
        let order = rows.map(|place| order.get(place).copied());
        let filled = catch_unwind(AssertUnwindSafe(|| self.filler.fill(&mut piece, order, augment, scratch)));
        let result = filled.unwrap_or_else(|_| Err(DataError::Worker { row, reason: "a panic".into() }));
        self.put(idx, result.map(|()| piece));
    }

    /// A piece to prepare, once its slot is free; none when the loader ends.
    fn take(&self) -> Option<(u64, Piece)> {
        let mut state = self.lock();
        loop {
            let (idx, n) = (state.next, state.slots.len() as u64);
            if state.stop || self.plan.left(idx) == 0 {
                return None;
            }
            if idx < state.read + n {
                state.next += 1;
                return self.take_slot(&mut state, idx).map(|piece| (idx, piece));
            }
            state = self.wait(state);
        }
    }

    fn take_slot(&self, state: &mut State, idx: u64) -> Option<Piece> {
        let slot = (idx % state.slots.len() as u64) as usize;
        match std::mem::replace(&mut state.slots[slot], Slot::Taken) {
            Slot::Free(piece) => Some(piece),
            _ => None,
        }
    }

    fn put(&self, idx: u64, piece: Result<Piece, DataError>) {
        let mut state = self.lock();
        let n = state.slots.len() as u64;
        state.slots[(idx % n) as usize] = Slot::Done(piece);
        self.changed.notify_all();
    }

    /// Waits for a piece, hands it to `then` and frees its slot.
    fn read(&self, idx: u64, then: impl FnOnce(&Piece)) -> Result<(), DataError> {
        let mut state = self.lock();
        let slot = (idx % state.slots.len() as u64) as usize;
        while !matches!(state.slots[slot], Slot::Done(_)) || idx != state.read {
            state = self.wait(state);
        }
        let Slot::Done(piece) = std::mem::replace(&mut state.slots[slot], Slot::Taken) else { return Ok(()) };
        drop(state);
        let piece = piece?;
        then(&piece);
        let mut state = self.lock();
        state.slots[slot] = Slot::Free(piece);
        state.read += 1;
        self.changed.notify_all();
        Ok(())
    }

    /// Rows of the data set in the order of an epoch.
    fn order(&self, epoch: u64) -> Arc<[u32]> {
        let mut state = self.lock();
        if let Some((_, order)) = state.orders.iter().find(|(it, _)| *it == epoch) {
            return order.clone();
        }
        let order: Arc<[u32]> = self.filler.order(|rows| {
            if let Order::Shuffled { seed, .. } = self.plan.order {
                Rng::keyed(&[seed, SHUFFLE, epoch]).shuffle(rows);
            }
        });
        state.orders.retain(|(it, _)| epoch <= it + 1);
        state.orders.push((epoch, order.clone()));
        order
    }
}

impl Plan {
    /// Pieces of a batch.
    fn pieces(&self) -> u64 {
        self.batch.div_ceil(self.rows) as u64
    }

    /// Pieces from this one on.
    fn left(&self, piece: u64) -> u64 {
        match self.order {
            Order::Sequential => (self.n_batches * self.pieces()).saturating_sub(piece),
            Order::Shuffled { .. } => u64::MAX,
        }
    }

    /// Number of the first batch, counted through the epochs.
    fn first_batch(&self) -> Result<u64, DataError> {
        let Order::Shuffled { epoch, batch, .. } = self.order else { return Ok(0) };
        let first = epoch.checked_mul(self.n_batches).and_then(|it| it.checked_add(batch));
        // A position comes from a checkpoint; pieces are counted in 64 bits too.
        first.filter(|&first| first < 1 << 40).ok_or(DataError::Position { epoch, batch })
    }

    /// Epoch of a piece, and its places in the epoch's order; places past the end are padding.
    fn rows_of(&self, piece: u64) -> (u64, std::ops::Range<usize>) {
        let (batch, piece) = (piece / self.pieces(), piece as usize % self.pieces() as usize);
        let (epoch, number) = (batch / self.n_batches, (batch % self.n_batches) as usize);
        let start = number * self.batch + piece * self.rows;
        let end = number * self.batch + self.batch.min((piece + 1) * self.rows);
        (epoch, start..end)
    }
}
