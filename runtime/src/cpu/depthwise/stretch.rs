//! Sums over several long stretches at once. Lengths are multiples of [`STEP`], so that no vector is cut.

/// Elements of the widest vector.
pub const STEP: usize = 16;

/// `out[i] = bias + sum over t of w * x[i]` with `(x, w) = tap(t)`.
pub fn sum_scaled<'a>(out: &mut [f32], bias: f32, n_taps: usize, tap: impl Fn(usize) -> (&'a [f32], f32)) {
    let vectors = Vectors::get();
    let len = out.len();
    assert!(len.is_multiple_of(STEP));
    let mut done = 0;
    while done < n_taps {
        let mut taps = [(std::ptr::null(), 0.0); MOST];
        let n = several(n_taps - done);
        for (i, place) in taps[..n].iter_mut().enumerate() {
            let (x, w) = tap(done + i);
            *place = (x[..len].as_ptr(), w);
        }
        let bias = (done == 0).then_some(bias);
        // SAFETY: `n` stretches of `len` elements, and `get` chose loops that this processor can run.
        unsafe { vectors.add[n - 1](out.as_mut_ptr(), len, bias, &taps) };
        done += n;
    }
}

/// Partial sums, one for each lane.
pub type Lanes = [f32; STEP];

/// `sums[t] += x[i] * tap(t)[i]`, spread over the lanes.
pub fn add_products<'a>(x: &[f32], sums: &mut [Lanes], tap: impl Fn(usize) -> &'a [f32]) {
    let vectors = Vectors::get();
    assert!(x.len().is_multiple_of(STEP));
    let mut done = 0;
    while done < sums.len() {
        let mut taps = [std::ptr::null(); MOST];
        let n = several(sums.len() - done);
        for (i, place) in taps[..n].iter_mut().enumerate() {
            *place = tap(done + i)[..x.len()].as_ptr();
        }
        // SAFETY: `n` stretches as long as `x` and `n` sums, and `get` chose loops that this processor can run.
        unsafe { vectors.dot[n - 1](x.as_ptr(), x.len(), &taps, sums[done..done + n].as_mut_ptr()) };
        done += n;
    }
}

/// The sum of all lanes.
pub fn total(lanes: &Lanes) -> f32 {
    let mut lanes = *lanes;
    let mut half = STEP / 2;
    while 0 < half {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Most stretches at once; with their sums they fit in the registers.
const MOST: usize = 9;

fn several(left: usize) -> usize {
    if left < 2 * MOST && MOST < left { left.div_ceil(2) } else { left.min(MOST) }
}

type Add = unsafe fn(*mut f32, usize, Option<f32>, &[(*const f32, f32); MOST]);
type Dot = unsafe fn(*const f32, usize, &[*const f32; MOST], *mut Lanes);

/// The loops of one instruction set, for one stretch to [`MOST`].
struct Vectors {
    add: [Add; MOST],
    dot: [Dot; MOST],
}

macro_rules! loops {
    ([$($feature:literal)?], $lanes:expr, $zero:expr, $load:expr, $splat:expr, $fma:expr, $add:expr, $store:expr) => {{
        $(#[target_feature(enable = $feature)])?
        #[allow(clippy::undocumented_unsafe_blocks, unused_unsafe, reason = "bounds are those of the callers")]
        unsafe fn add<const N: usize>(
            out: *mut f32,
            len: usize,
            bias: Option<f32>,
            taps: &[(*const f32, f32); MOST],
        ) {
            unsafe {
                let mut weights = [$zero; N];
                for t in 0..N {
                    weights[t] = $splat(taps[t].1);
                }
                for i in (0..len).step_by($lanes) {
                    let mut sum = match bias {
                        Some(bias) => $splat(bias),
                        None => $load(out.add(i)),
                    };
                    for t in 0..N {
                        sum = $fma(weights[t], $load(taps[t].0.add(i)), sum);
                    }
                    $store(out.add(i), sum);
                }
            }
        }

        $(#[target_feature(enable = $feature)])?
        #[allow(clippy::undocumented_unsafe_blocks, unused_unsafe, reason = "bounds are those of the callers")]
        unsafe fn dot<const N: usize>(x: *const f32, len: usize, taps: &[*const f32; MOST], out: *mut Lanes) {
            unsafe {
                let out = out.cast::<f32>();
                let mut sums = [$zero; N];
                for t in 0..N {
                    sums[t] = $load(out.add(t * STEP));
                }
                for i in (0..len).step_by($lanes) {
                    let x = $load(x.add(i));
                    for t in 0..N {
                        sums[t] = $fma(x, $load(taps[t].add(i)), sums[t]);
                    }
                }
                for t in 0..N {
                    $store(out.add(t * STEP), sums[t]);
                }
            }
        }

        Vectors {
            add: [add::<1>, add::<2>, add::<3>, add::<4>, add::<5>, add::<6>, add::<7>, add::<8>, add::<9>],
            dot: [dot::<1>, dot::<2>, dot::<3>, dot::<4>, dot::<5>, dot::<6>, dot::<7>, dot::<8>, dot::<9>],
        }
    }};
}

impl Vectors {
    #[cfg(target_arch = "x86_64")]
    fn get() -> &'static Vectors {
        use std::arch::x86_64::*;

        use crate::cpu::vectors::{with_avx2, with_avx512};

        static WIDE: Vectors = with_avx512!(loops!());
        static HALF: Vectors = with_avx2!(loops!());
        match () {
            () if is_x86_feature_detected!("avx512f") => &WIDE,
            () if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") => &HALF,
            () => Vectors::portable(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn get() -> &'static Vectors {
        Vectors::portable()
    }

    fn portable() -> &'static Vectors {
        use crate::cpu::gemm::four::*;
        use crate::cpu::vectors::with_four;

        static FOUR: Vectors = with_four!(loops!());
        &FOUR
    }
}
