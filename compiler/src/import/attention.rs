//! The Attention node.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;
use crate::graph::Value;

/// Attention of four axes, or of three where the last one holds all heads. A row that sees nothing is zero.
pub fn attention(at: &mut At<'_, '_>) -> Result<(), Refused> {
    for (slot, what) in [(4, "past keys"), (5, "past values"), (6, "lengths of sequences")] {
        if at.has(slot) {
            return refuse(format!("with {what} is not supported; export the model without a cache"));
        }
    }
    for (slot, what) in [(1, "the present keys"), (2, "the present values"), (3, "the scores")] {
        if at.is_read(slot) {
            return refuse(format!("of which {what} are read is not supported; only its first output is"));
        }
    }
    if at.float("softcap", 0.0) != 0.0 {
        return refuse("with a softcap is not supported; export attention as products and a softmax");
    }
    for name in ["left_window_size", "right_window_size"] {
        if 0 <= at.int(name, -1) {
            return refuse(format!("with {name} is not supported; export attention as products and a softmax"));
        }
    }
    let (q, k, v) = (at.input(0)?, at.input(1)?, at.input(2)?);
    let flat = at.dims(q).len() == 3;
    if ![q, k, v].iter().all(|&it| at.dims(it).len() == if flat { 3 } else { 4 }) {
        return refuse(format!("of {:?}, {:?} and {:?} is not supported", at.dims(q), at.dims(k), at.dims(v)));
    }
    let (q, k, v) = match flat {
        true => {
            let (heads, kv_heads) = (at.int("q_num_heads", 0), at.int("kv_num_heads", 0));
            let (q, k) = (heads_apart(at, q, heads, "queries")?, heads_apart(at, k, kv_heads, "keys")?);
            (q, k, heads_apart(at, v, kv_heads, "values")?)
        }
        false => (q, k, v),
    };
    let depth = at.dims(q)[3] as f64;
    let scale = at.attr("scale").map_or(1.0 / depth.sqrt(), |it| it.f().into());
    let mut operands = vec![q, k, v];
    if at.has(3) {
        let mask = at.input(3)?;
        if at.is_trained(mask) {
            return refuse("has a mask that would be trained; leave its weights out with `--freeze`");
        }
        operands.push(mask);
    }
    let causal = i64::from(at.int("is_causal", 0) != 0);
    let attrs = Attrs::new().with("scale", scale).with("causal", causal).with("safe", 1);
    if !flat {
        at.make("attention", &operands, attrs)?;
        return Ok(());
    }
    let y = at.emit("attention", &operands, attrs, "heads")?;
    let rows = at.emit("transpose", &[y], Attrs::new().with("perm", vec![0, 2, 1, 3]), "rows")?;
    at.finish_reshaped(rows)
}

/// `[batch, rows, heads * columns]` as `[batch, heads, rows, columns]`.
fn heads_apart(at: &mut At<'_, '_>, x: Value, heads: i64, name: &str) -> Result<Value, Refused> {
    let dims = at.dims(x);
    let count = u64::try_from(heads).ok().filter(|&it| it != 0 && dims[2].is_multiple_of(it));
    let Some(heads) = count else {
        return refuse(format!("has {heads} heads for {name} of {dims:?}"));
    };
    let apart = Attrs::new().with("shape", [dims[0], dims[1], heads, dims[2] / heads].as_slice());
    let x = at.emit("reshape", &[x], apart, name)?;
    at.emit("transpose", &[x], Attrs::new().with("perm", vec![0, 2, 1, 3]), name)
}
