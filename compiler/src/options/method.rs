//! Published ways to train in less memory, each as settings of what is trained and of what is saved.

use std::fmt;
use std::str::FromStr;

use super::{Options, Rounds, Scope, Sparsity};

/// A way to train. One but Back Razor itself saves nothing pruned, unless a sparsity is asked for beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Saved activations are pruned (Jiang et al., NeurIPS 2022).
    #[default]
    BackRazor,
    /// Every weight is trained, and everything is saved whole.
    Full,
    /// Biases and a fresh head (TinyTL without its side branches, Cai et al., NeurIPS 2020).
    Bias,
    /// The last layers with weights.
    Last(u64),
    /// Scales and biases of normalization, and a fresh head.
    Norm,
    /// Saved activations have 8 bits (Mesa, Pan et al., 2021).
    Mesa,
    /// Saved activations have 2 bits, rounded at random so that gradients have the right mean (ActNN, Chen et al., ICML
    /// 2021).
    ActNn,
}

/// Why a text is not a method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are the methods backrazor, full, bias, norm, mesa, actnn and last:N, such as last:2; found `{0}`")]
pub struct MethodError(String);

impl Method {
    /// Sets what the method is made of: which weights are trained, and what is pruned and rounded.
    pub fn apply(self, options: &mut Options) {
        options.scope = match self {
            Method::Bias => Scope::Biases,
            Method::Norm => Scope::Norms,
            Method::Last(layers) => Scope::Last(layers),
            Method::BackRazor | Method::Full | Method::Mesa | Method::ActNn => Scope::All,
        };
        let razor = &mut options.razor;
        (razor.rounded_bits, razor.rounds) = match self {
            Method::Mesa => (8, Rounds::Everything),
            Method::ActNn => (2, Rounds::EverythingAtRandom),
            _ => (razor.rounded_bits, Rounds::Spared),
        };
        if !self.prunes() {
            (razor.sparsity, razor.sparsity_for) = (Sparsity::default(), vec![]);
            razor.recompute = false;
        }
    }

    /// Whether a sparsity makes sense beside the method.
    pub fn prunes(self) -> bool {
        !matches!(self, Method::Full | Method::Mesa | Method::ActNn)
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Method, MethodError> {
        let error = || MethodError(text.to_string());
        Ok(match text {
            "backrazor" => Method::BackRazor,
            "full" => Method::Full,
            "bias" => Method::Bias,
            "norm" => Method::Norm,
            "mesa" => Method::Mesa,
            "actnn" => Method::ActNn,
            other => {
                let layers = other.strip_prefix("last:").and_then(|it| it.parse().ok());
                Method::Last(layers.filter(|it| 0 < *it).ok_or_else(error)?)
            }
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::BackRazor => "backrazor",
            Method::Full => "full",
            Method::Bias => "bias",
            Method::Norm => "norm",
            Method::Mesa => "mesa",
            Method::ActNn => "actnn",
            Method::Last(layers) => return write!(f, "last:{layers}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_methods() {
        for word in ["backrazor", "full", "bias", "norm", "mesa", "actnn", "last:1", "last:12"] {
            assert_eq!(word.parse::<Method>().unwrap().to_string(), word);
        }
        for word in ["", "last", "last:", "last:0", "last:-1", "last:x", "Mesa", "bias "] {
            assert!(word.parse::<Method>().is_err(), "{word}");
        }
    }
}
