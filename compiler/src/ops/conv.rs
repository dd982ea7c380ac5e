//! Convolutions over any number of spatial axes, and their transposes.

use super::rules::{added, all_floats, dims, fail, rounded, shaped, sizes, sum, unpacked};
use super::{Batch, Estimate, Gradient, Lower, OpDef, ShapeError, nothing, third};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "conv",
        results: &["y"],
        import: &[("Conv", rules::conv)],
        shape: conv,
        gradient: Gradient::Rule(vjp),
        weight: Some(1),
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        reuses: &[2],
        ..OpDef::made("conv_input_grad", &["dx"], |operands, attrs| {
            let plain = operands.first().is_none_or(|it| it.rank() <= 4) && attrs.int_or("groups", 1) == 1;
            if 2 < operands.len() && !plain {
                return fail("adds onto nothing with groups, or with more than two spatial axes");
            }
            added(operands, 2, |operands| input_grad(operands, attrs))
        })
    },
    OpDef {
        estimates: &[(1, Estimate::Safe)],
        writes: third,
        ..OpDef::made("conv_weight_grad", &["dw"], |operands, attrs| {
            sum(operands, 2, |operands| {
                let operands = &packed_planes(operands);
                all_floats(operands, 2, 2)?;
                let dw = shaped(attrs)?;
                let y = conv(&[operands[1].clone(), dw[0].clone()], attrs)?;
                dims(&operands[0], y[0].dims(), "dy")?;
                Ok(dw)
            })
        })
    },
    OpDef {
        name: "conv_transpose",
        results: &["y"],
        import: &[("ConvTranspose", rules::conv_transpose)],
        shape: input_grad,
        gradient: Gradient::Rule(transpose_vjp),
        weight: Some(1),
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        estimates: &[(1, Estimate::Safe)],
        writes: third,
        ..OpDef::made("conv_transpose_weight_grad", &["dw"], |operands, attrs| {
            sum(operands, 2, |operands| {
                all_floats(operands, 2, 2)?;
                let dw = shaped(attrs)?;
                let x = conv(&[operands[0].clone(), dw[0].clone()], attrs)?;
                dims(&operands[1], x[0].dims(), "x")?;
                Ok(dw)
            })
        })
    },
];

fn conv(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 3)?;
    let (x, w) = (operands[0].dims(), operands[1].dims());
    if x.len() < 3 || w.len() != x.len() {
        return fail(format!("needs x and w of one rank, 3 or more, has {x:?} and {w:?}"));
    }
    let groups = attrs.int_or("groups", 1).max(1) as u64;
    let channels = w[1].saturating_mul(groups);
    if x[1] != channels || !w[0].is_multiple_of(groups) {
        return fail(format!("x has {} channels, w takes {channels} in {groups} groups", x[1]));
    }
    if let Some(b) = operands.get(2) {
        dims(b, &w[..1], "the bias")?;
    }
    let mut y = vec![x[0], w[0]];
    y.extend(window(&x[2..], &w[2..], attrs, false)?);
    Ok(vec![Type::f32(&y)])
}

fn vjp(at: &mut Vjp<'_>) {
    let (dy, x, w) = (at.cotangent(0), at.operand(0), at.operand(1));
    let attrs = at.attrs().only(&["strides", "pads", "dilations", "groups"]);
    // The input's gradient last: it is as large as x, whose pruned copy then is not alive any more.
    if at.wants(1) {
        let shape = at.dims(w);
        at.grad(1, "conv_weight_grad", &[dy, x], attrs.clone().with("shape", shape.as_slice()));
    }
    if at.wants(2) {
        let channels = at.dims(w)[0];
        at.grad_per_channel(2, dy, channels);
    }
    if at.wants(0) {
        let shape = at.dims(x);
        at.grad(0, "conv_input_grad", &[dy, w], attrs.with("shape", shape.as_slice()));
    }
}

fn input_grad(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 2)?;
    let dx = shaped(attrs)?;
    let y = conv(&[dx[0].clone(), operands[1].clone()], attrs)?;
    dims(&operands[0], y[0].dims(), "dy")?;
    Ok(dx)
}

/// A transposed convolution is the input gradient of one, which is therefore its own input gradient.
fn transpose_vjp(at: &mut Vjp<'_>) {
    let (dy, x, w) = (at.cotangent(0), at.operand(0), at.operand(1));
    let attrs = at.attrs().only(&["strides", "pads", "dilations", "groups"]);
    if at.wants(1) {
        let shape = at.dims(w);
        at.grad(1, "conv_transpose_weight_grad", &[dy, x], attrs.clone().with("shape", shape.as_slice()));
    }
    if at.wants(0) {
        at.grad(0, "conv", &[dy, w], attrs);
    }
}

/// Sizes of the spatial axes after a window of `kernel` has slid over `input`.
pub fn window(input: &[u64], kernel: &[u64], attrs: &Attrs, ceil: bool) -> Result<Vec<u64>, ShapeError> {
    let n = input.len();
    let list = |name: &str, default: u64, len: usize| match sizes(attrs, name)? {
        list if list.is_empty() => Ok(vec![default; len]),
        list if list.len() == len => Ok(list),
        list => fail(format!("{name} needs {len} entries, has {}", list.len())),
    };
    let strides = list("strides", 1, n)?;
    let pads = list("pads", 0, 2 * n)?;
    let dilations = list("dilations", 1, n)?;
    (0..n)
        .map(|axis| {
            let reach = (kernel[axis].max(1) - 1).saturating_mul(dilations[axis]).saturating_add(1);
            let padded = input[axis].saturating_add(pads[axis] + pads[axis + n]);
            if strides[axis] == 0 || dilations[axis] == 0 || padded < reach {
                return fail(format!("a window of {reach} does not fit {padded} positions"));
            }
            let room = padded - reach;
            let steps = room / strides[axis];
            // As the field does: a last window that starts in the end padding does not count.
            let extra =
                ceil && !room.is_multiple_of(strides[axis]) && (steps + 1) * strides[axis] < input[axis] + pads[axis];
            Ok(steps + 1 + u64::from(extra))
        })
        .collect()
}

/// Types with x as if it were not packed: images, and signals with one spatial axis, are read as they are saved where
/// each is a sample.
fn packed_planes(operands: &[Type]) -> Vec<Type> {
    let image = |x: &[u64]| if x.len() <= 4 { x[1..].iter().product() } else { 0 };
    match operands.get(1) {
        Some(Type::TopK { dims, samples, .. }) if dims.first() == Some(samples) => unpacked(operands, 1, image),
        Some(Type::Quant { dims, .. }) if dims.len() <= 4 => rounded(operands, 1),
        _ => operands.to_vec(),
    }
}
