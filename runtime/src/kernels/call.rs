//! What an instruction says, with the checks that all rows share.

use std::ops::RangeInclusive;

use razorc_proto::program::{Attr, Ints, attr::Value};

use super::pack::{Stored, pack};
use super::quant::rows;
use crate::error::KernelError;
use crate::types::{DType, MAX_DIM, Quant, Topk, Type, check_dims};

pub(super) type Result<T> = std::result::Result<T, KernelError>;

/// Types and attrs of an instruction, not yet trusted.
pub(super) struct Call<'a> {
    pub operands: &'a [&'a Type],
    pub results: &'a [Option<&'a Type>],
    pub attrs: &'a [Attr],
}

impl<'a> Call<'a> {
    /// Number of operands, if it is in the range.
    pub fn operands(&self, range: RangeInclusive<usize>) -> Result<usize> {
        let found = self.operands.len();
        if range.contains(&found) {
            return Ok(found);
        }
        let (least, most) = (*range.start(), *range.end());
        let expected = match () {
            () if least == most => least.to_string(),
            () if most == usize::MAX => format!("at least {least}"),
            () => format!("{least} to {most}"),
        };
        Err(KernelError::Operands { found, expected })
    }

    pub fn operand(&self, slot: usize) -> Result<&'a Type> {
        let found = self.operands.len();
        self.operands.get(slot).copied().ok_or_else(|| KernelError::Operands { found, expected: "more".into() })
    }

    /// Axes of an f32 operand.
    pub fn f32(&self, slot: usize) -> Result<&'a [usize]> {
        match self.operand(slot)? {
            Type::Dense(DType::F32, dims) => Ok(dims),
            _ => Err(self.wrong_operand(slot, "a dense f32 tensor")),
        }
    }

    /// Element and axes of a dense operand.
    pub fn dense(&self, slot: usize) -> Result<(DType, &'a [usize])> {
        match self.operand(slot)? {
            Type::Dense(dtype, dims) => Ok((*dtype, dims)),
            _ => Err(self.wrong_operand(slot, "a dense tensor")),
        }
    }

    /// An f32 operand whose axes are known.
    pub fn f32_of(&self, slot: usize, dims: &[usize]) -> Result<()> {
        self.expect(slot, &Type::f32(dims))
    }

    /// An operand whose type is known.
    pub fn expect(&self, slot: usize, expected: &Type) -> Result<()> {
        if self.operand(slot)? == expected {
            return Ok(());
        }
        Err(self.wrong_operand(slot, expected.to_string()))
    }

    pub fn bits_of(&self, slot: usize, dims: &[usize]) -> Result<()> {
        self.expect(slot, &Type::Bits(dims.to_vec()))
    }

    /// Bits and axes of an operand that is codes.
    pub fn codes(&self, slot: usize) -> Result<(usize, &'a [usize])> {
        match self.operand(slot)? {
            Type::Codes(bits, dims) => Ok((*bits, dims)),
            _ => Err(self.wrong_operand(slot, "codes")),
        }
    }

    /// Axes of an f32 operand that may be packed, and how it is. Of a pruned one, every sample has whole parts of `part`
    /// elements, given the axes.
    pub fn stored(&self, slot: usize, part: impl Fn(&[usize]) -> usize) -> Result<(&'a [usize], Stored)> {
        let topk = match self.operand(slot)? {
            Type::Topk(topk) => topk,
            Type::Quant(quant) => return Ok((&quant.dims, Stored::Rounded(rows(quant)))),
            _ => return Ok((self.f32(slot)?, Stored::Dense)),
        };
        let part = part(&topk.dims);
        if part == 0 || !topk.n().is_multiple_of(part) {
            return Err(self.wrong_operand(slot, format!("samples of whole parts of {part} elements")));
        }
        Ok((&topk.dims, Stored::Pruned(pack(topk))))
    }

    pub fn quant(&self, slot: usize) -> Result<&'a Quant> {
        match self.operand(slot)? {
            Type::Quant(quant) => Ok(quant),
            _ => Err(self.wrong_operand(slot, "a rounded tensor")),
        }
    }

    /// A whole number, unless it is absent.
    pub fn optional_int(&self, name: &'static str) -> Result<Option<i64>> {
        match self.attrs.iter().any(|it| it.name == name) {
            true => self.int(name, i64::MIN..=i64::MAX).map(Some),
            false => Ok(None),
        }
    }

    pub fn topk(&self, slot: usize) -> Result<&'a Topk> {
        match self.operand(slot)? {
            Type::Topk(topk) => Ok(topk),
            _ => Err(self.wrong_operand(slot, "a topk value")),
        }
    }

    pub fn wrong_operand(&self, slot: usize, expected: impl Into<String>) -> KernelError {
        let found = self.operands.get(slot).map_or_else(|| "absent".into(), |it| it.to_string());
        KernelError::Operand { slot, found, expected: expected.into() }
    }

    /// Results that the op makes; only one of several may be unwanted.
    pub fn results(&self, expected: &[Type]) -> Result<()> {
        if self.results.len() != expected.len() || self.results.iter().all(Option::is_none) {
            let found = self.results.iter().flatten().count();
            return Err(KernelError::Results { found, expected: expected.len() });
        }
        for (slot, (found, expected)) in self.results.iter().zip(expected).enumerate() {
            if let Some(found) = found.filter(|&it| it != expected) {
                let (found, expected) = (found.to_string(), expected.to_string());
                return Err(KernelError::Result { slot, found, expected });
            }
        }
        Ok(())
    }

    /// The one result, dense f32.
    pub fn result(&self, dims: &[usize]) -> Result<()> {
        check_dims(dims)?;
        self.results(&[Type::f32(dims)])
    }

    /// The one result, dense.
    pub fn result_of(&self, dtype: DType, dims: &[usize]) -> Result<()> {
        check_dims(dims)?;
        self.results(&[Type::Dense(dtype, dims.to_vec())])
    }

    /// The one result, dense f32, of an op with `count` operands. It may have one more, of the result's type: onto that
    /// the result is then added in place. Tells whether it has.
    pub fn sum(&self, count: usize, dims: &[usize]) -> Result<bool> {
        let onto = self.operands(count..=count + 1)? != count;
        self.result(dims)?;
        if onto {
            self.f32_of(count, dims)?;
        }
        Ok(onto)
    }

    /// A result whose type the op does not fully decide.
    pub fn wanted(&self, slot: usize) -> Result<&'a Type> {
        let found = self.results.len();
        self.results.get(slot).copied().flatten().ok_or(KernelError::Results { found, expected: slot + 1 })
    }

    pub fn wrong_result(&self, slot: usize, expected: impl Into<String>) -> KernelError {
        let found = self.results.get(slot).copied().flatten().map_or_else(|| "absent".into(), |it| it.to_string());
        KernelError::Result { slot, found, expected: expected.into() }
    }

    /// An attr that is 0 or 1.
    pub fn flag(&self, name: &'static str) -> Result<bool> {
        Ok(self.int(name, 0..=1)? == 1)
    }

    pub fn int(&self, name: &'static str, range: RangeInclusive<i64>) -> Result<i64> {
        match self.attr(name)? {
            Value::Int(it) if range.contains(it) => Ok(*it),
            _ => Err(wrong(name, format!("an int, {} to {}", range.start(), range.end()))),
        }
    }

    /// A length or a count.
    pub fn size(&self, name: &'static str, least: usize) -> Result<usize> {
        Ok(self.int(name, least as i64..=MAX_DIM as i64)? as usize)
    }

    /// A float that is a number.
    pub fn float(&self, name: &'static str) -> Result<f64> {
        match self.attr(name)? {
            Value::Float(it) if !it.is_nan() => Ok(*it),
            _ => Err(wrong(name, "a float".into())),
        }
    }

    pub fn float_in(&self, name: &'static str, range: RangeInclusive<f64>) -> Result<f64> {
        match self.attr(name)? {
            Value::Float(it) if range.contains(it) => Ok(*it),
            _ => Err(wrong(name, format!("a float, {} to {}", range.start(), range.end()))),
        }
    }

    pub fn word(&self, name: &'static str) -> Result<&'a str> {
        match self.attr(name)? {
            Value::Word(it) => Ok(it),
            _ => Err(wrong(name, "a word".into())),
        }
    }

    /// A list of lengths, each at least `least`.
    pub fn sizes(&self, name: &'static str, count: usize, least: usize) -> Result<Vec<usize>> {
        let sizes = self.list(name, least)?;
        if sizes.len() != count {
            return Err(wrong(name, format!("a list of {count}")));
        }
        Ok(sizes)
    }

    /// A list of lengths, each at least `least`.
    pub fn list(&self, name: &'static str, least: usize) -> Result<Vec<usize>> {
        let range = least as i64..=MAX_DIM as i64;
        match self.attr(name)? {
            Value::Ints(Ints { values }) if values.iter().all(|it| range.contains(it)) => {
                Ok(values.iter().map(|&it| it as usize).collect())
            }
            _ => Err(wrong(name, format!("a list of ints, each {least} to {MAX_DIM}"))),
        }
    }

    /// The axes of a tensor.
    pub fn shape(&self) -> Result<Vec<usize>> {
        let shape = self.list("shape", 1)?;
        check_dims(&shape)?;
        Ok(shape)
    }

    /// Refuses attrs that the row does not name: a kernel would silently ignore them.
    pub fn only(&self, names: &[&str]) -> Result<()> {
        for (i, attr) in self.attrs.iter().enumerate() {
            let known = names.contains(&attr.name.as_str());
            if !known || self.attrs[..i].iter().any(|it| it.name == attr.name) {
                return Err(KernelError::SurplusAttr(attr.name.clone()));
            }
        }
        Ok(())
    }

    fn attr(&self, name: &'static str) -> Result<&'a Value> {
        let attr = self.attrs.iter().find(|it| it.name == name);
        attr.and_then(|it| it.value.as_ref()).ok_or(KernelError::MissingAttr(name))
    }
}

/// An attr outside its range.
pub(super) fn wrong(name: &'static str, expected: String) -> KernelError {
    KernelError::Attr { name, expected }
}
