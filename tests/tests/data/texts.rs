use std::fs;
use std::path::PathBuf;

use razorc_proto::program::task::Kind;
use razorc_runtime::data::{
    Column, DataError, Dataset, Expect, Input, Loader, Options, Order, Target, Targets, TextOptions,
};
use razorc_runtime::rng::Rng;
use tempfile::TempDir;

use super::{preset, real, refusal, whole};

/// BERT's, without capitals.
const VOCABULARY: &str =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nfilm\nno\n##thing\nnew\nthe\nwas\n.\n,\nplay\n##ed\n";

pub fn file(dir: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn options(dir: &TempDir) -> Options {
    let tokenizer = Some(file(dir, "vocab.txt", VOCABULARY));
    Options { text: TextOptions { tokenizer, ..TextOptions::default() }, ..Options::default() }
}

fn classes(inputs: Vec<Input>, kind: Kind, count: usize, dims: &[usize]) -> Expect {
    let target = Target::Class { count, names: vec![], dims: dims.to_vec(), ignore: -100 };
    Expect { inputs, target, kind, padded: true }
}

fn bert(len: usize) -> Vec<Input> {
    vec![whole("input_ids", &[len], 17), whole("attention_mask", &[len], 2), whole("token_type_ids", &[len], 2)]
}

/// Inputs and class targets of the first batch.
pub fn first(dataset: &Dataset, batch: usize, order: Order) -> (Vec<Column>, Vec<i64>) {
    let mut loader = Loader::new(dataset, &preset("raw"), batch, order, 2).unwrap();
    let it = loader.next_batch().unwrap().unwrap();
    let targets = match it.targets {
        Targets::Classes(classes) => classes.to_vec(),
        _ => vec![],
    };
    (it.inputs.to_vec(), targets)
}

fn ids(column: &Column) -> &[i64] {
    match column {
        Column::Whole(ids) => ids,
        Column::Real(_) | Column::Truth(_) => panic!("no whole numbers"),
    }
}

#[test]
fn rows_of_a_table_fill_the_inputs_that_the_model_names() {
    let dir = TempDir::new().unwrap();
    let table = file(
        &dir,
        "films.csv",
        "text,label,text_pair\n\"Good, good film.\",yes,\nnothing new,no,the film was bad the film was bad\n",
    );
    let dataset = Dataset::open(&table, None, &classes(bert(8), Kind::Classification, 2, &[]), &options(&dir)).unwrap();
    assert_eq!(dataset.class_names(), ["no", "yes"]);
    let (inputs, targets) = first(&dataset, 2, Order::Sequential);
    // An empty pair still ends in its own separator.
    assert_eq!(ids(&inputs[0])[..8], [2, 5, 14, 5, 7, 13, 3, 3]);
    assert_eq!(ids(&inputs[1])[..8], [1; 8]);
    // Of the second row, what is longest is cut.
    assert_eq!(ids(&inputs[0])[8], 2);
    assert_eq!(ids(&inputs[0])[15], 3);
    let types = &ids(&inputs[2])[8..];
    assert!(types.is_sorted() && types[2] == 0 && types[7] == 1, "{types:?}");
    assert_eq!(targets, [1, 0]);
}

#[test]
fn short_rows_are_padded_and_masked() {
    let dir = TempDir::new().unwrap();
    let lines =
        file(&dir, "films.jsonl", "{\"review\": \"Good\", \"stars\": 1}\n\n{\"review\": \"bad\", \"stars\": 0}\n");
    let mut options = options(&dir);
    (options.text.text_column, options.text.label_column) = (Some("review".into()), Some("stars".into()));
    let inputs = vec![real("floats", &[6]), whole("input_ids", &[6], 17), whole("position_ids", &[6], 6)];
    options.text.feed = vec![("floats".into(), "attention_mask".into())];
    let dataset = Dataset::open(&lines, None, &classes(inputs, Kind::Classification, 2, &[]), &options).unwrap();
    let (inputs, targets) = first(&dataset, 2, Order::Sequential);
    assert_eq!(inputs[0], Column::Real([1., 1., 1., 0., 0., 0., 1., 1., 1., 0., 0., 0.].to_vec()));
    assert_eq!(ids(&inputs[1]), [2, 5, 3, 0, 0, 0, 2, 6, 3, 0, 0, 0]);
    assert_eq!(ids(&inputs[2]), [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
    assert_eq!(targets, [1, 0]);
}

#[test]
fn plain_text_is_cut_into_rows_whose_targets_are_the_next_tokens() {
    let dir = TempDir::new().unwrap();
    let text = file(&dir, "play.txt", "the film was good .\nthe film was new .\n");
    let expect = classes(vec![whole("ids", &[4], 17)], Kind::CausalLm, 17, &[4]);
    let dataset = Dataset::open(&text, None, &expect, &options(&dir)).unwrap();
    let (inputs, targets) = first(&dataset, 2, Order::Sequential);
    assert_eq!(ids(&inputs[0]), [11, 7, 12, 5, 13, 11, 7, 12]);
    assert_eq!(targets, [7, 12, 5, 13, 11, 7, 12, 10]);
}

#[test]
fn masked_tokens_are_others_in_each_epoch_and_always_the_same_in_evaluation() {
    let dir = TempDir::new().unwrap();
    let lines: String = (0..200).map(|_| "{\"text\": \"the film was good , nothing new , no\"}\n").collect();
    let lines = file(&dir, "films.jsonl", lines);
    let expect = classes(bert(12), Kind::MaskedLm, 17, &[12]);
    let dataset = Dataset::open(&lines, None, &expect, &options(&dir)).unwrap();
    let epoch = |epoch| first(&dataset, 200, Order::Shuffled { seed: 3, epoch, batch: 0 });
    let (one, again, other) = (epoch(0), epoch(0), epoch(1));
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert_eq!(first(&dataset, 200, Order::Sequential), first(&dataset, 200, Order::Sequential));

    let original = [2, 11, 7, 12, 5, 14, 8, 9, 10, 14, 8, 3];
    let (mut asked, mut masked, mut kept) = (0, 0, 0);
    for (row, targets) in ids(&one.0[0]).chunks(12).zip(one.1.chunks(12)) {
        assert!(targets.iter().any(|it| *it != -100), "a row has nothing to learn from");
        assert_eq!((targets[0], targets[11]), (-100, -100), "the ends are never masked");
        for ((&id, &target), &original) in row.iter().zip(targets).zip(&original) {
            if target == -100 {
                assert_eq!(id, original);
                continue;
            }
            assert_eq!(target, original);
            asked += 1;
            masked += usize::from(id == 4);
            kept += usize::from(id == original);
        }
    }
    // 15 % of ten tokens, and at least one.
    assert!((280..400).contains(&asked), "{asked}");
    assert!((0.72..0.88).contains(&(masked as f64 / asked as f64)), "{masked} of {asked}");
    assert!((0.05..0.18).contains(&(kept as f64 / asked as f64)), "{kept} of {asked}");
}

#[test]
fn the_first_token_of_each_word_has_its_label() {
    let dir = TempDir::new().unwrap();
    let lines = file(
        &dir,
        "words.jsonl",
        "{\"tokens\": [\"the\", \"film\", \"played\"], \"tags\": [\"O\", \"B\", \"I\"]}\n{\"tokens\": \"no film\", \"tags\": \"O B\"}\n",
    );
    let mut options = options(&dir);
    (options.text.text_column, options.text.label_column) = (Some("tokens".into()), Some("tags".into()));
    let expect = classes(bert(7), Kind::TokenClassification, 3, &[7]);
    let dataset = Dataset::open(&lines, None, &expect, &options).unwrap();
    assert_eq!(dataset.class_names(), ["B", "I", "O"]);
    let (inputs, targets) = first(&dataset, 2, Order::Sequential);
    assert_eq!(ids(&inputs[0])[..7], [2, 11, 7, 15, 16, 3, 0]);
    assert_eq!(targets, [-100, 2, 0, 1, -100, -100, -100, -100, 2, 0, -100, -100, -100, -100]);
}

#[test]
fn numbers_and_several_labels() {
    let dir = TempDir::new().unwrap();
    let open = |content: &str, dims: &[usize], unit| {
        let kind = if unit { Kind::MultiLabel } else { Kind::Regression };
        let target = Target::Values { dims: dims.to_vec(), unit };
        let expect = Expect { inputs: bert(5), target, kind, padded: true };
        Dataset::open(&file(&dir, "rows.tsv", content), None, &expect, &options(&dir))
    };
    let dataset = open("text\tlabel\ngood\t1.5 -2\n", &[2], false).unwrap();
    let mut loader = Loader::new(&dataset, &preset("raw"), 1, Order::Sequential, 1).unwrap();
    assert_eq!(loader.next_batch().unwrap().unwrap().targets, Targets::Values(&[1.5, -2.0]));
    assert!(refusal(open("text\tlabel\ngood\t1.5\n", &[2], false)).contains("rows.tsv: line 2 has 1 numbers"));
    assert!(refusal(open("text\tlabel\ngood\t1;2\n", &[2], true)).contains("from 0 to 1"));
    assert!(refusal(open("text\tlabel\ngood\tx\n", &[1], false)).contains("label `x`"));
}

#[test]
fn a_tokenizer_of_another_kind() {
    let dir = TempDir::new().unwrap();
    let json = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"<pad>": 0, "<unk>": 1, "a": 2, "b": 3}, "unk_token": "<unk>"}}"#;
    let tokenizer = Some(file(&dir, "tokenizer.json", json));
    let options = Options { text: TextOptions { tokenizer, ..TextOptions::default() }, ..Options::default() };
    let expect = |end| classes(vec![whole("x", &[3], end)], Kind::CausalLm, 4, &[3]);
    let text = file(&dir, "ab.txt", "a b c a b a a");
    let dataset = Dataset::open(&text, None, &expect(4), &options).unwrap();
    let (inputs, targets) = first(&dataset, 2, Order::Sequential);
    assert_eq!(ids(&inputs[0]), [2, 3, 1, 2, 3, 2]);
    assert_eq!(targets, [3, 1, 2, 3, 2, 2]);
    let refused = refusal(Dataset::open(&text, None, &expect(3), &options));
    assert!(refused.contains("tokenizer.json has tokens up to 3, but the model knows those below 3"), "{refused}");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let dir = TempDir::new().unwrap();
    let good = options(&dir);
    let sentences = || classes(bert(6), Kind::Classification, 2, &[]);
    let open = |name: &str, content: &[u8], expect: Expect, options: &Options| -> String {
        refusal(Dataset::open(&file(&dir, name, content), None, &expect, options))
    };
    let says = |message: String, part: &str| assert!(message.contains(part), "`{message}` does not say `{part}`");
    says(open("a.csv", b"text,label\nx,1\n", sentences(), &Options::default()), "--tokenizer");
    says(open("a.csv", b"sentence,label\nx,1\n", sentences(), &good), "line 1 names no column `text`");
    says(open("a.csv", b"text,class\nx,1\n", sentences(), &good), "--label-column");
    says(open("a.csv", b"text,label\nx,1\ny\n", sentences(), &good), "line 3 has 1 cells");
    says(open("a.csv", b"text,label\n\"x,1\n", sentences(), &good), "line 2 opens a quote");
    says(open("a.csv", b"text,label\nx,1\ny,2\n", sentences(), &good), "line 3 has the label `2`");
    says(open("a.csv", b"text,label\nx,a\ny,b\nz,c\n", sentences(), &good), "--classes 3");
    says(open("a.csv", b"text,label\n", sentences(), &good), "a.csv has no rows");
    says(open("a.csv", b"", sentences(), &good), "a.csv has no rows");
    says(open("a.csv", b"text,label\nx,\xff\n", sentences(), &good), "line 2 is no UTF-8");
    says(
        open("a.jsonl", b"{\"text\": \"x\", \"label\": 0}\n{\"text\"\n", sentences(), &good),
        "line 2 is no JSON object",
    );
    says(open("a.jsonl", b"[1]\n", sentences(), &good), "line 1 is no JSON object");
    says(open("a.jsonl", b"{\"text\": 3, \"label\": 0}\n", sentences(), &good), "a number where the text should be");
    says(open("a.jsonl", b"{\"text\": \"x\", \"label\": null}\n", sentences(), &good), "`label` that is nothing");
    says(open("a.txt", b"no labels", sentences(), &good), "plain text, which has no labels");
    let words = || classes(bert(6), Kind::TokenClassification, 2, &[6]);
    says(open("a.csv", b"text,label\nno film,O\n", words(), &good), "line 2 has 2 words, but 1 labels");
    let mut foreign = sentences();
    foreign.inputs[1].name = "bias".into();
    says(open("a.csv", b"text,label\nx,1\n", foreign, &good), "--feed bias=WORD");
    let mut wide = sentences();
    wide.inputs[1].dims = vec![7];
    says(open("a.csv", b"text,label\nx,1\n", wide, &good), "`attention_mask` has rows of shape [7]");
    let unmasked = file(&dir, "words.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nfilm\n");
    let text = TextOptions { tokenizer: Some(unmasked), ..TextOptions::default() };
    let masked = classes(bert(6), Kind::MaskedLm, 17, &[6]);
    says(open("a.txt", b"film", masked, &Options { text, ..Options::default() }), "--mask-token");
    let text = TextOptions { tokenizer: Some(file(&dir, "broken.json", "{")), ..TextOptions::default() };
    says(open("a.csv", b"text,label\nx,1\n", sentences(), &Options { text, ..Options::default() }), "no tokenizer");
}

