//! The tree of a statement, from its Debug form: what is not said (`None`, `false`, nothing) and places are left out, and
//! what fits on a line stands on one.

use std::fmt::Write;

const WIDTH: usize = 110;

/// Fields that say where something was read, not what.
const PLACES: &[&str] = &["span", "select_token", "opening_token", "closing_token"];

/// Structs that say nothing when none of their fields does. Of an enum the name of the variant says something.
const OPTIONS: &[&str] = &["CharsetOptions", "OnlineOptions", "TableOptions", "UserOptions"];

pub(crate) fn shown(debug: &str) -> String {
    let mut reader = Reader { rest: debug };
    let node = reader.node();
    assert!(reader.rest.is_empty(), "{debug} goes on: {}", reader.rest);
    let mut text = String::new();
    node.write(0, &mut text);
    text
}

/// `open` before the parts and `close` after them; a leaf has neither.
struct Node {
    name: String,
    brackets: Option<(&'static str, &'static str)>,
    parts: Vec<(Option<String>, Node)>,
}

impl Node {
    /// Nothing is said by it.
    fn is_nothing(&self) -> bool {
        match self.brackets {
            None => matches!(self.name.as_str(), "None" | "false" | "\"\""),
            Some(_) => {
                self.parts.is_empty() && (self.name.is_empty() || OPTIONS.contains(&self.name.as_str()))
            }
        }
    }

    fn line(&self) -> String {
        let Some((open, close)) = self.brackets else {
            return self.name.clone();
        };
        if self.parts.is_empty() && open.contains('{') {
            return self.name.clone();
        }
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|(field, part)| match field {
                Some(field) => format!("{field}: {}", part.line()),
                None => part.line(),
            })
            .collect();
        format!("{}{open}{}{close}", self.name, parts.join(", "))
    }

    fn write(&self, indent: usize, text: &mut String) {
        let line = self.line();
        let Some((open, close)) = self.brackets.filter(|_| indent + line.chars().count() > WIDTH) else {
            text.push_str(&line);
            return;
        };
        let _ = writeln!(text, "{}{}", self.name, open.trim_end());
        for (field, part) in &self.parts {
            let _ = write!(text, "{:1$}", "", indent + 2);
            if let Some(field) = field {
                let _ = write!(text, "{field}: ");
            }
            part.write(indent + 2, text);
            text.push_str(",\n");
        }
        let _ = write!(text, "{:indent$}{}", "", close.trim_start());
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn take(&mut self, expected: &str) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn until(&mut self, length: usize) -> String {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken.to_owned()
    }

    /// A string or character with its quotes, or all that is no bracket, comma or space.
    fn word(&mut self) -> String {
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            let end = self.rest.find(|c: char| "()[]{}, :".contains(c));
            return self.until(end.unwrap_or(self.rest.len()));
        };
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        self.until(end.map_or(self.rest.len(), |(at, _)| at + 1))
    }

    fn node(&mut self) -> Node {
        let name = self.word();
        for (open, close, ends) in [
            ("(", ")", ")"),
            ("[", "]", "]"),
            (" { ", " }", " }"),
            ("{", "}", "}"),
        ] {
            if !self.take(open) {
                continue;
            }
            let mut parts = Vec::new();
            while !self.take(ends) {
                // Of a struct, a field's name comes first.
                let field = open.contains('{').then(|| {
                    let field = self.word();
                    self.take(": ");
                    field
                });
                let before = self.rest.len();
                let part = self.node();
                assert!(self.rest.len() < before, "no value at {}", self.rest);
                if self.take(",") {
                    self.take(" ");
                }
                let silent = part.is_nothing() && field.is_some();
                if !silent && !field.as_deref().is_some_and(|field| PLACES.contains(&field)) {
                    parts.push((field, part));
                }
            }
            // A range of two places.
            if self.take("..") {
                self.node();
            }
            // What wraps one thing and says no more about it; `Some(false)` is not `None`.
            let wraps = matches!(name.as_str(), "Some" | "ValueWithSpan");
            if wraps
                && !parts
                    .first()
                    .is_none_or(|(_, only): &(_, Node)| only.is_nothing())
            {
                return parts.swap_remove(0).1;
            }
            return Node {
                name,
                brackets: Some((open, close)),
                parts,
            };
        }
        Node {
            name,
            brackets: None,
            parts: Vec::new(),
        }
    }
}
