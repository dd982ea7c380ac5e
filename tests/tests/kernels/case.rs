//! A few instructions on seeded tensors, run by the reference and by the processor.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use razorc_proto::NOT_WANTED;
use razorc_proto::program::{self as proto, DType, Role, attr, task::Loss, r#type::Kind, value::Place};
use razorc_runtime::arena::Arena;
use razorc_runtime::cpu::Cpu;
use razorc_runtime::program::{Program, Value};
use razorc_runtime::reference::{Precision, Reference, Tensor, Which};
use razorc_runtime::types::{self, Type};

/// Instructions, and the tensors that they start from.
pub struct Case {
    random: ChaCha8Rng,
    residents: Vec<proto::Resident>,
    contents: Vec<Vec<f32>>,
    values: Vec<proto::Value>,
    storages: Vec<proto::Storage>,
    instructions: Vec<proto::Instruction>,
    arena_bytes: u64,
    scratch_bytes: u64,
}

/// Index of a value.
pub type Id = u32;

/// Type of a dense f32 tensor.
pub fn f32(dims: &[usize]) -> proto::Type {
    dense(DType::F32, dims)
}

/// Type of a dense tensor.
pub fn dense(dtype: DType, dims: &[usize]) -> proto::Type {
    let dims = dims.iter().map(|&it| it as u64).collect();
    proto::Type { kind: Kind::Dense.into(), dtype: dtype.into(), dims, ..proto::Type::default() }
}

/// A list as attr.
pub fn ints(values: &[usize]) -> attr::Value {
    attr::Value::Ints(proto::Ints { values: values.iter().map(|&it| it as i64).collect() })
}

/// A whole number as attr.
pub fn int(value: usize) -> attr::Value {
    attr::Value::Int(value as i64)
}

impl Case {
    /// No instructions yet. The seed follows from the name, which must differ from case to case.
    pub fn new(name: &str) -> Case {
        let seed = name.bytes().fold(17, |seed: u64, it| seed.wrapping_mul(31).wrapping_add(it.into()));
        let random = ChaCha8Rng::seed_from_u64(seed);
        let mut case = Case {
            random,
            residents: vec![],
            contents: vec![],
            values: vec![],
            storages: vec![],
            instructions: vec![],
            arena_bytes: 0,
            scratch_bytes: 1 << 20,
        };
        case.stored("target".into(), f32(&[1]));
        case.stored("rows".into(), f32(&[1]));
        case.resident("loss", &[], &[0.0]);
        case.resident("prediction", &[1], &[0.0]);
        case
    }

    /// With other scratch than 1 MiB for each thread.
    pub fn scratch(self, bytes: u64) -> Case {
        Case { scratch_bytes: bytes, ..self }
    }

    /// A tensor of random values in -1..1.
    pub fn random(&mut self, dims: &[usize]) -> Id {
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| self.random.random_range(-1.0..1.0)).collect();
        self.tensor(dims, &values)
    }

    /// A tensor of these values.
    pub fn tensor(&mut self, dims: &[usize], values: &[f32]) -> Id {
        let name = format!("operand {}", self.values.len());
        self.resident(&name, dims, values)
    }

    fn resident(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Id {
        assert_eq!(dims.iter().product::<usize>(), values.len());
        let (offset, ty) = (self.arena_bytes, f32(dims));
        self.arena_bytes += size(&ty).next_multiple_of(64);
        let place = Some(Place::Resident(self.residents.len() as u32));
        let (ty, role) = (Some(ty), Role::Frozen.into());
        self.residents.push(proto::Resident {
            name: name.into(),
            r#type: ty.clone(),
            role,
            offset,
            ..proto::Resident::default()
        });
        self.contents.push(values.to_vec());
        self.value(proto::Value { name: name.into(), r#type: ty, place })
    }

    /// Adds an instruction and gives its only result.
    pub fn op(&mut self, op: &str, operands: &[Id], result: proto::Type, attrs: &[(&str, attr::Value)]) -> Id {
        self.ops(op, operands, &[Some(result)], attrs)[0]
    }

    /// Adds an instruction and gives its results, `None` for those that are not wanted.
    pub fn ops(
        &mut self,
        op: &str,
        operands: &[Id],
        results: &[Option<proto::Type>],
        attrs: &[(&str, attr::Value)],
    ) -> Vec<Id> {
        let name = |case: &Case| format!("{op} {}", case.values.len());
        let results = results.iter().map(|it| match it {
            Some(ty) => self.stored(name(self), ty.clone()),
            None => NOT_WANTED,
        });
        let results: Vec<Id> = results.collect();
        let attr =
            |(name, value): &(&str, attr::Value)| proto::Attr { name: (*name).into(), value: Some(value.clone()) };
        self.instructions.push(proto::Instruction {
            op: op.into(),
            operands: operands.to_vec(),
            results: results.clone(),
            attrs: attrs.iter().map(attr).collect(),
        });
        results
    }

    /// Runs all and compares: floats within `tolerance` of the largest of their tensor, the rest exactly.
    pub fn check(self, tolerance: f64) {
        let program = Program::check(&self.message()).unwrap_or_else(|e| panic!("{e}"));
        let values = program.train().values();
        let mut reference = Reference::new(&program).with_precision(Precision::F32);
        for (resident, content) in program.residents().iter().zip(&self.contents) {
            let content = content.iter().map(|&it| f64::from(it));
            reference.set(resident.name(), Tensor::float(resident.ty().dims(), content));
        }
        reference.set("target", Tensor::zeros(&[1]));
        reference.set("rows", Tensor::zeros(&[1]));
        reference.run(Which::Train);

        let one = self.run(&program, 1);
        for value in values {
            compare(value, &one, reference.get(value.name()).expect("the reference keeps every value"), tolerance);
        }
        for threads in [2, 3] {
            let several = self.run(&program, threads);
            for value in values {
                let bytes = |arena: &Arena| arena.value::<u8>(value.place()).to_vec();
                assert!(bytes(&one) == bytes(&several), "{} differs with {threads} threads", value.name());
            }
        }
    }

    fn run(&self, program: &Program, threads: usize) -> Arena {
        let mut arena = Arena::new(program, threads).unwrap();
        for (value, content) in self.contents.iter().enumerate() {
            let name = program.residents()[value].name();
            let value = program.train().values().iter().find(|it| it.name() == name).unwrap();
            arena.value_mut::<f32>(value.place()).copy_from_slice(content);
        }
        for value in program.train().values() {
            if value.name().contains(' ') && !value.name().starts_with("operand") {
                arena.value_mut::<u8>(value.place()).fill(0xff);
            }
        }
        Cpu::new(threads).run(program.train(), &mut arena);
        arena
    }

    fn message(&self) -> proto::Program {
        let mut storages = self.storages.clone();
        storages.iter_mut().for_each(|it| it.end = self.instructions.len() as u32 + 1);
        let eval = proto::Sequence {
            values: self.values[..4].to_vec(),
            storages: storages[..2].iter().map(|it| proto::Storage { end: 1, ..*it }).collect(),
            instructions: vec![],
        };
        let train = proto::Sequence { values: self.values.clone(), storages, instructions: self.instructions.clone() };
        let task = proto::Task {
            loss: Loss::MeanSquaredError.into(),
            batch: 1,
            target: "target".into(),
            rows: "rows".into(),
            loss_value: "loss".into(),
            prediction: "prediction".into(),
            ..proto::Task::default()
        };
        proto::Program {
            residents: self.residents.clone(),
            train: Some(train),
            eval: Some(eval),
            arena_bytes: self.arena_bytes,
            scratch_bytes: self.scratch_bytes,
            task: Some(task),
            ..proto::Program::default()
        }
    }

    fn stored(&mut self, name: String, ty: proto::Type) -> Id {
        let (offset, bytes) = (self.arena_bytes, size(&ty));
        self.arena_bytes += bytes.next_multiple_of(64);
        let place = Some(Place::Storage(self.storages.len() as u32));
        self.storages.push(proto::Storage { offset, bytes, first: 0, end: 0 });
        self.value(proto::Value { name, r#type: Some(ty), place })
    }

    fn value(&mut self, value: proto::Value) -> Id {
        self.values.push(value);
        self.values.len() as Id - 1
    }
}

fn size(ty: &proto::Type) -> u64 {
    Type::parse(ty).unwrap_or_else(|e| panic!("{ty:?}: {e}")).bytes() as u64
}

fn compare(value: &Value, arena: &Arena, expected: &Tensor, tolerance: f64) {
    let (name, place) = (value.name(), value.place());
    match (value.ty(), expected) {
        (Type::Dense(types::DType::F32, _), Tensor::Float(expected)) => {
            let largest = expected.iter().fold(0.0f64, |it, value| it.max(value.abs()));
            for (at, (found, expected)) in arena.value::<f32>(place).iter().zip(expected).enumerate() {
                let close = (f64::from(*found) - expected).abs() <= tolerance * largest;
                assert!(close, "{name}[{at}] is {found} and should be {expected}");
            }
        }
        (Type::Dense(dtype, _), Tensor::Int(expected)) => {
            let found: Vec<i64> = match dtype {
                types::DType::U8 => arena.value::<u8>(place).iter().map(|&it| it.into()).collect(),
                types::DType::I32 => arena.value::<i32>(place).iter().map(|&it| it.into()).collect(),
                _ => arena.value::<i64>(place).to_vec(),
            };
            assert_eq!(found, Vec::from_iter(expected.iter().copied()), "{name}");
        }
        (ty, _) => panic!("{name} is {ty}, of which the reference made something else"),
    }
}
