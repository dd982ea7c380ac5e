//! The `razorc` command.
fn main() {}
