//! Functions of one number or two, and arithmetic with one number that is known when compiling.
//!
//! Functions without slope have no gradient: `sign`, `floor`, `ceil` and `round` pass no cotangent on, which is zero.

use super::elementwise::{binary, broadcasting, unary};
use super::rules::same;
use super::{Batch, Import, OpDef};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::graph::Value;
use crate::import::rules;

pub const OPS: &[OpDef] = &[
    unary("shift", &[], |at| {
        let dy = at.cotangent(0);
        at.grad_reduced(0, dy);
    }),
    unary("power", &[], |at| {
        let (dy, x, exponent) = (at.cotangent(0), at.operand(0), at.attrs().float_or("exponent", 1.0));
        let slope = match exponent {
            // x^0 is 1 everywhere, so there is no gradient, not even at 0.
            0.0 => return,
            2.0 => x,
            _ => power(at, x, exponent - 1.0),
        };
        let product = at.emit("mul", &[dy, slope], Attrs::new(), 0);
        at.grad(0, "scale", &[product], Attrs::new().with("factor", exponent));
    }),
    unary("reciprocal", &[("Reciprocal", rules::reciprocal)], |at| {
        let (dy, y) = (at.cotangent(0), at.result(0));
        let squared = power(at, y, 2.0);
        let product = at.emit("mul", &[dy, squared], Attrs::new(), 0);
        at.grad(0, "scale", &[product], Attrs::new().with("factor", -1.0));
    }),
    unary("exp", &[("Exp", rules::exp)], |at| {
        let (dy, y) = (at.cotangent(0), at.result(0));
        at.grad(0, "mul", &[dy, y], Attrs::new());
    }),
    unary("log", &[("Log", rules::log)], |at| {
        let (dy, x) = (at.cotangent(0), at.operand(0));
        at.grad(0, "div", &[dy, x], Attrs::new());
    }),
    unary("sqrt", &[("Sqrt", rules::sqrt)], |at| {
        let (dy, y) = (at.cotangent(0), at.result(0));
        let quotient = at.emit("div", &[dy, y], Attrs::new(), 0);
        at.grad(0, "scale", &[quotient], Attrs::new().with("factor", 0.5));
    }),
    unary("abs", &[("Abs", rules::abs)], |at| times(at, "sign")),
    flat("sign", &[("Sign", rules::sign)]),
    flat("floor", &[("Floor", rules::floor)]),
    flat("ceil", &[("Ceil", rules::ceil)]),
    flat("round", &[("Round", rules::round)]),
    unary("sin", &[("Sin", rules::sin)], |at| times(at, "cos")),
    unary("cos", &[("Cos", rules::cos)], |at| {
        let (dy, x) = (at.cotangent(0), at.operand(0));
        let sine = at.emit("sin", &[x], Attrs::new(), 0);
        let product = at.emit("mul", &[dy, sine], Attrs::new(), 0);
        at.grad(0, "scale", &[product], Attrs::new().with("factor", -1.0));
    }),
    unary("tan", &[("Tan", rules::tan)], |at| {
        let (dy, y) = (at.cotangent(0), at.result(0));
        let slope = one_and(at, y, 1.0);
        at.grad(0, "mul", &[dy, slope], Attrs::new());
    }),
    unary("asin", &[("Asin", rules::asin)], |at| root_slope(at, [-1.0, 1.0], 1.0)),
    unary("acos", &[("Acos", rules::acos)], |at| root_slope(at, [-1.0, 1.0], -1.0)),
    unary("atan", &[("Atan", rules::atan)], |at| {
        let (dy, x) = (at.cotangent(0), at.operand(0));
        let below = one_and(at, x, 1.0);
        at.grad(0, "div", &[dy, below], Attrs::new());
    }),
    unary("sinh", &[("Sinh", rules::sinh)], |at| times(at, "cosh")),
    unary("cosh", &[("Cosh", rules::cosh)], |at| times(at, "sinh")),
    unary("asinh", &[("Asinh", rules::asinh)], |at| root_slope(at, [1.0, 1.0], 1.0)),
    unary("acosh", &[("Acosh", rules::acosh)], |at| root_slope(at, [1.0, -1.0], 1.0)),
    unary("atanh", &[("Atanh", rules::atanh)], |at| {
        let (dy, x) = (at.cotangent(0), at.operand(0));
        let below = one_and(at, x, -1.0);
        at.grad(0, "div", &[dy, below], Attrs::new());
    }),
    unary("erf", &[("Erf", rules::erf)], |at| {
        // 2/√π · e^(-x²)
        let (dy, x) = (at.cotangent(0), at.operand(0));
        let squared = power(at, x, 2.0);
        let negative = at.emit("scale", &[squared], Attrs::new().with("factor", -1.0), 0);
        let bell = at.emit("exp", &[negative], Attrs::new(), 0);
        let product = at.emit("mul", &[dy, bell], Attrs::new(), 0);
        at.grad(0, "scale", &[product], Attrs::new().with("factor", std::f64::consts::FRAC_2_SQRT_PI));
    }),
    binary("pow", &[("Pow", rules::pow)], |at| {
        let (dy, base, exponent) = (at.cotangent(0), at.operand(0), at.operand(1));
        for (slot, op) in [(0, "pow_base_slope"), (1, "pow_exponent_slope")] {
            if at.wants(slot) {
                let slope = at.emit(op, &[base, exponent], Attrs::new(), slot);
                let full = at.emit("mul", &[dy, slope], Attrs::new(), slot);
                at.grad_reduced(slot, full);
            }
        }
    }),
    OpDef { reuses: &[0, 1], ..OpDef::made("pow_base_slope", &["slope"], broadcasting) },
    OpDef { reuses: &[0, 1], ..OpDef::made("pow_exponent_slope", &["slope"], broadcasting) },
    // Of several operands, ties are split by halves, one pair after the other.
    binary("max", &[("Max", rules::max)], |at| {
        let (a, b) = (at.operand(0), at.operand(1));
        shares(at, [[a, b], [b, a]]);
    }),
    binary("min", &[("Min", rules::min)], |at| {
        let (a, b) = (at.operand(0), at.operand(1));
        shares(at, [[b, a], [a, b]]);
    }),
    OpDef { reuses: &[0, 1], ..OpDef::made("max_share", &["share"], broadcasting) },
    binary("fmod", &[], |at| {
        let (dy, a, b, y) = (at.cotangent(0), at.operand(0), at.operand(1), at.result(0));
        if at.wants(0) {
            at.grad_reduced(0, dy);
        }
        if at.wants(1) {
            // Minus the whole quotient.
            let whole = at.emit("sub", &[y, a], Attrs::new(), 1);
            let quotient = at.emit("div", &[whole, b], Attrs::new(), 1);
            let full = at.emit("mul", &[dy, quotient], Attrs::new(), 1);
            at.grad_reduced(1, full);
        }
    }),
];

