//! JSON paths: `$.a.b[0]`, `$[last]`, `$.a[1 to 3]`, `$.*`, `$**.b`.

use std::collections::HashSet;

use super::{JsonKind, JsonRef};
use crate::{Error, Result};

/// A place in an array, counted from the start or from the end (`last` is 0 from the end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayIndex {
    FromStart(usize),
    FromEnd(usize),
}

impl ArrayIndex {
    /// The index in an array of `len` elements; `None` before its first, while one past the end is given as it is.
    pub fn resolve(self, len: usize) -> Option<usize> {
        match self {
            ArrayIndex::FromStart(n) => Some(n),
            ArrayIndex::FromEnd(n) => (len).checked_sub(n + 1),
        }
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathLeg {
    Member(String),
    AnyMember,
    Element(ArrayIndex),
    Range(ArrayIndex, ArrayIndex),
    AnyElement,
    /// `**`: the value itself and everything inside it.
    Descend,
}

/// A parsed path. `$` alone has no legs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    legs: Vec<PathLeg>,
}

impl JsonPath {
    /// `Invalid` with the path's text when it is none.
    pub fn parse(text: &str) -> Result<JsonPath> {
        let mut parser = Parser { text, at: 0 };
        let legs = parser.path().ok_or_else(|| Error::Invalid {
            what: "JSON path expression",
            value: format!("{text} (at character position {})", parser.at),
        })?;
        Ok(JsonPath { legs })
    }

    pub fn legs(&self) -> &[PathLeg] {
        &self.legs
    }

    /// May the path match several values (and so give an array)?
    pub fn is_multiple(&self) -> bool {
        self.legs
            .iter()
            .any(|leg| !matches!(leg, PathLeg::Member(_) | PathLeg::Element(_)))
    }

    /// The path without its last leg, and that leg: where JSON_SET and JSON_REMOVE work.
    pub fn split_last(&self) -> Option<(JsonPath, &PathLeg)> {
        let (last, rest) = self.legs.split_last()?;
        Some((JsonPath { legs: rest.to_vec() }, last))
    }
}

impl<'a> JsonRef<'a> {
    /// All values a path matches, in document order, each once.
    pub fn extract(&self, path: &JsonPath) -> Vec<JsonRef<'a>> {
        let mut found = Vec::new();
        walk(*self, &path.legs, &mut found);
        if path.legs.contains(&PathLeg::Descend) {
            // `**` may come to one value on several ways; values are told apart by their place in the document.
            let mut seen = HashSet::with_capacity(found.len());
            found.retain(|value| seen.insert(value.data.as_ptr()));
        }
        found
    }
}

fn walk<'a>(at: JsonRef<'a>, legs: &[PathLeg], found: &mut Vec<JsonRef<'a>>) {
    let Some((leg, rest)) = legs.split_first() else {
        found.push(at);
        return;
    };
    let is_array = matches!(at.kind(), JsonKind::Array);
    match leg {
        PathLeg::Member(key) => {
            if let Some(value) = at.member(key) {
                walk(value, rest, found);
            }
        }
        PathLeg::AnyMember => at.members().into_iter().for_each(|(_, v)| walk(v, rest, found)),
        PathLeg::AnyElement => at.elements().for_each(|v| walk(v, rest, found)),
        PathLeg::Element(index) => {
            // A scalar or object counts as an array of one.
            let len = if is_array { at.len() } else { 1 };
            match index.resolve(len) {
                Some(i) if is_array => {
                    if let Some(value) = at.element(i) {
                        walk(value, rest, found);
                    }
                }
                Some(0) => walk(at, rest, found),
                _ => {}
            }
        }
        PathLeg::Range(from, to) => {
            let len = if is_array { at.len() } else { 1 };
            let first = from.resolve(len).unwrap_or(0);
            let Some(last) = to.resolve(len) else {
                return;
            };
            if is_array {
                for i in first..=last.min(len.saturating_sub(1)) {
                    if let Some(value) = at.element(i) {
                        walk(value, rest, found);
                    }
                }
            } else if first == 0 {
                walk(at, rest, found);
            }
        }
        PathLeg::Descend => {
            walk(at, rest, found);
            match at.kind() {
                JsonKind::Array => at.elements().for_each(|v| walk(v, legs, found)),
                JsonKind::Object => at.members().into_iter().for_each(|(_, v)| walk(v, legs, found)),
                _ => {}
            }
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self, c: char) -> Option<()> {
        (self.peek()? == c).then(|| self.at += c.len_utf8())
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn path(&mut self) -> Option<Vec<PathLeg>> {
        self.spaces();
        self.bump('$')?;
        let mut legs = Vec::new();
        loop {
            self.spaces();
            match self.peek() {
                None => break,
                Some('.') => {
                    self.at += 1;
                    self.spaces();
                    legs.push(self.member()?);
                }
                Some('[') => {
                    self.at += 1;
                    legs.push(self.element()?);
                }
                Some('*') => {
                    self.at += 1;
                    self.bump('*')?;
                    legs.push(PathLeg::Descend);
                }
                Some(_) => return None,
            }
        }
        // A path must not end in `**`.
        (legs.last() != Some(&PathLeg::Descend)).then_some(legs)
    }

    fn member(&mut self) -> Option<PathLeg> {
        match self.peek()? {
            '*' => {
                self.at += 1;
                Some(PathLeg::AnyMember)
            }
            '"' => {
                // The length of the literal: up to the next quote that no backslash escapes.
                let body = &self.text[self.at + 1..];
                let mut escaped = false;
                let end = body.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                })?;
                let literal = &self.text[self.at..self.at + end + 2];
                self.at += end + 2;
                serde_json::from_str(literal).ok().map(PathLeg::Member)
            }
            _ => {
                let rest = &self.text[self.at..];
                let end = rest
                    .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$')))
                    .unwrap_or(rest.len());
                let name = &rest[..end];
                if name.is_empty() || name.starts_with(|c: char| c.is_numeric()) {
                    return None;
                }
                self.at += end;
                Some(PathLeg::Member(name.to_string()))
            }
        }
    }

    /// What is between brackets, the opening one already read.
    fn element(&mut self) -> Option<PathLeg> {
        self.spaces();
        let leg = if self.bump('*').is_some() {
            PathLeg::AnyElement
        } else {
            let from = self.index()?;
            self.spaces();
            if self.word("to") {
                self.spaces();
                PathLeg::Range(from, self.index()?)
            } else {
                PathLeg::Element(from)
            }
        };
        self.spaces();
        self.bump(']')?;
        Some(leg)
    }

    fn index(&mut self) -> Option<ArrayIndex> {
        if self.word("last") {
            self.spaces();
            if self.bump('-').is_none() {
                return Some(ArrayIndex::FromEnd(0));
            }
            self.spaces();
            return self.number().map(ArrayIndex::FromEnd);
        }
        self.number().map(ArrayIndex::FromStart)
    }

    fn number(&mut self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u32 = rest[..end].parse().ok()?;
        self.at += end;
        Some(number as usize)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }
}
