//! What crosses crates is tested here; see the files beside this crate's manifest.
