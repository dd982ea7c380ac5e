//! Labels that are written as words or numbers.

use std::collections::BTreeSet;
use std::path::Path;

use super::DataError;
use super::array::{Array, Element};

/// A field of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Nothing,
    Text(String),
    Number(f64),
    List(Vec<Cell>),
}

/// A label, and the line that it is in.
pub(super) struct Row<'a> {
    pub line: usize,
    pub cell: &'a Cell,
}

impl Cell {
    pub fn of_json(value: &serde_json::Value) -> Result<Cell, &'static str> {
        use serde_json::Value;
        Ok(match value {
            Value::String(text) => Cell::Text(text.clone()),
            Value::Number(number) => Cell::Number(number.as_f64().ok_or("is too large a number")?),
            Value::Bool(it) => Cell::Number(f64::from(u8::from(*it))),
            Value::Array(list) => Cell::List(list.iter().map(Cell::of_json).collect::<Result<_, _>>()?),
            Value::Null => return Err("is nothing"),
            Value::Object(_) => return Err("is an object"),
        })
    }

    pub fn describe(&self) -> &'static str {
        match self {
            Cell::Nothing => "nothing",
            Cell::Text(_) => "a text",
            Cell::Number(_) => "a number",
            Cell::List(_) => "a list",
        }
    }

    /// What it is called: a text as it is, a number as it is written.
    fn word(&self) -> String {
        match self {
            Cell::Text(text) => text.trim().to_string(),
            Cell::Number(number) => number.to_string(),
            Cell::Nothing => String::new(),
            Cell::List(list) => list.iter().map(Cell::word).collect::<Vec<_>>().join(" "),
        }
    }

    /// The words of a list, or of a text that is separated by spaces.
    pub fn words(&self) -> Vec<String> {
        match self {
            Cell::List(list) => list.iter().map(Cell::word).collect(),
            other => other.word().split_whitespace().map(String::from).collect(),
        }
    }

    fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Cell::Nothing => None,
            Cell::Number(number) => Some(vec![*number]),
            Cell::Text(text) => {
                let parts = text.split([' ', ';']).filter(|it| !it.is_empty());
                parts.map(|it| it.parse().ok()).collect()
            }
            Cell::List(list) => list.iter().map(|it| it.numbers().filter(|it| it.len() == 1).map(|it| it[0])).collect(),
        }
    }
}

