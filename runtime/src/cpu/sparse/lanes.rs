//! The innermost loop: a list of kept elements times a panel of the cotangent.

use std::sync::OnceLock;

/// Columns of a panel.
pub const WIDTH: usize = 48;

type Run = unsafe fn(*const f32, usize, *const f32, *mut f32);

/// `out[j] += sum of value * panel[place + j]` over a list of (value, place), with `j` below [`WIDTH`].
///
/// Even and odd entries are summed on their own, in their order; that and nothing else decides the bits, so all
/// instruction sets with fused multiply-add agree.
///
/// # Safety
/// `list` holds pairs: a value, and bits of a whole number; from every such place on, `panel` has [`WIDTH`] elements.
#[inline(always)]
pub unsafe fn add_products(run: Run, list: &[f32], panel: &[f32], out: &mut [f32; WIDTH]) {
    // SAFETY: passed on; `best` chose a loop that this processor can run.
    unsafe { run(list.as_ptr(), list.len() / 2, panel.as_ptr(), out.as_mut_ptr()) };
}

/// The fastest loop that this processor can run.
pub fn best() -> Run {
    static BEST: OnceLock<Run> = OnceLock::new();
    *BEST.get_or_init(choose)
}

macro_rules! lanes {
    ($name:ident, [$($feature:literal)?], $lanes:expr, $zero:expr, $load:expr, $splat:expr, $fma:expr, $add:expr, $store:expr) => {
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
    };
}

#[cfg(target_arch = "x86_64")]
fn choose() -> Run {
    use std::arch::x86_64::*;

    lanes!(
        avx512,
        ["avx512f"],
        16,
        _mm512_setzero_ps(),
        _mm512_loadu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_storeu_ps
    );
    lanes!(
        avx2,
        ["avx2,fma"],
        8,
        _mm256_setzero_ps(),
        _mm256_loadu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_storeu_ps
    );

    if is_x86_feature_detected!("avx512f") {
        avx512
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        avx2
    } else {
        portable()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn choose() -> Run {
    portable()
}

fn portable() -> Run {
    use crate::cpu::gemm::four::*;

    lanes!(four_lanes, [], 4, [0.0; 4], load, splat, fma, sum, store);
    four_lanes
}