/// A function that is flat almost everywhere.
const fn flat(name: &'static str, import: Import) -> OpDef {
    OpDef { import, batch: Batch::Keeps, reuses: &[0], ..OpDef::made(name, &["y"], same) }
}

/// `x^exponent` on the way to the cotangent of operand 0.
fn power(at: &mut Vjp<'_>, x: Value, exponent: f64) -> Value {
    at.emit("power", &[x], Attrs::new().with("exponent", exponent), 0)
}

/// `1 + sign · x²`.
fn one_and(at: &mut Vjp<'_>, x: Value, sign: f64) -> Value {
    let squared = power(at, x, 2.0);
    let signed = at.emit("scale", &[squared], Attrs::new().with("factor", sign), 0);
    at.emit("shift", &[signed], Attrs::new().with("offset", 1.0), 0)
}

/// The derivative is this function of x.
fn times(at: &mut Vjp<'_>, op: &str) {
    let (dy, x) = (at.cotangent(0), at.operand(0));
    let slope = at.emit(op, &[x], Attrs::new(), 0);
    at.grad(0, "mul", &[dy, slope], Attrs::new());
}

/// The derivative is `sign / √(a·x² + b)`.
fn root_slope(at: &mut Vjp<'_>, [a, b]: [f64; 2], sign: f64) {
    let (dy, x) = (at.cotangent(0), at.operand(0));
    let squared = power(at, x, 2.0);
    let scaled = at.emit("scale", &[squared], Attrs::new().with("factor", a), 0);
    let shifted = at.emit("shift", &[scaled], Attrs::new().with("offset", b), 0);
    let root = at.emit("sqrt", &[shifted], Attrs::new(), 0);
    let quotient = at.emit("div", &[dy, root], Attrs::new(), 0);
    at.grad(0, "scale", &[quotient], Attrs::new().with("factor", sign));
}

/// Each operand's cotangent is its share of dy: that of the first of a pair in its larger one.
fn shares(at: &mut Vjp<'_>, pairs: [[Value; 2]; 2]) {
    let dy = at.cotangent(0);
    for (slot, pair) in pairs.into_iter().enumerate() {
        if at.wants(slot) {
            let share = at.emit("max_share", &pair, Attrs::new(), slot);
            let full = at.emit("mul", &[dy, share], Attrs::new(), slot);
            at.grad_reduced(slot, full);
        }
    }
}
