//! Rows of text files: JSON a line, or tables whose first line names the columns.

use std::path::Path;

use super::TextOptions;
use crate::data::DataError;
use crate::data::labels::Cell;

/// A text with what belongs to it.
pub struct Record {
    /// In the file, from 1.
    pub line: usize,
    pub text: Cell,
    pub pair: Option<String>,
    /// Nothing where no labels are wanted.
    pub label: Cell,
}

pub fn parse(
    path: &Path,
    content: &str,
    extension: &str,
    options: &TextOptions,
    wants_label: bool,
) -> Result<Vec<Record>, DataError> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let records = match extension {
        "jsonl" => json(path, content, options, wants_label),
        "csv" => table(path, content, ',', options, wants_label),
        _ => table(path, content, '\t', options, wants_label),
    }?;
    if records.is_empty() {
        return Err(DataError::NoRows { path: path.into() });
    }
    Ok(records)
}

fn names(options: &TextOptions) -> (&str, &str, &str) {
    (
        options.text_column.as_deref().unwrap_or("text"),
        options.pair_column.as_deref().unwrap_or("text_pair"),
        options.label_column.as_deref().unwrap_or("label"),
    )
}

fn json(path: &Path, content: &str, options: &TextOptions, wants_label: bool) -> Result<Vec<Record>, DataError> {
    let (text_name, pair_name, label_name) = names(options);
    let mut records = Vec::new();
    for (line, row) in content.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let line = line + 1;
        let fault = |problem| DataError::Line { path: path.into(), line, problem };
        let value: serde_json::Value =
            serde_json::from_str(row).map_err(|error| fault(format!("is no JSON object: {error}")))?;
        let object = value.as_object().ok_or_else(|| fault("is no JSON object".into()))?;
        let known = || object.keys().take(10).cloned().collect::<Vec<_>>().join(", ");
        let field = |name: &str, option: &str| match object.get(name) {
            Some(value) => Cell::of_json(value).map_err(|problem| fault(format!("has a `{name}` that {problem}"))),
            None => Err(fault(format!("has no `{name}`; `{option}` says how it is called, and there are {}", known()))),
        };
        let text = field(text_name, "--text-column")?;
        let pair = match (object.get(pair_name), &options.pair_column) {
            (Some(serde_json::Value::String(pair)), _) => Some(pair.clone()),
            (None, None) => None,
            _ => return Err(fault(format!("has no text `{pair_name}`; there are {}", known()))),
        };
        let label = if wants_label { field(label_name, "--label-column")? } else { Cell::Nothing };
        records.push(Record { line, text, pair, label });
    }
    Ok(records)
}

fn table(
    path: &Path,
    content: &str,
    separator: char,
    options: &TextOptions,
    wants_label: bool,
) -> Result<Vec<Record>, DataError> {
    let (text_name, pair_name, label_name) = names(options);
    let fault = |line, problem| DataError::Line { path: path.into(), line, problem };
    let rows = cells(content, separator).map_err(|(line, problem)| fault(line, problem.into()))?;
    let mut rows = rows.into_iter().filter(|(_, row)| row.len() != 1 || !row[0].is_empty());
    let Some((first, header)) = rows.next() else { return Ok(Vec::new()) };
    let find = |name: &str| header.iter().position(|it| it.trim() == name);
    let must = |name: &str, option: &str| {
        let known = || header.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
        find(name).ok_or_else(|| {
            fault(
                first,
                format!("names no column `{name}`; `{option}` says how it is called, and there are {}", known()),
            )
        })
    };
    let text_at = must(text_name, "--text-column")?;
    let pair_at = match &options.pair_column {
        Some(name) => Some(must(name, "--pair-column")?),
        None => find(pair_name),
    };
    let label_at = if wants_label { Some(must(label_name, "--label-column")?) } else { None };
    rows.map(|(line, mut row)| {
        if row.len() != header.len() {
            let problem = format!("has {} cells, but the first line names {} columns", row.len(), header.len());
            return Err(fault(line, problem));
        }
        let mut cell = |at: usize| std::mem::take(&mut row[at]);
        let label = label_at.map_or(Cell::Nothing, |at| Cell::Text(cell(at)));
        let pair = pair_at.map(&mut cell);
        Ok(Record { line, text: Cell::Text(cell(text_at)), pair, label })
    })
    .collect()
}

/// The line that a row begins in, and its cells.
type Row = (usize, Vec<String>);

/// The cells of a table with the line that each row begins in. Cells may be quoted as RFC 4180 says.
fn cells(content: &str, separator: char) -> Result<Vec<Row>, (usize, &'static str)> {
    let mut rows = Vec::new();
    let (mut row, mut cell) = (Vec::new(), String::new());
    let (mut line, mut began) = (1, 1);
    let mut chars = content.chars().peekable();
    while let Some(it) = chars.next() {
        match it {
            '"' if cell.is_empty() => {
                let opened = line;
                loop {
                    match chars.next() {
                        Some('"') if chars.peek() == Some(&'"') => {
                            chars.next();
                            cell.push('"');
                        }
                        Some('"') => break,
                        Some(it) => {
                            line += usize::from(it == '\n');
                            cell.push(it);
                        }
                        None => return Err((opened, "opens a quote that is never closed")),
                    }
                }
                let end = chars.peek().is_none_or(|&it| it == separator || it == '\n' || it == '\r');
                if !end {
                    return Err((line, "goes on behind a quoted cell; double the quotes within cells"));
                }
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                rows.push((began, std::mem::take(&mut row)));
                line += 1;
                began = line;
            }
            it if it == separator => row.push(std::mem::take(&mut cell)),
            it => cell.push(it),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push((began, row));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn rows(content: &str) -> Vec<Vec<String>> {
        cells(content, ',').unwrap().into_iter().map(|(_, row)| row).collect()
    }

    #[test]
    fn quotes_hold_separators_and_lines() {
        let content = "text,label\r\n\"a, \"\"b\"\"\nc\",x\n,\nlast,y";
        assert_eq!(rows(content), [["text", "label"], ["a, \"b\"\nc", "x"], ["", ""], ["last", "y"]]);
        let lines: Vec<usize> = cells(content, ',').unwrap().into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 4, 5]);
    }

    #[test]
    fn broken_quotes_are_named_by_line() {
        assert_eq!(cells("a\nb,\"c\nd", ','), Err((2, "opens a quote that is never closed")));
        assert!(cells("\"a\"b", ',').is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let mut rng = Rng::keyed(&[5]);
        let letters = ['a', ',', '"', '\n', '\t', 'é', ' '];
        for _ in 0..500 {
            let (n_rows, n_cells) = (1 + rng.below(4), 2 + rng.below(3));
            let mut table = Vec::new();
            for _ in 0..n_rows {
                let mut cell = || (0..rng.below(6)).map(|_| letters[rng.below(7) as usize]).collect::<String>();
                table.push((0..n_cells).map(|_| cell()).collect::<Vec<_>>());
            }
            let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
            let content = table.iter().map(line).collect::<Vec<_>>().join("\n");
            assert_eq!(rows(&content), table, "{content}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut rng = Rng::keyed(&[6]);
        let letters = ['a', ',', '"', '\n', '\r', '{', '}', '[', ':', '1'];
        let options = TextOptions::default();
        for _ in 0..2000 {
            let content: String = (0..rng.below(40)).map(|_| letters[rng.below(10) as usize]).collect();
            for extension in ["csv", "tsv", "jsonl"] {
                let _ = parse(Path::new("x"), &content, extension, &options, true);
            }
        }
    }
}
