use std::arch::x86_64::*;

use super::stage::{GROUP, Sink, Source};
use super::{Counted, Cut, Index, bitmap, chosen};

/// Writes the index and the kept values of one sample.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
pub fn pack(x: &[f32], counted: Option<&Counted<'_>>, cut: Cut, mut index: impl Index, mut sink: Sink<'_>) {
    let mut left = cut.ties;
    let mut zeroed = [0.0; GROUP];
    let (groups, rest) = x.as_chunks::<GROUP>();
    for (x, start) in groups.iter().zip((0..).step_by(GROUP)) {
        let x = counted.and_then(|it| it.group(start, x, &mut zeroed).first_chunk()).unwrap_or(x);
        index.push(pack_group(x, u64::MAX, cut.threshold, &mut left, &mut sink));
    }
    if !rest.is_empty() {
        let rest = counted.map_or(rest, |it| it.group(GROUP * groups.len(), rest, &mut zeroed));
        let mut padded = [0.0; GROUP];
        padded[..rest.len()].copy_from_slice(rest);
        let valid = (1 << rest.len()) - 1;
        index.push(pack_group(&padded, valid, cut.threshold, &mut left, &mut sink));
    }
    index.finish();
    sink.finish();
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
fn pack_group(x: &[f32; GROUP], valid: u64, threshold: u32, left: &mut usize, sink: &mut Sink<'_>) -> u64 {
    let threshold = _mm512_set1_epi32(threshold as i32);
    let magnitude = _mm512_set1_epi32(i32::MAX);
    let (mut above, mut equal) = (0, 0);
    let mut parts = [_mm512_setzero_ps(); 4];
    for (i, (part, x)) in parts.iter_mut().zip(x.as_chunks::<16>().0).enumerate() {
        // SAFETY: sixteen elements are read.
        *part = unsafe { _mm512_loadu_ps(x.as_ptr()) };
        let bits = _mm512_and_si512(_mm512_castps_si512(*part), magnitude);
        above |= (_mm512_cmpgt_epi32_mask(bits, threshold) as u64) << (16 * i);
        equal |= (_mm512_cmpeq_epi32_mask(bits, threshold) as u64) << (16 * i);
    }
    let kept = chosen(above & valid, equal & valid, left);
    let room = sink.room();
    let mut n = 0;
    for (i, part) in parts.into_iter().enumerate() {
        let mask = (kept >> (16 * i)) as u16;
        // SAFETY: at most 16 i values are before these sixteen.
        unsafe { _mm512_storeu_ps(room.as_mut_ptr().add(n), _mm512_maskz_compress_ps(mask, part)) };
        n += mask.count_ones() as usize;
    }
    sink.advance(n);
    kept
}

/// Expands the elements from `position` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
pub fn expand(words: &[[u8; 8]], position: usize, source: &mut Source<'_>, y: &mut [f32]) {
    let (groups, rest) = y.as_chunks_mut::<GROUP>();
    let mut position = position;
    for y in groups {
        unpack_group(bitmap::bits_at(words, position), source, y);
        position += GROUP;
    }
    if !rest.is_empty() {
        let mut padded = [0.0; GROUP];
        let valid = (1 << rest.len()) - 1;
        unpack_group(bitmap::bits_at(words, position) & valid, source, &mut padded);
        rest.copy_from_slice(&padded[..rest.len()]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
fn unpack_group(word: u64, source: &mut Source<'_>, y: &mut [f32; GROUP]) {
    let values = source.next();
    let mut n = 0;
    for (i, y) in y.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let mask = (word >> (16 * i)) as u16;
        // SAFETY: at most 16 i of the 64 values are before these sixteen; sixteen elements are written.
        unsafe {
            let values = _mm512_loadu_ps(values.as_ptr().add(n));
            _mm512_storeu_ps(y.as_mut_ptr(), _mm512_maskz_expand_ps(mask, values));
        }
        n += mask.count_ones() as usize;
    }
    source.advance(n);
}
