//! Attention in one op: the probabilities are recomputed by tiles in the backward phase and never saved.

use super::rules::{all_floats, broadcast, dims, fail};
use super::{Batch, Estimate, Gradient, Lower, OpDef, ShapeError, nothing};
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "attention",
        results: &["y", "lse"],
        import: &[("Attention", rules::attention)],
        shape: |operands, _| {
            all_floats(operands, 3, 4)?;
            let (y, lse) = sizes(operands)?;
            Ok(vec![Type::f32(&y), Type::f32(&lse)])
        },
        gradient: Gradient::Rule(vjp),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        estimates: &[(1, Estimate::Rounded), (2, Estimate::Rounded), (3, Estimate::Rounded)],
        ..OpDef::made("attention_grad", &["dq", "dk", "dv"], |operands, _| {
            all_floats(operands, 5, 6)?;
            let forward = [&operands[1..4], &operands[5..]].concat();
            let (y, lse) = sizes(&forward)?;
            dims(&operands[0], &y, "dy")?;
            dims(&operands[4], &lse, "lse")?;
            Ok(operands[1..4].to_vec())
        })
    },
];

/// Axes of y and of the log-sum-exp of its rows, from those of q, k, v and the mask.
fn sizes(operands: &[Type]) -> Result<(Vec<u64>, Vec<u64>), ShapeError> {
    let (q, k, v) = (operands[0].dims(), operands[1].dims(), operands[2].dims());
    let (&[ref lead @ .., heads, queries, depth], &[ref k_lead @ .., kv_heads, keys, k_depth]) = (q, k) else {
        return fail(format!("needs q and k of [.., heads, rows, columns], has {q:?} and {k:?}"));
    };
    if lead != k_lead || depth != k_depth || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return fail(format!("keys {k:?} do not fit queries {q:?}"));
    }
    let Some((&width, _)) = v.split_last().filter(|it| it.1 == &k[..k.len() - 1]) else {
        return fail(format!("values {v:?} do not fit keys {k:?}"));
    };
    let lse = [lead, &[heads, queries]].concat();
    if let Some(mask) = operands.get(3) {
        let scores = [&lse[..], &[keys]].concat();
        if broadcast(mask.dims(), &scores)? != scores {
            return fail(format!("a mask {:?} does not broadcast to {scores:?}", mask.dims()));
        }
    }
    Ok(([&lse[..], &[width]].concat(), lse))
}

fn vjp(at: &mut Vjp<'_>) {
    assert!(!at.wants(3), "a mask of attention is not trained; whoever makes the node sees to that");
    let (dy, lse) = (at.cotangent(0), at.result(1));
    let mut operands = vec![dy, at.operand(0), at.operand(1), at.operand(2), lse];
    if at.operands() == 4 {
        operands.push(at.operand(3));
    }
    let attrs = at.attrs().clone();
    at.grads(&[0, 1, 2], "attention_grad", &operands, attrs);
}
