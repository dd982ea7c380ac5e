//! A few instructions on seeded tensors, run by the reference and by the processor.

use ndarray::ArrayD;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use razorc_proto::NOT_WANTED;
use razorc_proto::program::{
    self as proto, DType, Role, attr,
    task::Loss,
    r#type::{IndexForm, Kind},
    value::Place,
};
use razorc_runtime::arena::Arena;
use razorc_runtime::cpu::Cpu;
use razorc_runtime::kernels::state::{BLOCK, Code, scale};
use razorc_runtime::program::Program;
use razorc_runtime::reference::{Precision, Reference, Tensor, Which};
use razorc_runtime::types::{DType as Element, Type};

use crate::compare::compare;
use reuse::HELD;

mod reuse;

/// Instructions, and the tensors that they start from.
pub struct Case {
    name: String,
    random: ChaCha8Rng,
    batch: usize,
    targets: Vec<usize>,
    residents: Vec<proto::Resident>,
    contents: Vec<Vec<f64>>,
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

/// Type of one bit an element.
pub fn bits(dims: &[usize]) -> proto::Type {
    proto::Type { kind: Kind::Bits.into(), ..dense(DType::Bool, dims) }
}

/// Type of a small number for each element.
pub fn codes(dims: &[usize], bits: u32) -> proto::Type {
    proto::Type { kind: Kind::Codes.into(), bits, ..f32(dims) }
}

/// Type of a pruned copy.
pub fn topk(dims: &[usize], samples: usize, keep: usize, values: DType) -> proto::Type {
    let (samples, keep) = (samples as u64, keep as u64);
    proto::Type { kind: Kind::Topk.into(), samples, keep, values: values.into(), ..f32(dims) }
}

/// Type of a pruned copy with an index of gaps.
pub fn topk_gaps(dims: &[usize], samples: usize, keep: usize, values: DType) -> proto::Type {
    topk(dims, samples, keep, values).with_form(IndexForm::Gaps)
}

/// Type of a rounded tensor.
pub fn quant(dims: &[usize], bits: u32, block: u32) -> proto::Type {
    proto::Type { kind: Kind::Quant.into(), block, ..codes(dims, bits) }
}

/// A list as attr.
pub fn ints(values: &[usize]) -> attr::Value {
    attr::Value::Ints(proto::Ints { values: values.iter().map(|&it| it as i64).collect() })
}

/// A whole number as attr.
pub fn int(value: usize) -> attr::Value {
    attr::Value::Int(value as i64)
}

/// A number as attr.
pub fn float(value: f64) -> attr::Value {
    attr::Value::Float(value)
}

/// A word as attr.
pub fn word(value: &str) -> attr::Value {
    attr::Value::Word(value.into())
}

/// Makes a state of these dims, signed or not, that an update may change.
pub type State = fn(&mut Case, &[usize], bool) -> Id;

/// Forms of state that are rounded.
pub const ROUNDED: [(&str, State); 2] =
    [("bf16", |case, dims, _| case.rounded_state(dims)), ("8 bits", Case::state_in_8_bits)];

impl Case {
    /// No instructions yet. The seed follows from the name, which must differ from case to case.
    pub fn new(name: &str) -> Case {
        Case::with_batch(name, 1)
    }

    /// With so many targets and weights of rows.
    pub fn with_batch(name: &str, batch: usize) -> Case {
        Case::with_targets(name, &[batch])
    }

    /// With targets of these axes, the first of which is the batch.
    pub fn with_targets(name: &str, targets: &[usize]) -> Case {
        let batch = targets[0];
        let seed = name.bytes().fold(17, |seed: u64, it| seed.wrapping_mul(31).wrapping_add(it.into()));
        let random = ChaCha8Rng::seed_from_u64(seed);
        let mut case = Case {
            name: name.into(),
            random,
            batch,
            targets: targets.to_vec(),
            residents: vec![],
            contents: vec![],
            values: vec![],
            storages: vec![],
            instructions: vec![],
            arena_bytes: 0,
            scratch_bytes: 1 << 20,
        };
        case.stored("target".into(), dense(DType::I64, targets));
        case.stored("rows".into(), f32(&[batch]));
        case.resident("loss", Role::Frozen, &[], &[0.0]);
        case.resident("prediction", Role::Frozen, &[batch], &vec![0.0; batch]);
        case
    }

