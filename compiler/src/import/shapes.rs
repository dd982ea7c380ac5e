//! Types of what tract does not know, or knows otherwise than ONNX: by the same rules as import itself.

use std::sync::Arc;

use razorc_proto::onnx::{AttributeProto, NodeProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

use super::conv::transposed;
use super::einsum::Equation;
use super::layout::padded;
use super::node::{Refused, refuse};
use super::pool::pooled;
use super::{recurrent, resize};

/// What a rule may ask.
pub struct Known<'a> {
    pub node: &'a NodeProto,
    pub opset: i64,
    /// Axis sizes of the inputs; none for those that are left out.
    dims: Vec<Option<Vec<u64>>>,
    values: Vec<Option<Arc<Tensor>>>,
}

/// Axis sizes of the outputs.
type Rule = fn(&Known<'_>) -> Result<Vec<Vec<u64>>, Refused>;

/// Operators, inputs of which the values count, and rules.
const RULES: &[(&str, &[usize], Rule)] = &[
    ("AveragePool", &[], |at| Ok(vec![pooled(at.node, at.dims(0)?)?])),
    ("ConvTranspose", &[], |at| Ok(vec![transposed(at.node, at.dims(0)?, at.dims(1)?)?.y])),
    ("Einsum", &[], |at| {
        let dims = (0..at.dims.len()).map(|it| at.dims(it).map(<[u64]>::to_vec)).collect::<Result<Vec<_>, _>>()?;
        Ok(vec![Equation::parse(&at.node.word("equation", ""), &dims)?.result()])
    }),
    ("GRU", &[], recurrent_dims),
    ("LSTM", &[], recurrent_dims),
    ("LpPool", &[], |at| Ok(vec![pooled(at.node, at.dims(0)?)?])),
    ("MaxPool", &[], |at| {
        let y = pooled(at.node, at.dims(0)?)?;
        Ok(vec![y.clone(), y])
    }),
    ("Pad", &[1, 3], |at| Ok(vec![padded(at.node, at.opset, [at.ints(1), at.ints(3)], at.dims(0)?)?])),
    ("RNN", &[], recurrent_dims),
    ("Resize", &[1, 2, 3], |at| {
        let axes = resize::plan(at.node, at.opset, at.dims(0)?, at.floats(1), at.floats(2), at.ints(3))?;
        Ok(vec![resize::resized(at.dims(0)?, &axes)])
    }),
    ("Upsample", &[1], |at| {
        let axes = resize::plan(at.node, at.opset, at.dims(0)?, at.floats(1), None, None)?;
        Ok(vec![resize::resized(at.dims(0)?, &axes)])
    }),
];

fn recurrent_dims(at: &Known<'_>) -> Result<Vec<Vec<u64>>, Refused> {
    Ok(recurrent::Sizes::of(at.node, at.dims(0)?, at.dims(2)?)?.outputs())
}

impl Known<'_> {
    fn dims(&self, slot: usize) -> Result<&[u64], Refused> {
        let dims = self.dims.get(slot).and_then(Option::as_deref);
        dims.ok_or_else(|| Refused(format!("lacks input {slot}")))
    }

    fn floats(&self, slot: usize) -> Option<Vec<f32>> {
        self.elements(slot, DatumType::is_float)
    }

    fn ints(&self, slot: usize) -> Option<Vec<i64>> {
        self.elements(slot, |it| it.is_integer() || *it == DatumType::TDim)
    }

    fn elements<T: Datum + Copy>(&self, slot: usize, of: impl Fn(&DatumType) -> bool) -> Option<Vec<T>> {
        let tensor = self.values.get(slot)?.as_ref().filter(|it| of(&it.datum_type()))?;
        Some(tensor.cast_to::<T>().ok()?.try_as_plain_ram().ok()?.as_slice::<T>().ok()?.to_vec())
    }
}

/// Attributes of a node as it stands in the model.
pub trait Attributes {
    /// The attribute of this name.
    fn find(&self, name: &str) -> Option<&AttributeProto>;

    /// An integer.
    fn int(&self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, AttributeProto::i)
    }

    /// A list; empty where it is absent.
    fn ints(&self, name: &str) -> Vec<i64> {
        self.find(name).map(|it| it.ints.clone()).unwrap_or_default()
    }

    /// A word.
    fn word(&self, name: &str, default: &str) -> String {
        String::from_utf8_lossy(self.find(name).map_or(default.as_bytes(), |it| it.s())).into_owned()
    }
}

impl Attributes for NodeProto {
    fn find(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|it| it.name() == name)
    }
}

/// Whether there is a rule for this operator.
pub fn known(op: &str) -> bool {
    RULES.iter().any(|it| it.0 == op)
}

