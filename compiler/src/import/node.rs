//! What an import rule may ask about its node, and how it adds to the graph.

use std::collections::HashSet;

use razorc_proto::onnx::{AttributeProto, NodeProto};

use super::roles::Reading;
use super::walk::Walk;
use super::weights::{Source, Weight};
use crate::attrs::Attrs;
use crate::graph::{NodeId, Value};
use crate::types::{DType, Type};

/// How an ONNX node becomes nodes of the graph. The rule binds the node's first output, or says why it cannot.
pub type ImportRule = fn(&mut At<'_, '_>) -> Result<(), Refused>;

/// Why a node cannot be imported, to be read after its operator: "is not supported".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

/// A refusal with this text.
pub fn refuse<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(reason.into()))
}

/// An ONNX node on its way into the graph.
pub struct At<'w, 'a> {
    walk: &'w mut Walk<'a>,
    node: &'w NodeProto,
}

impl<'w, 'a> At<'w, 'a> {
    pub(super) fn new(walk: &'w mut Walk<'a>, node: &'w NodeProto) -> At<'w, 'a> {
        At { walk, node }
    }

    /// Version of the operator set.
    pub fn opset(&self) -> i64 {
        self.walk.opset
    }

    /// The ONNX operator.
    pub fn op_type(&self) -> &str {
        self.node.op_type()
    }