    /// With other scratch than 1 MiB for each thread.
    pub fn scratch(self, bytes: u64) -> Case {
        Case { scratch_bytes: bytes, ..self }
    }

    /// Copies of an f32 value in every packed form: pruned in samples, much and little, and rounded.
    pub fn packed(&mut self, x: Id, dims: &[usize], samples: usize) -> Vec<Id> {
        let n = dims.iter().product::<usize>() / samples;
        let pruned = [(n.div_ceil(10), topk_gaps as fn(_, _, _, _) -> _), (n.div_ceil(4), topk), (n * 3 / 4 + 1, topk)];
        let pruned = pruned.map(|(keep, form)| form(dims, samples, keep.min(n), DType::F16));
        let mut copies: Vec<Id> = pruned.map(|it| self.op("compress", &[x], it, &[])).to_vec();
        copies.push(self.op("quantize", &[x], quant(dims, 8, 64), &[]));
        copies
    }

    /// A class below 5 for each target; some are none.
    pub fn target(&self) -> Id {
        0
    }

    /// Weight of each row of the batch, f32; some are zero.
    pub fn rows(&self) -> Id {
        1
    }

    /// A tensor of random values in -1..1, some of them zero or alike.
    pub fn random(&mut self, dims: &[usize]) -> Id {
        let mut value = || match self.random.random_range(0..10) {
            0 => 0.0,
            1 => self.random.random_range(-4..4) as f32 / 4.0,
            _ => self.random.random_range(-1.0..1.0),
        };
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| value()).collect();
        self.tensor(dims, &values)
    }

