//! Attributes of a node: small constants, in the order in which they are printed.

use std::fmt;

/// One attribute's value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Attr {
    Int(i64),
    Float(f64),
    Word(String),
    Ints(Vec<i64>),
}

/// Attributes by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attrs(Vec<(String, Attr)>);

impl Attrs {
    /// No attributes.
    pub fn new() -> Attrs {
        Attrs::default()
    }

    /// These attributes and one more; replaces one of the same name.
    pub fn with(mut self, name: &str, value: impl Into<Attr>) -> Attrs {
        let value = value.into();
        match self.0.iter_mut().find(|it| it.0 == name) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name.to_string(), value)),
        }
        self
    }

    /// Only the attributes named, in that order.
    pub fn only(&self, names: &[&str]) -> Attrs {
        let found = names.iter().filter_map(|name| Some((name.to_string(), self.get(name)?.clone())));
        Attrs(found.collect())
    }

    /// The attribute of this name.
    pub fn get(&self, name: &str) -> Option<&Attr> {
        self.0.iter().find(|it| it.0 == name).map(|it| &it.1)
    }

    /// An integer; `default` where it is absent or of another kind.
    pub fn int_or(&self, name: &str, default: i64) -> i64 {
        match self.get(name) {
            Some(Attr::Int(n)) => *n,
            _ => default,
        }
    }

    /// A number; `default` where it is absent or of another kind.
    pub fn float_or(&self, name: &str, default: f64) -> f64 {
        match self.get(name) {
            Some(Attr::Float(x)) => *x,
            Some(Attr::Int(n)) => *n as f64,
            _ => default,
        }
    }

    /// A list of integers, empty where it is absent.
    pub fn ints(&self, name: &str) -> &[i64] {
        match self.get(name) {
            Some(Attr::Ints(list)) => list,
            _ => &[],
        }
    }

    /// A word.
    pub fn word(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Attr::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attr)> {
        self.0.iter().map(|it| (it.0.as_str(), &it.1))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<i64> for Attr {
    fn from(n: i64) -> Attr {
        Attr::Int(n)
    }
}

impl From<f64> for Attr {
    fn from(x: f64) -> Attr {
        Attr::Float(x)
    }
}

impl From<&str> for Attr {
    fn from(word: &str) -> Attr {
        Attr::Word(word.to_string())
    }
}

impl From<Vec<i64>> for Attr {
    fn from(list: Vec<i64>) -> Attr {
        Attr::Ints(list)
    }
}

impl From<&[u64]> for Attr {
    fn from(dims: &[u64]) -> Attr {
        Attr::Ints(dims.iter().map(|&d| d as i64).collect())
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Int(n) => write!(f, "{n}"),
            Attr::Float(x) => write!(f, "{x:?}"),
            Attr::Word(word) => f.write_str(word),
            Attr::Ints(list) => {
                let list: Vec<String> = list.iter().map(i64::to_string).collect();
                write!(f, "[{}]", list.join(", "))
            }
        }
    }
}
