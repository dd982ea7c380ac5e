//! What is learned, and the values that the trainer fills and reads.

use std::collections::{HashMap, HashSet};

use razorc_proto::program::{
    self as proto,
    task::{Kind, Loss},
};

use super::{Home, Place, Ports, Value};
use crate::error::ProgramError;
use crate::types::{DType, Type};

/// What does not depend on the sequences.
pub(super) fn check(task: &proto::Task) -> Result<(), ProgramError> {
    match Loss::try_from(task.loss) {
        Err(_) | Ok(Loss::Unspecified) => Err(ProgramError::Task("has an unknown loss")),
        _ if Kind::try_from(task.kind).is_err() => Err(ProgramError::Task("is of an unknown kind")),
        _ if !task.bounds.is_empty() && task.bounds.len() != task.inputs.len() => {
            Err(ProgramError::Task("has not one bound for each input"))
        }
        _ if task.batch == 0 => Err(ProgramError::Task("has an empty batch")),
        _ if task.micro_batch != 0 && !task.batch.is_multiple_of(task.micro_batch) => {
            Err(ProgramError::Task("has parts that are no equal parts of the batch"))
        }
        _ if task.micro_batch != 0 && task.total.is_empty() => {
            Err(ProgramError::Task("has parts but no weight of all of them"))
        }
        _ => Ok(()),
    }
}

/// Rows that a run of a sequence takes.
pub(super) fn rows(task: &proto::Task) -> usize {
    let rows = if task.micro_batch == 0 { task.batch } else { task.micro_batch };
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// Finds the ports of a sequence.
pub(super) struct Finder<'a> {
    pub sequence: &'static str,
    pub task: &'a proto::Task,
    pub values: &'a [Value],
    names: HashMap<&'a str, usize>,
}

impl<'a> Finder<'a> {
    pub fn new(sequence: &'static str, task: &'a proto::Task, values: &'a [Value]) -> Result<Self, ProgramError> {
        let mut names = HashMap::new();
        for (i, value) in values.iter().enumerate() {
            if names.insert(value.name.as_str(), i).is_some() {
                let problem = "is there twice".into();
                return Err(ProgramError::Value { sequence, name: value.name.clone(), problem });
            }
        }
        Ok(Finder { sequence, task, values, names })
    }

    /// The ports, well typed and in storages of their own.
    pub fn ports(&self) -> Result<Ports, ProgramError> {
        let task = self.task;
        let train = self.sequence == "train";
        let inputs = task.inputs.iter().map(|it| self.input(it)).collect::<Result<Vec<_>, _>>()?;
        let own = task.loss == Loss::Own as i32;
        let rows = (!own).then(|| self.port("weight of the rows", &task.rows, &Type::f32(&[self.batch()])));
        let prediction = self.prediction(!(train || own && task.prediction.is_empty()))?;
        let target = match own {
            false => Some(self.target(prediction)?),
            true if task.target.is_empty() => None,
            true => Some(self.input(&task.target)?),
        };
        let optional = |role, name: &String, needed: bool| {
            let wanted = !name.is_empty() && (needed || self.names.contains_key(name.as_str()));
            wanted.then(|| self.scalar(role, name)).transpose()
        };
        let ports = Ports {
            inputs,
            target,
            rows: rows.transpose()?,
            learning_rate: optional("learning rate", &task.learning_rate, train)?.filter(|_| train),
            step: optional("step", &task.step, train)?.filter(|_| train),
            total: optional("weight of all", &task.total, train)?.filter(|_| train),
            draw: optional("number of the part", &task.draw, train)?.filter(|_| train),
            loss: self.scalar("loss", &task.loss_value)?,
            correct: optional("count of what is right", &task.correct, !train)?,
            counted: optional("count of what counts", &task.counted, !train)?,
            // Training reads no predictions: their bytes are free for the backward phase.
            prediction: prediction.filter(|_| !train),
        };
        self.distinct(&ports)?;
        Ok(ports)
    }

    fn batch(&self) -> usize {
        rows(self.task)
    }

