//! Convolutions, and the windows that they share with pooling.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;

/// Conv, over one or two spatial axes.
pub fn conv(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (x, w) = (at.input(0)?, at.input(1)?);
    let (input, kernel) = (at.dims(x), at.dims(w));
    if !(3..=4).contains(&input.len()) || kernel.len() != input.len() {
        return refuse(format!(
            "over {} axes is not supported; one or two spatial axes are",
            input.len().saturating_sub(2)
        ));
    }
    let kernel: Vec<i64> = kernel[2..].iter().map(|&it| it as i64).collect();
    let attrs = window(at, &input[2..], &kernel)?.with("groups", at.int("group", 1));
    let mut operands = vec![x, w];
    if at.has(2) {
        operands.push(at.input(2)?);
    }
    at.make("conv", &operands, attrs)?;
    Ok(())
}

/// Strides, explicit pads and dilations of a window.
pub fn window(at: &At<'_, '_>, input: &[u64], kernel: &[i64]) -> Result<Attrs, Refused> {
    let n = input.len();
    let list = |name: &str| match at.int_list(name) {
        list if list.is_empty() => Ok(vec![1; n]),
        list if list.len() == n && list.iter().all(|it| (1..=1 << 31).contains(it)) => Ok(list),
        list => refuse(format!("has {name} {list:?} for {n} spatial axes")),
    };
    let (strides, dilations) = (list("strides")?, list("dilations")?);
    let pads = match at.word("auto_pad", "NOTSET").as_str() {
        "NOTSET" | "" => match at.int_list("pads") {
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
