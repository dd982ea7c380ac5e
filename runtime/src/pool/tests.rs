use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn every_task_runs_once() {
    for threads in [1, 2, 5] {
        let pool = Pool::new(threads);
        for n_tasks in [0, 1, 2, 7, 100] {
            let calls: Vec<_> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(n_tasks, &|task, thread| {
                assert!(thread < threads);
                calls[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(calls.iter().all(|it| it.load(Ordering::Relaxed) == 1), "{threads} threads, {n_tasks} tasks");
        }
    }
}

#[test]
fn many_small_jobs_lose_no_task() {
    let pool = Pool::new(3);
    let calls = AtomicUsize::new(0);
    for job in 0..20_000 {
        pool.run(job % 5, &|_, _| {
            calls.fetch_add(1, Ordering::Relaxed);
        });
    }
    assert_eq!(calls.into_inner(), 20_000 / 5 * (1 + 2 + 3 + 4));
}

#[test]
fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
    let pool = Pool::new(2);
    let run = || pool.run(50, &|task, _| assert!(task != 7, "task seven"));
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("the panic was swallowed");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"task seven"));
    let calls = AtomicUsize::new(0);
    pool.run(50, &|_, _| {
        calls.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(calls.into_inner(), 50);
}

#[test]
#[should_panic(expected = "one kernel at a time")]
fn a_kernel_inside_a_task_is_refused() {
    let pool = Pool::new(1);
    pool.run(1, &|_, _| pool.run(1, &|_, _| ()));
}

#[test]
fn chunks_cover_the_slice_and_stay_together() {
    let pool = Pool::new(2);
    let (mut a, mut b) = (vec![0; 103], vec![0; 52]);
    pool.chunks2((&mut a, 10), (&mut b, 5), |it, a, b| {
        a.fill(it + 1);
        b.fill(it + 1);
    });
    assert!(a.iter().enumerate().all(|(at, &it)| it == at / 10 + 1));
    assert!(b.iter().enumerate().all(|(at, &it)| it == at / 5 + 1));
}

#[test]
fn threads_do_not_share_scratch() {
    let pool = Pool::new(4);
    let mut scratch = vec![0.0; 4 * 64 + 7];
    let team = Team::new(&pool, &mut scratch);
    assert_eq!(team.scratch_len(), 64);
    team.run(1000, |task, mine| {
        mine.fill(task as f32);
        std::hint::black_box(&mine);
        assert!(mine.iter().all(|&it| it == task as f32));
    });
}
