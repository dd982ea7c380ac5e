//! Convolutions, and the windows that they share with pooling.

use razorc_proto::onnx::NodeProto;

use super::node::{At, Refused, refuse};
use super::shapes::{Attributes, counted};
use crate::attrs::Attrs;

/// Conv.
pub fn conv(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, w) = (at.input(0)?, at.input(1)?);
    let (input, kernel) = (at.dims(x), at.dims(w));
    if input.len() < 3 || kernel.len() != input.len() {
        return refuse(format!("of {input:?} with weights {kernel:?} is not supported"));
    }
    let kernel: Vec<i64> = kernel[2..].iter().map(|&it| it as i64).collect();
    let attrs = window(at.node(), &input[2..], &kernel)?.with("groups", at.int("group", 1));
    let mut operands = vec![x, w];
    if at.has(2) {
        operands.push(at.input(2)?);
    }
    at.make("conv", &operands, attrs)?;
    Ok(())
}

/// ConvTranspose: the input gradient of a convolution, behind which there may be zeros, and a bias.
pub fn conv_transpose(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, w) = (at.input(0)?, at.input(1)?);
    let Transposed { attrs, reached, y } = transposed(at.node(), &at.dims(x), &at.dims(w))?;
    let attrs = attrs.with("shape", reached.as_slice());
    let has_bias = at.has(2);
    if reached == y && !has_bias {
        at.make("conv_transpose", &[x, w], attrs)?;
        return Ok(());
    }
    let mut value = at.emit("conv_transpose", &[x, w], attrs, "product")?;
    if reached != y {
        let behind = y.iter().zip(&reached).map(|(y, reached)| (y - reached) as i64);
        let pads: Vec<i64> = std::iter::repeat_n(0, y.len()).chain(behind).collect();
        value = at.emit("pad", &[value], Attrs::new().with("pads", pads).with("value", 0.0), "padded")?;
    }
    if !has_bias {
        at.finish(value);
        return Ok(());
    }
    let bias = at.input(2)?;
    let mut shape = vec![1; y.len()];
    shape[1] = y[1];
    let bias = at.emit("reshape", &[bias], Attrs::new().with("shape", shape.as_slice()), "bias")?;
    at.make("add", &[value, bias], Attrs::new())?;
    Ok(())
}

/// A transposed convolution.
pub struct Transposed {
    /// Of the convolution that it is the input gradient of.
    attrs: Attrs,
    /// Axis sizes as far as windows reach.
    reached: Vec<u64>,
    /// Axis sizes of the result: there may be more, which nothing reaches.
    pub y: Vec<u64>,
}

