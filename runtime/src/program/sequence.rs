//! Storages, values and instructions of a sequence.

use std::collections::HashMap;
use std::ops::Range;

use razorc_proto::NOT_WANTED;
use razorc_proto::program::{self as proto, Role, value::Place as Where};

use super::overlap::{self, Taken};
use super::task::Finder;
use super::{Home, Instruction, Place, Ports, Resident, Sequence, Value, range};
use crate::error::ProgramError;
use crate::kernels::Kernel;
use crate::types::{Quant, Topk, Type};

/// Checks a sequence against the residents that it shares with the other one.
pub(super) fn check(
    name: &'static str,
    message: &proto::Sequence,
    residents: &[Resident],
    arena_bytes: usize,
    task: &proto::Task,
) -> Result<Sequence, ProgramError> {
    let storages = storages(name, message, arena_bytes)?;
    apart(name, residents, &storages)?;
    let values = values(name, &message.values, residents, &storages)?;
    let ports = Finder::new(name, task, &values)?.ports()?;
    let always = always(name, message)?;
    let mut walk = Walk {
        name,
        residents,
        storages: &storages,
        values: &values,
        always,
        written: HashMap::new(),
        versions: HashMap::new(),
    };
    walk.fill(&ports)?;
    let parse = |(step, it)| walk.instruction(step, it);
    let instructions = message.instructions.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
    walk.read(&ports, &instructions)?;
    let [opening, closing] = [message.opening, message.closing].map(|it| it as usize);
    Ok(Sequence { values, instructions, opening, closing, ports })
}

/// The instructions that run for every part of a batch.
fn always(sequence: &'static str, message: &proto::Sequence) -> Result<Range<usize>, ProgramError> {
    let end = message.instructions.len().checked_sub(message.closing as usize);
    match end.filter(|&end| message.opening as usize <= end) {
        Some(end) => Ok(message.opening as usize..end),
        None => Err(ProgramError::Parts { sequence }),
    }
}

fn storages(name: &'static str, message: &proto::Sequence, arena_bytes: usize) -> Result<Vec<Taken>, ProgramError> {
    let last = message.instructions.len() as u64 + 1;
    let parse = |(index, it): (usize, &proto::Storage)| {
        let fault = |problem| ProgramError::Storage { sequence: name, index, problem };
        let bytes = range(it.offset, it.bytes, arena_bytes);
        let bytes = bytes.ok_or_else(|| fault("is empty, outside the arena, or not aligned"))?;
        if it.end <= it.first || last < it.end.into() {
            return Err(fault("has a lifetime that is empty or outside the sequence"));
        }
        Ok(Taken { bytes, steps: it.first..it.end })
    };
    message.storages.iter().enumerate().map(parse).collect()
}

fn apart(name: &'static str, residents: &[Resident], storages: &[Taken]) -> Result<(), ProgramError> {
    let always = |it: &Resident| Taken { bytes: it.offset..it.offset + it.ty.bytes(), steps: 0..u32::MAX };
    let mut all: Vec<_> = residents.iter().map(always).collect();
    all.extend(storages.iter().map(|it| Taken { bytes: it.bytes.clone(), steps: it.steps.clone() }));
    let called = |it: usize| match residents.get(it) {
        Some(resident) => format!("resident `{}`", resident.name),
        None => format!("storage {}", it - residents.len()),
    };
    overlap::find(&all).map_or(Ok(()), |(first, second)| {
        Err(ProgramError::Overlap { sequence: name, first: called(first), second: called(second) })
    })
}

fn values(
    sequence: &'static str,
    messages: &[proto::Value],
    residents: &[Resident],
    storages: &[Taken],
) -> Result<Vec<Value>, ProgramError> {
    let mut first_of: HashMap<Home, Type> = HashMap::new();
    let parse = |(index, it): (usize, &proto::Value)| {
        let fault = |problem: String| ProgramError::Value { sequence, name: it.name.clone(), problem };
        let ty = it.r#type.as_ref().ok_or_else(|| fault("has no type".into()))?;
        let ty = Type::parse(ty).map_err(|e| fault(format!("cannot be: {e}")))?;
        let (home, bytes) = match it.place {
            Some(Where::Resident(at)) => {
                let resident = residents.get(at as usize).ok_or_else(|| fault(format!("is in resident {at}")))?;
                first_of.entry(Home::Resident(at as usize)).or_insert(resident.ty.clone());
                (Home::Resident(at as usize), resident.offset..resident.offset + resident.ty.bytes())
            }
            Some(Where::Storage(at)) => {
                let storage = storages.get(at as usize).ok_or_else(|| fault(format!("is in storage {at}")))?;
                (Home::Storage(at as usize), storage.bytes.clone())
            }
            None => return Err(fault("is nowhere".into())),
        };
        if bytes.len() < ty.bytes() {
            return Err(fault(format!("is {ty} and does not fit into {} bytes", bytes.len())));
        }
        let first = first_of.entry(home).or_insert_with(|| ty.clone());
        if !is_view(&ty, first) {
            return Err(fault(format!("is {ty} and cannot be a view of {first}")));
        }
        let place = Place { offset: bytes.start, bytes: ty.bytes(), value: index };
        Ok(Value { name: it.name.clone(), ty, home, place })
    };
    messages.iter().enumerate().map(parse).collect()
}

