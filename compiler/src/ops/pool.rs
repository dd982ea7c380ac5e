//! Pooling over windows. Max pooling saves the position of each maximum, not its input.

use super::conv::window;
use super::rules::{all_floats, dims, fail, floats, shaped, sizes};
use super::{Batch, Gradient, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::{DType, Type};

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "max_pool",
        results: &["y", "index"],
        import: &[("MaxPool", rules::max_pool), ("GlobalMaxPool", rules::global_max_pool)],
        shape: max_pool,
        gradient: Gradient::Rule(|at| {
            let (dy, index) = (at.cotangent(0), at.result(1));
            let attrs = with_shape(at);
            at.grad(0, "max_pool_grad", &[dy, index], attrs);
        }),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef::made("max_pool_grad", &["dx"], |operands, attrs| {
        floats(operands, &[0])?;
        let dx = shaped(attrs)?;
        let forward = max_pool(&dx, attrs)?;
        dims(&operands[0], forward[0].dims(), "dy")?;
        if operands.get(1) != Some(&forward[1]) {
            return fail(format!("the index must be {}", forward[1]));
        }
        Ok(dx)
    }),
    OpDef {
        name: "avg_pool",
        results: &["y"],
        import: &[
            ("AveragePool", rules::avg_pool),
            ("LpPool", rules::lp_pool),
            ("GlobalLpPool", rules::global_lp_pool),
        ],
        shape: avg_pool,
        gradient: Gradient::Rule(|at| {
            let dy = at.cotangent(0);
            let attrs = with_shape(at);
            at.grad(0, "avg_pool_grad", &[dy], attrs);
        }),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef::made("avg_pool_grad", &["dx"], |operands, attrs| {
        all_floats(operands, 1, 1)?;
        let dx = shaped(attrs)?;
        dims(&operands[0], avg_pool(&dx, attrs)?[0].dims(), "dy")?;
        Ok(dx)
    }),
];

fn with_shape(at: &Vjp<'_>) -> Attrs {
    let shape = at.dims(at.operand(0));
    at.attrs().clone().with("shape", shape.as_slice())
}

fn avg_pool(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 1, 1)?;
    let x = operands[0].dims();
    let kernel = sizes(attrs, "kernel")?;
    if x.len() < 3 || kernel.len() != x.len() - 2 || kernel.contains(&0) {
        return fail(format!("a kernel of {kernel:?} does not fit {x:?}"));
    }
    let mut y = x[..2].to_vec();
    y.extend(window(&x[2..], &kernel, attrs, attrs.int_or("ceil", 0) != 0)?);
    Ok(vec![Type::f32(&y)])
}

fn max_pool(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let y = avg_pool(operands, attrs)?;
    let positions: u64 = sizes(attrs, "kernel")?.iter().fold(1, |all, &it| all.saturating_mul(it));
    let index = if positions <= 256 { DType::U8 } else { DType::I32 };
    let index = Type::dense(index, y[0].dims());
    Ok(vec![y[0].clone(), index])
}
