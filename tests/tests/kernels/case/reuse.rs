//! Results in the bytes of an operand.

use razorc_compiler::ops;
use razorc_proto::NOT_WANTED;
use razorc_proto::program::{self as proto, attr};
use razorc_runtime::program::{Instruction, Program};
use razorc_runtime::types::{DType as Element, Type};

use super::{Case, Id};

/// Begins the names of operands that results are made in.
pub(super) const HELD: &str = "held";

impl Case {
    /// Adds every instruction once more for each operand in whose bytes its first result can be made, and gives the pairs
    /// of results that must be equal.
    pub(super) fn add_reuses(&mut self) -> Vec<[Id; 2]> {
        let program = Program::check(&self.message()).unwrap_or_else(|e| panic!("{e}"));
        let mut twins = vec![];
        for checked in program.train().instructions() {
            let Some(&Some(result)) = checked.results().first() else { continue };
            let result = &program.train().values()[result.value()];
            let Type::Dense(Element::F32, _) = result.ty() else { continue };
            let slots = checked.kernel().reuses();
            let in_table = ops::find(checked.op()).unwrap().reuses.iter().filter(|it| **it < checked.operands().len());
            assert!(slots.iter().eq(in_table), "{} in the op table", checked.op());
            let operand = |slot: &usize| program.train().values()[checked.operands()[*slot].value()].ty();
            for slot in slots.iter().filter(|it| operand(it).elements() == result.ty().elements()) {
                twins.extend(self.add_reuse(checked, *slot));
            }
        }
        let program = Program::check(&self.message()).unwrap_or_else(|e| panic!("{e}"));
        let reuses = program.train().instructions().iter().filter(|it| it.reused().is_some()).count();
        assert_eq!(reuses, twins.iter().filter(|it| self.values[it[1] as usize].name.starts_with("within")).count());
        twins
    }

    /// Adds a copy of an operand, and an instruction whose first result lies in it.
    fn add_reuse(&mut self, checked: &Instruction, slot: usize) -> Vec<[Id; 2]> {
        let mut operands: Vec<Id> = checked.operands().iter().map(|it| it.value() as Id).collect();
        let ty = self.values[operands[slot] as usize].r#type.clone().unwrap();
        let shape = attr::Value::Ints(proto::Ints { values: ty.dims.iter().map(|&it| it as i64).collect() });
        let held = self.stored(format!("{HELD} {}", self.values.len()), ty);
        self.update("reshape", &[operands[slot]], &[held], &[("shape", shape)]);
        operands[slot] = held;
        let mut twins = vec![];
        for result in checked.results() {
            let Some(apart) = result.map(|it| it.value() as Id) else { continue };
            let value = self.values[apart as usize].clone();
            let name = |kind: &str, case: &Case| format!("{kind} {} of {}", case.values.len(), value.name);
            let within = match twins.is_empty() {
                true => self.value(proto::Value {
                    name: name("within", self),
                    place: self.values[held as usize].place,
                    r#type: value.r#type.clone(),
                }),
                false => self.stored(name("beside", self), value.r#type.clone().unwrap()),
            };
            twins.push([apart, within]);
        }
        let results = checked.results().iter().map(Option::is_some);
        let mut made = twins.iter().map(|it| it[1]);
        let results = results.map(|it| if it { made.next().unwrap() } else { NOT_WANTED }).collect();
        let attrs = self.instructions.iter().find(|it| it.results.first() == Some(&twins[0][0])).unwrap().attrs.clone();
        self.instructions.push(proto::Instruction { op: checked.op().into(), operands, results, attrs });
        twins
    }
}
