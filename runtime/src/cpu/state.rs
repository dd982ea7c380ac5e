//! Optimizer state that is stored in 16 bits (bf16): read and written a piece at a time, which is exact in between.

use super::wide::wide;
use crate::kernels::optimizer::{load, rank, store};

/// Elements that are exact at once, on the stack.
pub const PIECE: usize = 1024;

/// Calls `update(first element, w, state)` for pieces of a weight and its state, which then is rounded at random by `key`.
/// The slices begin at element `first` of their tensors.
pub fn each_piece<const N: usize>(
    key: u64,
    first: usize,
    w: &mut [f32],
    mut states: [&mut [u16]; N],
    mut update: impl FnMut(usize, &mut [f32], [&mut [f32]; N]),
) {
    let mut held = [[0.0; PIECE]; N];
    for (idx, w) in w.chunks_mut(PIECE).enumerate() {
        let part = idx * PIECE..idx * PIECE + w.len();
        for (held, state) in held.iter_mut().zip(&states) {
            load_slice(&state[part.clone()], held);
        }
        let at = first + part.start;
        let n = w.len();
        update(at, w, held.each_mut().map(|it| &mut it[..n]));
        for (slot, (held, state)) in held.iter().zip(&mut states).enumerate() {
            store_slice(held, &mut state[part.clone()], key, rank(slot, at));
        }
    }
}

wide! {
    fn load_slice(state: &[u16], x: &mut [f32]) {
        x.iter_mut().zip(state).for_each(|(x, &it)| *x = load(it));
    }
}

wide! {
    fn store_slice(x: &[f32], state: &mut [u16], key: u64, first: u64) {
        for (i, (it, &x)) in state.iter_mut().zip(x).enumerate() {
            *it = store(x, key, first + i as u64);
        }
    }
}
