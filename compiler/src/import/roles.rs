//! Which weights are trained.

use std::cell::RefCell;
use std::collections::BTreeSet;

use globset::{Glob, GlobMatcher};

use crate::error::ImportError;
use crate::options::{BatchNorm, Options, Scope};

/// How a node reads a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As an operand like any other.
    Operand,
    /// As scale or bias of BatchNormalization.
    NormAffine,
    /// As running statistics of BatchNormalization.
    NormStatistic,
    /// As a number that says how to compute, such as the weight of a class in a loss.
    Setting,
}

/// Decides the role of each weight and keeps count of what the patterns were good for.
pub struct Roles {
    batch_norm: BatchNorm,
    /// Whether scale and bias of batch normalization may be trained.
    affine: bool,
    train: Vec<GlobMatcher>,
    freeze: Vec<GlobMatcher>,
    seen: RefCell<BTreeSet<String>>,
}

impl Roles {
    pub fn new(options: &Options) -> Result<Roles, ImportError> {
        let matchers = |patterns: &[String]| patterns.iter().map(|it| matcher(it)).collect::<Result<Vec<_>, _>>();
        Ok(Roles {
            batch_norm: options.batch_norm,
            affine: options.batch_norm != BatchNorm::Frozen || matches!(options.scope, Scope::Biases | Scope::Norms),
            train: matchers(&options.train)?,
            freeze: matchers(&options.freeze)?,
            seen: RefCell::default(),
        })
    }

    /// The row of `ops/source.rs` that declares this initializer.
    pub fn of(&self, initializer: &str, reading: Reading) -> &'static str {
        if reading == Reading::Setting {
            return "frozen";
        }
        if reading == Reading::NormStatistic {
            return if self.batch_norm == BatchNorm::Train { "statistic" } else { "frozen" };
        }
        self.seen.borrow_mut().insert(initializer.to_string());
        let matches = |patterns: &[GlobMatcher]| patterns.iter().any(|it| it.is_match(initializer));
        let trained = match self.train.is_empty() {
            true => reading == Reading::Operand || self.affine,
            false => matches(&self.train),
        };
        if trained && !matches(&self.freeze) { "param" } else { "frozen" }
    }

    /// Refuses a pattern that matched no weight.
    pub fn check(&self) -> Result<(), ImportError> {
        let seen = self.seen.borrow();
        let options = self.train.iter().map(|it| ("--train", it)).chain(self.freeze.iter().map(|it| ("--freeze", it)));
        for (option, matcher) in options {
            if !seen.iter().any(|it| matcher.is_match(it)) {
                let pattern = matcher.glob().glob().to_string();
                return Err(ImportError::NoMatch { option, pattern, hint: examples(&seen) });
            }
        }
        Ok(())
    }
}

/// `*` matches slashes and dots too: names of weights are no paths.
fn matcher(pattern: &str) -> Result<GlobMatcher, ImportError> {
    let glob = Glob::new(pattern);
    let glob = glob.map_err(|source| ImportError::Pattern { pattern: pattern.into(), source })?;
    Ok(glob.compile_matcher())
}

/// What names look like, for a pattern that matches none.
pub fn examples(seen: &BTreeSet<String>) -> String {
    let mut ends: Vec<String> =
        seen.iter().take(2).chain(seen.iter().rev().take(1)).map(|it| format!("`{it}`")).collect();
    ends.dedup();
    if ends.is_empty() { "the model has none".into() } else { format!("weights are called like {}", ends.join(", ")) }
}
