//! The one allocation: residents, what the sequences need, and every thread's scratch.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

use memmap2::MmapMut;

use crate::cpu;
use crate::error::ArenaError;
use crate::program::{ALIGN, Instruction, Place, Program};

/// Memory of a program, zero at the start. Nothing else is allocated while instructions run.
pub struct Arena {
    map: MmapMut,
    program_bytes: usize,
}

/// Operands and results of one instruction, in the arena.
pub struct Step<'a> {
    base: *mut u8,
    bytes: usize,
    scratch: Range<usize>,
    instruction: &'a Instruction,
    /// A bit for each result that was handed out; the last bit is for the scratch.
    taken: Cell<u64>,
    arena: PhantomData<&'a mut [u8]>,
}

/// What the bytes of a value can be seen as; every bit pattern is one.
pub trait Element: Copy + Default + Send + Sync + sealed::Sealed {}

/// An operand of a kernel that may make its result in the operand's bytes.
#[derive(Clone, Copy, Debug)]
pub enum Reusable<'a, T = f32> {
    /// In bytes of its own.
    Apart(&'a [T]),
    /// In the bytes of the first result, which holds it until the kernel overwrites it.
    Within,
}

/// No system has smaller pages.
const PAGE: usize = 4096;

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($it:ty)*) => { $(impl Element for $it {} impl sealed::Sealed for $it {})* };
}
elements!(f32 i64 i32 u8 u16 u64);

const SCRATCH_BIT: u32 = 63;

impl Arena {
    /// Maps zeros for a program and the scratch of as many threads, each of which has at least [`cpu::scratch`] bytes, and
    /// touches them: memory that is not there is missed now rather than in the middle of a step.
    pub fn new(program: &Program, threads: usize) -> Result<Arena, ArenaError> {
        let bytes = Arena::bytes_for(program, threads).ok_or(ArenaError::TooLarge)?;
        let mut map = MmapMut::map_anon(bytes.max(ALIGN)).map_err(|source| ArenaError::Map { bytes, source })?;
        map.chunks_mut(PAGE).for_each(|page| page[0] = 0);
        Ok(Arena { map, program_bytes: program.arena_bytes() })
    }

    /// Bytes of the arena of a program with the scratch of as many threads; none where that is larger than any memory.
    pub fn bytes_for(program: &Program, threads: usize) -> Option<usize> {
        let scratch = program.scratch_bytes().max(cpu::scratch(program)).checked_mul(threads)?;
        scratch.checked_add(program.arena_bytes())
    }

    /// Copies the weights in: for each resident its blob, or zeros where there is none.
    pub fn load<'a>(&mut self, program: &Program, blob: impl Fn(usize) -> Option<&'a [u8]>) -> Result<(), ArenaError> {
        for (index, resident) in program.residents().iter().enumerate() {
            let bytes = &mut self.map[resident.offset()..][..resident.ty().bytes()];
            match blob(index) {
                None => bytes.fill(0),
                Some(blob) if blob.len() == bytes.len() => bytes.copy_from_slice(blob),
                Some(blob) => {
                    let (name, expected) = (resident.name().into(), bytes.len());
                    return Err(ArenaError::Blob { name, found: blob.len(), expected });
                }
            }
        }
        Ok(())
    }

    /// All bytes, scratch included.
    pub fn bytes(&self) -> usize {
        self.map.len()
    }

    /// Bytes of a resident, for a checkpoint.
    pub fn resident(&self, program: &Program, index: usize) -> &[u8] {
        let resident = &program.residents()[index];
        &self.map[resident.offset()..][..resident.ty().bytes()]
    }

    /// Bytes of a resident, to be changed between steps.
    pub fn resident_mut(&mut self, program: &Program, index: usize) -> &mut [u8] {
        let resident = &program.residents()[index];
        &mut self.map[resident.offset()..][..resident.ty().bytes()]
    }

    /// Elements of a value.
    pub fn value<T: Element>(&self, place: Place) -> &[T] {
        let bytes = &self.map[range(place)];
        // SAFETY: every bit pattern is an element.
        let (head, elements, tail) = unsafe { bytes.align_to() };
        assert!(head.is_empty() && tail.is_empty(), "the bytes of a value are whole elements");
        elements
    }

    /// Elements of a value, to be filled.
    pub fn value_mut<T: Element>(&mut self, place: Place) -> &mut [T] {
        let bytes = &mut self.map[range(place)];
        // SAFETY: every bit pattern is an element.
        let (head, elements, tail) = unsafe { bytes.align_to_mut() };
        assert!(head.is_empty() && tail.is_empty(), "the bytes of a value are whole elements");
        elements
    }

    /// What an instruction reads and writes.
    pub fn step<'a>(&'a mut self, instruction: &'a Instruction) -> Step<'a> {
        let (base, bytes) = (self.map.as_mut_ptr(), self.map.len());
        let scratch = self.program_bytes..bytes;
        Step { base, bytes: self.program_bytes, scratch, instruction, taken: Cell::new(0), arena: PhantomData }
    }
}

