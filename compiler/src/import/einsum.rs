//! Einsum: sums, transposes and products.

use std::collections::BTreeMap;

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;
use crate::graph::Value;

/// An equation whose every axis has a letter, those of an ellipsis included.
pub struct Equation {
    terms: Vec<Vec<char>>,
    result: Vec<char>,
    sizes: BTreeMap<char, u64>,
}

/// Letter of an ellipsis' axis, counted from its right end.
fn nameless(from_right: usize) -> char {
    char::from_u32(0xe000 + from_right as u32).unwrap_or('\u{e000}')
}

impl Equation {
    /// Reads an equation for inputs of these sizes.
    pub fn parse(text: &str, dims: &[Vec<u64>]) -> Result<Equation, Refused> {
        let text: String = text.chars().filter(|it| !it.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let parts: Vec<&str> = left.split(',').collect();
        if parts.len() != dims.len() {
            return refuse(format!("has {} inputs for the equation `{text}`", dims.len()));
        }
        let (mut terms, mut sizes, mut widest) = (vec![], BTreeMap::new(), 0);
        for (part, dims) in parts.iter().zip(dims) {
            let named = part.replace("...", "").len();
            let hidden = dims.len().saturating_sub(named);
            widest = widest.max(if part.contains("...") { hidden } else { 0 });
            let term = letters(part, hidden)?;
            if term.len() != dims.len() {
                return refuse(format!("reads {dims:?} as `{part}` of `{text}`"));
            }
            if let Some(twice) = term.iter().enumerate().find(|(at, it)| term[..*at].contains(it)) {
                return refuse(format!("takes a diagonal, `{}` twice in `{part}`, which is not supported", twice.1));
            }
            for (&letter, &size) in term.iter().zip(dims) {
                let known = sizes.entry(letter).or_insert(size);
                if *known == 1 {
                    *known = size;
                }
                if size != 1 && size != *known {
                    return refuse(format!("has the sizes {known} and {size} for one axis of `{text}`"));
                }
            }
            terms.push(term);
        }
        let result = match right {
            Some(right) => letters(right, widest)?,
            None => {
                let all: Vec<char> = terms.iter().flatten().copied().collect();
                let once = |it: &&char| it.is_ascii_alphabetic() && all.iter().filter(|other| other == it).count() == 1;
                let mut named: Vec<char> = all.iter().filter(once).copied().collect();
                named.sort_unstable();
                (0..widest).rev().map(nameless).chain(named).collect()
            }
        };
        let odd = result.iter().enumerate().find(|(at, it)| result[..*at].contains(it) || !sizes.contains_key(it));
        if odd.is_some() {
            return refuse(format!("cannot make what `{text}` asks for"));
        }
        Ok(Equation { terms, result, sizes })
    }

    /// Axis sizes of the result.
    pub fn result(&self) -> Vec<u64> {
        self.dims(&self.result)
    }

    fn dims(&self, letters: &[char]) -> Vec<u64> {
        letters.iter().map(|it| self.sizes[it]).collect()
    }
}

fn letters(part: &str, hidden: usize) -> Result<Vec<char>, Refused> {
    let (before, behind) = match part.split_once("...") {
        Some((before, behind)) => (before, Some(behind)),
        None => (part, None),
    };
    let ellipsis = (0..hidden).rev().map(nameless).filter(|_| behind.is_some());
    let term: Vec<char> = before.chars().chain(ellipsis).chain(behind.unwrap_or("").chars()).collect();
    let is_letter = |it: &char| it.is_ascii_alphabetic() || ('\u{e000}'..'\u{f000}').contains(it);
    match term.iter().find(|it| !is_letter(it)) {
        Some(it) => refuse(format!("has `{it}` in its equation")),
        None => Ok(term),
    }
}

/// A tensor, and a letter for each of its axes.
struct Term {
    value: Value,
    axes: Vec<char>,
}

/// Einsum.
pub fn einsum(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let inputs = (0..at.inputs()).map(|slot| at.input(slot)).collect::<Result<Vec<_>, _>>()?;
    let dims: Vec<Vec<u64>> = inputs.iter().map(|&it| at.dims(it)).collect();
    let equation = Equation::parse(&at.word("equation", ""), &dims)?;
    let mut terms = vec![];
    for (value, axes) in inputs.into_iter().zip(&equation.terms) {
        // An axis of size 1 along which others are longer is as good as absent.
        let dims = at.dims(value);
        let kept = axes.iter().zip(dims).filter(|(it, dim)| *dim == equation.sizes[*it]).map(|it| *it.0);
        let axes: Vec<char> = kept.collect();
        let value = reshaped(at, value, &equation.dims(&axes))?;
        terms.push(Term { value, axes });
    }
    let mut rest = terms.into_iter().peekable();
    let mut left = rest.next().ok_or_else(|| Refused("has no inputs".into()))?;
    while let Some(right) = rest.next() {
        let last = rest.peek().is_none();
        let later: Vec<char> = equation.terms[equation.terms.len() - rest.len()..].concat();
        let kept = |it: &char| equation.result.contains(it) || later.contains(it);
        left = summed(at, left, |it| kept(it) || right.axes.contains(it))?;
        let right = summed(at, right, |it| kept(it) || left.axes.contains(it))?;
        left = product(at, &equation, [left, right], kept, last)?;
    }
    let term = summed(at, left, |it| equation.result.contains(it))?;
    let perm: Vec<usize> = equation.result.iter().filter_map(|it| term.axes.iter().position(|own| own == it)).collect();
    if perm.is_sorted() {
        return at.finish_reshaped(term.value);
    }
    let perm: Vec<i64> = perm.into_iter().map(|it| it as i64).collect();
    at.make("transpose", &[term.value], Attrs::new().with("perm", perm))?;
    Ok(())
}

/// Sums over the axes that nobody needs.
fn summed(at: &mut At<'_, '_>, term: Term, needed: impl Fn(&char) -> bool) -> Result<Term, Refused> {
    let axes: Vec<i64> = (0..term.axes.len()).filter(|&it| !needed(&term.axes[it])).map(|it| it as i64).collect();
    if axes.is_empty() {
        return Ok(term);
    }
    let attrs = Attrs::new().with("axes", axes).with("keepdims", 0);
    let value = at.emit("reduce_sum", &[term.value], attrs, "sum")?;
    Ok(Term { value, axes: term.axes.into_iter().filter(needed).collect() })
}

/// The product of two tensors, summed over the axes that both have and that are not kept.
fn product(
    at: &mut At<'_, '_>,
    equation: &Equation,
    [a, b]: [Term; 2],
    kept: impl Fn(&char) -> bool,
    last: bool,
) -> Result<Term, Refused> {
    let only = |of: &Term, other: &Term| -> Vec<char> {
        of.axes.iter().filter(|it| !other.axes.contains(it)).copied().collect()
    };
    let shared: Vec<char> = a.axes.iter().filter(|it| b.axes.contains(it)).copied().collect();
    let (batch, inner): (Vec<char>, Vec<char>) = shared.into_iter().partition(&kept);
    let weights = [&a, &b].map(|it| !at.is_data(it.value));
    let is_linear = batch.is_empty() && !inner.is_empty() && weights[0] != weights[1];
    let turned = [&batch[..], &only(&b, &a), &only(&a, &b)].concat();
    // A weight goes to the right; so does what the result has last.
    let swap = if is_linear { weights[0] } else { last && turned == equation.result };
    let (a, b) = if swap { (b, a) } else { (a, b) };
    let (rows, columns) = (only(&a, &b), only(&b, &a));
    let axes = [&batch[..], &rows, &columns].concat();
    let out = equation.dims(&axes);
    let count = |letters: &[char]| equation.dims(letters).iter().product::<u64>();
    let value = if inner.is_empty() {
        let a = ordered(at, &a, &[&batch[..], &rows].concat())?;
        let b = ordered(at, &b, &[&batch[..], &columns].concat())?;
        let (lead, ones) = (equation.dims(&batch), vec![1; rows.len()]);
        let behind = vec![1; columns.len()];
        let a = reshaped(at, a, &[&lead[..], &equation.dims(&rows), &behind].concat())?;
        let b = reshaped(at, b, &[&lead[..], &ones, &equation.dims(&columns)].concat())?;
        at.emit("mul", &[a, b], Attrs::new(), "product")?
    } else if is_linear {
        let x = ordered(at, &a, &[&rows[..], &inner].concat())?;
        let x = reshaped(at, x, &[&equation.dims(&rows)[..], &[count(&inner)]].concat())?;
        let transpose = b.axes == [&columns[..], &inner].concat();
        let order = if transpose { [&columns[..], &inner] } else { [&inner[..], &columns] };
        let w = ordered(at, &b, &order.concat())?;
        let w = reshaped(at, w, &order.map(count))?;
        at.emit("linear", &[x, w], Attrs::new().with("transpose", i64::from(transpose)), "product")?
    } else {
        let ta = a.axes == [&batch[..], &inner, &rows].concat();
        let tb = b.axes == [&batch[..], &columns, &inner].concat();
        let a = matrices(at, equation, &a, &batch, if ta { [&inner, &rows] } else { [&rows, &inner] })?;
        let b = matrices(at, equation, &b, &batch, if tb { [&columns, &inner] } else { [&inner, &columns] })?;
        let attrs = Attrs::new().with("ta", i64::from(ta)).with("tb", i64::from(tb));
        at.emit("matmul", &[a, b], attrs, "product")?
    };
    Ok(Term { value: reshaped(at, value, &out)?, axes })
}

/// A stack of matrices, a matrix for each element of the batch's axes.
fn matrices(
    at: &mut At<'_, '_>,
    equation: &Equation,
    term: &Term,
    batch: &[char],
    sides: [&[char]; 2],
) -> Result<Value, Refused> {
    let value = ordered(at, term, &[batch, sides[0], sides[1]].concat())?;
    let sides = sides.map(|it| equation.dims(it).iter().product::<u64>());
    reshaped(at, value, &[&equation.dims(batch)[..], &sides].concat())
}

/// The tensor with its axes in this order.
fn ordered(at: &mut At<'_, '_>, term: &Term, order: &[char]) -> Result<Value, Refused> {
    let perm = order.iter().filter_map(|it| term.axes.iter().position(|own| own == it));
    let perm: Vec<i64> = perm.map(|it| it as i64).collect();
    match perm.is_sorted() {
        true => Ok(term.value),
        false => at.emit("transpose", &[term.value], Attrs::new().with("perm", perm), "turned"),
    }
}

fn reshaped(at: &mut At<'_, '_>, value: Value, dims: &[u64]) -> Result<Value, Refused> {
    match at.dims(value) == dims {
        true => Ok(value),
        false => at.emit("reshape", &[value], Attrs::new().with("shape", dims), "axes"),
    }
}
