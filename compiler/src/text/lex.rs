//! Text to tokens.

use super::SyntaxError;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Word(String),
    /// `%name`
    Value(String),
    /// `@name`
    Symbol(String),
    Int(i64),
    Float(f64),
    Punct(&'static str),
    End,
}

/// Whether a character may stand in a name without quotes.
pub fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_./-+:".contains(c)
}

/// Tokens with their lines, an end token last.
pub fn lex(text: &str) -> Result<Vec<(Token, usize)>, SyntaxError> {
    let mut tokens = vec![];
    let mut last = 1;
    for (i, line) in text.lines().enumerate() {
        last = i + 1;
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with(';') {
            let (token, after) = token(rest).map_err(|message| SyntaxError { line: last, message })?;
            tokens.push((token, last));
            rest = after.trim_start();
        }
    }
    tokens.push((Token::End, last));
    Ok(tokens)
}

fn token(rest: &str) -> Result<(Token, &str), String> {
    for punct in ["<-", "{", "}", "[", "]", "(", ")", "<", ">", ",", "="] {
        if let Some(after) = rest.strip_prefix(punct) {
            return Ok((Token::Punct(punct), after));
        }
    }
    if let Some(after) = rest.strip_prefix(':')
        && !after.starts_with(is_plain)
    {
        return Ok((Token::Punct(":"), after));
    }
    let make = match rest.chars().next() {
        Some('%') => Token::Value,
        Some('@') => Token::Symbol,
        _ => {
            let (word, after) = plain(rest)?;
            return Ok((number(word).unwrap_or_else(|| Token::Word(word.to_string())), after));
        }
    };
    match rest[1..].strip_prefix('"') {
        Some(inner) => quoted(inner).map(|(name, after)| (make(name), after)),
        None => plain(&rest[1..]).map(|(name, after)| (make(name.to_string()), after)),
    }
}

fn plain(rest: &str) -> Result<(&str, &str), String> {
    let len = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
    match len {
        0 => Err(format!("unexpected character `{}`", rest.chars().next().unwrap_or(' '))),
        _ => Ok(rest.split_at(len)),
    }
}

fn quoted(rest: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((name, &rest[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => name.push('\n'),
                Some((_, c)) => name.push(c),
                None => break,
            },
            c => name.push(c),
        }
    }
    Err("a quoted name does not end".into())
}

fn number(text: &str) -> Option<Token> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return None;
    }
    text.parse().map(Token::Int).or_else(|_| text.parse().map(Token::Float)).ok()
}
