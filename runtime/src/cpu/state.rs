//! Optimizer state as it is stored, in parts that go to different tasks. What is rounded is exact a piece at a time, on the
//! stack, while it is updated.

use std::ops::Range;

use super::wide::wide;
use crate::arena::Step;
use crate::kernels::state::{BLOCK, Code, State, load, rank, scale, store};
use crate::pool::Disjoint;

/// Elements that are exact at once; whole blocks.
pub const PIECE: usize = 1024;

/// A weight and so many tensors of state.
pub struct Weight<'a, const N: usize> {
    w: Disjoint<'a, f32>,
    states: States<'a, N>,
}

/// The state, and what decides its roundings.
enum States<'a, const N: usize> {
    Exact([Disjoint<'a, f32>; N]),
    Bf16([Disjoint<'a, u16>; N], u64),
    Dynamic([Blocks<'a>; N], u64),
}

/// State in 8 bits.
struct Blocks<'a> {
    code: &'static Code,
    /// Of each block, four bytes.
    scales: Disjoint<'a, u8>,
    /// Of each element.
    codes: Disjoint<'a, u8>,
}

impl<'a, const N: usize> Weight<'a, N> {
    /// The results of an update at the step of this number, which is read where state is rounded.
    pub fn of(step: &Step<'a>, state: State, number: impl Fn() -> f32) -> Self {
        let w = Disjoint::new(step.result(0));
        let states = match state {
            State::Exact => States::Exact(std::array::from_fn(|slot| Disjoint::new(step.result(1 + slot)))),
            State::Bf16 { .. } => {
                let states = std::array::from_fn(|slot| Disjoint::new(step.result(1 + slot)));
                States::Bf16(states, state.key(number()))
            }
            State::Dynamic { .. } => {
                let blocks = |slot| {
                    let (scales, codes) = step.result(1 + slot).split_at_mut(w.len().div_ceil(BLOCK) * 4);
                    Blocks { code: Code::of(slot == 0), scales: Disjoint::new(scales), codes: Disjoint::new(codes) }
                };
                States::Dynamic(std::array::from_fn(blocks), state.key(number()))
            }
        };
        Weight { w, states }
    }

    /// How many elements it has.
    pub fn elements(&self) -> usize {
        self.w.len()
    }

    /// Calls `update(first element, w, state)` for pieces of a range of elements.
    ///
    /// # Safety
    /// The range begins with a piece, and no other one that is updated at the same time overlaps it or ends within a piece of
    /// it.
    pub unsafe fn update(&self, range: Range<usize>, mut update: impl FnMut(usize, &mut [f32], [&mut [f32]; N])) {
        // SAFETY: by the caller's promise nobody else has this part, of the weight or of its state.
        let w = unsafe { self.w.part(range.clone()) };
        let pieces = || range.clone().step_by(PIECE).map(|at| at..range.end.min(at + PIECE));
        let mut held = [[0.0; PIECE]; N];
        match &self.states {
            States::Exact(states) => {
                // SAFETY: as above.
                let states = states.each_ref().map(|it| unsafe { it.part(range.clone()) });
                update(range.start, w, states);
            }
            States::Bf16(states, key) => {
                for (piece, w) in pieces().zip(w.chunks_mut(PIECE)) {
                    // SAFETY: as above.
                    let states = states.each_ref().map(|it| unsafe { it.part(piece.clone()) });
                    held.iter_mut().zip(&states).for_each(|(held, state)| load_slice(state, held));
                    update(piece.start, w, held.each_mut().map(|it| &mut it[..piece.len()]));
                    for (slot, (held, state)) in held.iter().zip(states).enumerate() {
                        store_slice(held, state, *key, rank(slot, piece.start));
                    }
                }
            }
            States::Dynamic(states, key) => {
                for (piece, w) in pieces().zip(w.chunks_mut(PIECE)) {
                    let blocks = piece.start / BLOCK * 4..piece.end.div_ceil(BLOCK) * 4;
                    // SAFETY: as above; pieces are of whole blocks, but for the last one.
                    let states = states
                        .each_ref()
                        .map(|it| unsafe { (it.code, it.scales.part(blocks.clone()), it.codes.part(piece.clone())) });
                    held.iter_mut().zip(&states).for_each(|(held, state)| load_blocks(state.0, state.1, state.2, held));
                    update(piece.start, w, held.each_mut().map(|it| &mut it[..piece.len()]));
                    for (slot, (held, (code, scales, codes))) in held.iter().zip(states).enumerate() {
                        store_blocks(code, held, scales, codes, *key, rank(slot, piece.start));
                    }
                }
            }
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

wide! {
    fn load_blocks(code: &Code, scales: &[u8], codes: &[u8], x: &mut [f32]) {
        let (scales, _) = scales.as_chunks();
        for (&scale, (codes, x)) in scales.iter().zip(codes.chunks(BLOCK).zip(x.chunks_mut(BLOCK))) {
            let scale = f32::from_le_bytes(scale);
            x.iter_mut().zip(codes).for_each(|(x, &it)| *x = code.load(it, scale));
        }
    }
}

wide! {
    fn store_blocks(code: &Code, x: &[f32], scales: &mut [u8], codes: &mut [u8], key: u64, first: u64) {
        let (scales, _) = scales.as_chunks_mut();
        let blocks = scales.iter_mut().zip(codes.chunks_mut(BLOCK).zip(x.chunks(BLOCK)));
        for (idx, (to, (codes, x))) in blocks.enumerate() {
            let x = &x[..codes.len()];
            let (scale, first) = (scale(x), first + (idx * BLOCK) as u64);
            *to = scale.to_le_bytes();
            for (i, (it, &x)) in codes.iter_mut().zip(x).enumerate() {
                *it = code.store(x, scale, key, first + i as u64);
            }
        }
    }
}
