//! Gradients against central differences of the op that they belong to.

use razorc_proto::program::Attr;

use super::{Typed, f32, ints, run};
use crate::reference::tensor::Tensor;
use crate::types::{DType, Type};

const H: f64 = 1e-6;

/// An op, and the op that makes the gradient of one of its operands.
pub struct Gradient {
    forward: &'static str,
    operands: Vec<Typed>,
    attrs: Vec<Attr>,
    outputs: Vec<Type>,
    pub grad: &'static str,
    takes: &'static [Take],
    grad_attrs: Vec<Attr>,
    /// For each result of the gradient, the operand that it is the gradient of.
    of: &'static [usize],
}

/// An operand of the gradient.
#[derive(Clone, Copy)]
enum Take {
    Cotangent,
    Operand(usize),
    Result(usize),
}
use Take::{Cotangent, Operand, Result};

#[test]
fn gradients_are_those_of_central_differences() {
    for case in cases() {
        let made = run(case.forward, &case.operands, &case.outputs, &case.attrs);
        let cotangent =
            if case.outputs[0].dims().is_empty() { f32(&[], &[1.0]) } else { wave(case.outputs[0].dims(), 9) };
        let operand = |take: &Take| match *take {
            Cotangent => cotangent.clone(),
            Operand(slot) => case.operands[slot].clone(),
            Result(slot) => (case.outputs[slot].clone(), made[slot].clone()),
        };
        let operands: Vec<_> = case.takes.iter().map(operand).collect();
        let types: Vec<_> = case.of.iter().map(|&slot| case.operands[slot].0.clone()).collect();
        let grads = run(case.grad, &operands, &types, &case.grad_attrs);
        for (&slot, grad) in case.of.iter().zip(&grads) {
            for (i, &grad) in grad.floats().unwrap().iter().enumerate() {
                let difference =
                    (case.loss(&cotangent.1, slot, i, H) - case.loss(&cotangent.1, slot, i, -H)) / (2.0 * H);
                let near = (grad - difference).abs() < 1e-7 * (1.0 + grad.abs());
                assert!(near, "{}: element {i} of operand {slot} is {grad}, by difference {difference}", case.grad);
            }
        }
    }
}

impl Gradient {
    /// The first result times the cotangent, with one element of an operand moved.
    fn loss(&self, cotangent: &Tensor, slot: usize, element: usize, by: f64) -> f64 {
        let mut operands = self.operands.clone();
        let Tensor::Float(moved) = &mut operands[slot].1 else { panic!("only floats have gradients") };
        moved.as_slice_mut().unwrap()[element] += by;
        let made = run(self.forward, &operands, &self.outputs, &self.attrs);
        made[0].floats().unwrap().iter().zip(cotangent.floats().unwrap()).map(|(y, dy)| y * dy).sum()
    }
}

pub fn cases() -> Vec<Gradient> {
    [products(), windows(), channels(), elements(), losses(), rows()].into_iter().flatten().collect()
}

fn products() -> Vec<Gradient> {
    let linear = |grad, transpose, takes, of| {
        let w = if transpose == 1 { [4, 3] } else { [3, 4] };
        let attrs = vec![Attr::int("transpose", transpose)];
        let base = of_op("linear", vec![wave(&[2, 5, 3], 0), wave(&w, 1)], &attrs, &[&[2, 5, 4]]);
        Gradient { grad, takes, grad_attrs: attrs, of, ..base }
    };
    let input: &[_] = &[Cotangent, Operand(1)];
    let weight: &[_] = &[Cotangent, Operand(0)];
    vec![
        linear("linear_input_grad", 0, input, &[0]),
        linear("linear_input_grad", 1, input, &[0]),
        linear("linear_weight_grad", 0, weight, &[1]),
        linear("linear_weight_grad", 1, weight, &[1]),
    ]
}

fn windows() -> Vec<Gradient> {
    let (x, w) = (wave(&[2, 4, 6, 5], 0), wave(&[6, 2, 3, 2], 1));
    let list = Attr::ints;
    let conv =
        [list("strides", &[2, 1]), list("pads", &[1, 0, 2, 1]), list("dilations", &[1, 2]), Attr::int("groups", 2)];
    let base = || of_op("conv", vec![x.clone(), w.clone()], &conv, &[&[2, 6, 4, 4]]);
    let with = |attrs: &[Attr], shape: &[i64]| [attrs, &[list("shape", shape)]].concat();
    let pool = [list("kernel", &[3, 2]), list("strides", &[2, 1]), list("pads", &[1, 1, 0, 1]), Attr::int("ceil", 1)];
    let max = [&pool[..], &[list("dilations", &[1, 2])]].concat();
    let avg = |count| [&pool[..], &[Attr::int("count_include_pad", count)]].concat();
    let positions = Type::Dense(DType::U8, vec![2, 4, 3, 5]);
    let mut max_base = of_op("max_pool", vec![x.clone()], &max, &[&[2, 4, 3, 5]]);
    max_base.outputs.push(positions);
    let avg_case = |count| Gradient {
        grad: "avg_pool_grad",
        takes: &[Cotangent],
        grad_attrs: with(&avg(count), &[2, 4, 6, 5]),
        ..of_op("avg_pool", vec![x.clone()], &avg(count), &[&[2, 4, 3, 6]])
    };
    vec![
        Gradient {
            grad: "conv_input_grad",
            takes: &[Cotangent, Operand(1)],
            grad_attrs: with(&conv, &[2, 4, 6, 5]),
            ..base()
        },
        Gradient {
            grad: "conv_weight_grad",
            takes: &[Cotangent, Operand(0)],
            grad_attrs: with(&conv, &[6, 2, 3, 2]),
            of: &[1],
            ..base()
        },
        Gradient {
            grad: "max_pool_grad",
            takes: &[Cotangent, Result(1)],
            grad_attrs: with(&max, &[2, 4, 6, 5]),
            ..max_base
        },
        avg_case(0),
        avg_case(1),
    ]
}

