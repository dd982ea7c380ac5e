//! Programs that somebody broke, by accident or on purpose.

use prost::Message;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use razorc_proto::program::{Instruction, Program as Proto, value::Place};
use razorc_runtime::kernels::Kernel;

/// The program with a few wrong bytes in its message, if it is one still.
pub fn with_wrong_bytes(program: &Proto, rng: &mut ChaCha8Rng) -> Option<Proto> {
    let mut bytes = program.encode_to_vec();
    for _ in 0..rng.random_range(1..=3) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
    Proto::decode(&bytes[..]).ok()
}

/// Changes one thing.
///
/// # Panics
/// If the program lacks a sequence, or one has no instructions.
pub fn mutate(program: &mut Proto, rng: &mut ChaCha8Rng) {
    let number = odd_number(rng);
    let sequence = if rng.random_bool(0.8) { &mut program.train } else { &mut program.eval };
    let sequence = sequence.as_mut().unwrap();
    let values = sequence.values.len() as u32;
    let any = |rng: &mut ChaCha8Rng| if rng.random_bool(0.9) { rng.random_range(0..values) } else { rng.random() };
    let at = rng.random_range(0..sequence.instructions.len());
    let instruction = &mut sequence.instructions[at];
    let storage = rng.random_range(0..sequence.storages.len());
    let storage = &mut sequence.storages[storage];
    let value = rng.random_range(0..sequence.values.len());
    let value = &mut sequence.values[value];
    let ty = value.r#type.as_mut().unwrap();
    match rng.random_range(0..13) {
        0 => instruction.op = Kernel::ops().collect::<Vec<_>>().choose(rng).unwrap().to_string(),
        1 => instruction.operands.iter_mut().for_each(|it| *it = if rng.random_bool(0.5) { any(rng) } else { *it }),
        2 => instruction.results.iter_mut().for_each(|it| *it = if rng.random_bool(0.5) { any(rng) } else { *it }),
        3 => odd_attr(instruction, rng),
        4 => drop(instruction.attrs.pop()),
        5 => storage.offset = [number, number & !63, rng.random_range(0..8192)][rng.random_range(0..3)],
        6 => storage.first = rng.random_range(0..30),
        7 => storage.end = rng.random_range(0..30),
        8 => storage.bytes = number,
        9 => ty.dims.iter_mut().for_each(|it| *it = if rng.random_bool(0.3) { number } else { *it }),
        11 => *[&mut sequence.opening, &mut sequence.closing][rng.random_range(0..2)] = rng.random_range(0..20),
        10 => value.place = Some(Place::Storage(rng.random_range(0..30))),
        _ => {
            let (kind, dtype) = (rng.random_range(0..4), rng.random_range(0..10));
            *[&mut ty.kind, &mut ty.dtype, &mut ty.values][rng.random_range(0..3)] = kind.max(dtype);
        }
    }
}

fn odd_attr(instruction: &mut Instruction, rng: &mut ChaCha8Rng) {
    use razorc_proto::program::attr::Value;
    let number = odd_number(rng);
    let Some(attr) = instruction.attrs.iter_mut().find(|_| rng.random_bool(0.5)) else { return };
    match attr.value.as_mut() {
        Some(Value::Int(it)) => *it = number as i64,
        Some(Value::Float(it)) => *it = [f64::NAN, f64::INFINITY, -1.0, 0.5, 1e300][rng.random_range(0..5)],
        Some(Value::Word(it)) => it.push('x'),
        Some(Value::Ints(it)) => {
            it.values.iter_mut().for_each(|it| *it = if rng.random() { number as i64 } else { *it })
        }
        None => {}
    }
}

fn odd_number(rng: &mut ChaCha8Rng) -> u64 {
    let odd = [0, 1, 2, 3, 5, 16, 63, 64, 4096, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, 1 << 63, u64::MAX];
    if rng.random_bool(0.7) { *odd.choose(rng).unwrap() } else { rng.random_range(0..20) }
}
