//! Keeps tract from folding what would not fit in memory: a few bytes of a file can ask for any number of constants.
//!
//! And where an operator panics, as some do on nodes that make no sense, its node is at fault and no other one.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use tract_onnx::tract_hir::internal::*;

/// Bytes of a result; tract itself throws away what is much smaller, but makes it first.
const MOST: u64 = 64 << 20;

/// Lets every node that reads something fold small results only.
pub fn guard(model: &mut InferenceModel) {
    for node in model.nodes_mut().iter_mut().filter(|it| !it.inputs.is_empty()) {
        node.op = Box::new(Guard(node.op.clone()));
    }
}

/// An operator that is folded only if its results are small. Good for analysis alone.
#[derive(Debug, Clone)]
struct Guard(Box<dyn InferenceOp>);

type Facts<'a> = TVec<&'a InferenceFact>;
type Inferred = (TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>);

impl InferenceOp for Guard {
    fn infer(&mut self, inputs: Facts, outputs: Facts, observed: Facts) -> TractResult<Inferred> {
        if inputs.iter().all(|it| it.value.is_concrete()) {
            let (inputs, outputs, observed) = (inputs.clone(), outputs.clone(), observed.clone());
            let types_only = survived(|| self.0.infer_facts(inputs, outputs, observed))?;
            if types_only.1.iter().any(|it| bytes(it).is_some_and(|it| MOST < it)) {
                return Ok(types_only);
            }
        }
        survived(|| self.0.infer(inputs, outputs, observed))
    }

    fn infer_facts(&mut self, inputs: Facts, outputs: Facts, observed: Facts) -> TractResult<Inferred> {
        self.0.infer_facts(inputs, outputs, observed)
    }

    fn observe_outlets(&self, model: &InferenceModel, node: &InferenceNode) -> TractResult<Vec<OutletId>> {
        self.0.observe_outlets(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.0.nboutputs()
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }
}

/// What `work` gives, or what it panicked with as an error.
fn survived<T>(work: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    quietly(work).unwrap_or_else(|panic| bail!("{}", panic_text(&*panic)))
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or what it panicked with; that is not printed, and all other panics are as before.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    // The hook is one for all threads, so it stays once it is there and asks the thread that panics.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                print(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    outcome
}

/// What a panic says, or the error that was unwrapped.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it makes no sense");
    let text = text.split_once("on an `Err` value: ").map_or(text, |it| it.1);
    // With RUST_BACKTRACE set, tract's errors end in their backtraces.
    text.split_once("\n\nStack backtrace:").map_or(text, |it| it.0).trim_end().to_string()
}

/// Bytes of a value of known shape, 8 for an element of unknown type; saturates.
fn bytes(fact: &InferenceFact) -> Option<u64> {
    let width = fact.datum_type.concretize().map_or(8, |it| it.size_of());
    let dims = fact.shape.as_concrete_finite().ok()??;
    Some(dims.iter().fold(width as u64, |all, &it| all.saturating_mul(it as u64)))
}

impl Op for Guard {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    not_a_typed_op!();
}

impl EvalOp for Guard {
    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.0.as_op().eval_out_of_plan(inputs)
    }
}

impl PartialEq for Guard {
    fn eq(&self, _: &Guard) -> bool {
        false
    }
}

impl Eq for Guard {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// The only test of this crate's own that may panic or import: the hook is the process's.
    #[test]
    fn only_guarded_panics_are_silent() {
        static PRINTED: AtomicUsize = AtomicUsize::new(0);
        panic::set_hook(Box::new(|_| _ = PRINTED.fetch_add(1, Ordering::Relaxed)));
        let outcome = quietly(|| {
            let other = thread::spawn(|| panic!("on another thread")).join();
            assert!(other.is_err());
            assert!(quietly(|| panic!("within")).is_err());
            panic!("guarded")
        });
        assert_eq!(outcome.map_err(|it| panic_text(&*it)), Err::<(), _>("guarded".to_string()));
        assert_eq!(PRINTED.load(Ordering::Relaxed), 1);
        assert!(thread::spawn(|| panic!("afterwards")).join().is_err());
        assert_eq!(PRINTED.load(Ordering::Relaxed), 2);
    }
}
