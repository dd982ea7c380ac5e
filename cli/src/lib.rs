//! The commands behind the `razorc` binary.
