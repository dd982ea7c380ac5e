//! The innermost loop: a list of kept elements times a panel of the cotangent.

use std::sync::OnceLock;

/// Columns of a panel.
pub const WIDTH: usize = 48;

/// Columns of a panel for windows of several taps.
pub const NARROW: usize = 16;
/// Taps that are summed at a time.
pub const TAPS: usize = 9;

type Run = unsafe fn(*const f32, usize, *const f32, *mut f32);
type RunTaps = unsafe fn(*const f32, usize, *const f32, *const usize, *mut f32);

/// Loops of one instruction set.
#[derive(Clone, Copy)]
pub struct Loops {
    run: Run,
    run_taps: RunTaps,
}

/// `out[j] += sum of value * panel[place + j]` over a list of (value, place), with `j` below [`WIDTH`].
///
/// Even and odd entries are summed on their own, in their order; that and nothing else decides the bits, so all
/// instruction sets with fused multiply-add agree.
///
/// # Safety
/// `list` holds pairs: a value, and bits of a whole number; from every such place on, `panel` has [`WIDTH`] elements.
#[inline(always)]
pub unsafe fn add_products(loops: Loops, list: &[f32], panel: &[f32], out: &mut [f32; WIDTH]) {
    // SAFETY: passed on; `best` chose a loop that this processor can run.
    unsafe { (loops.run)(list.as_ptr(), list.len() / 2, panel.as_ptr(), out.as_mut_ptr()) };
}

/// The same for [`TAPS`] places around each entry's: `out[t][j] += sum of value * panel[place + taps[t] + j]`, with `j`
/// below [`NARROW`]. Entries are summed in their order.
///
/// # Safety
/// As for [`add_products`], from every place of every tap on, and [`NARROW`] elements.
#[inline(always)]
pub unsafe fn add_tap_products(
    loops: Loops,
    list: &[f32],
    panel: &[f32],
    taps: &[usize; TAPS],
    out: &mut [f32; TAPS * NARROW],
) {
    // SAFETY: passed on.
    unsafe { (loops.run_taps)(list.as_ptr(), list.len() / 2, panel.as_ptr(), taps.as_ptr(), out.as_mut_ptr()) };
}

/// The fastest loops that this processor can run.
pub fn best() -> Loops {
    static BEST: OnceLock<Loops> = OnceLock::new();
    *BEST.get_or_init(choose)
}

macro_rules! lanes {
    ($name:ident, $taps:ident, [$($feature:literal)?], $lanes:expr, $zero:expr, $load:expr, $splat:expr, $fma:expr, $add:expr, $store:expr) => {
        $(#[target_feature(enable = $feature)])?
        #[allow(clippy::undocumented_unsafe_blocks, unused_unsafe, reason = "bounds are those of `add_products`")]
        unsafe fn $name(list: *const f32, count: usize, panel: *const f32, out: *mut f32) {
            const VECTORS: usize = WIDTH / $lanes;
            unsafe {
                let mut sums = [[$zero; VECTORS]; 2];
                let mut entry = list;
                for _ in 0..count / 2 {
                    for sums in &mut sums {
                        let value = $splat(*entry);
                        let row = panel.add((*entry.add(1)).to_bits() as usize);
                        for v in 0..VECTORS {
                            sums[v] = $fma(value, $load(row.add(v * $lanes)), sums[v]);
                        }
                        entry = entry.add(2);
                    }
                }
                if count % 2 == 1 {
                    let value = $splat(*entry);
                    let row = panel.add((*entry.add(1)).to_bits() as usize);
                    for v in 0..VECTORS {
                        sums[0][v] = $fma(value, $load(row.add(v * $lanes)), sums[0][v]);
                    }
                }
                for v in 0..VECTORS {
                    let out = out.add(v * $lanes);
                    $store(out, $add($load(out), $add(sums[0][v], sums[1][v])));
                }
            }
        }

        $(#[target_feature(enable = $feature)])?
        #[allow(clippy::undocumented_unsafe_blocks, unused_unsafe, reason = "bounds are those of `add_tap_products`")]
        unsafe fn $taps(list: *const f32, count: usize, panel: *const f32, taps: *const usize, out: *mut f32) {
            // Three taps at a time leave room for the sums in the registers of every instruction set.
            const GROUP: usize = if $lanes == NARROW { TAPS } else { 3 };
            const VECTORS: usize = NARROW / $lanes;
            unsafe {
                for first in (0..TAPS).step_by(GROUP) {
                    let mut sums = [[$zero; VECTORS]; GROUP];
                    let places: [*const f32; GROUP] = std::array::from_fn(|t| panel.add(*taps.add(first + t)));
                    for entry in 0..count {
                        let value = $splat(*list.add(2 * entry));
                        let place = (*list.add(2 * entry + 1)).to_bits() as usize;
                        for t in 0..GROUP {
                            for v in 0..VECTORS {
                                sums[t][v] = $fma(value, $load(places[t].add(place + v * $lanes)), sums[t][v]);
                            }
                        }
                    }
                    for t in 0..GROUP {
                        for v in 0..VECTORS {
                            let out = out.add((first + t) * NARROW + v * $lanes);
                            $store(out, $add($load(out), sums[t][v]));
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
fn choose() -> Loops {
    use std::arch::x86_64::*;

    use crate::cpu::vectors::{with_avx2, with_avx512};

    with_avx512!(lanes!(avx512, avx512_taps,));
    with_avx2!(lanes!(avx2, avx2_taps,));

    if is_x86_feature_detected!("avx512f") {
        Loops { run: avx512, run_taps: avx512_taps }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        Loops { run: avx2, run_taps: avx2_taps }
    } else {
        portable()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn choose() -> Loops {
    portable()
}

fn portable() -> Loops {
    use crate::cpu::gemm::four::*;
    use crate::cpu::vectors::with_four;

    with_four!(lanes!(four_lanes, four_lanes_taps,));
    Loops { run: four_lanes, run_taps: four_lanes_taps }
}
