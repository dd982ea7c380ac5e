//! The text form, the verifier, and passes over it.

use std::path::Path;

use razorc_compiler::options::{Clip, ClipScope, Method, Options, Sparsity};
use razorc_compiler::types::DType;
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
                Some(("values", it)) => options.razor.values = DType::from_word(it).unwrap(),
                Some(("method", it)) => it.parse::<Method>().unwrap().apply(&mut options),
                Some(("ends", it)) => options.razor.ends = it == "true",
                Some(("smooth", it)) => options.razor.smooth = it == "true",
                Some(("slope_bits", it)) => options.razor.slope_bits = it.parse().unwrap(),
                Some(("reference", it)) => options.razor.reference = it == "true",
                Some(("micro_batch", it)) => options.micro_batch = it.parse().unwrap(),
                Some(("padding", it)) => options.razor.padding = it == "true",
                Some(("clip", it)) => {
                    let scope = if it == "global" { ClipScope::Global } else { ClipScope::PerWeight };
                    options.optimizer.clip = Some(Clip { norm: 0.5, scope });
                }
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

/// Every type is printed as it is read, and has bytes.
#[test]
fn types_round_trip() {
    let mut types = vec![];
    for dims in ["", "8", "8,64", "2,3,65", "4,1,1,17"] {
        let dense = ["f64", "f32", "f16", "bf16", "i64", "i32", "u8", "bool", "bits"];
        types.extend(dense.map(|it| format!("{it}[{dims}]")));
        types.extend([2, 3, 4].map(|bits| format!("codes<f32[{dims}], bits={bits}>")));
        types.extend(["signed", "unsigned"].map(|it| format!("dynamic<f32[{dims}], {it}>")));
        for (bits, block) in [(2, 16), (4, 64), (8, 65_536)] {
            types.push(format!("quant<f32[{dims}], bits={bits}, block={block}>"));
        }
        for values in ["f32", "f16", "bf16", "i8"] {
            for form in ["", ", form=gaps"] {
                types.push(format!("topk<f32[{dims}], samples=1, keep=1, values={values}{form}>"));
            }
        }
    }
    for ty in types {
        let source = format!("trainer @types {{\n  input     %x : {ty}\n}}\n");
        let parsed = text::parse(&source).unwrap_or_else(|it| panic!("{ty}: {it:?}"));
        assert_eq!(parsed.graph.to_string().split(" : ").nth(1).unwrap().lines().next(), Some(&ty[..]));
        assert_ne!(parsed.graph.ty(parsed.graph.declared("input")[0]).bytes(), 0, "{ty}");
    }
    for ty in [
        "quant<f32[8], bits=4>",
        "dynamic<f32[8]>",
        "dynamic<f32[8], i8>",
        "topk<f32[8], samples=1, keep=1, values=i8, form=list>",
        "topk<f32[8], samples=1>",
    ] {
        assert!(text::parse(&format!("trainer @types {{ input %x : {ty} }}")).is_err(), "{ty}");
    }
}

/// No mutation of a valid text makes the parser or the verifier panic.
#[test]
fn mutated_text_never_panics() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/text");
    let sources = ["mlp.razor", "packed.razor", "updates.razor"].map(|it| read(&cases.join(it)));
    let pieces =
        ["%", "{", "}", "[", "]", ",", "-1", "9999999999", "%x", "=", "<-", "\"", "f32", "topk<", "\n", "0", "é"];
    let mut state = 1u64;
    let mut random = move |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    for turn in 0..20_000 {
        let source = &sources[turn % 2];
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
