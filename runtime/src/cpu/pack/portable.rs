use super::stage::{Sink, Source};
use super::{Counted, Cut, Index, bitmap, chosen};
use crate::cpu::bits;
use crate::cpu::topk::magnitude;
use crate::cpu::wide::wide;

wide! {
    /// Writes the index and the kept values of one sample.
    pub fn pack[I: Index](x: &[f32], counted: Option<&Counted<'_>>, cut: Cut, index: I, sink: Sink<'_>) {
        let (mut index, mut sink) = (index, sink);
        let mut left = cut.ties;
        let mut zeroed = [0.0; 64];
        for (x, start) in x.chunks(64).zip((0..).step_by(64)) {
            let x = counted.map_or(x, |it| it.group(start, x, &mut zeroed));
            let above = bits::word(x, |x| cut.threshold < magnitude(x));
            let equal = bits::word(x, |x| cut.threshold == magnitude(x));
            let kept = chosen(above, equal, &mut left);
            index.push(kept);
            let room = sink.room();
            let (mut rest, mut n) = (kept, 0);
            while rest != 0 {
                room[n] = x[rest.trailing_zeros() as usize];
                rest &= rest - 1;
                n += 1;
            }
            sink.advance(n);
        }
        index.finish();
        sink.finish();
    }
}

wide! {
    /// Expands the elements from `position` on.
    pub fn expand(words: &[[u8; 8]], position: usize, source: &mut Source<'_>, y: &mut [f32]) {
        for (y, position) in y.chunks_mut(64).zip((position..).step_by(64)) {
            let mut rest = bitmap::bits_at(words, position) & (u64::MAX >> (64 - y.len()));
            let kept = rest.count_ones() as usize;
            y.fill(0.0);
            let mut values = source.next().iter();
            while rest != 0 {
                y[rest.trailing_zeros() as usize] = *values.next().expect("64 values at most");
                rest &= rest - 1;
            }
            source.advance(kept);
        }
    }
}
