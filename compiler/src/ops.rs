//! The op table: every op is one row, a family of ops is one file.
//!
//! A row says all that the compiler knows of an op. Nothing else in the crate lists ops by name.

mod activation;
mod attention;
mod conv;
mod elementwise;
mod fold;
mod index;
mod layout;
mod linear;
mod logic;
mod loss;
mod math;
mod norm;
mod optimizer;
mod packing;
mod pool;
mod reduce;
mod resize;
mod row_norm;
mod rules;
mod smooth;
mod softmax;
mod source;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::ImportRule;
use crate::types::Type;

pub(crate) use conv::window;
pub use rules::ShapeError;

/// A row of the table. A struct literal has no defaults: a forgotten column does not compile.
pub struct OpDef {
    /// The op's word in the text form and in a program.
    pub name: &'static str,
    /// Names of the results; the first one is called after the value that it makes.
    pub results: &'static [&'static str],
    /// ONNX operators that become this op, and how.
    pub import: Import,
    /// Types of the results from those of the operands.
    pub shape: fn(&[Type], &Attrs) -> Result<Vec<Type>, ShapeError>,
    /// How cotangents of the results become cotangents of the operands.
    pub gradient: Gradient,
    /// The operand by whose name a layer is known, for ops that are layers with weights.
    pub weight: Option<usize>,
    /// Operands that may be a pruned estimate of the exact tensor.
    pub estimates: &'static [(usize, Estimate)],
    /// Whether the batch stays the outermost part of memory.
    pub batch: Batch,
    /// Operands whose bytes the first result may take over if nobody reads them afterwards: each of its elements, or of
    /// its rows, is made of the same ones of these.
    pub reuses: &'static [usize],
    /// Operands that are written in place, for a count of operands. A sum that writes the operand behind all others adds
    /// onto it what it would make without that operand.
    pub writes: fn(usize) -> &'static [usize],
    /// What becomes of the op in a program.
    pub lower: Lower,
}

/// ONNX operators, and how each becomes an op. One of another domain than ONNX's own is called `domain.Operator`.
pub type Import = &'static [(&'static str, ImportRule)];

/// How an op is differentiated.
pub enum Gradient {
    /// Emits nodes that make the cotangents that are asked for.
    Rule(fn(&mut Vjp<'_>)),
    /// Sources, selections, and ops that differentiation made.
    Stops,
}

/// When an operand may be a pruned estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimate {
    /// By default: the published method and our measurements agree that it is safe.
    Safe,
    /// Rounded to a few bits, but never pruned: every element counts.
    Rounded,
    /// Only when forced: measured to destroy the gradient of smooth activations.
    Forced,
    /// When forced, and by the published rule, which also prunes what attention and normalization save.
    Published,
    /// As `Forced`; unless it is, a few bits may stand for the derivative that is taken at it.
    Slope(Slope),
}

/// The derivative that a gradient op with operands dy and x multiplies dy by. Attributes are those of the gradient op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slope {
    /// Of which it is the derivative, as op `slope_codes` calls it.
    pub function: &'static str,
    /// Whether the published method saves x in 16 bits.
    pub rounded: bool,
}

/// What an op does to the batch axis.
pub enum Batch {
    /// The first result's samples lie as the first operand's do.
    Keeps,
    /// The axis of the first result that the batch is outermost in, from that of the first operand.
    Moves(fn(&[Type], &Attrs, usize) -> Option<usize>),
    /// Whether the batch is outermost, decided by attributes and operand types, given which operands' samples lie together.
    When(fn(&[Type], &Attrs, &[bool]) -> bool),
    /// No result has samples.
    Loses,
}

/// What becomes of a node in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lower {
    /// One instruction of the same name.
    Instruction,
    /// Another view of the first operand's bytes.
    View,
    /// Memory, but no instruction.
    Declaration,
}

/// The families, in the order of this crate's documentation.
pub static FAMILIES: &[(&str, &[OpDef])] = &[
    ("source", source::OPS),
    ("linear", linear::OPS),
    ("attention", attention::OPS),
    ("conv", conv::OPS),
    ("pool", pool::OPS),
    ("norm", norm::OPS),
    ("activation", activation::OPS),
    ("elementwise", elementwise::OPS),
    ("math", math::OPS),
    ("smooth", smooth::OPS),
    ("reduce", reduce::OPS),
    ("resize", resize::OPS),
    ("layout", layout::OPS),
    ("index", index::OPS),
    ("logic", logic::OPS),
    ("fold", fold::OPS),
    ("softmax", softmax::OPS),
    ("loss", loss::OPS),
    ("packing", packing::OPS),
    ("optimizer", optimizer::OPS),
    ("row_norm", row_norm::OPS),
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static OpDef> {
    FAMILIES.iter().flat_map(|it| it.1.iter())
}

/// The row of this name, if there is one.
pub fn find(name: &str) -> Option<&'static OpDef> {
    static ROWS: LazyLock<HashMap<&str, &OpDef>> = LazyLock::new(|| all().map(|it| (it.name, it)).collect());
    ROWS.get(name).copied()
}

/// The family that a row belongs to.
pub fn family(op: &OpDef) -> &'static str {
    let family = FAMILIES.iter().find(|it| it.1.iter().any(|row| row.name == op.name));
    family.map_or("", |it| it.0)
}

/// The row of this name, which the compiler itself chose.
pub(crate) fn get(name: &str) -> &'static OpDef {
    find(name).unwrap_or_else(|| panic!("{name} is not a row of the op table"))
}

impl OpDef {
    /// Whether operand `slot` may be a pruned estimate, and when.
    pub fn estimate(&self, slot: usize) -> Option<Estimate> {
        self.estimates.iter().find(|it| it.0 == slot).map(|it| it.1)
    }

    /// Whether the op, whose instance has so many operands, can instead add its result onto one more, in place.
    pub fn accumulates(&self, operands: usize) -> bool {
        (self.writes)(operands + 1) == [operands]
    }

    /// A row made by the compiler itself: an instruction without ONNX form, gradient or estimates.
    const fn made(
        name: &'static str,
        results: &'static [&'static str],
        shape: fn(&[Type], &Attrs) -> Result<Vec<Type>, ShapeError>,
    ) -> OpDef {
        OpDef {
            name,
            results,
            import: &[],
            shape,
            gradient: Gradient::Stops,
            weight: None,
            estimates: &[],
            batch: Batch::Loses,
            reuses: &[],
            writes: nothing,
            lower: Lower::Instruction,
        }
    }
}

/// For ops that write nothing in place.
const fn nothing(_: usize) -> &'static [usize] {
    &[]
}

/// For sums of two operands: with a third they are added onto that.
const fn third(operands: usize) -> &'static [usize] {
    if operands == 3 { &[2] } else { &[] }
}
