//! The operations that innermost loops are made of, for vectors of each instruction set.
//!
//! `with_avx512!(define!(head ..))` is `define!(head .., [feature], lanes, zero, load, splat, fma, add, store)`. Whoever
//! says it has the intrinsics, or the functions of `gemm::four`, in scope.

#[cfg(target_arch = "x86_64")]
macro_rules! with_avx512 {
    ($define:ident!($($head:tt)*)) => {
        $define!(
            $($head)*
            ["avx512f"],
            16,
            _mm512_setzero_ps(),
            _mm512_loadu_ps,
            _mm512_set1_ps,
            _mm512_fmadd_ps,
            _mm512_add_ps,
            _mm512_storeu_ps
        )
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! with_avx2 {
    ($define:ident!($($head:tt)*)) => {
        $define!(
            $($head)*
            ["avx2,fma"],
            8,
            _mm256_setzero_ps(),
            _mm256_loadu_ps,
            _mm256_set1_ps,
            _mm256_fmadd_ps,
            _mm256_add_ps,
            _mm256_storeu_ps
        )
    };
}

macro_rules! with_four {
    ($define:ident!($($head:tt)*)) => {
        $define!($($head)* [], 4, [0.0; 4], load, splat, fma, sum, store)
    };
}

pub(crate) use with_four;
#[cfg(target_arch = "x86_64")]
pub(crate) use {with_avx2, with_avx512};