/// A class for each row, and the names of the classes, if they have some.
pub(super) fn classes(
    path: &Path,
    rows: &[Row<'_>],
    count: usize,
    known: &[String],
) -> Result<(Vec<i64>, Vec<String>), DataError> {
    if let Some(row) = rows.iter().find(|it| matches!(it.cell, Cell::List(_) | Cell::Nothing)) {
        let problem = format!("has {} where one label should be", row.cell.describe());
        return Err(DataError::Line { path: path.into(), line: row.line, problem });
    }
    let words: Vec<(usize, String)> = rows.iter().map(|it| (it.line, it.cell.word())).collect();
    let names = names(path, words.iter().map(|it| it.1.as_str()), count, known)?;
    let index = |(line, word): &(usize, String)| index(path, *line, word, count, &names);
    Ok((words.iter().map(index).collect::<Result<_, _>>()?, names))
}

/// The label of each token: that of its word if it is the first one of it, else none.
pub(super) fn of_words(words: &[Option<u32>], label: &Cell, n_words: usize) -> Result<Vec<Option<String>>, String> {
    let labels = label.words();
    if labels.len() != n_words {
        return Err(format!("has {n_words} words, but {} labels", labels.len()));
    }
    let mut last = None;
    let of_token = |word: &Option<u32>| {
        let first = word.is_some() && *word != last;
        last = *word;
        word.filter(|_| first).and_then(|it| labels.get(it as usize).cloned())
    };
    Ok(words.iter().map(of_token).collect())
}

/// The class of each of `len` tokens of each row, `ignore` where it has none; and the names of the classes.
pub(super) fn of_tokens<'a>(
    path: &Path,
    rows: &[Row<'_>],
    labels: impl Iterator<Item = &'a [Option<String>]> + Clone,
    len: usize,
    count: usize,
    known: &[String],
    ignore: i64,
) -> Result<(Vec<i64>, Vec<String>), DataError> {
    let names = names(path, labels.clone().flatten().flatten().map(String::as_str), count, known)?;
    let mut indices = Vec::with_capacity(rows.len() * len);
    for (row, labels) in rows.iter().zip(labels) {
        for label in labels {
            indices.push(match label {
                Some(label) => index(path, row.line, label, count, &names)?,
                None => ignore,
            });
        }
        indices.resize(indices.len() + len - labels.len(), ignore);
    }
    Ok((indices, names))
}

/// Numbers of shape `dims` for each row, from 0 to 1 where `unit`.
pub(super) fn values(path: &Path, rows: &[Row<'_>], dims: &[usize], unit: bool) -> Result<Array, DataError> {
    let n: usize = dims.iter().product();
    let mut bytes = Vec::with_capacity(4 * n * rows.len());
    for row in rows {
        let fault = |problem| DataError::Line { path: path.into(), line: row.line, problem };
        let numbers = row
            .cell
            .numbers()
            .ok_or_else(|| fault(format!("has the label `{}`, where {n} numbers should be", row.cell.word())))?;
        if numbers.len() != n {
            return Err(fault(format!("has {} numbers as its label, but the model predicts {n}", numbers.len())));
        }
        let fits = |it: &&f64| if unit { (0.0..=1.0).contains(*it) } else { (**it as f32).is_finite() };
        if let Some(wrong) = numbers.iter().find(|it| !fits(it)) {
            let range = if unit { "from 0 to 1" } else { "finite" };
            return Err(fault(format!("has {wrong} in its label; the numbers must be {range}")));
        }
        numbers.iter().for_each(|it| bytes.extend((*it as f32).to_le_bytes()));
    }
    Array::of_bytes(&path.to_string_lossy(), [&[rows.len()], dims].concat(), Element::F32, bytes)
}

/// The names of the classes: those that are known; or none where all labels are numbers; or the labels, in order.
fn names<'a>(
    path: &Path,
    words: impl Iterator<Item = &'a str>,
    count: usize,
    known: &[String],
) -> Result<Vec<String>, DataError> {
    if !known.is_empty() {
        return Ok(known.to_vec());
    }
    let found: BTreeSet<&str> = words.collect();
    if found.iter().all(|it| it.parse::<u64>().is_ok()) {
        return Ok(Vec::new());
    }
    if found.len() != count {
        let first = found.iter().take(10).copied().collect::<Vec<_>>().join(", ");
        let problem = format!(
            "has {} labels ({first}), but the trainer has {count} classes; compile with `--classes {0}`",
            found.len()
        );
        return Err(DataError::Text { path: path.into(), problem });
    }
    Ok(found.into_iter().map(String::from).collect())
}

fn index(path: &Path, line: usize, word: &str, count: usize, names: &[String]) -> Result<i64, DataError> {
    let fault = |problem| DataError::Line { path: path.into(), line, problem };
    if names.is_empty() {
        let class = word.parse::<usize>().ok().filter(|it| *it < count);
        return class.map(|it| it as i64).ok_or_else(|| {
            fault(format!("has the label `{word}`, which is no class of 0 to {}", count.saturating_sub(1)))
        });
    }
    let place = names.iter().position(|it| it == word);
    place.map(|it| it as i64).ok_or_else(|| {
        fault(format!("has the label `{word}`, which the trainer does not know; it knows {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes_of(cells: &[Cell], count: usize, known: &[&str]) -> Result<(Vec<i64>, Vec<String>), String> {
        let rows: Vec<Row<'_>> = cells.iter().zip(2..).map(|(cell, line)| Row { line, cell }).collect();
        let known: Vec<String> = known.iter().map(|it| it.to_string()).collect();
        classes(Path::new("x.csv"), &rows, count, &known).map_err(|it| it.to_string())
    }

    fn text(it: &str) -> Cell {
        Cell::Text(it.into())
    }

    #[test]
    fn words_become_classes_in_their_order_and_numbers_are_classes() {
        let found = classes_of(&[text("no"), text("yes"), text("no")], 2, &[]).unwrap();
        assert_eq!(found, (vec![0, 1, 0], vec!["no".into(), "yes".into()]));
        assert_eq!(classes_of(&[text("2"), Cell::Number(0.0)], 3, &[]).unwrap(), (vec![2, 0], vec![]));
        assert_eq!(classes_of(&[text("yes")], 2, &["yes", "no"]).unwrap().0, [0]);
    }

    #[test]
    fn unknown_labels_are_named_with_their_line() {
        let refusal = |it: Result<_, String>| it.err().unwrap();
        assert!(refusal(classes_of(&[text("1"), text("3")], 3, &[])).contains("line 3 has the label `3`"));
        assert!(refusal(classes_of(&[text("maybe")], 2, &["no", "yes"])).contains("it knows no, yes"));
        assert!(refusal(classes_of(&[text("a"), text("b")], 3, &[])).contains("--classes 2"));
        assert!(refusal(classes_of(&[Cell::List(vec![])], 3, &[])).contains("has a list"));
    }

    #[test]
    fn the_first_token_of_a_word_has_its_label() {
        let words = [None, Some(0), Some(0), Some(1), None];
        let labels = of_words(&words, &text("A B"), 2).unwrap();
        assert_eq!(labels, [None, Some("A".into()), None, Some("B".into()), None]);
        assert!(of_words(&words, &text("A"), 2).is_err());
    }
}
