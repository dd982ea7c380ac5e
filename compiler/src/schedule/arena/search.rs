//! A branch and bound for placements within a limit.
//!
//! It follows the ideas of Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine
//! Learning", 2023. Only *canonical* placements are looked at: items come in the order of their offsets, each as low as
//! what came before lets it, and nothing that could lie wholly below an item is left for later. Whatever can be placed at
//! all can be placed so. Items that are apart in time are problems of their own, also where they only become so because
//! all that lay between is placed.

mod state;

use super::Work;
use super::problem::Problem;
use state::{Choice, Part, State};

/// What a search found.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// Offsets within the limit.
    Offsets(Vec<u64>),
    /// There are none.
    Nothing,
    /// The work was done before it could tell.
    Unknown,
}

/// A step of the search whose answer is awaited.
enum Frame {
    /// All of these must be placed.
    All(Vec<Part>),
    /// One of the items must come next.
    Choice(Choice),
}

/// Searches for a placement of at most `limit` bytes. Of items that can lie equally low, the one that comes first in
/// `order` is tried first.
pub fn search(problem: &Problem, neighbors: &[Vec<u32>], order: &[u32], limit: u64, work: &mut Work) -> Found {
    let mut state = State::new(problem, neighbors, order, limit);
    let mut frames = vec![Frame::All(state.parts(order.to_vec(), 0, 0))];
    // How it went with what the last frame asked for; before it asks, `All` lacks nothing and `Choice` has nothing.
    let mut found = true;
    while let Some(frame) = frames.last_mut() {
        match frame {
            Frame::All(parts) if found => match parts.pop() {
                None => drop(frames.pop()),
                Some(part) => {
                    found = false;
                    match state.open(part, work) {
                        Some(choice) => frames.push(Frame::Choice(choice)),
                        None if work.left == 0 => return Found::Unknown,
                        None => {}
                    }
                }
            },
            Frame::Choice(choice) if !found => match state.next(choice, work) {
                None => drop(frames.pop()),
                Some(parts) => {
                    found = true;
                    frames.push(Frame::All(parts));
                }
            },
            Frame::All(_) | Frame::Choice(_) => drop(frames.pop()),
        }
    }
    if found { Found::Offsets(state.lowest) } else { Found::Nothing }
}