#[test]
fn damaged_texts_are_read_or_refused_and_never_panic() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir);
    let whole: [(&str, &[u8]); 3] = [
        ("a.csv", b"text,label\n\"good, new\",1\nfilm,0\n"),
        ("a.jsonl", b"{\"text\": \"good film\", \"label\": 1}\n{\"text\": \"bad\", \"label\": 0}\n"),
        ("a.tsv", b"text\tlabel\ngood\t0\nbad\t1\n"),
    ];
    let expect = classes(bert(6), Kind::Classification, 2, &[]);
    let (mut rng, mut read, mut refused) = (Rng::keyed(&[11]), 0, 0);
    for round in 0..300 {
        let (name, content) = whole[round % 3];
        let mut bytes = content.to_vec();
        for _ in 0..=rng.below(2) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] ^= 1 << rng.below(8),
                _ => bytes.insert(at, b"\",\n\t{}[]\xf0"[rng.below(9) as usize]),
            }
        }
        let opened: Result<Dataset, DataError> = Dataset::open(&file(&dir, name, bytes), None, &expect, &options);
        match opened {
            Ok(dataset) => {
                read += 1;
                first(&dataset, 1, Order::Sequential);
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
    assert!(30 < read && 30 < refused, "{read} read, {refused} refused");
}
