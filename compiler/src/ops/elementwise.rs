//! Arithmetic with numpy broadcasting.

use super::rules::{alike, all_floats, broadcast, fail, same};
use super::{Batch, Estimate, Gradient, Import, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::{DType, Type};

pub const OPS: &[OpDef] = &[
    arithmetic("add", &[("Add", rules::add), ("Sum", rules::sum)], |at| {
        let dy = at.cotangent(0);
        for slot in [0, 1] {
            if at.wants(slot) {
                at.grad_reduced(slot, dy);
            }
        }
    }),
    arithmetic("sub", &[("Sub", rules::sub)], |at| {
        let dy = at.cotangent(0);
        if at.wants(0) {
            at.grad_reduced(0, dy);
        }
        if at.wants(1) {
            let negative = at.emit("scale", &[dy], Attrs::new().with("factor", -1.0), 1);
            at.grad_reduced(1, negative);
        }
    }),
    OpDef {
        estimates: &[(0, Estimate::Rounded), (1, Estimate::Rounded)],
        ..arithmetic("mul", &[("Mul", rules::mul)], |at| {
            let (dy, a, b) = (at.cotangent(0), at.operand(0), at.operand(1));
            for (slot, other) in [(0, b), (1, a)] {
                if at.wants(slot) {
                    let full = at.emit("mul", &[dy, other], Attrs::new(), slot);
                    at.grad_reduced(slot, full);
                }
            }
        })
    },
    arithmetic("div", &[("Div", rules::div)], |at| {
        let (dy, b, y) = (at.cotangent(0), at.operand(1), at.result(0));
        let quotient = at.emit("div", &[dy, b], Attrs::new(), 0);
        if at.wants(0) {
            at.grad_reduced(0, quotient);
        }
        if at.wants(1) {
            let product = at.emit("mul", &[quotient, y], Attrs::new(), 1);
            let negative = at.emit("scale", &[product], Attrs::new().with("factor", -1.0), 1);
            at.grad_reduced(1, negative);
        }
    }),
    unary("scale", &[("Neg", rules::neg), ("Mean", rules::mean)], |at| {
        let (dy, attrs) = (at.cotangent(0), at.attrs().clone());
        at.grad(0, "scale", &[dy], attrs);
    }),
];

/// A row for floats and for integers.
const fn arithmetic(name: &'static str, import: Import, rule: fn(&mut Vjp<'_>)) -> OpDef {
    OpDef { shape: numbers, ..binary(name, import, rule) }
}

/// A function of one tensor, element by element.
pub const fn unary(name: &'static str, import: Import, rule: fn(&mut Vjp<'_>)) -> OpDef {
    OpDef {
        name,
        results: &["y"],
        import,
        shape: same,
        gradient: Gradient::Rule(rule),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[0],
        writes: nothing,
        lower: Lower::Instruction,
    }
}

pub const fn binary(name: &'static str, import: Import, rule: fn(&mut Vjp<'_>)) -> OpDef {
    OpDef {
        name,
        results: &["y"],
        import,
        shape: broadcasting,
        gradient: Gradient::Rule(rule),
        weight: None,
        estimates: &[],
        batch: Batch::When(|operands, _, together| {
            // The result's samples lie together if an operand of its full shape has them so.
            let full = broadcast(operands[0].dims(), operands[1].dims()).unwrap_or_default();
            (0..2).any(|slot| together[slot] && operands[slot].dims() == full)
        }),
        reuses: &[0, 1],
        writes: nothing,
        lower: Lower::Instruction,
    }
}

pub fn broadcasting(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 2)?;
    Ok(vec![Type::f32(&broadcast(operands[0].dims(), operands[1].dims())?)])
}

/// Floats or integers, broadcast to each other.
fn numbers(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    match alike(operands, 2, 2)? {
        dtype @ (DType::F32 | DType::I64) => {
            Ok(vec![Type::dense(dtype, &broadcast(operands[0].dims(), operands[1].dims())?)])
        }
        other => fail(format!("needs f32 or i64, not {other}")),
    }
}
