//! The text form, the verifier, and passes over it.

use std::path::Path;

use razorc_compiler::options::{Options, Sparsity};
use razorc_compiler::{passes, text, verify::verify};

/// A canonical file is what printing its graph gives, comments apart.
#[test]
fn text_round_trip() {
    insta::glob!("cases/text/*.razor", |path| {
        let source = read(path);
        let parsed = text::parse(&source).unwrap_or_else(|it| panic!("{it:?}"));
        assert_eq!(parsed.graph.to_string(), without_comments(&source));
        assert_eq!(verify(&parsed.graph), []);
    });
}

/// Every guilty line says after `; error:` what the parser or the verifier finds there, and no other line is guilty.
#[test]
fn faults_are_found_where_they_are() {
    insta::glob!("cases/faults/*.razor", |path| {
        let source = read(path);
        let mut found: Vec<(usize, String)> = match text::parse(&source) {
            Err(faults) => faults.into_iter().map(|it| (it.line, it.message)).collect(),
            Ok(parsed) => verify(&parsed.graph).into_iter().map(|it| (parsed.lines[&it.node], it.message)).collect(),
        };
        let marked = source
            .lines()
            .enumerate()
            .flat_map(|(i, line)| line.split("; error: ").skip(1).map(move |it| (i + 1, it.trim().to_string())));
        let mut expected: Vec<(usize, String)> = marked.collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{}", path.display());
    });
}

/// A case's first line names the pass and its options; the snapshot is the graph afterwards.
#[test]
fn passes_rewrite_text() {
    insta::glob!("cases/passes/*/*.razor", |path| {
        let source = read(path);
        let mut words = source.lines().next().unwrap_or("").split_whitespace().skip(2);
        let pass = words.next().unwrap_or("").to_string();
        let mut options = Options { batch: 8, ..Options::default() };
        for word in words {
            match word.split_once('=') {
                Some(("sparsity", it)) => options.razor.sparsity = it.parse().unwrap(),
                Some(("ends", it)) => options.razor.ends = it == "true",
                Some(("smooth", it)) => options.razor.smooth = it == "true",
                Some(("slope_bits", it)) => options.razor.slope_bits = it.parse().unwrap(),
                Some(("reference", it)) => options.razor.reference = it == "true",
                Some(("micro_batch", it)) => options.micro_batch = it.parse().unwrap(),
                Some(("exact_norm", it)) => options.razor.exact_norm = it == "true",
                Some(("for", it)) => {
                    let (glob, sparsity) = it.split_once(':').unwrap();
                    options.razor.sparsity_for.push((glob.into(), sparsity.parse::<Sparsity>().unwrap()));
                }
                _ => panic!("{word} is not an option of a case"),
            }
        }
        let mut graph = text::parse(&source).unwrap_or_else(|it| panic!("{it:?}")).graph;
        assert_eq!(verify(&graph), [], "before the pass");
        let input = graph.declared("input")[0];
        options.batch = graph.ty(input).dims()[0] * if 0 < options.micro_batch { 2 } else { 1 };
        passes::run(&pass, &mut graph, &options).unwrap();
        assert_eq!(verify(&graph), [], "after the pass");
        insta::assert_snapshot!(graph);
    });
}

/// No mutation of a valid text makes the parser or the verifier panic.
#[test]
fn mutated_text_never_panics() {
    let source = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/text/mlp.razor")));
    let pieces =
        ["%", "{", "}", "[", "]", ",", "-1", "9999999999", "%x", "=", "<-", "\"", "f32", "topk<", "\n", "0", "é"];
    let mut state = 1u64;
    let mut random = move |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    for _ in 0..20_000 {
        let mut text: Vec<char> = source.chars().collect();
        for _ in 0..1 + random(3) {
            let at = random(text.len());
            match random(3) {
                0 => drop(text.drain(at..(at + 1 + random(8)).min(text.len()))),
                1 => drop(text.splice(at..at, pieces[random(pieces.len())].chars())),
                _ => text[at] = char::from(b' ' + random(94) as u8),
            }
        }
        if let Ok(parsed) = text::parse(&text.into_iter().collect::<String>()) {
            verify(&parsed.graph);
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn without_comments(source: &str) -> String {
    source.lines().filter(|it| !it.starts_with(';')).map(|it| format!("{it}\n")).collect()
}
