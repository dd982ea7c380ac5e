//! ONNX to forward graph: structure, names and weights from the model's own nodes; types and constants from tract.
//!
//! Import never changes the model. What has to be changed first is `prepare`'s work.

mod activation;
mod attention;
mod constant;
mod conv;
mod einsum;
mod elementwise;
mod facts;
mod fold;
mod guard;
mod index;
mod inline;
mod layout;
mod linear;
mod logic;
mod loss;
mod lp;
mod math;
mod node;
mod norm;
mod notes;
mod order;
mod pool;
mod prediction;
mod probe;
mod rearrange;
mod recurrent;
mod reduce;
mod resize;
mod roles;
mod rotations;
mod row_norm;
mod shapes;
mod smooth;
mod softmax;
mod tile;
mod versions;
mod walk;
mod weights;

use std::collections::{BTreeMap, HashSet};

use razorc_proto::Model;
use razorc_proto::onnx::NodeProto;

use self::facts::{Facts, analyse};
use self::inline::{Flat, flatten};
use self::probe::{Sizes, probe};
use crate::error::ImportError;
use crate::graph::{Graph, Phase, Value};
use crate::options::Options;
use crate::types::Type;

pub(crate) use inline::{moving, subgraphs, subgraphs_mut, values_read};
pub use node::{At, ImportRule, Refused};
pub(crate) use notes::{Note, Notes};
pub(crate) use order::{label, output_name};
pub(crate) use probe::{int_tensor, is_float, real_inputs, typed};
pub(crate) use roles::examples;
pub use versions::{CHECKED, OLDEST, versions};
pub(crate) use walk::operator_refusal;
pub use weights::{Source, Weight};

pub(crate) mod rules {
    //! One function for each ONNX operator; the op table says which op it becomes.
    pub use super::activation::*;
    pub use super::attention::*;
    pub use super::constant::*;
    pub use super::conv::*;
    pub use super::einsum::einsum;
    pub use super::elementwise::*;
    pub use super::fold::*;
    pub use super::index::*;
    pub use super::layout::*;
    pub use super::linear::*;
    pub use super::logic::*;
    pub use super::loss::*;
    pub use super::lp::*;
    pub use super::math::*;
    pub use super::norm::*;
    pub use super::pool::*;
    pub use super::rearrange::*;
    pub use super::recurrent::{gru, lstm, rnn};
    pub use super::reduce::*;
    pub use super::resize::{resize, upsample};
    pub use super::row_norm::*;
    pub use super::smooth::*;
    pub use super::softmax::*;
    pub use super::tile::*;
}

/// A model's forward phase, and what its declarations are filled with.
pub struct Imported {
    /// Declarations and forward phase. Normalization is by running statistics; dropout is there if it is asked for.
    pub graph: Graph,
    /// Every weight and constant tensor, by the name of its declaration.
    pub weights: BTreeMap<String, Weight>,
    /// What the model is fed, in its order.
    pub inputs: Vec<Value>,
    /// The 1-based number of the step, f32[]; none where nothing reads it.
    pub step: Option<Value>,
    /// The prediction, batch first. A Softmax (or Sigmoid) at the model's output that the loss brings along is left out.
    /// Or the loss, where the model's own is asked for.
    pub output: Value,
    /// The prediction beside the model's own loss, if it has one.
    pub prediction: Option<Value>,
}

/// Imports a (prepared) model. If the model has several outputs, the first one is what is trained.
pub fn import(model: &Model, options: &Options) -> Result<Imported, ImportError> {
    import_noting(model, options, &mut Notes::default())
}

/// As `import`, and notes what becomes of each node, as far as it gets.
pub(crate) fn import_noting(model: &Model, options: &Options, notes: &mut Notes) -> Result<Imported, ImportError> {
    let opset = order::opset(model.proto())?;
    notes.opset = opset;
    let sizes =
        Sizes { batch: Some(options.rows()), bind: &options.bind, input_shapes: &options.input_shapes, other: None };
    let Flat { model, obstacles } = flatten(model, opset, &sizes)?;
    let model: &Model = &model;
    let roots = order::roots(model.graph(), &options.loss_output)?;
    let order = order::live_nodes(model.graph(), &roots)?;
    let live: HashSet<*const NodeProto> = order.iter().map(|it| std::ptr::from_ref(*it)).collect();
    let unused = model.graph().node.iter().filter(|it| !live.contains(&std::ptr::from_ref(*it)));
    notes.unused = unused.map(|it| it.op_type().to_string()).collect();
    let probe = probe(model, &sizes)?;
    let facts = analyse(&probe.model)?;
    let roles = roles::Roles::new(options)?;
    let walk = walk::Walk::new(model, opset, &facts, &obstacles, roles, options);
    let run = walk.run(&order, &roots, &mut notes.nodes);
    let mut imported = run.map_err(|e| blame_batch(e, probe.baked, options.rows()))?;
    if options.loss_output.is_empty() {
        imported.output = prediction::prediction(&mut imported, options);
        prediction::sweep(&mut imported);
        check_output(model, &imported, options.rows()).map_err(|e| blame_batch(e, probe.baked, options.rows()))?;
        return Ok(imported);
    }
    let is_batch =
        |it: &Value| imported.graph.ty(*it).is_f32() && imported.graph.ty(*it).dims().first() == Some(&options.rows());
    imported.prediction = imported.prediction.filter(is_batch);
    prediction::sweep(&mut imported);
    if imported.graph.node(imported.output.node).phase != Phase::Forward {
        return Err(ImportError::ConstantOutput(options.loss_output.clone()));
    }
    Ok(imported)
}

/// Types of a model's values where nobody has fixed its sizes yet: good for those that depend on weights alone.
pub(crate) fn shapes(model: &Model) -> Result<Facts, ImportError> {
    let nothing = (BTreeMap::new(), BTreeMap::new());
    let sizes = Sizes { batch: None, bind: &nothing.0, input_shapes: &nothing.1, other: Some(224) };
    let flat = flatten(model, order::opset(model.proto())?, &sizes)?;
    analyse(&probe(&flat.model, &sizes)?.model)
}

/// Shapes that only fail to fit because another batch is asked for are a matter of the batch.
fn blame_batch(error: ImportError, baked: Option<u64>, asked: u64) -> ImportError {
    match (error, baked) {
        (e @ (ImportError::Shapes(_) | ImportError::OutputType { .. }), Some(baked)) => {
            ImportError::FixedBatch { baked, asked, fault: e.to_string() }
        }
        (e, _) => e,
    }
}

fn check_output(model: &Model, imported: &Imported, batch: u64) -> Result<(), ImportError> {
    let name = order::output_name(model.graph())?;
    let ty: &Type = imported.graph.ty(imported.output);
    if imported.graph.node(imported.output.node).phase != Phase::Forward {
        return Err(ImportError::ConstantOutput(name.into()));
    }
    if !ty.is_f32() || ty.dims().first() != Some(&batch) {
        return Err(ImportError::OutputType { name: name.into(), found: ty.to_string(), batch });
    }
    Ok(())
}