fn channels() -> Vec<Gradient> {
    let dims: &[usize] = &[3, 2, 4];
    let variance = (Type::f32(&[2]), Tensor::float(&[2], [0.7, 1.9]));
    let norm = [wave(dims, 0), wave(&[2], 1), wave(&[2], 2), wave(&[2], 3), variance];
    let epsilon = vec![Attr::float("epsilon", 0.1)];
    let batch_norm = || of_op("batch_norm", norm.to_vec(), &epsilon, &[dims]);
    let lrn = [("alpha", 0.5), ("beta", 0.75), ("bias", 2.0)].map(|(name, it)| Attr::float(name, it));
    let lrn = [&lrn[..], &[Attr::int("size", 2)]].concat();
    vec![
        Gradient {
            grad: "batch_norm_input_grad",
            takes: &[Cotangent, Operand(1), Operand(4)],
            grad_attrs: epsilon.clone(),
            ..batch_norm()
        },
        Gradient {
            grad: "batch_norm_scale_grad",
            takes: &[Cotangent, Operand(0), Operand(3), Operand(4)],
            grad_attrs: epsilon.clone(),
            of: &[1],
            ..batch_norm()
        },
        Gradient {
            grad: "batch_norm_train_grad",
            takes: &[Cotangent, Operand(0), Operand(1), Result(1), Result(2)],
            of: &[0, 1, 2],
            ..of_op("batch_norm_train", norm[..3].to_vec(), &epsilon, &[dims, &[2], &[2]])
        },
        Gradient {
            grad: "lrn_grad",
            takes: &[Cotangent, Operand(0)],
            grad_attrs: lrn.clone(),
            ..of_op("lrn", vec![wave(&[2, 5, 3], 0)], &lrn, &[&[2, 5, 3]])
        },
    ]
}

fn elements() -> Vec<Gradient> {
    let dims: &[usize] = &[2, 3, 4];
    let large = (Type::f32(dims), Tensor::float(dims, wave(dims, 0).1.floats().unwrap().iter().map(|it| 3.0 * it)));
    let unary = |forward, grad, takes| Gradient { grad, takes, ..of_op(forward, vec![large.clone()], &[], &[dims]) };
    let with_attr = |forward, grad, attr: Attr| Gradient {
        grad,
        takes: &[Cotangent, Operand(0)],
        grad_attrs: vec![attr.clone()],
        ..of_op(forward, vec![large.clone()], &[attr], &[dims])
    };
    let softmax = |forward, grad, axis| {
        let attrs = vec![Attr::int("axis", axis)];
        let base = of_op(forward, vec![large.clone()], &attrs, &[dims]);
        Gradient { grad, takes: &[Cotangent, Result(0)], grad_attrs: attrs, ..base }
    };
    let prelu = || {
        let mut base = of_op("prelu", vec![large.clone(), wave(&[3, 1], 4)], &[], &[dims]);
        base.outputs.push(Type::Bits(dims.to_vec()));
        base
    };
    vec![
        unary("sigmoid", "sigmoid_grad", &[Cotangent, Result(0)]),
        unary("tanh", "tanh_grad", &[Cotangent, Result(0)]),
        unary("hard_swish", "hard_swish_grad", &[Cotangent, Operand(0)]),
        unary("silu", "silu_grad", &[Cotangent, Operand(0)]),
        unary("mish", "mish_grad", &[Cotangent, Operand(0)]),
        unary("softplus", "softplus_grad", &[Cotangent, Operand(0)]),
        unary("softsign", "softsign_grad", &[Cotangent, Operand(0)]),
        with_attr("gelu", "gelu_grad", Attr::word("approximate", "none")),
        with_attr("gelu", "gelu_grad", Attr::word("approximate", "tanh")),
        with_attr("elu", "elu_grad", Attr::float("alpha", 0.7)),
        softmax("softmax", "softmax_grad", 1),
        softmax("log_softmax", "log_softmax_grad", 2),
        Gradient { grad: "prelu_input_grad", takes: &[Cotangent, Result(1), Operand(1)], ..prelu() },
        Gradient {
            grad: "prelu_slope_grad",
            takes: &[Cotangent, Operand(0)],
            grad_attrs: vec![Attr::ints("shape", &[3, 1])],
            of: &[1],
            ..prelu()
        },
    ]
}