impl<'a> Step<'a> {
    /// Number of operands.
    pub fn operands(&self) -> usize {
        self.instruction.operands().len()
    }

    /// Elements of an operand.
    ///
    /// # Panics
    /// For the operands of an in-place update that are its results, for one whose bytes the first result is made in, and
    /// when the bytes are no whole elements.
    pub fn operand<T: Element>(&self, slot: usize) -> &'a [T] {
        assert!(!self.instruction.kernel().in_place().contains(&slot), "an updated operand is taken as a result");
        assert!(
            self.instruction.reused() != Some(slot),
            "an operand that a result is made in is taken as a reusable one"
        );
        let (start, len) = self.view::<T>(self.instruction.operands()[slot]);
        // SAFETY: `view` is within the map and aligned, every bit pattern is an element, and the map is borrowed for
        // 'a. `Program::check` made sure that no result of the instruction overlaps an operand that it neither updates
        // nor is made in (live storages and residents are apart, and a storage is written again only over the operand
        // that is asked for above), and scratch is behind all places; so nobody writes these bytes.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// An operand that the first result may be made in.
    ///
    /// # Panics
    /// As [`Step::operand`] does for one that lies apart.
    pub fn reusable<T: Element>(&self, slot: usize) -> Reusable<'a, T> {
        match self.instruction.reused() {
            Some(reused) if reused == slot => Reusable::Within,
            _ => Reusable::Apart(self.operand(slot)),
        }
    }

    /// Elements of a result, `None` where it is not wanted. Each can be taken once.
    ///
    /// # Panics
    /// When it is taken again, and when the bytes are no whole elements.
    pub fn wanted<T: Element>(&self, slot: usize) -> Option<&'a mut [T]> {
        let place = self.instruction.results()[slot]?;
        self.take(slot as u32);
        let (start, len) = self.view::<T>(place);
        // SAFETY: as for operands; and no two results of an instruction overlap, and each is handed out once.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    /// Elements of a result that is always wanted: the only one of its instruction, or one of an in-place update.
    ///
    /// # Panics
    /// When it is not wanted or taken again, and when the bytes are no whole elements.
    pub fn result<T: Element>(&self, slot: usize) -> &'a mut [T] {
        self.wanted(slot).expect("the result is wanted")
    }

    /// Scratch of all threads, in equal parts. It can be taken once.
    pub fn scratch(&self) -> &'a mut [f32] {
        self.take(SCRATCH_BIT);
        let len = self.scratch.len() / size_of::<f32>();
        // SAFETY: the range is behind the places of all values and within the map, which is borrowed for 'a; it starts
        // at a multiple of 64 and is handed out once.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(self.scratch.start).cast(), len) }
    }

    fn take(&self, bit: u32) {
        let bit = 1u64.checked_shl(bit).expect("an instruction has few results");
        assert!(self.taken.get() & bit == 0, "a result is taken once");
        self.taken.set(self.taken.get() | bit);
    }

    fn view<T: Element>(&self, place: Place) -> (*mut T, usize) {
        let Range { start, end } = range(place);
        assert!(end <= self.bytes, "the instruction belongs to another program");
        assert!(place.bytes().is_multiple_of(size_of::<T>()), "the bytes of a value are whole elements");
        // SAFETY: the offset is within the map.
        (unsafe { self.base.add(start) }.cast(), place.bytes() / size_of::<T>())
    }
}

fn range(place: Place) -> Range<usize> {
    place.offset()..place.offset() + place.bytes()
}
