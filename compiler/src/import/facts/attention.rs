//! Types of the Attention node, of which tract finds only the number of axes.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

/// What decides the shape of the output; for types alone, what is refused later is fine.
#[derive(Debug, Clone)]
pub struct Attention {
    outputs: usize,
    heads: [i64; 2],
}

impl Attention {
    pub fn new(node: &NodeProto) -> TractResult<Attention> {
        let outputs = node.output.iter().filter(|it| !it.is_empty()).count();
        let heads = |name| Ok::<i64, TractError>(node.get_attr_opt(name)?.unwrap_or(0));
        Ok(Attention { outputs, heads: [heads("q_num_heads")?, heads("kv_num_heads")?] })
    }
}

impl Expansion for Attention {
    fn name(&self) -> StaticName {
        "Attention".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!(3 <= inputs.len() && !outputs.is_empty(), "Attention needs 3 inputs");
        solver.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        solver.given_2(&inputs[0].shape, &inputs[2].shape, move |solver, q, v| {
            let [heads, kv_heads] = self.heads;
            let columns = match (q.len(), v.len()) {
                (4, 4) => v[3].clone(),
                (3, 3) if 0 < heads && 0 < kv_heads => v[2].clone() / kv_heads * heads,
                _ => bail!("Attention of {q:?} and {v:?}, {heads} and {kv_heads} heads"),
            };
            let mut y = q;
            y.pop();
            y.push(columns);
            solver.equals(&outputs[0].shape, y)
        })
    }

    fn wire(&self, _: &str, _: &mut TypedModel, _: &[OutletId]) -> TractResult<TVec<OutletId>> {
        bail!("is for analysis only")
    }
}