    /// The node as it stands in the model.
    pub fn node(&self) -> &'w NodeProto {
        self.node
    }

    /// Whether output `slot` is there.
    pub fn makes(&self, slot: usize) -> bool {
        !self.output_name(slot).is_empty()
    }

    /// Whether input `slot` is there.
    pub fn has(&self, slot: usize) -> bool {
        self.node.input.get(slot).is_some_and(|it| !it.is_empty())
    }

    /// Number of inputs, absent ones in the middle included.
    pub fn inputs(&self) -> usize {
        self.node.input.len()
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.node.output.len()
    }

    /// Whether anything reads output `slot`.
    pub fn is_read(&self, slot: usize) -> bool {
        let name = self.output_name(slot);
        let graph = self.walk.model.graph();
        let read = |node: &NodeProto| node.input.iter().any(|it| it == name);
        !name.is_empty() && (graph.node.iter().any(read) || graph.output.first().is_some_and(|it| it.name() == name))
    }

    /// Input `slot` as a tensor of floats.
    pub fn input(&mut self, slot: usize) -> Result<Value, Refused> {
        self.input_as(slot, Reading::Operand)
    }

    /// Input `slot` as a tensor of floats that is read in a way that decides whether it is trained.
    pub fn input_as(&mut self, slot: usize, reading: Reading) -> Result<Value, Refused> {
        let name = self.input_name(slot)?.to_string();
        let value = self.walk.value(&name, reading)?;
        match self.walk.graph.ty(value) {
            ty if ty.is_f32() && 0 < ty.elements() => Ok(value),
            ty if ty.is_f32() => refuse(format!("reads `{name}`, which is empty: {ty}")),
            ty => refuse(format!("reads `{name}`, which is {ty}; only f32 is supported")),
        }
    }

    /// Input `slot` as a tensor of floats that is never trained.
    pub fn constant(&mut self, slot: usize) -> Result<Value, Refused> {
        let value = self.input_as(slot, Reading::Setting)?;
        if self.is_data(value) {
            return refuse(format!("has an input {slot} (`{}`) that is no constant", self.node.input[slot]));
        }
        Ok(value)
    }

    /// Declares a constant for this node alone.
    pub fn declare(&mut self, suffix: &str, weight: Weight) -> Value {
        let name = format!("{}.{suffix}", self.first_output());
        self.walk.declare_constant(&name, weight)
    }

    /// Input `slot` as a tensor of floats, integers or truths.
    pub fn any(&mut self, slot: usize) -> Result<Value, Refused> {
        let name = self.input_name(slot)?.to_string();
        let value = self.walk.value(&name, Reading::Operand)?;
        match self.walk.graph.ty(value) {
            ty if ty.elements() == 0 => refuse(format!("reads `{name}`, which is empty: {ty}")),
            Type::Dense { dtype: DType::F32 | DType::I64 | DType::Bool, .. } => Ok(value),
            ty => refuse(format!("reads `{name}`, which is {ty}; f32, i64 and bool are supported")),
        }
    }

    /// Input `slot` as a tensor of this element type.
    pub fn input_of(&mut self, slot: usize, dtype: DType) -> Result<Value, Refused> {
        let value = self.any(slot)?;
        match self.walk.graph.ty(value) {
            Type::Dense { dtype: found, .. } if *found == dtype => Ok(value),
            ty => refuse(format!("reads `{}`, which is {ty}; {dtype} is needed", self.input_name(slot)?)),
        }
    }

    /// Whether input `slot` is of integers.
    pub fn is_integer(&mut self, slot: usize) -> bool {
        self.any(slot).is_ok_and(|it| self.dtype(it) == Some(DType::I64))
    }

    /// Element type of a dense value in the graph.
    pub fn dtype(&self, value: Value) -> Option<DType> {
        match self.walk.graph.ty(value) {
            Type::Dense { dtype, .. } => Some(*dtype),
            _ => None,
        }
    }

    /// Input `slot` as integers that are known when compiling; none where it is absent.
    pub fn ints(&self, slot: usize) -> Result<Option<Vec<i64>>, Refused> {
        self.known(slot, self.walk.facts.ints(self.input_name(slot).unwrap_or_default()))
    }

    /// Input `slot` as integers, where they are known when compiling.
    pub fn known_ints(&self, slot: usize) -> Option<Vec<i64>> {
        let name = self.input_name(slot).ok()?;
        self.walk.facts.ints(name).filter(|_| self.walk.is_constant(name))
    }

    /// Input `slot` as floats that are known when compiling; none where it is absent.
    pub fn floats(&self, slot: usize) -> Result<Option<Vec<f32>>, Refused> {
        self.known(slot, self.walk.facts.floats(self.input_name(slot).unwrap_or_default()))
    }

    /// Input `slot` as one float that is known when compiling; none where it is absent.
    pub fn scalar(&self, slot: usize) -> Result<Option<f64>, Refused> {
        match self.floats(slot)?.as_deref() {
            None => Ok(None),
            Some([value]) => Ok(Some((*value).into())),
            Some(values) => refuse(format!("takes one number as input {slot}, has {}", values.len())),
        }
    }

    /// Input `slot` where it is a literal: one number that no weight went into, with no more axes than the other input,
    /// so that the output has the other's shape.
    pub fn literal(&self, slot: usize) -> Option<f64> {
        let name = self.input_name(slot).ok()?;
        let rank = |slot| Some(self.walk.facts.ty(self.input_name(slot).ok()?)?.rank());
        let other = usize::from(slot == 0);
        if !self.walk.is_constant(name) || rank(other)? < rank(slot)? {
            return None;
        }
        match self.walk.facts.floats(name)?[..] {
            [number] if number.is_finite() => Some(number.into()),
            _ => None,
        }
    }

    /// Axes by attribute before opset `since`, by input 1 from then on; none where they are left out.
    pub fn list(&self, name: &str, slot: usize, since: i64) -> Result<Option<Vec<i64>>, Refused> {
        match self.opset() < since {
            true => Ok(self.attr(name).map(|it| it.ints.clone())),
            false => self.ints(slot),
        }
    }

    /// An integer attribute.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attr(name).map_or(default, AttributeProto::i)
    }

    /// A float attribute.
    pub fn float(&self, name: &str, default: f32) -> f64 {
        self.attr(name).map_or(default, AttributeProto::f).into()
    }

    /// A list attribute; empty where it is absent.
    pub fn int_list(&self, name: &str) -> Vec<i64> {
        self.attr(name).map(|it| it.ints.clone()).unwrap_or_default()
    }

    /// A word; `default` where it is absent.
    pub fn word(&self, name: &str, default: &str) -> String {
        let bytes = self.attr(name).map_or(default.as_bytes(), |it| it.s());
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The attribute of this name.
    pub fn attr(&self, name: &str) -> Option<&'w AttributeProto> {
        self.node.attribute.iter().find(|it| it.name() == name)
    }

    /// Axis sizes of a value in the graph.
    pub fn dims(&self, value: Value) -> Vec<u64> {
        self.walk.graph.ty(value).dims().to_vec()
    }

    /// Type of output `slot`, as tract found it.
    pub fn output_type(&self, slot: usize) -> Result<&Type, Refused> {
        let ty = self.node.output.get(slot).and_then(|it| self.walk.facts.ty(it));
        ty.ok_or_else(|| Refused("has a result without a fixed shape".into()))
    }

    /// Axis sizes of output `slot`, as tract found them.
    pub fn output_dims(&self, slot: usize) -> Result<Vec<u64>, Refused> {
        Ok(self.output_type(slot)?.dims().to_vec())
    }

    /// An axis counted from the front, `axis` may count from the back.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, Refused> {
        let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        match usize::try_from(from_front) {
            Ok(it) if it < rank => Ok(it),
            _ => refuse(format!("has axis {axis}, but its input has {rank} axes")),
        }
    }

    /// Whether a value depends on an input of the model.
    pub fn is_data(&self, value: Value) -> bool {
        self.walk.is_data(value)
    }

    /// Whether weights that are trained go into a value.
    pub fn is_trained(&self, value: Value) -> bool {
        let (graph, mut open, mut seen) = (&self.walk.graph, vec![value], HashSet::new());
        while let Some(value) = open.pop() {
            if graph.node(value.node).op.name == "param" {
                return true;
            }
            if seen.insert(value.node) {
                open.extend(graph.operands(value.node));
            }
        }
        false
    }

    /// The operand and attributes of the node that made `value`, if that is a `op`.
    pub fn made_by(&self, value: Value, op: &str) -> Option<(Value, &Attrs)> {
        let graph = &self.walk.graph;
        let node = graph.node(value.node);
        (node.op.name == op).then(|| (graph.operands(value.node)[0], &node.attrs))
    }

    /// Seed for a node that draws numbers, another one for each node; none where nothing is to be drawn.
    pub fn dropout_seed(&self) -> Option<i64> {
        let name = self.node.output.first().map_or("", String::as_str);
        // FNV-1a: the same on every machine and in every version.
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        self.walk.options.dropout.then_some(((hash ^ self.walk.options.seed) & i64::MAX as u64) as i64)
    }

    /// The number of the step, an input.
    pub fn step(&mut self) -> Value {
        self.walk.step()
    }

    /// Declares a constant that is the same everywhere as the node's output.
    pub fn finish_fill(&mut self, fill: f32) -> Result<(), Refused> {
        let (name, dims) = (self.output_name(0).to_string(), self.output_dims(0)?);
        if (1 << 29) < Type::f32(&dims).elements() {
            return refuse(format!("makes a constant of {}, more than 2 GiB", Type::f32(&dims)));
        }
        let value = self.walk.declare(&name, "frozen", Weight { dims, source: Source::Fill(fill), initializer: None });
        self.finish(value);
        Ok(())
    }

    /// Declares a constant of zeros on the way to the output.
    pub fn zeros(&mut self, dims: &[u64], suffix: &str) -> Result<Value, Refused> {
        let name = format!("{}.{suffix}", self.first_output());
        if (1 << 29) < Type::f32(dims).elements() {
            return refuse(format!("starts from {}, more than 2 GiB of zeros", Type::f32(dims)));
        }
        let weight = Weight { dims: dims.to_vec(), source: Source::Fill(0.0), initializer: None };
        Ok(self.walk.declare(&name, "frozen", weight))
    }

    /// Output 0 is this constant.
    pub fn finish_constant(&mut self, weight: Weight) -> Result<(), Refused> {
        let name = self.output_name(0).to_string();
        let value = self.walk.declare(&name, "frozen", weight);
        self.finish(value);
        Ok(())
    }

    /// Adds a node on the way to the output; returns its first result.
    pub fn emit(&mut self, op: &str, operands: &[Value], attrs: Attrs, suffix: &str) -> Result<Value, Refused> {
        let name = format!("{}.{suffix}", self.first_output());
        self.walk.add(op, operands, attrs, &name)
    }

    /// Output 0 is all inputs taken together by `op`, from the first to the last.
    pub fn fold(&mut self, op: &str) -> Result<(), Refused> {
        let mut folded = self.input(0)?;
        for slot in 1..self.inputs() {
            let operands = [folded, self.input(slot)?];
            if slot + 1 == self.inputs() {
                self.make(op, &operands, Attrs::new())?;
                return Ok(());
            }
            folded = self.emit(op, &operands, Attrs::new(), op)?;
        }
        self.finish(folded);
        Ok(())
    }

    /// Adds the node that makes output 0; returns it.
    pub fn make(&mut self, op: &str, operands: &[Value], attrs: Attrs) -> Result<NodeId, Refused> {
        self.make_output(0, op, operands, attrs)
    }

    /// Adds the node that makes an output; returns it.
    pub fn make_output(&mut self, slot: usize, op: &str, operands: &[Value], attrs: Attrs) -> Result<NodeId, Refused> {
        let name = self.output_name(slot).to_string();
        let value = self.walk.add(op, operands, attrs, &name)?;
        self.walk.bind(&name, value);
        Ok(value.node)
    }

    /// Output 0 is this value.
    pub fn finish(&mut self, value: Value) {
        let name = self.output_name(0).to_string();
        self.walk.bind(&name, value);
    }

    /// An output is this value; nothing where the output has no name.
    pub fn finish_output(&mut self, slot: usize, value: Value) {
        let name = self.output_name(slot).to_string();
        if !name.is_empty() {
            self.walk.bind(&name, value);
        }
    }

    /// Whether an output has a name; nobody reads one that has none.
    pub fn has_output(&self, slot: usize) -> bool {
        !self.output_name(slot).is_empty()
    }

    /// Output 0 is this value with other axes.
    pub fn finish_reshaped(&mut self, value: Value) -> Result<(), Refused> {
        let shape = self.output_dims(0)?;
        if self.dims(value) == shape {
            self.finish(value);
            return Ok(());
        }
        self.make("reshape", &[value], Attrs::new().with("shape", shape.as_slice()))?;
        Ok(())
    }

    /// Checks each output against what tract found.
    pub(super) fn check(&self) -> Result<(), Refused> {
        for name in self.node.output.iter().filter(|it| !it.is_empty()) {
            let made = self.walk.bound(name).map(|it| self.walk.graph.ty(it));
            match (made, self.walk.facts.ty(name)) {
                (Some(made), _) if made.elements() == 0 => return refuse(format!("makes nothing: {made}")),
                (Some(made), Some(expected)) if made != expected => {
                    return refuse(format!("makes {expected} by one rule and {made} by another; please report this"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn known<T>(&self, slot: usize, constant: Option<T>) -> Result<Option<T>, Refused> {
        match (self.has(slot), constant) {
            (false, _) => Ok(None),
            (true, Some(constant)) => Ok(Some(constant)),
            (true, None) => refuse(format!("has an input {slot} (`{}`) that is no constant", self.node.input[slot])),
        }
    }

    fn input_name(&self, slot: usize) -> Result<&'w str, Refused> {
        let name = self.node.input.get(slot).map(String::as_str).filter(|it| !it.is_empty());
        name.ok_or_else(|| Refused(format!("lacks input {slot}")))
    }

    /// The first output that is there; what is on the way to it is called after it.
    fn first_output(&self) -> &'w str {
        self.node.output.iter().find(|it| !it.is_empty()).map_or("", String::as_str)
    }

    fn output_name(&self, slot: usize) -> &'w str {
        self.node.output.get(slot).map_or("", String::as_str)
    }
}
