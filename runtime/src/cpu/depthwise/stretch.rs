//! Sums over several long stretches at once.

/// `out[i] += w * x[i]` for each of `n_taps` stretches `(x, w) = tap(t)`, in their order.
pub fn add_scaled<'a>(out: &mut [f32], n_taps: usize, tap: impl Fn(usize) -> (&'a [f32], f32)) {
    let len = out.len();
    let stretch = |t| {
        let (x, w) = tap(t);
        (&x[..len], w)
    };
    let mut t = 0;
    while t < n_taps {
        match n_taps - t {
            9.. => add_several::<9>(out, &mut t, stretch),
            5.. => add_several::<5>(out, &mut t, stretch),
            3.. => add_several::<3>(out, &mut t, stretch),
            _ => add_several::<1>(out, &mut t, stretch),
        }
    }
}

/// `out[t] += sum of x[i] * tap(t)[i]`.
pub fn add_dots<'a>(x: &[f32], out: &mut [f32], tap: impl Fn(usize) -> &'a [f32]) {
    let stretch = |t| &tap(t)[..x.len()];
    let mut t = 0;
    while t < out.len() {
        match out.len() - t {
            9.. => dot_several::<9>(x, out, &mut t, stretch),
            5.. => dot_several::<5>(x, out, &mut t, stretch),
            3.. => dot_several::<3>(x, out, &mut t, stretch),
            _ => dot_several::<1>(x, out, &mut t, stretch),
        }
    }
}

fn add_several<'a, const N: usize>(out: &mut [f32], t: &mut usize, tap: impl Fn(usize) -> (&'a [f32], f32)) {
    let taps: [(&[f32], f32); N] = std::array::from_fn(|i| tap(*t + i));
    *t += N;
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the instructions are there.
        return unsafe { wide::add_512(out, &taps) };
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the instructions are there.
        return unsafe { wide::add_256(out, &taps) };
    }
    add(out, &taps, fused_if_fast);
}

fn dot_several<'a, const N: usize>(x: &[f32], out: &mut [f32], t: &mut usize, tap: impl Fn(usize) -> &'a [f32]) {
    let taps: [&[f32]; N] = std::array::from_fn(|i| tap(*t + i));
    let out = &mut out[*t..*t + N];
    *t += N;
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the instructions are there.
        return unsafe { wide::dot_512(x, &taps, out) };
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the instructions are there.
        return unsafe { wide::dot_256(x, &taps, out) };
    }
    dot(x, &taps, out, fused_if_fast);
}

#[cfg(target_arch = "x86_64")]
mod wide {
    #[target_feature(enable = "avx512f")]
    pub fn add_512<const N: usize>(out: &mut [f32], taps: &[(&[f32], f32); N]) {
        super::add(out, taps, f32::mul_add);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn add_256<const N: usize>(out: &mut [f32], taps: &[(&[f32], f32); N]) {
        super::add(out, taps, f32::mul_add);
    }

    #[target_feature(enable = "avx512f")]
    pub fn dot_512<const N: usize>(x: &[f32], taps: &[&[f32]; N], out: &mut [f32]) {
        super::dot(x, taps, out, f32::mul_add);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn dot_256<const N: usize>(x: &[f32], taps: &[&[f32]; N], out: &mut [f32]) {
        super::dot(x, taps, out, f32::mul_add);
    }
}

/// Without the instruction `mul_add` would be a call to a slow library function.
fn fused_if_fast(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn add<const N: usize>(out: &mut [f32], taps: &[(&[f32], f32); N], fma: impl Fn(f32, f32, f32) -> f32) {
    let taps: [(&[f32], f32); N] = std::array::from_fn(|t| (&taps[t].0[..out.len()], taps[t].1));
    for i in 0..out.len() {
        let mut sum = out[i];
        for (x, w) in &taps {
            sum = fma(x[i], *w, sum);
        }
        out[i] = sum;
    }
}

/// Sixteen partial sums for each stretch, added up in pairs at the end.
#[inline(always)]
fn dot<const N: usize>(x: &[f32], taps: &[&[f32]; N], out: &mut [f32], fma: impl Fn(f32, f32, f32) -> f32) {
    const LANES: usize = 16;
    let mut sums = [[0.0; LANES]; N];
    let whole = x.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let x: [f32; LANES] = std::array::from_fn(|i| x[at + i]);
        for (sums, tap) in sums.iter_mut().zip(taps) {
            let tap = &tap[at..at + LANES];
            for i in 0..LANES {
                sums[i] = fma(x[i], tap[i], sums[i]);
            }
        }
    }
    for ((sums, tap), out) in sums.iter_mut().zip(taps).zip(out) {
        for (i, at) in (whole..x.len()).enumerate() {
            sums[i] = fma(x[at], tap[at], sums[i]);
        }
        let mut half = LANES / 2;
        while 0 < half {
            for i in 0..half {
                sums[i] += sums[i + half];
            }
            half /= 2;
        }
        *out += sums[0];
    }
}
