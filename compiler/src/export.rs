//! Tuned weights back into the model that they came from.

use std::collections::{HashMap, HashSet};

use razorc_proto::onnx::{StringStringEntryProto, TensorProto};
use razorc_proto::program::Preparation;
use razorc_proto::{Model, TensorData, set_f32};

use crate::error::ExportError;
use crate::prepare::{edit, prepare, prepare_some};

/// Metadata entry with the names of the classes, a JSON list in the order of the scores.
pub const CLASS_NAMES: &str = "razorc.class_names";

/// The original model with tuned weights, and with the fresh head if it got one.
///
/// `tuned` has values by names of initializers in the prepared model. What has not changed keeps its bytes.
pub fn export(
    original: &Model,
    preparation: &Preparation,
    tuned: &HashMap<String, Vec<f32>>,
    class_names: &[String],
) -> Result<Model, ExportError> {
    let prepared = prepare(original, preparation)?;
    let changed = changed(&prepared.model, tuned)?;
    // Weights that share an initializer still do, unless one of them has become another one.
    let rewritten: HashSet<&str> = changed.iter().chain(&prepared.head).map(String::as_str).collect();
    let wanted = |copy: &str, source: &str| rewritten.contains(copy) || rewritten.contains(source);
    let mut model = prepare_some(original, preparation, wanted)?.model;
    let there: HashSet<&str> = edit::initializers(model.graph()).into_iter().map(TensorProto::name).collect();
    if !changed.iter().all(|it| there.contains(it.as_str())) {
        model = prepared.model;
    }
    let mut missing: HashSet<&str> = changed.iter().map(String::as_str).collect();
    edit::change_initializers(model.graph_mut(), &mut |tensor| {
        // A namesake in a branch is another tensor, and is not trained.
        let name = tensor.name().to_string();
        if missing.remove(name.as_str()) { set_f32(tensor, &tuned[&name]) } else { Ok(()) }
    })?;
    Ok(if class_names.is_empty() { model } else { with_class_names(&model, class_names) })
}

fn changed(prepared: &Model, tuned: &HashMap<String, Vec<f32>>) -> Result<HashSet<String>, ExportError> {
    let mut missing: HashSet<&str> = tuned.keys().map(String::as_str).collect();
    let mut changed = HashSet::new();
    for tensor in edit::initializers(prepared.graph()) {
        let Some(values) = tuned.get(tensor.name()).filter(|_| missing.remove(tensor.name())) else { continue };
        let old = TensorData::decode(tensor, prepared.folder())?.to_f32()?;
        if !old.iter().map(|it| it.to_bits()).eq(values.iter().map(|it| it.to_bits())) {
            changed.insert(tensor.name().to_string());
        }
    }
    match missing.into_iter().min() {
        Some(name) => Err(ExportError::NoSuchWeight(name.into())),
        None => Ok(changed),
    }
}

fn with_class_names(model: &Model, names: &[String]) -> Model {
    let mut proto = model.proto().clone();
    proto.metadata_props.retain(|it| it.key() != CLASS_NAMES);
    let quoted: Vec<String> = names.iter().map(|it| quote(it)).collect();
    let value = Some(format!("[{}]", quoted.join(", ")));
    proto.metadata_props.push(StringStringEntryProto { key: Some(CLASS_NAMES.into()), value });
    model.with_proto(proto)
}

/// A JSON string.
fn quote(text: &str) -> String {
    let escaped = text.chars().map(|it| match it {
        '"' | '\\' => format!("\\{it}"),
        it if it < ' ' => format!("\\u{:04x}", it as u32),
        it => it.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
