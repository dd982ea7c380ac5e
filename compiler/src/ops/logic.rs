//! Truths, integers, and changes of the element type.

use super::rules::{alike, arity, broadcast, dims, fail, floats};
use super::{Batch, Gradient, Import, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::import::rules;
use crate::types::{DType, Type};

pub const OPS: &[OpDef] = &[
    // Floats lose their fraction as integers, and what is out of range becomes the nearest; all but 0 is true.
    OpDef {
        batch: Batch::Keeps,
        ..selection("cast", &[("Cast", rules::cast), ("CastLike", rules::cast)], |operands, attrs| {
            plain(operands, 1)?;
            match attrs.word("to").and_then(DType::from_word) {
                Some(to @ (DType::F32 | DType::I64 | DType::Bool)) => Ok(vec![Type::dense(to, operands[0].dims())]),
                _ => fail("to must be f32, i64 or bool"),
            }
        })
    },
    selection("equal", &[("Equal", rules::equal)], |operands, _| truths(operands, plain(operands, 2)?)),
    selection("less", &[("Less", rules::less)], ordered),
    selection("less_or_equal", &[("LessOrEqual", rules::less_or_equal)], ordered),
    selection("greater", &[("Greater", rules::greater)], ordered),
    selection("greater_or_equal", &[("GreaterOrEqual", rules::greater_or_equal)], ordered),
    selection("and", &[("And", rules::and)], connective),
    selection("or", &[("Or", rules::or), ("IsInf", rules::is_inf)], connective),
    selection("xor", &[("Xor", rules::xor)], connective),
    OpDef {
        batch: Batch::Keeps,
        ..selection("not", &[("Not", rules::not), ("IsNaN", rules::is_nan)], |operands, _| {
            arity(operands, 1, 1)?;
            truth(&operands[0])?;
            Ok(operands.to_vec())
        })
    },
    OpDef {
        gradient: Gradient::Rule(|at| {
            let (dy, condition) = (at.cotangent(0), at.operand(0));
            for (slot, when) in [(1, 1), (2, 0)] {
                if at.wants(slot) {
                    let kept = at.emit("select", &[dy, condition], Attrs::new().with("when", when), slot);
                    at.grad_reduced(slot, kept);
                }
            }
        }),
        ..selection(
            "where",
            &[("Where", rules::choose), ("Trilu", rules::trilu), ("OneHot", rules::one_hot)],
            |operands, _| {
                arity(operands, 3, 3)?;
                truth(&operands[0])?;
                let dtype = plain(&operands[1..], 2)?;
                let sides = broadcast(operands[1].dims(), operands[2].dims())?;
                Ok(vec![Type::dense(dtype, &broadcast(operands[0].dims(), &sides)?)])
            },
        )
    },
    // dy where the condition is as `when` says, 0 elsewhere.
    OpDef::made("select", &["dx"], |operands, _| {
        arity(operands, 2, 2)?;
        floats(operands, &[0])?;
        truth(&operands[1])?;
        dims(&operands[0], &broadcast(operands[0].dims(), operands[1].dims())?, "the broadcast condition")?;
        Ok(vec![operands[0].clone()])
    }),
    // The remainder, with the sign of the divisor or (`fmod`) of the dividend.
    selection("mod", &[("Mod", rules::remainder)], |operands, _| match alike(operands, 2, 2)? {
        DType::I64 => Ok(vec![Type::dense(DType::I64, &broadcast(operands[0].dims(), operands[1].dims())?)]),
        other => fail(format!("needs i64, not {other}")),
    }),
];

/// A row without gradient whose operands are broadcast to each other.
const fn selection(
    name: &'static str,
    import: Import,
    shape: fn(&[Type], &Attrs) -> Result<Vec<Type>, ShapeError>,
) -> OpDef {
    OpDef {
        name,
        results: &["y"],
        import,
        shape,
        gradient: Gradient::Stops,
        weight: None,
        estimates: &[],
        batch: Batch::When(|operands, _, together| {
            let all = operands.iter().try_fold(vec![], |all, it| broadcast(&all, it.dims())).unwrap_or_default();
            operands.iter().zip(together).any(|(it, &together)| together && it.dims() == all)
        }),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    }
}

/// Checks that there are so many operands, all floats, all integers or all truths.
fn plain(operands: &[Type], count: usize) -> Result<DType, ShapeError> {
    match alike(operands, count, count)? {
        dtype @ (DType::F32 | DType::I64 | DType::Bool) => Ok(dtype),
        other => fail(format!("needs f32, i64 or bool, not {other}")),
    }
}

fn truth(operand: &Type) -> Result<(), ShapeError> {
    match operand {
        Type::Dense { dtype: DType::Bool, .. } => Ok(()),
        other => fail(format!("needs truths, not {other}")),
    }
}

fn truths(operands: &[Type], _: DType) -> Result<Vec<Type>, ShapeError> {
    Ok(vec![Type::dense(DType::Bool, &broadcast(operands[0].dims(), operands[1].dims())?)])
}

fn ordered(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    match plain(operands, 2)? {
        DType::Bool => fail("truths have no order"),
        dtype => truths(operands, dtype),
    }
}

fn connective(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    arity(operands, 2, 2)?;
    operands.iter().try_for_each(truth)?;
    truths(operands, DType::Bool)
}