/// What a ConvTranspose of x with w does.
pub fn transposed(node: &NodeProto, x: &[u64], w: &[u64]) -> Result<Transposed, Refused> {
    let n = x.len().saturating_sub(2);
    if n == 0 || x.len() != w.len() || x[1] != w[0] {
        return refuse(format!("of {x:?} with weights {w:?} is not supported"));
    }
    let list = |name: &str, default: i64| match node.ints(name) {
        list if list.is_empty() => Ok(vec![default; n]),
        list if list.len() == n && list.iter().all(|it| (default..1 << 31).contains(it)) => Ok(list),
        list => refuse(format!("has {name} {list:?} for {n} spatial axes")),
    };
    let (strides, dilations, behind) = (list("strides", 1)?, list("dilations", 1)?, list("output_padding", 0)?);
    let groups = node.int("group", 1).clamp(1, 1 << 31);
    let auto = node.word("auto_pad", "NOTSET");
    let asked = match node.ints("output_shape") {
        asked if asked.is_empty() || asked.len() == n => asked,
        asked if asked.len() == n + 2 => asked[2..].to_vec(),
        asked => return refuse(format!("has output_shape {asked:?} for {n} spatial axes")),
    };
    let pads = match node.ints("pads") {
        pads if pads.is_empty() => vec![0; 2 * n],
        pads if pads.len() == 2 * n && pads.iter().all(|it| (0..1 << 31).contains(it)) => pads,
        pads => return refuse(format!("has pads {pads:?} for {n} spatial axes")),
    };
    let channels = counted((w[1] as i64).saturating_mul(groups), "a number of channels")?;
    let (mut begins, mut ends) = (vec![], vec![]);
    let (mut reached, mut y) = (vec![x[0], channels], vec![x[0], channels]);
    for axis in 0..n {
        let (input, stride) = (x[axis + 2] as i64, strides[axis]);
        let reach = (w[axis + 2] as i64 - 1).saturating_mul(dilations[axis]).saturating_add(1);
        let whole = (input - 1).saturating_mul(stride).saturating_add(reach);
        let wanted = match auto.as_str() {
            _ if !asked.is_empty() => Some(asked[axis]),
            "SAME_UPPER" | "SAME_LOWER" => Some(input.saturating_mul(stride)),
            "NOTSET" | "VALID" | "" => None,
            word => return refuse(format!("has auto_pad {word}, which is not supported")),
        };
        let (begin, end, size) = match wanted {
            Some(size) => {
                let total = whole.saturating_add(behind[axis]).saturating_sub(size).max(0);
                // The odd one goes to the end for SAME_UPPER, else to the start.
                let begin = if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 };
                (begin, total - begin, size)
            }
            None => {
                let pads = if auto == "VALID" { [0, 0] } else { [pads[axis], pads[axis + n]] };
                let size = whole.saturating_add(behind[axis]).saturating_sub(pads[0]).saturating_sub(pads[1]);
                (pads[0], pads[1], size)
            }
        };
        // A convolution steps over what is less than a stride, and no more.
        let most = whole.saturating_sub(begin).saturating_sub(end).saturating_add(stride - 1);
        begins.push(begin);
        ends.push(end);
        y.push(counted(size, "a result")?);
        reached.push(counted(size.min(most), "a result")?);
    }
    let attrs = Attrs::new().with("strides", strides).with("pads", [begins, ends].concat());
    Ok(Transposed { attrs: attrs.with("dilations", dilations).with("groups", groups), reached, y })
}

/// Strides, explicit pads and dilations of a window.
pub fn window(node: &NodeProto, input: &[u64], kernel: &[i64]) -> Result<Attrs, Refused> {
    let n = input.len();
    let list = |name: &str| match node.ints(name) {
        list if list.is_empty() => Ok(vec![1; n]),
        list if list.len() == n && list.iter().all(|it| (1..=1 << 31).contains(it)) => Ok(list),
        list => refuse(format!("has {name} {list:?} for {n} spatial axes")),
    };
    let (strides, dilations) = (list("strides")?, list("dilations")?);
    let pads = match node.word("auto_pad", "NOTSET").as_str() {
        "NOTSET" | "" => match node.ints("pads") {
            pads if pads.is_empty() => vec![0; 2 * n],
            pads if pads.len() == 2 * n && pads.iter().all(|it| (0..=1 << 31).contains(it)) => pads,
            pads => return refuse(format!("has pads {pads:?} for {n} spatial axes")),
        },
        "VALID" => vec![0; 2 * n],
        word @ ("SAME_UPPER" | "SAME_LOWER") => {
            let totals = (0..n).map(|axis| {
                let (size, stride) = (input[axis] as i64, strides[axis]);
                let reach = (kernel[axis] - 1).saturating_mul(dilations[axis]).saturating_add(1);
                ((size + stride - 1) / stride - 1)
                    .saturating_mul(stride)
                    .saturating_add(reach)
                    .saturating_sub(size)
                    .max(0)
            });
            let totals: Vec<i64> = totals.collect();
            // The odd one goes to the end for SAME_UPPER, to the start for SAME_LOWER.
            let lesser = totals.iter().map(|it| it / 2);
            let greater = totals.iter().map(|it| it - it / 2);
            if word == "SAME_UPPER" { lesser.chain(greater).collect() } else { greater.chain(lesser).collect() }
        }
        word => return refuse(format!("has auto_pad {word}, which is not supported")),
    };
    Ok(Attrs::new().with("strides", strides).with("pads", pads).with("dilations", dilations))
}
