//! Texts: lines of JSON, tables, and plain text, made into tokens when they are opened.

mod records;
mod tokenizer;

use std::path::{Path, PathBuf};

use razorc_proto::program::task::Kind;

use super::labels::{self, Cell};
use super::tokens::{Shape, Tokens};
use super::{DataError, Dataset, Expect, Labels, Options, Source, Target};
use tokenizer::Tokenizer;

/// How texts become tokens, and where they are in their file.
#[derive(Clone, Debug, Default)]
pub struct TextOptions {
    /// A `tokenizer.json`, or a WordPiece `vocab.txt`.
    pub tokenizer: Option<PathBuf>,
    /// Column of the text; `text` unless given.
    pub text_column: Option<String>,
    /// Column of a second text; `text_pair`, if there is one, unless given.
    pub pair_column: Option<String>,
    /// Column of the label; `label` unless given.
    pub label_column: Option<String>,
    /// What inputs are made from, by their names: `input_ids`, `attention_mask`, `token_type_ids` or `position_ids`.
    /// Common names need not be told.
    pub feed: Vec<(String, String)>,
    /// The token that stands for a masked one; by default the tokenizer's.
    pub mask_token: Option<u32>,
    /// The token that fills rows up; by default the tokenizer's.
    pub pad_token: Option<u32>,
}

/// A text file that is read whole has at most so many bytes.
const FILE_BYTES: u64 = 1 << 30;

pub(super) fn open(path: &Path, expect: &Expect, options: &Options) -> Result<Dataset, DataError> {
    let text = &options.text;
    let shape = Shape::of(expect, &text.feed)?;
    let tokenizer = Tokenizer::open(text.tokenizer.as_deref().ok_or(DataError::NoTokenizer)?, shape.len)?;
    if let (Some(end), size) = (shape.end, tokenizer.size())
        && end < size
    {
        let problem = format!(
            "has tokens up to {}, but the model knows those below {end}; give the model's own tokenizer",
            size - 1
        );
        return Err(DataError::Text { path: text.tokenizer.clone().unwrap_or_default(), problem });
    }
    let pad = text.pad_token.or(tokenizer.pad()).unwrap_or(0);
    if shape.end.is_some_and(|end| end <= u64::from(pad)) {
        return Err(DataError::Feed(format!("the model has no token {pad} to fill rows up with; see `--pad-token`")));
    }
    let mut tokens = Tokens::new(shape, expect, text.mask_token.or(tokenizer.mask()))?;
    let content = read(path)?;
    let of_tokens = matches!(expect.kind, Kind::CausalLm | Kind::MaskedLm);
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if extension == "txt" {
        if !of_tokens {
            let problem = "is plain text, which has no labels; give .jsonl, .csv or .tsv".into();
            return Err(DataError::Text { path: path.into(), problem });
        }
        let mut stream = Vec::new();
        for line in content.split_inclusive('\n') {
            tokenizer.append(line, &mut stream).map_err(|problem| DataError::Text { path: path.into(), problem })?;
        }
        tokens.push_stream(&stream, pad);
        return finish(path, tokens, Labels::Tokens, expect);
    }
    let wants_label = !of_tokens && !matches!(expect.target, Target::None);
    let records = records::parse(path, &content, &extension, text, wants_label)?;
    let mut word_labels = Vec::new();
    for record in &records {
        let fault = |problem| DataError::Line { path: path.into(), line: record.line, problem };
        let row = match (expect.kind, &record.text) {
            (Kind::TokenClassification, cell) => tokenizer.words(&cell.words()),
            (_, Cell::Text(text)) => tokenizer.pair(text, record.pair.as_deref()),
            (_, other) => Err(format!("has {} where the text should be", other.describe())),
        };
        let row = row.map_err(fault)?;
        tokens.push(&row.ids, &row.types, &row.special, pad);
        if expect.kind == Kind::TokenClassification {
            word_labels.push(labels::of_words(&row.words, &record.label, record.text.words().len()).map_err(fault)?);
        }
    }
    if of_tokens || !wants_label {
        let labels = if of_tokens { Labels::Tokens } else { Labels::None };
        return finish(path, tokens, labels, expect);
    }
    let rows: Vec<labels::Row<'_>> = records.iter().map(|it| labels::Row { line: it.line, cell: &it.label }).collect();
    match (&expect.target, expect.kind) {
        (Target::Class { count, names, dims, ignore }, Kind::TokenClassification) if dims[..] == [tokens.len()] => {
            let cells = word_labels.iter().map(|row| &row[..row.len().min(tokens.len())]);
            let (indices, names) = labels::of_tokens(path, &rows, cells, tokens.len(), *count, names, *ignore)?;
            let per_row = tokens.len();
            let mut dataset = finish(path, tokens, Labels::Classes { indices, per_row }, expect)?;
            dataset.class_names = names;
            Ok(dataset)
        }
        (Target::Class { count, names, dims, .. }, _) if dims.is_empty() => {
            let (indices, names) = labels::classes(path, &rows, *count, names)?;
            let mut dataset = finish(path, tokens, Labels::Classes { indices, per_row: 1 }, expect)?;
            dataset.class_names = names;
            Ok(dataset)
        }
        (Target::Values { dims, unit }, _) => {
            let values = labels::values(path, &rows, dims, *unit)?;
            finish(path, tokens, Labels::Values(values), expect)
        }
        (Target::Class { dims, .. }, _) => {
            let problem = format!("has no targets of shape {dims:?}; give arrays");
            Err(DataError::Text { path: path.into(), problem })
        }
        (Target::None, _) => finish(path, tokens, Labels::None, expect),
    }
}

fn finish(path: &Path, tokens: Tokens, labels: Labels, expect: &Expect) -> Result<Dataset, DataError> {
    let rows = tokens.rows();
    if rows == 0 {
        return Err(DataError::NoRows { path: path.into() });
    }
    Ok(Dataset::new(path, Source::Tokens(tokens), labels, rows, expect))
}

fn read(path: &Path) -> Result<String, DataError> {
    let failed = |source| DataError::Read { path: path.into(), source };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if FILE_BYTES < bytes {
        let problem = format!("has {bytes} bytes; texts of at most {FILE_BYTES} bytes are read, so split it");
        return Err(DataError::Text { path: path.into(), problem });
    }
    let content = std::fs::read(path).map_err(failed)?;
    String::from_utf8(content).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..place].iter().filter(|it| **it == b'\n').count() + 1;
        DataError::Line { path: path.into(), line, problem: "is no UTF-8 text".into() }
    })
}
