//! Compiling a case, running it on both executors, and comparing.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::ArrayD;
use razorc_compiler::error::ImportError;
use razorc_compiler::options::{Loss, Options};
use razorc_compiler::{CompileError, Compiled, compile};
use razorc_proto::onnx::TensorProto;
use razorc_proto::{TensorData, TensorError};
use razorc_runtime::arena::Arena;
use razorc_runtime::cpu::Cpu;
use razorc_runtime::program::Program;
use razorc_runtime::reference::{Precision, Reference, Tensor, Which};
use razorc_runtime::types::{DType, Type};

use super::wrap::{WEIGHT, fed, wrapped};
use super::{Case, Data, Outcome};

/// One output of a case, where some inputs are initializers.
pub fn run(case: &Case, data: &Data, output: usize, constants: &[bool]) -> Outcome {
    let attempt = catch_unwind(AssertUnwindSafe(|| attempt(case, data, output, constants)));
    attempt.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| it.to_string())).unwrap_or_default();
        Outcome::Wrong(format!("panics: {text}"))
    })
}

fn attempt(case: &Case, data: &Data, output: usize, constants: &[bool]) -> Outcome {
    if data.outputs[output].dims.contains(&0) || data.inputs.iter().any(|it| it.dims.contains(&0)) {
        return Outcome::Refused("is about tensors without elements".into());
    }
    let Ok(expected) = numbers(&data.outputs[output]) else {
        return Outcome::Refused("makes a type that is not supported".into());
    };
    let options = Options { batch: 1, loss: Loss::MeanSquaredError, train: vec![WEIGHT.into()], ..Options::default() };
    let compiled = match compile(&wrapped(data, output, constants), &options) {
        Ok(compiled) => compiled,
        Err(error) => return Outcome::Refused(reason(&error)),
    };
    let program = match Program::check(&compiled.program) {
        Ok(program) => program,
        Err(error) if error.to_string().contains("should be dense f32") => {
            return Outcome::Refused("takes another input than floats".into());
        }
        Err(error) => return Outcome::Wrong(format!("compiles, but is no program: {error}")),
    };
    let mut inputs = HashMap::new();
    for (info, tensor) in data.model.graph().input.iter().zip(&data.inputs) {
        let Ok(values) = numbers(tensor) else {
            return Outcome::Refused("takes a type that is not supported".into());
        };
        inputs.insert(fed(info.name()), values);
    }
    let runs =
        [("reference", reference(&program, &compiled, &inputs)), ("processor", cpu(&program, &compiled, &inputs))];
    for (executor, found) in runs {
        let wrong = found.iter().zip(&expected).enumerate().find(|(_, (f, e))| !near(**f, **e, case));
        if let Some((at, (found, expected))) = wrong {
            return Outcome::Wrong(format!("the {executor} makes {found} at {at} instead of {expected}"));
        }
        if found.len() != expected.len() {
            return Outcome::Wrong(format!("the {executor} makes {} numbers, not {}", found.len(), expected.len()));
        }
    }
    Outcome::Right
}

/// Of a refused model: every node's operator and what is wrong with it.
fn reason(error: &CompileError) -> String {
    match error {
        CompileError::Import(ImportError::Unsupported(refusals)) => {
            let mut reasons: Vec<String> = refusals.iter().map(|it| format!("{} {}", it.op, it.reason)).collect();
            reasons.dedup();
            reasons.join("; ")
        }
        other => other.to_string().lines().next().unwrap_or_default().to_string(),
    }
}

fn near(found: f64, expected: f64, case: &Case) -> bool {
    if expected.is_nan() || found.is_nan() {
        return expected.is_nan() && found.is_nan();
    }
    // Values of f32 are compared, whose last bits are free near zero.
    found == expected || (found - expected).abs() <= case.atol.max(1e-6) + case.rtol * expected.abs()
}

/// Elements of a tensor of any type.
fn numbers(tensor: &TensorProto) -> Result<Vec<f64>, TensorError> {
    let data = TensorData::decode(tensor, None)?;
    if let Ok(floats) = data.to_f32() {
        return Ok(floats.into_iter().map(f64::from).collect());
    }
    Ok(data.to_i64()?.into_iter().map(|it| it as f64).collect())
}

/// What is fed, by name; the target and the row's weight do not matter.
fn given<'a>(name: &str, elements: usize, inputs: &'a HashMap<String, Vec<f64>>) -> std::borrow::Cow<'a, [f64]> {
    inputs.get(name).map_or_else(|| vec![1.0; elements].into(), |it| it.as_slice().into())
}

fn reference(program: &Program, compiled: &Compiled, inputs: &HashMap<String, Vec<f64>>) -> Vec<f64> {
    let mut executor = Reference::new(program).with_precision(Precision::F32);
    for (resident, blob) in program.residents().iter().zip(&compiled.blobs) {
        if let Some(blob) = blob {
            executor.set(resident.name(), tensor(resident.ty(), &elements(resident.ty(), blob)));
        }
    }
    let sequence = program.eval();
    for place in sequence.ports().filled() {
        let value = &sequence.values()[place.value()];
        let values = given(value.name(), value.ty().elements(), inputs);
        executor.set(value.name(), tensor(value.ty(), &values));
    }
    executor.run(Which::Eval);
    executor.get(&program.task().prediction).unwrap().floats().unwrap().to_vec()
}

fn cpu(program: &Program, compiled: &Compiled, inputs: &HashMap<String, Vec<f64>>) -> Vec<f64> {
    let cpu = Cpu::new(1);
    let mut arena = Arena::new(program, cpu.threads()).unwrap();
    arena.load(program, |at| compiled.blobs[at].as_deref()).unwrap();
    let sequence = program.eval();
    for place in sequence.ports().filled() {
        let value = &sequence.values()[place.value()];
        let values = given(value.name(), value.ty().elements(), inputs);
        match value.ty() {
            Type::Dense(DType::F32, _) => fill(arena.value_mut(place), &values, |it| it as f32),
            Type::Dense(DType::I64, _) => fill(arena.value_mut(place), &values, |it| it as i64),
            _ => fill(arena.value_mut(place), &values, |it| it as u8),
        }
    }
    cpu.run(sequence, &mut arena);
    let prediction = sequence.ports().prediction.unwrap();
    arena.value::<f32>(prediction).iter().map(|it| f64::from(*it)).collect()
}

fn fill<T>(to: &mut [T], values: &[f64], cast: impl Fn(f64) -> T) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to = cast(*value));
}

fn elements(ty: &Type, blob: &[u8]) -> Vec<f64> {
    match ty {
        Type::Dense(DType::F32, _) => blob.as_chunks().0.iter().map(|it| f32::from_le_bytes(*it).into()).collect(),
        Type::Dense(DType::I64, _) => blob.as_chunks().0.iter().map(|it| i64::from_le_bytes(*it) as f64).collect(),
        _ => blob.iter().map(|it| f64::from(*it)).collect(),
    }
}

fn tensor(ty: &Type, values: &[f64]) -> Tensor {
    match ty {
        Type::Dense(DType::F32, dims) => Tensor::float(dims, values.iter().copied()),
        _ => Tensor::Int(ArrayD::from_shape_vec(ty.dims(), values.iter().map(|it| *it as i64).collect()).unwrap()),
    }
}
