use super::stage::{Sink, Source};
use super::{Cut, chosen};
use crate::cpu::bits;
use crate::cpu::topk::magnitude;
use crate::cpu::wide::wide;

wide! {
    /// Writes the bitmap and the kept values of one sample.
    pub fn pack(x: &[f32], cut: Cut, bitmap: &mut [u8], sink: Sink<'_>) {
        let mut sink = sink;
        let mut left = cut.ties;
        for (x, word) in x.chunks(64).zip(bitmap.as_chunks_mut().0) {
            let above = bits::word(x, |x| cut.threshold < magnitude(x));
            let equal = bits::word(x, |x| cut.threshold == magnitude(x));
            let kept = chosen(above, equal, &mut left);
            *word = kept.to_le_bytes();
            let room = sink.room();
            let (mut rest, mut n) = (kept, 0);
            while rest != 0 {
                room[n] = x[rest.trailing_zeros() as usize];
                rest &= rest - 1;
                n += 1;
            }
            sink.advance(n);
        }
        sink.flush();
    }
}

wide! {
    /// Writes one dense sample.
    pub fn unpack(bitmap: &[u8], source: Source<'_>, y: &mut [f32]) {
        let mut source = source;
        for (y, word) in y.chunks_mut(64).zip(bitmap.as_chunks().0) {
            y.fill(0.0);
            let mut rest = u64::from_le_bytes(*word);
            let kept = rest.count_ones() as usize;
            let mut values = source.next().iter();
            while rest != 0 {
                y[rest.trailing_zeros() as usize] = *values.next().expect("64 values at most");
                rest &= rest - 1;
            }
            source.advance(kept);
        }
    }
}
