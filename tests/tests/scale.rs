//! Graphs of many nodes compile quickly.

use std::time::{Duration, Instant};

use razorc_compiler::compile;
use razorc_compiler::options::Options;
use razorc_fixtures::Builder;

/// Nodes of a graph.
const N: usize = 4_000;

/// Without optimization, on a busy machine. What looks through all nodes for each of them takes minutes.
const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn chains_of_reshapes_compile() {
    let mut m = Builder::new("reshapes", 1);
    m.input("v0", "N,4,6").ints("square", &[-1, 4, 6]).ints("flat", &[-1, 24]);
    for i in 0..N {
        m.node(&format!("v{}", i + 1), "Reshape", &[&format!("v{i}"), if i % 2 == 0 { "flat" } else { "square" }], &[]);
    }
    m.node("last", "Reshape", &[&format!("v{N}"), "flat"], &[]);
    compiles(&mut m, "last");
}

#[test]
fn chains_of_activations_compile() {
    let mut m = Builder::new("activations", 1);
    m.input("x", "N,24");
    gemm(&mut m, "v0", "x", 24);
    // Each saves a tensor, and placing what lives at once takes quadratic time.
    for i in 0..N / 4 {
        m.node(&format!("v{}", i + 1), "Relu", &[&format!("v{i}")], &[]);
    }
    compiles(&mut m, &format!("v{}", N / 4));
}

#[test]
fn values_with_many_readers_compile() {
    let mut m = Builder::new("readers", 1);
    m.input("x", "N,24");
    gemm(&mut m, "v0", "x", 24);
    for i in 0..N {
        m.node(&format!("v{}", i + 1), "Add", &[&format!("v{i}"), "v0"], &[]);
    }
    compiles(&mut m, &format!("v{N}"));
}

fn compiles(m: &mut Builder, features: &str) {
    gemm(m, "logits", features, 10);
    m.output("logits", "N,10");
    let started = Instant::now();
    compile(&m.model(), &Options { batch: 2, ..Options::default() }).unwrap();
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}

fn gemm(m: &mut Builder, name: &str, x: &str, to: i64) {
    let weight = format!("{name}.weight");
    m.weight(&weight, &[to, 24]).node(name, "Gemm", &[x, &weight], &[("transB", 1.into())]);
}
