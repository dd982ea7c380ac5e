//! Vectors of four elements, which every processor has in some form.

/// Four elements.
pub type Four = [f32; 4];

/// # Safety
/// Four elements may be read.
#[inline(always)]
pub unsafe fn load(from: *const f32) -> Four {
    // SAFETY: by the caller's promise.
    unsafe { from.cast::<Four>().read_unaligned() }
}

/// # Safety
/// Four elements may be written.
#[inline(always)]
pub unsafe fn store(to: *mut f32, value: Four) {
    // SAFETY: by the caller's promise.
    unsafe { to.cast::<Four>().write_unaligned(value) }
}

/// The same value four times.
#[inline(always)]
pub fn splat(value: f32) -> Four {
    [value; 4]
}

/// `a * b + c`.
#[inline(always)]
pub fn fma(a: Four, b: Four, c: Four) -> Four {
    // Without the instruction `mul_add` would be a call to a slow library function.
    let fma = |a: f32, b: f32, c: f32| if cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c };
    std::array::from_fn(|i| fma(a[i], b[i], c[i]))
}

/// `a + b`.
#[inline(always)]
pub fn sum(a: Four, b: Four) -> Four {
    std::array::from_fn(|i| a[i] + b[i])
}
