//! Attention: products, softmax and products again, without the probabilities in memory.

use super::Kernel;
use super::call::{Call, Result};
use super::strides::broadcast;
use crate::error::KernelError;
use crate::types::Type;

/// `y = softmax(q kᵀ * scale + mask) v`, each query head with the key head of its group.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Axes before the heads.
    pub lead: Vec<usize>,
    /// Heads of q and y.
    pub heads: usize,
    /// Heads of k and v; divides `heads`.
    pub kv_heads: usize,
    /// Queries: rows of q and y.
    pub queries: usize,
    /// Keys: rows of k and v.
    pub keys: usize,
    /// Columns of q and k.
    pub depth: usize,
    /// Columns of v and y.
    pub width: usize,
    /// What products of queries and keys are multiplied by.
    pub scale: f64,
    /// Whether query t sees the keys up to t only.
    pub causal: bool,
    /// Whether a query whose scores are all -inf makes zeros instead of what is not a number.
    pub safe: bool,
    /// Strides of the mask for `[lead, heads, queries, keys]`, 0 where it is broadcast; none without a mask.
    pub mask: Option<Vec<usize>>,
}

impl Attention {
    /// All axes before the heads, as one.
    pub fn batch(&self) -> usize {
        self.lead.iter().product()
    }

    /// The key head that a query head looks at.
    pub fn kv_head(&self, head: usize) -> usize {
        head / (self.heads / self.kv_heads)
    }

    /// How many keys a query sees, from the first one on.
    pub fn seen(&self, query: usize) -> usize {
        if self.causal { self.keys.min(query + 1) } else { self.keys }
    }

    /// Where the mask of a query starts, and the stride along its keys; none without a mask.
    pub fn mask_row(&self, batch: usize, head: usize, query: usize) -> Option<(usize, usize)> {
        let strides = self.mask.as_ref()?;
        let (lead, rest) = strides.split_at(self.lead.len());
        let (mut at, mut start) = (batch, head * rest[0] + query * rest[1]);
        for (&dim, &stride) in self.lead.iter().zip(lead).rev() {
            start += at % dim * stride;
            at /= dim;
        }
        Some((start, rest[2]))
    }

    fn of(&self, heads: usize, rows: usize, columns: usize) -> Vec<usize> {
        [&self.lead[..], &[heads, rows, columns]].concat()
    }
}

pub(super) fn attention(call: &Call<'_>) -> Result<Kernel> {
    call.operands(3..=4)?;
    let it = sizes(call, 0, 3)?;
    call.wanted(0)?;
    let y = Type::f32(&it.of(it.heads, it.queries, it.width));
    call.results(&[y, Type::f32(&[&it.lead[..], &[it.heads, it.queries]].concat())])?;
    Ok(Kernel::Attention(it))
}

/// dy, q, k, v, lse and the mask.
pub(super) fn attention_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(5..=6)?;
    let it = sizes(call, 1, 5)?;
    call.f32_of(0, &it.of(it.heads, it.queries, it.width))?;
    call.f32_of(4, &[&it.lead[..], &[it.heads, it.queries]].concat())?;
    let (q, k) = (it.of(it.heads, it.queries, it.depth), it.of(it.kv_heads, it.keys, it.depth));
    let v = it.of(it.kv_heads, it.keys, it.width);
    call.results(&[Type::f32(&q), Type::f32(&k), Type::f32(&v)])?;
    Ok(Kernel::AttentionGrad(it))
}

/// Sizes from q, k and v, which follow each other from `first` on, and the mask, if there is an operand `mask`.
fn sizes(call: &Call<'_>, first: usize, mask: usize) -> Result<Attention> {
    let (q, k, v) = (call.f32(first)?, call.f32(first + 1)?, call.f32(first + 2)?);
    let (&[ref lead @ .., heads, queries, depth], &[ref k_lead @ .., kv_heads, keys, k_depth]) = (q, k) else {
        return Err(call.wrong_operand(first, "f32[.., heads, rows, columns], as the next two"));
    };
    if lead != k_lead || depth != k_depth || !heads.is_multiple_of(kv_heads) {
        let expected = format!("keys of {depth} columns, of {heads} heads or a divisor of it, behind {lead:?}");
        return Err(call.wrong_operand(first + 1, expected));
    }
    let &[ref v_lead @ .., v_heads, v_keys, width] = v else {
        return Err(call.wrong_operand(first + 2, "f32[.., heads, rows, columns]"));
    };
    if (v_lead, v_heads, v_keys) != (lead, kv_heads, keys) {
        return Err(call.wrong_operand(first + 2, format!("{kv_heads} heads of {keys} rows behind {lead:?}")));
    }
    let mask = match call.operands.len() <= mask {
        true => None,
        false => {
            let (dims, scores) = (call.f32(mask)?, [q[..q.len() - 1].to_vec(), vec![keys]].concat());
            let strides = broadcast(dims, &scores);
            Some(strides.ok_or_else(|| KernelError::Sizes(format!("a mask {dims:?} does not fit {scores:?}")))?)
        }
    };
    let (scale, causal, safe) = (call.float("scale")?, call.flag("causal")?, call.flag("safe")?);
    let lead = lead.to_vec();
    Ok(Attention { lead, heads, kv_heads, queries, keys, depth, width, scale, causal, safe, mask })
}
