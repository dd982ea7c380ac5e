//! Pooling over windows; over everything it is a reduction.

use super::conv::window;
use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;

/// MaxPool.
pub fn max_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let attrs = pool(at, &at.dims(x))?;
    at.make("max_pool", &[x], attrs)?;
    Ok(())
}

/// AveragePool.
pub fn avg_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let attrs = pool(at, &at.dims(x))?;
    if attrs.ints("dilations").iter().any(|&it| it != 1) {
        return refuse("with dilations is not supported");
    }
    let attrs = attrs.only(&["kernel", "strides", "pads", "ceil"]);
    let attrs = attrs.with("count_include_pad", at.int("count_include_pad", 0));
    at.make("avg_pool", &[x], attrs)?;
    Ok(())
}

/// GlobalMaxPool: one window over everything.
pub fn global_max_pool(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let x = at.input(0)?;
    let dims = at.dims(x);
    if !(3..=4).contains(&dims.len()) {
        return refuse(format!("of an input with {} axes is not supported", dims.len()));
    }
    let (kernel, n) = (dims[2..].iter().map(|&it| it as i64).collect::<Vec<_>>(), dims.len() - 2);
    let attrs = Attrs::new().with("kernel", kernel).with("strides", vec![1; n]).with("pads", vec![0; 2 * n]);
    at.make("max_pool", &[x], attrs.with("dilations", vec![1; n]).with("ceil", 0))?;
    Ok(())
}

fn pool(at: &At<'_, '_>, dims: &[u64]) -> Result<Attrs, Refused> {
    let kernel = at.int_list("kernel_shape");
    if !(3..=4).contains(&dims.len()) || kernel.len() != dims.len() - 2 {
        return refuse(format!("of an input with {} axes by a kernel {kernel:?} is not supported", dims.len()));
    }
    if kernel.iter().any(|it| !(1..=1 << 31).contains(it)) {
        return refuse(format!("has the kernel {kernel:?}"));
    }
    if at.int("storage_order", 0) != 0 {
        return refuse("with storage_order is not supported");
    }
    let windows = window(at, &dims[2..], &kernel)?;
    let attrs = windows.iter().fold(Attrs::new().with("kernel", kernel), |attrs, it| attrs.with(it.0, it.1.clone()));
    Ok(attrs.with("ceil", at.int("ceil_mode", 0)))
}