/// Makes tract find out the types of these operators by our rules.
pub fn register(onnx: &mut tract_onnx::Onnx) {
    for (op, ..) in RULES {
        onnx.op_register.insert(op, |context, node| {
            let rule = RULES.iter().find(|it| it.0 == node.op_type);
            let rule = rule.with_context(|| format!("{} has no rule", node.op_type))?;
            let (node, opset) = (own(node), context.onnx_operator_set_version);
            Ok((expand(Shapes { node, opset, values: rule.1, rule: rule.2 }), vec![]))
        });
    }
}

/// The node in our own types: what rules look at.
fn own(node: &tract_onnx::pb::NodeProto) -> NodeProto {
    let attribute = |it: &tract_onnx::pb::AttributeProto| AttributeProto {
        name: Some(it.name.clone()),
        i: Some(it.i),
        f: Some(it.f),
        s: Some(it.s.clone()),
        ints: it.ints.clone(),
        floats: it.floats.clone(),
        strings: it.strings.clone(),
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: Some(node.op_type.clone()),
        input: node.input.clone(),
        output: node.output.clone(),
        attribute: node.attribute.iter().map(attribute).collect(),
        ..NodeProto::default()
    }
}

#[derive(Debug, Clone)]
struct Shapes {
    node: NodeProto,
    opset: i64,
    values: &'static [usize],
    rule: Rule,
}

impl Shapes {
    /// tract leaves inputs out that the node leaves out.
    fn place(&self, slot: usize) -> Option<usize> {
        let is_there = |slot: usize| self.node.input.get(slot).is_some_and(|it| !it.is_empty());
        is_there(slot).then(|| (0..slot).filter(|&it| is_there(it)).count())
    }

    fn outputs(&self, dims: &[TVec<TDim>], values: Vec<Option<Arc<Tensor>>>) -> TractResult<Vec<Vec<u64>>> {
        let slots = (0..self.node.input.len()).map(|slot| match self.place(slot) {
            None => Ok(None),
            Some(at) => Ok(Some(dims[at].iter().map(|it| Ok(it.to_usize()? as u64)).collect::<TractResult<Vec<_>>>()?)),
        });
        let dims = slots.collect::<TractResult<Vec<_>>>()?;
        let known = Known { node: &self.node, opset: self.opset, dims, values };
        (self.rule)(&known).map_err(|e| format_err!("{} {}", self.node.op_type(), e.0))
    }
}

impl Expansion for Shapes {
    fn name(&self) -> StaticName {
        "Shapes".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.node.output.iter().filter(|it| !it.is_empty()).count())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!(!inputs.is_empty(), "{} has no inputs", self.node.op_type());
        let named = self.node.output.iter().enumerate().filter(|it| !it.1.is_empty()).map(|it| it.0);
        let named: Vec<usize> = named.collect();
        for (&slot, output) in named.iter().zip(outputs) {
            match (self.node.op_type(), slot) {
                ("MaxPool", 1) => solver.equals(&output.datum_type, i64::datum_type())?,
                _ => solver.equals(&output.datum_type, &inputs[0].datum_type)?,
            }
        }
        let places: Vec<Option<usize>> = self.values.iter().map(|&slot| self.place(slot)).collect();
        solver.given_all(inputs.iter().map(|it| &it.shape), move |solver, dims| {
            let (named, places) = (named.clone(), places.clone());
            let finish = move |solver: &mut Solver<'r>, values: Vec<Arc<Tensor>>| {
                let mut values = values.into_iter();
                let mut slots = vec![None; self.node.input.len()];
                for (&slot, _) in self.values.iter().zip(&places).filter(|it| it.1.is_some()) {
                    slots[slot] = values.next();
                }
                let found = self.outputs(&dims, slots)?;
                for (&slot, output) in named.iter().zip(outputs) {
                    let dims = found.get(slot).with_context(|| format!("no output {slot}"))?;
                    let dims: TVec<TDim> = dims.iter().map(|&it| (it as usize).to_dim()).collect();
                    solver.equals(&output.shape, dims)?;
                }
                Ok(())
            };
            let values: Vec<_> =
                self.values.iter().filter_map(|&slot| Some(&inputs[self.place(slot)?].value)).collect();
            match values.is_empty() {
                true => finish(solver, vec![]),
                false => solver.given_all(values, finish),
            }
        })
    }

    fn wire(&self, _: &str, _: &mut TypedModel, _: &[OutletId]) -> TractResult<TVec<OutletId>> {
        bail!("is for analysis only")
    }
}

/// Sizes that a computation with signed numbers gave.
pub fn counted(size: i64, what: &str) -> Result<u64, Refused> {
    match u64::try_from(size) {
        Ok(it) if (1..1 << 31).contains(&it) => Ok(it),
        _ => refuse(format!("has {what} of {size}")),
    }
}