/// Whether a tensor can be read as the other: the same elements, other axes.
fn is_view(ty: &Type, of: &Type) -> bool {
    match (ty, of) {
        (Type::Dense(a, _), Type::Dense(b, _)) => a == b && ty.elements() == of.elements(),
        (Type::Bits(_), Type::Bits(_)) => ty.elements() == of.elements(),
        // Blocks end with the rows of the last axis.
        (Type::Quant(a), Type::Quant(b)) => {
            let same = |a: &Quant, b: &Quant| (a.bits, a.block, a.dims.last()) == (b.bits, b.block, b.dims.last());
            same(a, b) && ty.elements() == of.elements()
        }
        (Type::Topk(a), Type::Topk(b)) => {
            *a == Topk { dims: a.dims.clone(), ..b.clone() } && ty.elements() == of.elements()
        }
        _ => ty == of,
    }
}

/// Goes through the instructions in order and knows what is written.
struct Walk<'a> {
    name: &'static str,
    residents: &'a [Resident],
    storages: &'a [Taken],
    values: &'a [Value],
    /// Instructions that run for every part of a batch.
    always: Range<usize>,
    /// By storage.
    written: HashMap<usize, Written>,
    /// By value, the version of its storage that it is; a view is what its storage holds when it is first read.
    versions: HashMap<usize, u32>,
}

/// What a storage holds.
struct Written {
    /// Who wrote it, unless it is filled before step 0.
    kernel: Option<Kernel>,
    /// How often it was overwritten.
    version: u32,
    /// Whether that was for the last part of a batch alone.
    once: bool,
}

