use super::*;

#[test]
fn halves_run_once_each_on_any_number_of_threads() {
    for threads in 1..=4 {
        let pool = Pool::with_isa(threads, Isa::Portable);
        for _ in 0..3 {
            let counts = [const { AtomicUsize::new(0) }; 2];
            pool.halves(|pool, half| {
                assert_eq!(pool.threads(), if threads % 2 == 0 { threads / 2 } else { threads });
                pool.run(100, |_| {
                    counts[half].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert_eq!(counts.map(AtomicUsize::into_inner), [100, 100], "{threads} threads");
        }
        let panic = catch_unwind(AssertUnwindSafe(|| pool.halves(|_, half| assert_eq!(half, 0))));
        assert!(panic.is_err());
        pool.run(2, |_| {});
    }
}

#[test]
fn every_task_runs_once_on_any_number_of_threads() {
    for threads in [1, 2, 3, 5] {
        let pool = Pool::with_isa(threads, Isa::Portable);
        for n in [0, 1, 2, 1000] {
            let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
            pool.run(n, |i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
        }
    }
}

#[test]
fn workers_wake_again_after_they_parked() {
    let pool = Pool::with_isa(2, Isa::Portable);
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let total = AtomicUsize::new(0);
        pool.run(100, |i| {
            total.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(total.load(Ordering::Relaxed), 4950);
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    let pool = Pool::with_isa(2, Isa::Portable);
    let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(64, |i| assert!(i != 40, "task 40"))));
    assert!(outcome.is_err());
    let total = AtomicUsize::new(0);
    pool.run(10, |i| {
        total.fetch_add(i, Ordering::Relaxed);
    });
    assert_eq!(total.load(Ordering::Relaxed), 45);
}

#[test]
fn numbers_of_threads_that_no_machine_has_are_an_error() {
    for threads in [0, 1025, usize::MAX] {
        let message = Pool::new(threads).unwrap_err();
        assert!(
            message.starts_with(&threads.to_string()) && message.contains("1024"),
            "{message}"
        );
    }
}
