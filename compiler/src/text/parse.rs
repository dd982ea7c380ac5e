//! Text to graph.

use std::collections::HashMap;

use super::SyntaxError;
use super::lex::{Token, lex};
use crate::attrs::{Attr, Attrs};
use crate::graph::{Graph, NodeId, Phase, Value};
use crate::ops;
use crate::types::{DType, IndexForm, Type};

/// A graph and the lines that its nodes stand on.
pub struct Parsed {
    /// What the text says; not verified.
    pub graph: Graph,
    /// Line of each node, counted from 1.
    pub lines: HashMap<NodeId, usize>,
}

/// Reads the text form. Undefined, repeated and unsaved names are collected; a fault of syntax ends the reading.
pub fn parse(text: &str) -> Result<Parsed, Vec<SyntaxError>> {
    let tokens = lex(text).map_err(|it| vec![it])?;
    let mut parser = Parser { tokens, at: 0, graph: Graph::default(), lines: HashMap::new(), faults: vec![] };
    let ended = parser.trainer().and_then(|()| match parser.peek() {
        Token::End => Ok(()),
        _ => parser.expected("end of file"),
    });
    parser.faults.extend(ended.err());
    match parser.faults.is_empty() {
        true => Ok(Parsed { graph: parser.graph, lines: parser.lines }),
        false => Err(parser.faults),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    graph: Graph,
    lines: HashMap<NodeId, usize>,
    faults: Vec<SyntaxError>,
}

type Result1<T> = Result<T, SyntaxError>;

impl Parser {
    fn trainer(&mut self) -> Result1<()> {
        self.keyword("trainer")?;
        self.graph.name = match self.next() {
            Token::Symbol(name) => name,
            _ => return self.expected_back("a name such as `@model`"),
        };
        self.punct("{")?;
        let mut saves = None;
        while !self.eat("}") {
            match self.word()?.as_str() {
                role @ ("input" | "param" | "frozen" | "state" | "statistic") => self.declaration(role)?,
                "opening" => self.phase(Phase::Opening)?,
                "forward" => self.phase(Phase::Forward)?,
                "backward" => {
                    saves = Some((self.line(), self.saves()?));
                    self.phase(Phase::Backward)?;
                }
                "update" => self.phase(Phase::Update)?,
                _ => return self.expected_back("a declaration or a phase"),
            }
        }
        if let Some((line, listed)) = saves {
            self.check_saves(line, &listed);
        }
        Ok(())
    }

    fn declaration(&mut self, role: &str) -> Result1<()> {
        let line = self.line();
        let name = self.value()?;
        self.punct(":")?;
        let ty = self.ty()?;
        self.define(&name, line);
        let value = self.graph.declare(role, &name, ty);
        self.lines.insert(value.node, line);
        Ok(())
    }

    fn saves(&mut self) -> Result1<Vec<String>> {
        self.keyword("saves")?;
        self.punct("(")?;
        if self.eat(")") {
            return Ok(vec![]);
        }
        let saves = self.list(Self::value)?;
        self.punct(")")?;
        Ok(saves)
    }

    /// The list must be what the backward phase reads: no more, no less.
    fn check_saves(&mut self, line: usize, listed: &[String]) {
        let read: Vec<String> = self.graph.saves().iter().map(|it| self.graph.name(*it).to_string()).collect();
        let unsaved = read.iter().filter(|it| !listed.contains(it));
        let unread = listed.iter().filter(|it| !read.contains(it));
        let messages = unsaved
            .map(|it| format!("%{it} is not saved for the backward phase"))
            .chain(unread.map(|it| format!("%{it} is saved but never read by the backward phase")));
        self.faults.extend(messages.map(|message| SyntaxError { line, message }));
    }

    fn phase(&mut self, phase: Phase) -> Result1<()> {
        self.punct("{")?;
        while !self.eat("}") {
            self.node(phase)?;
        }
        Ok(())
    }

    fn node(&mut self, phase: Phase) -> Result1<()> {
        let line = self.line();
        let left = self.list(Self::value)?;
        let in_place = self.eat("<-");
        if !in_place {
            self.punct("=")?;
        }
        let word = self.word()?;
        let Some(op) = ops::find(&word) else {
            return Err(SyntaxError { line, message: format!("`{word}` is not an op") });
        };
        let operands = match self.peek() {
            Token::Value(_) => self.list(Self::value)?,
            _ => vec![],
        };
        let mut attrs = Attrs::new();
        if self.eat("{") {
            for (name, value) in self.list(Self::attr)? {
                attrs = attrs.with(&name, value);
            }
            self.punct("}")?;
        }
        let mut types = vec![];
        if !in_place {
            self.punct(":")?;
            types = self.list(Self::ty)?;
        }
        let operands: Vec<Value> = operands.iter().filter_map(|it| self.lookup(it, line)).collect();
        let mut outputs = vec![];
        if !in_place {
            if left.len() != types.len() {
                self.fault(line, "one type is needed for each result".into());
            }
            left.iter().for_each(|it| self.define(it, line));
            outputs = left.iter().cloned().zip(types).collect();
        }
        let node = self.graph.place(phase, op, attrs, &operands, outputs);
        self.lines.insert(node, line);
        let written: Vec<String> = self.graph.writes(node).iter().map(|it| self.graph.name(*it).to_string()).collect();
        if in_place && written != left {
            self.fault(line, format!("{word} writes {written:?}"));
        } else if !in_place && !written.is_empty() {
            self.fault(line, format!("{word} writes in place: use `<-`"));
        }
        Ok(())
    }

    fn define(&mut self, name: &str, line: usize) {
        if self.graph.value(name).is_some() {
            self.fault(line, format!("%{name} is defined twice"));
        }
    }

    fn lookup(&mut self, name: &str, line: usize) -> Option<Value> {
        let found = self.graph.value(name);
        if found.is_none() {
            self.fault(line, format!("%{name} is not defined"));
        }
        found
    }

    fn fault(&mut self, line: usize, message: String) {
        self.faults.push(SyntaxError { line, message });
    }

    fn attr(&mut self) -> Result1<(String, Attr)> {
        let key = self.word()?;
        self.punct("=")?;
        let value = match self.next() {
            Token::Int(n) => Attr::Int(n),
            Token::Float(x) => Attr::Float(x),
            Token::Word(word) => match word.as_str() {
                "inf" => Attr::Float(f64::INFINITY),
                _ => Attr::Word(word),
            },
            Token::Punct("[") => {
                let items = if *self.peek() == Token::Punct("]") { vec![] } else { self.list(Self::int)? };
                self.punct("]")?;
                Attr::Ints(items)
            }
            _ => return self.expected_back("an attribute value"),
        };
        Ok((key, value))
    }

    fn ty(&mut self) -> Result1<Type> {
        let word = self.word()?;
        if word == "bits" {
            return Ok(Type::Bits { dims: self.dims()? });
        }
        if word == "codes" {
            self.punct("<")?;
            self.keyword("f32")?;
            let dims = self.dims()?;
            let bits = self.field("bits")?;
            self.punct(">")?;
            return Ok(Type::Codes { dims, bits });
        }
        if word == "quant" {
            self.punct("<")?;
            self.keyword("f32")?;
            let (dims, bits, block) = (self.dims()?, self.field("bits")?, self.field("block")?);
            self.punct(">")?;
            return Ok(Type::Quant { dims, bits, block });
        }
        if word == "dynamic" {
            self.punct("<")?;
            self.keyword("f32")?;
            let dims = self.dims()?;
            self.punct(",")?;
            let signed = match self.word()?.as_str() {
                "signed" => true,
                "unsigned" => false,
                _ => return self.expected_back("`signed` or `unsigned`"),
            };
            self.punct(">")?;
            return Ok(Type::Dynamic { dims, signed });
        }
        if word != "topk" {
            let dtype = self.dtype(&word)?;
            return Ok(Type::Dense { dtype, dims: self.dims()? });
        }
        self.punct("<")?;
        self.keyword("f32")?;
        let dims = self.dims()?;
        let samples = self.field("samples")?;
        let keep = self.field("keep")?;
        self.punct(",")?;
        self.keyword("values")?;
        self.punct("=")?;
        let word = self.word()?;
        let values = self.dtype(&word)?;
        let form = if self.eat(",") { self.form()? } else { IndexForm::Bitmap };
        self.punct(">")?;
        Ok(Type::TopK { dims, samples, keep, values, form })
    }

    fn form(&mut self) -> Result1<IndexForm> {
        self.keyword("form")?;
        self.punct("=")?;
        let word = self.word()?;
        match IndexForm::from_word(&word) {
            Some(form) => Ok(form),
            None => self.expected_back("`bitmap` or `gaps`"),
        }
    }

    fn field(&mut self, name: &str) -> Result1<u64> {
        self.punct(",")?;
        self.keyword(name)?;
        self.punct("=")?;
        self.size()
    }

    fn dtype(&mut self, word: &str) -> Result1<DType> {
        match DType::from_word(word) {
            Some(dtype) => Ok(dtype),
            None => self.expected_back("a type such as `f32`"),
        }
    }

    fn dims(&mut self) -> Result1<Vec<u64>> {
        self.punct("[")?;
        if self.eat("]") {
            return Ok(vec![]);
        }
        let dims = self.list(Self::size)?;
        self.punct("]")?;
        match dims.iter().try_fold(1u64, |all, &dim| all.checked_mul(dim.max(1))) {
            Some(elements) if elements < 1 << 48 => Ok(dims),
            _ => self.expected("a tensor of fewer than 2^48 elements"),
        }
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> Result1<T>) -> Result1<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn value(&mut self) -> Result1<String> {
        match self.next() {
            Token::Value(name) => Ok(name),
            _ => self.expected_back("a value such as `%x`"),
        }
    }

    fn word(&mut self) -> Result1<String> {
        match self.next() {
            Token::Word(word) => Ok(word),
            _ => self.expected_back("a word"),
        }
    }

    fn int(&mut self) -> Result1<i64> {
        match self.next() {
            Token::Int(n) => Ok(n),
            _ => self.expected_back("an integer"),
        }
    }

    fn size(&mut self) -> Result1<u64> {
        match self.next() {
            Token::Int(n) if 0 <= n => Ok(n as u64),
            _ => self.expected_back("a size"),
        }
    }

    fn keyword(&mut self, keyword: &str) -> Result1<()> {
        match self.next() {
            Token::Word(word) if word == keyword => Ok(()),
            _ => self.expected_back(&format!("`{keyword}`")),
        }
    }

    fn punct(&mut self, punct: &'static str) -> Result1<()> {
        if self.eat(punct) { Ok(()) } else { self.expected(&format!("`{punct}`")) }
    }

    fn eat(&mut self, punct: &'static str) -> bool {
        let found = *self.peek() == Token::Punct(punct);
        if found {
            self.next();
        }
        found
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn line(&self) -> usize {
        self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn expected<T>(&self, what: &str) -> Result1<T> {
        Err(SyntaxError { line: self.line(), message: format!("expected {what}") })
    }

    /// As `expected`, for a token already taken.
    fn expected_back<T>(&mut self, what: &str) -> Result1<T> {
        self.at = self.at.saturating_sub(1);
        self.expected(what)
    }
}
