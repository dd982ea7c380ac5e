//! Nothing is allocated while a trainer runs. Alone in its process, because it counts the process's allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Read;
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

/// Steps after the first one.
const STEPS: std::ops::RangeInclusive<u64> = 2..=50;

#[test]
fn fifty_steps_take_no_memory_that_the_first_did_not() {
    let mut page = vec![0; 1 << 16];
    for model in [razorc_fixtures::cnn(), razorc_fixtures::mobile()] {
        let options = Options { batch: 4, ..Options::default() };
        let mut trainer = Trainer::load(trainer(&model, &options), 2).unwrap();
        let (inputs, targets, rows) = ([Column::Real(vec![0.5; 4 * 3 * 16 * 16])], [1, 2, 3, 0], [1.0; 4]);
        let targets = Targets::Classes(&targets);
        let batch = Batch { epoch: 0, number: 0, len: 4, inputs: &inputs, targets, rows: &rows };
        trainer.step(&batch, 0.01, 1);
        trainer.eval(&batch);

        let (allocations, anonymous) = (ALLOCATIONS.load(Ordering::Relaxed), anonymous(&mut page));
        for number in STEPS {
            assert!(trainer.step(&batch, 0.01, number).loss.is_finite());
            assert_eq!(trainer.predict(&batch).len(), 40);
        }
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), allocations, "heap allocations in {STEPS:?}");
        assert_eq!(self::anonymous(&mut page), anonymous, "kB of memory that is no file's after {STEPS:?}");
    }
}

/// Kilobytes of the process's memory that are no file's, counted page by page; none off Linux. Allocates nothing.
fn anonymous(page: &mut [u8]) -> Option<u64> {
    let read = std::fs::File::open("/proc/self/smaps_rollup").and_then(|mut it| it.read(page)).ok()?;
    let text = std::str::from_utf8(&page[..read]).ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix("Anonymous:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
