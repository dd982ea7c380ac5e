//! Constants that tract leaves alone because they are large.

use razorc_proto::TensorData;

use super::node::{At, Refused};

/// ConstantOfShape.
pub fn constant_of_shape(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let fill = match at.attr("value").and_then(|it| it.t.as_ref()) {
        Some(tensor) => {
            let values = TensorData::decode(tensor, None).and_then(|it| it.to_f32());
            values.map_err(|e| Refused(e.to_string()))?.first().copied().unwrap_or(0.0)
        }
        None => 0.0,
    };
    at.finish_fill(fill)
}
