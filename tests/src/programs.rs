//! Small programs, built without the compiler.

use razorc_proto::program::{
    Attr, DType, Instruction, Program, Resident, Role, Sequence, Storage, Task, Type, Value, task::Loss, value::Place,
};

/// Puts a program together: each value has a storage of its own that is live in every step.
#[derive(Default)]
pub struct Builder {
    residents: Vec<Resident>,
    sequence: Sequence,
    arena_bytes: u64,
}

/// f32 of these axes.
pub fn f32(dims: &[u64]) -> Type {
    Type::dense(DType::F32, dims)
}

impl Builder {
    /// A weight or a state, as a value of the sequence that is built.
    pub fn resident(&mut self, name: &str, role: Role, dims: &[u64]) -> u32 {
        let index = self.residents.len() as u32;
        let offset = self.room(&f32(dims));
        let (name, ty, role) = (name.to_string(), Some(f32(dims)), role.into());
        self.residents.push(Resident { name: name.clone(), r#type: ty.clone(), role, offset, ..Resident::default() });
        self.value(Value { name, r#type: ty, place: Some(Place::Resident(index)) })
    }

    /// A value that is filled, or a result.
    pub fn tensor(&mut self, name: &str, ty: Type) -> u32 {
        let offset = self.room(&ty);
        let bytes = self.arena_bytes - offset;
        self.sequence.storages.push(Storage { offset, bytes, first: 0, end: 0 });
        let place = Some(Place::Storage(self.sequence.storages.len() as u32 - 1));
        self.value(Value { name: name.into(), r#type: Some(ty), place })
    }

    /// An instruction that makes new values.
    pub fn op<const N: usize>(
        &mut self,
        op: &str,
        operands: &[u32],
        attrs: &[Attr],
        results: [(&str, Type); N],
    ) -> [u32; N] {
        let results = results.map(|(name, ty)| self.tensor(name, ty));
        self.update(op, operands, attrs, &results);
        results
    }

    /// An instruction that writes values that are there.
    pub fn update(&mut self, op: &str, operands: &[u32], attrs: &[Attr], results: &[u32]) {
        let (operands, results) = (operands.to_vec(), results.to_vec());
        self.sequence.instructions.push(Instruction { op: op.into(), operands, results, attrs: attrs.to_vec() });
    }

    /// The sequence up to here.
    pub fn sequence(&self) -> Sequence {
        let mut sequence = self.sequence.clone();
        let end = sequence.instructions.len() as u32 + 1;
        sequence.storages.iter_mut().for_each(|it| it.end = end);
        sequence
    }

    /// A program that trains with all that was built and evaluates with an earlier part of it.
    pub fn program(&self, eval: Sequence, task: Task) -> Program {
        Program {
            name: "small".into(),
            residents: self.residents.clone(),
            train: Some(self.sequence()),
            eval: Some(eval),
            arena_bytes: self.arena_bytes,
            scratch_bytes: 1 << 20,
            task: Some(task),
            ..Program::default()
        }
    }

    fn value(&mut self, value: Value) -> u32 {
        self.sequence.values.push(value);
        self.sequence.values.len() as u32 - 1
    }

    fn room(&mut self, ty: &Type) -> u64 {
        let offset = self.arena_bytes;
        self.arena_bytes += ty.bytes().expect("the type makes sense").next_multiple_of(64);
        offset
    }
}

/// A pruned convolutional classifier of two rows and three classes, trained with momentum.
pub fn classifier() -> Program {
    let mut b = Builder::default();
    let w1 = b.resident("w1", Role::Param, &[4, 1, 3, 3]);
    let w2 = b.resident("w2", Role::Param, &[16, 3]);
    let m2 = b.resident("m2", Role::State, &[16, 3]);
    let x = b.tensor("x", f32(&[2, 1, 6, 6]));
    let target = b.tensor("target", Type::dense(DType::I64, &[2]));
    let rows = b.tensor("rows", f32(&[2]));
    let lr = b.tensor("lr", f32(&[]));

    let conv = ["strides", "dilations"].map(|name| Attr::ints(name, &[1, 1]));
    let conv = [&conv[..], &[Attr::ints("pads", &[1, 0, 0, 1]), Attr::int("groups", 1)]].concat();
    let pool = [Attr::ints("kernel", &[3, 3]), Attr::ints("strides", &[2, 2]), Attr::ints("pads", &[0; 4])];
    let pool = [&pool[..], &[Attr::ints("dilations", &[1, 1]), Attr::int("ceil", 0)]].concat();
    let transpose = [Attr::int("transpose", 0)];
    let with_shape = |attrs: &[Attr], shape: &[i64]| [attrs, &[Attr::ints("shape", shape)]].concat();

    let [h] = b.op("conv", &[x, w1], &conv, [("h", f32(&[2, 4, 5, 5]))]);
    let [a, mask] = b.op("relu", &[h], &[], [("a", f32(&[2, 4, 5, 5])), ("mask", Type::bits(&[2, 4, 5, 5]))]);
    let index = Type::dense(DType::U8, &[2, 4, 2, 2]);
    let [y, index] = b.op("max_pool", &[a], &pool, [("y", f32(&[2, 4, 2, 2])), ("index", index)]);
    let [flat] = b.op("reshape", &[y], &with_shape(&[], &[2, 16]), [("flat", f32(&[2, 16]))]);
    let [z] = b.op("linear", &[flat, w2], &transpose, [("z", f32(&[2, 3]))]);
    let classes = [Attr::int("axis", 1), Attr::int("ignore_index", -100)];
    let smoothing = [Attr::float("label_smoothing", 0.1), Attr::word("reduction", "mean")];
    let smoothing = [&classes[..], &smoothing].concat();
    let loss = [("loss", f32(&[])), ("lse", f32(&[2]))];
    let [_, lse] = b.op("softmax_cross_entropy", &[z, target, rows], &smoothing, loss);
    let argmax = [&classes[..], &[Attr::word("kind", "argmax")]].concat();
    b.op("correct", &[z, target, rows], &argmax, [("correct", f32(&[])), ("of", f32(&[]))]);
    let eval = b.sequence();

    let [flat_topk] = b.op("compress", &[flat], &[], [("flat.topk", Type::topk(&[2, 16], 2, 6, DType::F16))]);
    let [z_grad] = b.op("softmax_cross_entropy_grad", &[z, lse, target, rows], &smoothing, [("z.grad", f32(&[2, 3]))]);
    let [flat_hat] = b.op("decompress", &[flat_topk], &[], [("flat.hat", f32(&[2, 16]))]);
    let [flat_grad] = b.op("linear_input_grad", &[z_grad, w2], &transpose, [("flat.grad", f32(&[2, 16]))]);
    let [w2_grad] = b.op("linear_weight_grad", &[z_grad, flat_hat], &transpose, [("w2.grad", f32(&[16, 3]))]);
    let momentum = [("momentum", 0.9), ("weight_decay", 1e-4)].map(|(name, it)| Attr::float(name, it));
    let momentum = [&momentum[..], &[Attr::int("nesterov", 1)]].concat();
    b.update("sgd", &[w2, w2_grad, m2, lr], &momentum, &[w2, m2]);
    let shape = with_shape(&[], &[2, 4, 2, 2]);
    let [y_grad] = b.op("reshape", &[flat_grad], &shape, [("y.grad", f32(&[2, 4, 2, 2]))]);
    let attrs = with_shape(&pool, &[2, 4, 5, 5]);
    let [a_grad] = b.op("max_pool_grad", &[y_grad, index], &attrs, [("a.grad", f32(&[2, 4, 5, 5]))]);
    let on_off = [Attr::float("on", 1.0), Attr::float("off", 0.0)];
    let [h_grad] = b.op("masked_scale", &[a_grad, mask], &on_off, [("h.grad", f32(&[2, 4, 5, 5]))]);
    let attrs = with_shape(&conv, &[4, 1, 3, 3]);
    let [w1_grad] = b.op("conv_weight_grad", &[h_grad, x], &attrs, [("w1.grad", f32(&[4, 1, 3, 3]))]);
    let plain = [("momentum", 0.0), ("weight_decay", 0.0)].map(|(name, it)| Attr::float(name, it));
    b.update("sgd", &[w1, w1_grad, lr], &[&plain[..], &[Attr::int("nesterov", 0)]].concat(), &[w1]);

    b.program(
        eval,
        Task {
            loss: Loss::CrossEntropy.into(),
            batch: 2,
            inputs: vec!["x".into()],
            target: "target".into(),
            rows: "rows".into(),
            learning_rate: "lr".into(),
            loss_value: "loss".into(),
            correct: "correct".into(),
            counted: "of".into(),
            prediction: "z".into(),
            classes: 3,
            ..Task::default()
        },
    )
}