impl Walk<'_> {
    fn fill(&mut self, ports: &Ports) -> Result<(), ProgramError> {
        for place in ports.filled() {
            let value = &self.values[place.value];
            if let Home::Storage(at) = value.home {
                if self.storages[at].steps.start != 0 {
                    return Err(self.value_fault(value, "is filled before step 0 but not live there"));
                }
                self.written.insert(at, Written { kernel: None, version: 0, once: false });
                self.versions.insert(place.value, 0);
            }
        }
        Ok(())
    }

    fn instruction(&mut self, step: usize, message: &proto::Instruction) -> Result<Instruction, ProgramError> {
        let (name, values) = (self.name, self.values);
        let fault = |value: String, problem| ProgramError::Instruction {
            sequence: name,
            step,
            op: message.op.clone(),
            value,
            problem,
        };
        let at = |index: u32| values.get(index as usize).ok_or_else(|| fault(index.to_string(), "is no value"));
        let operands = message.operands.iter().map(|&it| at(it)).collect::<Result<Vec<_>, _>>()?;
        let wanted = |&it: &u32| (it != NOT_WANTED).then(|| at(it)).transpose();
        let results = message.results.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;

        let operand_types: Vec<_> = operands.iter().map(|it| &it.ty).collect();
        let result_types: Vec<_> = results.iter().map(|it| it.map(|it| &it.ty)).collect();
        let kernel = Kernel::parse(&message.op, &operand_types, &result_types, &message.attrs)
            .map_err(|source| ProgramError::Kernel { sequence: name, step, op: message.op.clone(), source })?;

        for operand in &operands {
            self.readable(step, operand).map_err(|problem| fault(operand.name.clone(), problem))?;
        }
        self.positions(&kernel, &operands).map_err(|problem| fault(operands[1].name.clone(), problem))?;
        let first = results.first().copied().flatten();
        let reused = first.and_then(|result| reused(&kernel, &operands, result));
        for (slot, result) in results.iter().enumerate() {
            let Some(result) = result else { continue };
            let written = match kernel.in_place().get(slot) {
                Some(&operand) => self.update(&kernel, &operands, operand, result),
                None if !self.made_for_all(step, &operands) => Err("is not made for every part of a batch"),
                None => self.write(step, &kernel, result, slot == 0 && reused.is_some()),
            };
            written.map_err(|problem| fault(result.name.clone(), problem))?;
        }
        Ok(Instruction {
            op: message.op.clone(),
            kernel,
            operands: operands.iter().map(|it| it.place).collect(),
            results: results.iter().map(|it| it.map(|it| it.place)).collect(),
            reused,
        })
    }

    /// Whether results are there for whoever reads them. What runs for the first part alone leaves the others without; what
    /// runs for the last part alone makes something of the whole batch only from what outlasts a part.
    fn made_for_all(&self, step: usize, operands: &[&Value]) -> bool {
        let lasts = |it: &&Value| match it.home {
            Home::Resident(_) => true,
            Home::Storage(at) => self.written.get(&at).is_some_and(|it| it.once),
        };
        self.always.contains(&step) || self.always.end <= step && operands.iter().all(lasts)
    }

    fn live(&self, step: usize, storage: usize) -> bool {
        u32::try_from(step).is_ok_and(|it| self.storages[storage].steps.contains(&it))
    }

    fn readable(&mut self, step: usize, value: &Value) -> Result<(), &'static str> {
        let Home::Storage(at) = value.home else { return Ok(()) };
        if !self.live(step, at) {
            return Err("is read while it is not live");
        }
        let version = self.written.get(&at).ok_or("is read before it is written")?.version;
        match *self.versions.entry(value.place.value).or_insert(version) == version {
            true => Ok(()),
            false => Err("is read after another value took over its bytes"),
        }
    }

    /// Positions in windows must be those of the same windows: kernels use them without looking.
    fn positions(&self, kernel: &Kernel, operands: &[&Value]) -> Result<(), &'static str> {
        let Kernel::MaxPoolGrad(pool) = kernel else { return Ok(()) };
        let writer = match operands[1].home {
            Home::Storage(at) => self.written.get(&at).and_then(|it| it.kernel.as_ref()),
            Home::Resident(_) => None,
        };
        match writer {
            Some(Kernel::MaxPool(it)) if it == pool => Ok(()),
            _ => Err("does not come from the pooling with the same windows"),
        }
    }

    /// `over` is whether the value is made in the bytes of an operand.
    fn write(&mut self, step: usize, kernel: &Kernel, value: &Value, over: bool) -> Result<(), &'static str> {
        let Home::Storage(at) = value.home else {
            return Err("is a resident, which only an update may write");
        };
        if !self.live(step, at) {
            return Err("is written while it is not live");
        }
        let version = match self.written.get(&at) {
            None => 0,
            Some(it) if over => it.version + 1,
            Some(_) => return Err("is written twice"),
        };
        let once = self.always.end <= step;
        self.written.insert(at, Written { kernel: Some(kernel.clone()), version, once });
        match self.versions.insert(value.place.value, version) {
            None => Ok(()),
            Some(_) => Err("is written twice"),
        }
    }

    fn update(&self, kernel: &Kernel, operands: &[&Value], operand: usize, result: &Value) -> Result<(), &'static str> {
        let Home::Resident(at) = result.home else {
            return Err("is no resident and cannot be updated");
        };
        let same = |it: &Value| it.home == result.home;
        if !same(operands[operand]) || operands.iter().filter(|it| same(it)).count() != 1 {
            return Err("is not the one operand that it updates");
        }
        let role = match kernel {
            Kernel::BatchNormUpdate(_) => Role::Statistic,
            _ if operand == 0 => Role::Param,
            _ => Role::State,
        };
        match () {
            () if self.name == "eval" => Err("is updated by an evaluation"),
            () if self.residents[at].role != role => Err("has a role that this update may not change"),
            () => Ok(()),
        }
    }

    /// What the trainer reads at the end must have been written, and still be there.
    fn read(&mut self, ports: &Ports, instructions: &[Instruction]) -> Result<(), ProgramError> {
        for place in ports.read() {
            let values = self.values;
            let value = &values[place.value];
            self.readable(instructions.len(), value).map_err(|_| {
                self.value_fault(value, "is read after the last step but not written, or not live there")
            })?;
            if let Home::Storage(at) = value.home
                && self.written.get(&at).is_some_and(|it| it.once)
            {
                return Err(self.value_fault(value, "is read after every part of a batch but made for the last alone"));
            }
        }
        Ok(())
    }

    fn value_fault(&self, value: &Value, problem: &str) -> ProgramError {
        ProgramError::Value { sequence: self.name, name: value.name.clone(), problem: problem.into() }
    }
}

/// The operand in whose bytes a kernel makes its first result: the only one there, of as many elements, and one that the
/// kernel may overwrite.
fn reused(kernel: &Kernel, operands: &[&Value], result: &Value) -> Option<usize> {
    let mut there = (0..operands.len()).filter(|&slot| operands[slot].home == result.home);
    let slot = there.next()?;
    let is_alone = there.next().is_none() && matches!(result.home, Home::Storage(_));
    let fits = is_view(&result.ty, &operands[slot].ty) && operands[slot].place.bytes == result.place.bytes;
    (is_alone && fits && kernel.reuses().contains(&slot)).then_some(slot)
}