    /// A tensor of random values in 0.5..1.5.
    pub fn positive(&mut self, dims: &[usize]) -> Id {
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| self.random.random_range(0.5..1.5)).collect();
        self.tensor(dims, &values)
    }

    /// A tensor of these values.
    pub fn tensor(&mut self, dims: &[usize], values: &[f32]) -> Id {
        let name = format!("operand {}", self.values.len());
        self.resident(&name, Role::Frozen, dims, values)
    }

    /// A tensor of random integers in a range.
    pub fn integers(&mut self, dims: &[usize], range: std::ops::Range<i64>) -> Id {
        let values: Vec<f64> =
            (0..dims.iter().product()).map(|_| self.random.random_range(range.clone()) as f64).collect();
        self.resident_of(DType::I64, dims, values)
    }

    /// A tensor of random truths.
    pub fn truths(&mut self, dims: &[usize]) -> Id {
        let values = (0..dims.iter().product()).map(|_| f64::from(self.random.random_range(0..2))).collect();
        self.resident_of(DType::Bool, dims, values)
    }

    fn resident_of(&mut self, dtype: DType, dims: &[usize], values: Vec<f64>) -> Id {
        let name = format!("operand {}", self.values.len());
        self.place(&name, Role::Frozen, dense(dtype, dims), values)
    }

    /// A tensor of random values in 0.5..1.5 that an update may change.
    pub fn updated(&mut self, role: Role, dims: &[usize]) -> Id {
        let id = self.positive(dims);
        self.residents.last_mut().expect("a tensor is a resident").role = role.into();
        id
    }

    /// State of bf16 that an update may change: random values in 0.5..1.5.
    pub fn rounded_state(&mut self, dims: &[usize]) -> Id {
        let name = format!("operand {}", self.values.len());
        let values = (0..dims.iter().product()).map(|_| f64::from(self.random.random_range(64..192)) / 128.0).collect();
        self.place(&name, Role::State, dense(DType::Bf16, dims), values)
    }

    /// State in 8 bits that an update may change: random levels of blocks whose scales are powers of two.
    pub fn state_in_8_bits(&mut self, dims: &[usize], signed: bool) -> Id {
        let name = format!("operand {}", self.values.len());
        let n = dims.iter().product::<usize>();
        let scales: Vec<f32> = (0..n.div_ceil(BLOCK)).map(|_| 2f32.powi(self.random.random_range(-3..1))).collect();
        let content = (0..n).map(|at| {
            let largest = if signed { 127 } else { 255 };
            let code = if at % BLOCK == 0 { largest } else { self.random.random_range(0..=255) };
            f64::from(Code::of(signed).load(code, scales[at / BLOCK]))
        });
        let content = content.collect();
        let dims: Vec<u64> = dims.iter().map(|&it| it as u64).collect();
        self.place(&name, Role::State, proto::Type::dynamic(&dims, signed), content)
    }

    fn resident(&mut self, name: &str, role: Role, dims: &[usize], values: &[f32]) -> Id {
        self.place(name, role, f32(dims), values.iter().map(|&it| it.into()).collect())
    }

    fn place(&mut self, name: &str, role: Role, ty: proto::Type, values: Vec<f64>) -> Id {
        assert_eq!(ty.dims.iter().product::<u64>(), values.len() as u64);
        let offset = self.arena_bytes;
        self.arena_bytes += size(&ty).next_multiple_of(64);
        let place = Some(Place::Resident(self.residents.len() as u32));
        let (ty, role) = (Some(ty), role.into());
        self.residents.push(proto::Resident {
            name: name.into(),
            r#type: ty.clone(),
            role,
            offset,
            ..proto::Resident::default()
        });
        self.contents.push(values);
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
        self.update(op, operands, &results, attrs);
        results
    }

    /// Adds an instruction whose results are there: operands that it updates.
    pub fn update(&mut self, op: &str, operands: &[Id], results: &[Id], attrs: &[(&str, attr::Value)]) {
        let attr =
            |(name, value): &(&str, attr::Value)| proto::Attr { name: (*name).into(), value: Some(value.clone()) };
        self.instructions.push(proto::Instruction {
            op: op.into(),
            operands: operands.to_vec(),
            results: results.to_vec(),
            attrs: attrs.iter().map(attr).collect(),
        });
    }

    /// Runs all and compares: floats within `tolerance` of the largest of their tensor, the rest exactly. What can be
    /// made in an operand's bytes is made there too, and has the same bits.
    pub fn check(mut self, tolerance: f64) {
        let twins = self.add_reuses();
        let program = Program::check(&self.message()).unwrap_or_else(|e| panic!("{e}"));
        let values = program.train().values();
        let mut reference = Reference::new(&program).with_precision(Precision::F32);
        for (resident, content) in program.residents().iter().zip(&self.contents) {
            let dims = resident.ty().dims();
            let tensor = match resident.ty() {
                Type::Dense(Element::F32, _) | Type::Bf16(_) | Type::Dynamic(..) => {
                    Tensor::float(dims, content.iter().copied())
                }
                _ => Tensor::Int(ArrayD::from_shape_vec(dims, content.iter().map(|&it| it as i64).collect()).unwrap()),
            };
            reference.set(resident.name(), tensor);
        }
        let targets = (0..self.targets.iter().product()).map(class).collect();
        reference.set("target", Tensor::Int(ArrayD::from_shape_vec(self.targets.clone(), targets).unwrap()));
        reference.set("rows", Tensor::float(&[self.batch], (0..self.batch).map(|it| weight(it).into())));
        reference.run(Which::Train);

        let one = self.run(&program, 1);
        for value in values.iter().filter(|it| !it.name().starts_with(HELD)) {
            let expected = reference.get(value.name()).expect("the reference keeps every value");
            let about = format!("{}: {}", self.name, value.name());
            compare(&about, value, &one, expected, tolerance);
        }
        for [apart, within] in twins.iter().map(|it| it.map(|it| &values[it as usize])) {
            assert!(
                one.value::<u8>(apart.place()) == one.value::<u8>(within.place()),
                "{}: {} differs from {}",
                self.name,
                within.name(),
                apart.name()
            );
        }
        for threads in [2, 3] {
            let several = self.run(&program, threads);
            for value in values {
                let bytes = |arena: &Arena| arena.value::<u8>(value.place()).to_vec();
                assert!(
                    bytes(&one) == bytes(&several),
                    "{}: {} differs with {threads} threads",
                    self.name,
                    value.name()
                );
            }
        }
    }

    fn run(&self, program: &Program, threads: usize) -> Arena {
        let mut arena = Arena::new(program, threads).unwrap();
        for (value, content) in self.contents.iter().enumerate() {
            let name = program.residents()[value].name();
            let value = program.train().values().iter().find(|it| it.name() == name).unwrap();
            let place = value.place();
            match value.ty() {
                Type::Dense(Element::I64, _) => {
                    arena.value_mut(place).iter_mut().zip(content).for_each(|(to, &it)| *to = it as i64);
                }
                Type::Bf16(_) => {
                    let bits = |it: f64| half::bf16::from_f64(it).to_bits();
                    arena.value_mut(place).iter_mut().zip(content).for_each(|(to, &it)| *to = bits(it));
                }
                Type::Dynamic(signed, _) => in_8_bits(content, *signed, arena.value_mut(place)),
                Type::Dense(Element::Bool, _) => {
                    arena.value_mut(place).iter_mut().zip(content).for_each(|(to, &it)| *to = it as u8);
                }
                _ => arena.value_mut(place).iter_mut().zip(content).for_each(|(to, &it)| *to = it as f32),
            }
        }
        let ports = program.train().ports();
        let targets = arena.value_mut::<i64>(ports.target.unwrap()).iter_mut();
        targets.enumerate().for_each(|(row, to)| *to = class(row));
        let rows = arena.value_mut::<f32>(ports.inputs[0]).iter_mut();
        rows.enumerate().for_each(|(row, to)| *to = weight(row));
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
            ..proto::Sequence::default()
        };
        let (values, instructions) = (self.values.clone(), self.instructions.clone());
        let train = proto::Sequence { values, storages, instructions, ..proto::Sequence::default() };
        let task = proto::Task {
            loss: Loss::Own.into(),
            batch: self.batch as u64,
            inputs: vec!["rows".into()],
            target: "target".into(),
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

/// Stores state whose elements are levels.
fn in_8_bits(content: &[f64], signed: bool, bytes: &mut [u8]) {
    let (scales, codes) = bytes.split_at_mut(content.len().div_ceil(BLOCK) * 4);
    let content: Vec<f32> = content.iter().map(|&it| it as f32).collect();
    let blocks = content.chunks(BLOCK).zip(scales.chunks_mut(4).zip(codes.chunks_mut(BLOCK)));
    for (x, (to, codes)) in blocks {
        let scale = scale(x);
        to.copy_from_slice(&scale.to_le_bytes());
        codes.iter_mut().zip(x).for_each(|(code, &x)| *code = Code::of(signed).store(x, scale, 0, 0));
    }
}

fn size(ty: &proto::Type) -> u64 {
    Type::parse(ty).unwrap_or_else(|e| panic!("{ty:?}: {e}")).bytes() as u64
}

fn weight(row: usize) -> f32 {
    if row % 5 == 3 { 0.0 } else { 1.0 + (row % 3) as f32 }
}

fn class(row: usize) -> i64 {
    if row % 5 == 3 { -1 } else { (row * 7 % 5) as i64 }
}
