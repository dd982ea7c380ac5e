//! Pooling over windows; over everything it is a reduction.

use razorc_proto::onnx::NodeProto;

use super::conv::window;
use super::node::{At, Refused, refuse};
use super::shapes::Attributes;
use crate::attrs::Attrs;
use crate::ops;

/// MaxPool.
pub fn max_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let attrs = pool(at.node(), &at.dims(x))?;
    if at.makes(1) && at.int("storage_order", 0) != 0 {
        return refuse("with storage_order is not supported");
    }
    at.make("max_pool", &[x], attrs)?;
    Ok(())
}

/// AveragePool.
pub fn avg_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let attrs = pool(at.node(), &at.dims(x))?.with("count_include_pad", at.int("count_include_pad", 0));
    at.make("avg_pool", &[x], attrs)?;
    Ok(())
}

/// GlobalMaxPool: one window over everything.
pub fn global_max_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let dims = at.dims(x);
    if dims.len() < 3 {
        return refuse(format!("of an input with {} axes is not supported", dims.len()));
    }
    let all: u64 = dims[2..].iter().product();
    let flat = Attrs::new().with("shape", [dims[0], dims[1], all].as_slice());
    let line = if dims.len() == 3 { x } else { at.emit("reshape", &[x], flat, "line")? };
    let attrs = Attrs::new().with("kernel", vec![all as i64]).with("strides", vec![1]).with("pads", vec![0; 2]);
    let attrs = attrs.with("dilations", vec![1]).with("ceil", 0);
    if dims.len() == 3 {
        at.make("max_pool", &[line], attrs)?;
        return Ok(());
    }
    let most = at.emit("max_pool", &[line], attrs, "most")?;
    at.finish_reshaped(most)
}

/// Axis sizes after pooling x.
pub fn pooled(node: &NodeProto, x: &[u64]) -> Result<Vec<u64>, Refused> {
    let attrs = pool(node, x)?;
    Ok([&x[..2], &windows(x, &attrs)?].concat())
}

fn windows(x: &[u64], attrs: &Attrs) -> Result<Vec<u64>, Refused> {
    let kernel: Vec<u64> = attrs.ints("kernel").iter().map(|&it| it as u64).collect();
    ops::window(&x[2..], &kernel, attrs, attrs.int_or("ceil", 0) != 0).map_err(|e| Refused(e.to_string()))
}

/// Attributes of a pooling, every window of which covers an element.
pub(super) fn pool(node: &NodeProto, dims: &[u64]) -> Result<Attrs, Refused> {
    let kernel = node.ints("kernel_shape");
    if dims.len() < 3 || kernel.len() != dims.len() - 2 {
        return refuse(format!("of an input with {} axes by a kernel {kernel:?} is not supported", dims.len()));
    }
    if kernel.iter().any(|it| !(1..=1 << 31).contains(it)) {
        return refuse(format!("has the kernel {kernel:?}"));
    }
    let window = window(node, &dims[2..], &kernel)?;
    let attrs = window.iter().fold(Attrs::new().with("kernel", kernel), |attrs, it| attrs.with(it.0, it.1.clone()));
    let attrs = attrs.with("ceil", node.int("ceil_mode", 0));
    let outputs = windows(dims, &attrs)?;
    for (axis, (&input, &output)) in dims[2..].iter().zip(&outputs).enumerate() {
        let list = |name: &str| attrs.ints(name)[axis] as u64;
        let (begin, dilation) = (list("pads"), list("dilations"));
        let first = begin <= dilation.saturating_mul(list("kernel") - 1) && (begin == 0 || dilation <= input);
        if !first || begin + input <= (output - 1).saturating_mul(list("strides")) {
            return refuse("has a window that lies wholly in the padding, which is not supported");
        }
    }
    Ok(attrs)
}
