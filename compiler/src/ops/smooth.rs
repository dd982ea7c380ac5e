//! Smooth activations whose gradient has a kernel: dx from dy and x.

use super::elementwise::unary;
use super::rules::same_pair;
use super::{Estimate, Import, OpDef, Slope};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;

const GELU: Import = &[
    ("Gelu", rules::gelu),
    ("com.microsoft.Gelu", rules::gelu),
    ("com.microsoft.BiasGelu", rules::bias_gelu),
    ("com.microsoft.FastGelu", rules::fast_gelu),
];
const SILU: Import = &[("Swish", rules::swish), ("com.microsoft.QuickGelu", rules::quick_gelu)];
const ELU: Import = &[("Elu", rules::elu), ("Selu", rules::selu), ("Celu", rules::celu)];

pub const OPS: &[OpDef] = &[
    unary("gelu", GELU, |at| from_operand(at, "gelu_grad")),
    // The published method saves what GELU reads in 16 bits.
    grad("gelu_grad", &[(1, Estimate::Slope(Slope { function: "gelu", rounded: true }))]),
    unary("silu", SILU, |at| from_operand(at, "silu_grad")),
    grad("silu_grad", &[(1, Estimate::Slope(Slope { function: "silu", rounded: false }))]),
    unary("mish", &[("Mish", rules::mish)], |at| from_operand(at, "mish_grad")),
    grad("mish_grad", &[(1, Estimate::Slope(Slope { function: "mish", rounded: false }))]),
    unary("softplus", &[("Softplus", rules::softplus)], |at| from_operand(at, "softplus_grad")),
    grad("softplus_grad", &[(1, Estimate::Slope(Slope { function: "softplus", rounded: false }))]),
    unary("softsign", &[("Softsign", rules::softsign)], |at| from_operand(at, "softsign_grad")),
    grad("softsign_grad", &[(1, Estimate::Slope(Slope { function: "softsign", rounded: false }))]),
    unary("elu", ELU, |at| from_operand(at, "elu_grad")),
    grad("elu_grad", &[(1, Estimate::Slope(Slope { function: "elu", rounded: false }))]),
];

const fn grad(name: &'static str, estimates: &'static [(usize, Estimate)]) -> OpDef {
    OpDef { estimates, reuses: &[0, 1], ..OpDef::made(name, &["dx"], same_pair) }
}

/// The derivative is a function of x, with the attributes of the activation.
fn from_operand(at: &mut Vjp<'_>, op: &str) {
    let (dy, x, attrs): (_, _, Attrs) = (at.cotangent(0), at.operand(0), at.attrs().clone());
    at.grad(0, op, &[dy, x], attrs);
}
