//! Nothing is allocated while a trainer runs. Alone in its process, because it counts the process's allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use razorc_compiler::options::Options;
use razorc_runtime::data::{Batch, Column, Targets};
use razorc_runtime::trainer::Trainer;
use razorc_tests::trainer;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn steps_and_evaluations_allocate_nothing() {
    for model in [razorc_fixtures::cnn(), razorc_fixtures::mobile()] {
        let options = Options { batch: 4, ..Options::default() };
        let mut trainer = Trainer::load(trainer(&model, &options), 2).unwrap();
        let (inputs, targets, rows) = ([Column::Real(vec![0.5; 4 * 3 * 16 * 16])], [1, 2, 3, 0], [1.0; 4]);
        let targets = Targets::Classes(&targets);
        let batch = Batch { epoch: 0, number: 0, len: 4, inputs: &inputs, targets, rows: &rows };
        trainer.step(&batch, 0.01, 1);
        trainer.eval(&batch);

        // What a thread allocates once in its life, such as its parking place, may come in any round; what steps
        // allocate comes in every round.
        let mut rounds = [0; 9];
        for (round, allocations) in rounds.iter_mut().enumerate() {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for number in 2..6 {
                assert!(trainer.step(&batch, 0.01, 4 * round as u64 + number).loss.is_finite());
                assert_eq!(trainer.predict(&batch).len(), 40);
            }
            *allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        }
        assert!(rounds.iter().filter(|it| **it == 0).count() >= 7, "allocations in rounds of 4 steps: {rounds:?}");
    }
}
