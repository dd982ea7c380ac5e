//! The innermost loops: a tile of C that stays in registers while `k` runs.

use std::sync::OnceLock;

use super::WIDEST;

/// Elements of the largest tile.
pub const LARGEST: usize = 8 * WIDEST;

type Run = unsafe fn(usize, *const f32, *const f32, *mut f32, usize, bool);

/// The loops of one instruction set.
pub struct Micro {
    /// Rows of a tile.
    pub mr: usize,
    /// Columns of a tile.
    pub nr: usize,
    /// For tiles of which one vector is wanted, or two, or more.
    runs: &'static [Run],
}

impl Micro {
    /// The fastest loops that this processor can run.
    pub fn get() -> &'static Micro {
        static BEST: OnceLock<Micro> = OnceLock::new();
        BEST.get_or_init(best)
    }

    /// How many lines of A and of B to pack at a time, so that they fit in `scratch` elements.
    pub fn share(&self, scratch: usize, depth: usize, rows: usize, cols: usize) -> (usize, usize) {
        let lines = scratch / depth;
        let wanted = cols.next_multiple_of(self.nr);
        let b_len = (lines * 2 / 3).min(wanted).min(lines.saturating_sub(self.mr)).max(self.nr) / self.nr * self.nr;
        let a_len = lines.saturating_sub(b_len).min(rows.next_multiple_of(self.mr)).min(256) / self.mr * self.mr;
        assert!(0 < a_len && 0 < b_len, "{scratch} elements of scratch are too few for a product");
        (a_len, b_len)
    }

    /// `c[mr, cols] = a b`, or `+=` when `add`, where c has rows of `row` elements. Rounds `cols` up to whole vectors.
    ///
    /// # Safety
    /// `a` and `b` hold `depth` steps of `mr` and `nr`; `c` may be written for `mr` rows of `cols` rounded up.
    #[expect(clippy::too_many_arguments, reason = "operands and sizes of the innermost loop")]
    pub unsafe fn run(&self, depth: usize, a: &[f32], b: &[f32], c: *mut f32, row: usize, add: bool, cols: usize) {
        debug_assert!(self.mr * depth <= a.len() && self.nr * depth <= b.len() && 0 < cols && cols <= self.nr);
        let run = self.runs[(cols * self.runs.len()).div_ceil(self.nr) - 1];
        // SAFETY: passed on; `best` chose loops that this processor can run.
        unsafe { run(depth, a.as_ptr(), b.as_ptr(), c, row, add) };
    }
}

macro_rules! micro {
    ($name:ident, [$($feature:literal)?], $lanes:expr, $zero:expr, $load:expr, $splat:expr, $fma:expr, $add:expr, $store:expr) => {
        $(#[target_feature(enable = $feature)])?
        #[allow(clippy::undocumented_unsafe_blocks, unused_unsafe, reason = "bounds are those of `Micro::run`")]
        unsafe fn $name<const MR: usize, const NR: usize, const NV: usize>(
            depth: usize,
            mut a: *const f32,
            mut b: *const f32,
            c: *mut f32,
            row: usize,
            add: bool,
        ) {
            unsafe {
                let mut sums = [[$zero; NV]; MR];
                for _ in 0..depth {
                    let mut right = [$zero; NV];
                    for v in 0..NV {
                        right[v] = $load(b.add(v * $lanes));
                    }
                    for i in 0..MR {
                        let left = $splat(*a.add(i));
                        for v in 0..NV {
                            sums[i][v] = $fma(left, right[v], sums[i][v]);
                        }
                    }
                    a = a.add(MR);
                    b = b.add(NR);
                }
                for i in 0..MR {
                    for v in 0..NV {
                        let c = c.add(i * row + v * $lanes);
                        let sum = if add { $add($load(c), sums[i][v]) } else { sums[i][v] };
                        $store(c, sum);
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
fn best() -> Micro {
    use std::arch::x86_64::*;

    use crate::cpu::vectors::{with_avx2, with_avx512};

    with_avx512!(micro!(avx512,));
    with_avx2!(micro!(avx2,));

    if is_x86_feature_detected!("avx512f") {
        Micro { mr: 8, nr: 48, runs: &[avx512::<8, 48, 1>, avx512::<8, 48, 2>, avx512::<8, 48, 3>] }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        Micro { mr: 4, nr: 16, runs: &[avx2::<4, 16, 1>, avx2::<4, 16, 2>] }
    } else {
        portable()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn best() -> Micro {
    portable()
}

fn portable() -> Micro {
    const MR: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };

    use super::four::*;
    use crate::cpu::vectors::with_four;

    with_four!(micro!(four_lanes,));
    Micro { mr: MR, nr: 12, runs: &[four_lanes::<MR, 12, 1>, four_lanes::<MR, 12, 2>, four_lanes::<MR, 12, 3>] }
}