    fn input(&self, name: &str) -> Result<Place, ProgramError> {
        let value = self.value("input", name)?;
        match &value.ty {
            Type::Dense(DType::F32 | DType::I64 | DType::Bool, _) => Ok(value.place),
            other => Err(self.fault("input", name, format!("is {other} and should be dense f32, i64 or bool"))),
        }
    }

    fn prediction(&self, needed: bool) -> Result<Option<Place>, ProgramError> {
        let (role, name) = ("prediction", &self.task.prediction);
        if !needed && !self.names.contains_key(name.as_str()) {
            return Ok(None);
        }
        let value = self.value(role, name)?;
        match &value.ty {
            Type::Dense(DType::F32, dims) if dims.first() == Some(&self.batch()) => Ok(Some(value.place)),
            other => Err(self.fault(role, name, format!("is {other} and should be f32[{}, ..]", self.batch()))),
        }
    }

    fn target(&self, prediction: Option<Place>) -> Result<Place, ProgramError> {
        let (role, name) = ("target", &self.task.target);
        let value = self.value(role, name)?;
        let wrong = |expected: String| self.fault(role, name, format!("is {} and should be {expected}", value.ty));
        let prediction = prediction.map(|it| &self.values[it.value].ty);
        if self.task.loss == Loss::CrossEntropy as i32 {
            let expected = match prediction {
                Some(prediction) => Type::Dense(DType::I64, self.positions(prediction)?),
                None => Type::Dense(DType::I64, value.ty.dims().to_vec()),
            };
            let is_batch = value.ty.dims().first() == Some(&self.batch());
            return if value.ty == expected && is_batch { Ok(value.place) } else { Err(wrong(expected.to_string())) };
        }
        match (&value.ty, prediction) {
            (ty, Some(prediction)) if ty == prediction => Ok(value.place),
            (_, Some(prediction)) => Err(wrong(prediction.to_string())),
            (Type::Dense(DType::F32, dims), None) if dims.first() == Some(&self.batch()) => Ok(value.place),
            _ => Err(wrong(format!("f32[{}, ..]", self.batch()))),
        }
    }

    /// Axes of scores without that of the classes; trainers that do not name it have a class for each row.
    fn positions(&self, scores: &Type) -> Result<Vec<usize>, ProgramError> {
        let mut dims = scores.dims().to_vec();
        let axis = self.task.class_axis as usize;
        if axis == 0 {
            return Ok(vec![self.batch()]);
        }
        if dims.len() <= axis || dims[axis] as u64 != self.task.classes {
            return Err(ProgramError::Task("has classes on an axis that predictions do not have"));
        }
        dims.remove(axis);
        Ok(dims)
    }

    fn scalar(&self, role: &'static str, name: &str) -> Result<Place, ProgramError> {
        self.port(role, name, &Type::f32(&[]))
    }

    fn port(&self, role: &'static str, name: &str, ty: &Type) -> Result<Place, ProgramError> {
        let value = self.value(role, name)?;
        if value.ty != *ty {
            return Err(self.fault(role, name, format!("is {} and should be {ty}", value.ty)));
        }
        Ok(value.place)
    }

    fn value(&self, role: &'static str, name: &str) -> Result<&'a Value, ProgramError> {
        let index = self.names.get(name).ok_or_else(|| self.fault(role, name, "is not there".into()))?;
        Ok(&self.values[*index])
    }

    /// What is filled must not be filled twice, and nothing but predictions and losses may be a resident.
    fn distinct(&self, ports: &Ports) -> Result<(), ProgramError> {
        let mut homes = HashSet::new();
        for place in ports.filled() {
            let Value { name, home, .. } = &self.values[place.value];
            if matches!(home, Home::Resident(_)) {
                return Err(self.fault("input", name, "is a resident, which is never filled".into()));
            }
            if !homes.insert(home) {
                return Err(self.fault("input", name, "is filled twice".into()));
            }
        }
        Ok(())
    }

    fn fault(&self, role: &'static str, name: &str, problem: String) -> ProgramError {
        ProgramError::Port { sequence: self.sequence, role, name: name.into(), problem }
    }
}