fn losses() -> Vec<Gradient> {
    let rows = (Type::f32(&[3]), Tensor::float(&[3], [0.5, 2.0, 0.0]));
    let classes = ints(DType::I64, &[3], &[2, 0, -1]);
    let smoothing = vec![
        Attr::int("axis", 1),
        Attr::int("ignore_index", -100),
        Attr::float("label_smoothing", 0.2),
        Attr::word("reduction", "mean"),
    ];
    let weights = (Type::f32(&[4]), Tensor::float(&[4], [0.5, 1.0, 3.0, 0.25]));
    let cross_entropy = |operands: Vec<Typed>, takes| Gradient {
        grad: "softmax_cross_entropy_grad",
        takes,
        grad_attrs: smoothing.clone(),
        ..of_op("softmax_cross_entropy", operands, &smoothing, &[&[], &[3]])
    };
    let logits = wave(&[3, 4], 0);
    let elementwise = |forward, grad| Gradient {
        grad,
        takes: &[Operand(0), Operand(1), Operand(2)],
        ..of_op(forward, vec![wave(&[3, 2, 2], 0), wave(&[3, 2, 2], 1), rows.clone()], &[], &[&[]])
    };
    vec![
        cross_entropy(
            vec![logits.clone(), classes.clone(), rows.clone()],
            &[Operand(0), Result(1), Operand(1), Operand(2)],
        ),
        cross_entropy(
            vec![logits, classes, rows.clone(), weights],
            &[Operand(0), Result(1), Operand(1), Operand(2), Operand(3)],
        ),
        elementwise("mse", "mse_grad"),
        elementwise("mae", "mae_grad"),
        elementwise("bce_with_logits", "bce_with_logits_grad"),
    ]
}

/// A case of the op, its gradient still to be said; by default of operand 0.
fn of_op(forward: &'static str, operands: Vec<Typed>, attrs: &[Attr], outputs: &[&[usize]]) -> Gradient {
    Gradient {
        forward,
        operands,
        attrs: attrs.to_vec(),
        outputs: outputs.iter().map(|it| Type::f32(it)).collect(),
        grad: "",
        takes: &[],
        grad_attrs: Vec::new(),
        of: &[0],
    }
}

/// Values without order, -1 to 1, none of them equal.
fn wave(dims: &[usize], phase: usize) -> Typed {
    let n: usize = dims.iter().product();
    (Type::f32(dims), Tensor::float(dims, (0..n).map(|i| (i as f64 * 1.7 + phase as f64 * 0.61 + 0.3).sin())))
}

fn rows() -> Vec<Gradient> {
    let dims: &[usize] = &[2, 3, 4];
    let attrs = [Attr::int("axis", 1), Attr::float("epsilon", 0.1)];
    // Away from zero, which would count as pruned.
    let scale = (Type::f32(&dims[1..]), Tensor::float(&dims[1..], (0..12).map(|i| 0.5 + 0.25 * f64::from(i))));
    let layer_norm = |operands: usize| {
        let operands = [wave(dims, 0), scale.clone(), wave(&dims[1..], 2)][..operands].to_vec();
        of_op("layer_norm", operands, &attrs, &[dims, &dims[..1], &dims[..1]])
    };
    let rms_norm = |operands: usize| {
        let operands = [wave(dims, 0), scale.clone()][..operands].to_vec();
        of_op("rms_norm", operands, &attrs, &[dims, &dims[..1]])
    };
    vec![
        Gradient {
            grad: "layer_norm_grad",
            takes: &[Cotangent, Operand(0), Result(1), Result(2), Operand(1)],
            of: &[0, 1, 2],
            ..layer_norm(3)
        },
        Gradient { grad: "layer_norm_grad", takes: &[Cotangent, Operand(0), Result(1), Result(2)], ..layer_norm(1) },
        Gradient {
            grad: "layer_norm_grad_from_output",
            takes: &[Cotangent, Result(0), Result(2), Operand(1), Operand(2)],
            of: &[0, 1, 2],
            ..layer_norm(3)
        },
        Gradient { grad: "layer_norm_grad_from_output", takes: &[Cotangent, Result(0), Result(2)], ..layer_norm(1) },
        Gradient {
            grad: "rms_norm_grad",
            takes: &[Cotangent, Operand(0), Result(1), Operand(1)],
            of: &[0, 1],
            ..rms_norm(2)
        },
        Gradient { grad: "rms_norm_grad", takes: &[Cotangent, Operand(0), Result(1)], ..rms_norm(1) },
        Gradient {
            grad: "rms_norm_grad_from_output",
            takes: &[Cotangent, Result(0), Result(1), Operand(1)],
            of: &[0, 1],
            ..rms_norm(2)
        },
    ]
}
