//! Documents as text, with MySQL's spacing: `{"a": 1, "b": [1, 2]}`.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Json, JsonKind, JsonRef};
use crate::text::write_double;

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root().fmt(f)
    }
}

impl fmt::Display for JsonRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            JsonKind::Null => f.write_str("null"),
            JsonKind::Bool(b) => write!(f, "{b}"),
            JsonKind::Int(n) => write!(f, "{n}"),
            JsonKind::UInt(n) => write!(f, "{n}"),
            JsonKind::Double(n) => {
                let mut text = String::new();
                write_double(n, &mut text);
                if !text.contains(['.', 'e']) {
                    text.push_str(".0");
                }
                f.write_str(&text)
            }
            JsonKind::String(s) => write_quoted(s, f),
            JsonKind::Opaque(..) | JsonKind::Time(_) | JsonKind::Duration(_) => {
                write_quoted(&self.unquoted(), f)
            }
            JsonKind::Array => {
                f.write_char('[')?;
                for (i, element) in self.elements().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    element.fmt(f)?;
                }
                f.write_char(']')
            }
            JsonKind::Object => {
                f.write_char('{')?;
                for (i, (key, value)) in self.members().into_iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write_quoted(key, f)?;
                    f.write_str(": ")?;
                    value.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

impl JsonRef<'_> {
    /// JSON_UNQUOTE: a string's content, anything else as text.
    pub fn unquoted(&self) -> String {
        match self.kind() {
            JsonKind::String(s) => s.to_string(),
            JsonKind::Opaque(code, bytes) => format!("base64:type{code}:{}", STANDARD.encode(bytes)),
            JsonKind::Time(time) => time.to_string(),
            JsonKind::Duration(duration) => duration.to_string(),
            _ => self.to_string(),
        }
    }
}

/// A JSON string literal.
pub(super) fn write_quoted(text: &str, f: &mut impl Write) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\0'..' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            _ => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
