//! Alone in its process, because it measures the process.
#![cfg(target_os = "linux")]

use razorc_runtime::memory::Meter;

#[test]
fn growth_is_seen_and_history_is_not() {
    let touch = |bytes: usize| std::hint::black_box(vec![1_u8; bytes]).len() as u64;
    touch(96 << 20);
    let meter = Meter::start();
    let planned = touch(32 << 20);
    let measured = meter.footprint(planned).measured.expect("Linux reports its peak");
    assert!(measured.abs_diff(planned) < 1 << 20, "{measured} bytes measured for {planned}");
}
