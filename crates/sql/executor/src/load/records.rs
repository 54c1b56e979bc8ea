//! Bytes of a text file split into records, and those into fields.

use bytes::{Bytes, BytesMut};
use ilmenite_error::{Error, Result};
use ilmenite_parser::LoadData;

/// A record longer than this is no record: the separators are wrong.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// How records and fields are told apart.
pub(crate) struct Format {
    field_end: Vec<u8>,
    quote: Option<u8>,
    optional_quote: bool,
    escape: Option<u8>,
    line_start: Vec<u8>,
    line_end: Vec<u8>,
}

impl Format {
    pub(crate) fn of(load: &LoadData) -> Result<Format> {
        let one = |text: &str| match text.as_bytes() {
            [] => Ok(None),
            [byte] => Ok(Some(*byte)),
            _ => Err(Error::wrong_field_terminators()),
        };
        let field_end = load.fields_terminated_by.as_bytes().to_vec();
        let line_end = load.lines_terminated_by.as_bytes().to_vec();
        if field_end.is_empty() && line_end.is_empty() {
            return Err(Error::not_supported_yet("fields of fixed width"));
        }
        Ok(Format {
            field_end,
            quote: one(&load.fields_enclosed_by)?,
            optional_quote: load.fields_optionally_enclosed,
            escape: one(&load.fields_escaped_by)?,
            line_start: load.lines_starting_by.as_bytes().to_vec(),
            line_end,
        })
    }
}

/// Splits bytes into records.
pub(crate) struct RecordReader<'f> {
    format: &'f Format,
    buffer: BytesMut,
}

impl<'f> RecordReader<'f> {
    pub(super) fn new(format: &'f Format) -> Self {
        RecordReader {
            format,
            buffer: BytesMut::new(),
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next record; `None` when there is no whole one yet. `ended`: what is there is all there is.
    pub(super) fn next(&mut self, ended: bool) -> Result<Option<Vec<Option<Bytes>>>> {
        let Some((fields, used)) = self.split(ended) else {
            if self.buffer.len() > MAX_RECORD_BYTES {
                return Err(Error::row_too_big(MAX_RECORD_BYTES));
            }
            return Ok(None);
        };
        let _used = self.buffer.split_to(used);
        Ok(Some(fields))
    }

    fn split(&self, ended: bool) -> Option<(Vec<Option<Bytes>>, usize)> {
        let text = &self.buffer[..];
        let format = self.format;
        let mut at = 0;
        if !format.line_start.is_empty() {
            // What comes before the start of a line is not part of it.
            let start = text
                .windows(format.line_start.len())
                .position(|w| w == &format.line_start[..])?;
            at = start + format.line_start.len();
        }
        if at >= text.len() {
            return None;
        }
        let mut fields = Vec::new();
        loop {
            let (field, next, more) = self.field(text, at, ended)?;
            fields.push(field);
            at = next;
            if !more {
                return Some((fields, at));
            }
        }
    }

    /// One field from `at`: its value, where what follows it begins, and whether that is another field.
    fn field(&self, text: &[u8], mut at: usize, ended: bool) -> Option<(Option<Bytes>, usize, bool)> {
        let format = self.format;
        let mut value = Vec::new();
        let quoted = format.quote.is_some_and(|quote| text.get(at) == Some(&quote));
        if quoted {
            at += 1;
        }
        let mut null = false;
        let mut escaped_any = false;
        loop {
            let rest = &text[at.min(text.len())..];
            if rest.is_empty() {
                // The last line may lack its end.
                return ended.then(|| (finish(value, null, quoted, escaped_any, format), at, false));
            }
            if let Some(escape) = format.escape
                && rest[0] == escape
                && format.quote != Some(escape)
            {
                let Some(next) = rest.get(1) else {
                    if !ended {
                        return None;
                    }
                    value.push(escape);
                    at += 1;
                    continue;
                };
                escaped_any = true;
                match next {
                    b'0' => value.push(0),
                    b'b' => value.push(8),
                    b'n' => value.push(b'\n'),
                    b'r' => value.push(b'\r'),
                    b't' => value.push(b'\t'),
                    b'Z' => value.push(26),
                    b'N' if value.is_empty() && !quoted => null = true,
                    other => value.push(*other),
                }
                at += 2;
                continue;
            }
            if quoted {
                if let Some(quote) = format.quote
                    && rest[0] == quote
                {
                    let after = &rest[1..];
                    if after.first() == Some(&quote) {
                        value.push(quote);
                        at += 2;
                        continue;
                    }
                    if self.may_end(after) && !ended {
                        return None;
                    }
                    if let Some((len, more)) = self.ending(after) {
                        return Some((
                            finish(value, false, true, escaped_any, format),
                            at + 1 + len,
                            more,
                        ));
                    }
                    if after.is_empty() && ended {
                        return Some((finish(value, false, true, escaped_any, format), at + 1, false));
                    }
                }
                value.push(rest[0]);
                at += 1;
                continue;
            }
            if self.may_end(rest) && !ended {
                return None;
            }
            if let Some((len, more)) = self.ending(rest) {
                return Some((finish(value, null, false, escaped_any, format), at + len, more));
            }
            null = false;
            value.push(rest[0]);
            at += 1;
        }
    }

    /// The end of a field or of a line stands here: its length, and whether a field follows. A line's end that begins
    /// like a field's, as in '|' and '|\n', is a line's end.
    fn ending(&self, rest: &[u8]) -> Option<(usize, bool)> {
        let format = self.format;
        if !format.line_end.is_empty() && rest.starts_with(&format.line_end) {
            return Some((format.line_end.len(), false));
        }
        if !format.field_end.is_empty() && rest.starts_with(&format.field_end) {
            return Some((format.field_end.len(), true));
        }
        None
    }

    /// More bytes might make an end of what stands here.
    fn may_end(&self, rest: &[u8]) -> bool {
        let begins = |end: &[u8]| rest.len() < end.len() && end.starts_with(rest);
        begins(&self.format.field_end) || begins(&self.format.line_end)
    }
}

fn finish(value: Vec<u8>, null: bool, quoted: bool, escaped: bool, format: &Format) -> Option<Bytes> {
    if null {
        return None;
    }
    // The bare word NULL is NULL where fields are quoted, or nothing escapes.
    let words =
        !quoted && !escaped && (format.quote.is_some() && !format.optional_quote || format.escape.is_none());
    if words && value == b"NULL" {
        return None;
    }
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(field_end: &str, quote: &str, line_end: &str) -> Format {
        Format {
            field_end: field_end.into(),
            quote: quote.bytes().next(),
            optional_quote: true,
            escape: Some(b'\\'),
            line_start: Vec::new(),
            line_end: line_end.into(),
        }
    }

    fn records(format: &Format, text: &str, piece: usize) -> Vec<Vec<Option<String>>> {
        let mut reader = RecordReader::new(format);
        let mut found = Vec::new();
        let mut take = |reader: &mut RecordReader<'_>, ended: bool| {
            while let Some(record) = reader.next(ended).unwrap() {
                let text = |field: Bytes| String::from_utf8(field.to_vec()).unwrap();
                found.push(record.into_iter().map(|field| field.map(text)).collect());
            }
        };
        for piece in text.as_bytes().chunks(piece) {
            reader.feed(piece);
            take(&mut reader, false);
        }
        take(&mut reader, true);
        found
    }

    #[test]
    fn fields_are_split_however_the_bytes_come() {
        let csv = format(",", "\"", "\r\n");
        let text = "1,\"a, \"\"b\"\"\",\\N\r\n2,x\\,y,\"\"\r\n3,last,z";
        let expected: Vec<Vec<Option<String>>> = vec![
            vec![Some("1".into()), Some("a, \"b\"".into()), None],
            vec![Some("2".into()), Some("x,y".into()), Some(String::new())],
            vec![Some("3".into()), Some("last".into()), Some("z".into())],
        ];
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(records(&csv, text, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn a_lines_end_may_begin_like_a_fields() {
        let table = format("|", "", "|\n");
        let expected: Vec<Vec<Option<String>>> = vec![
            vec![Some("1".into()), Some(String::new()), Some("x".into())],
            vec![Some("2".into()), Some("y".into())],
            vec![Some("3".into()), Some("z".into()), Some(String::new())],
        ];
        for piece in [1, 2, 3, 1000] {
            assert_eq!(
                records(&table, "1||x|\n2|y|\n3|z|", piece),
                expected,
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn tabs_and_escapes_by_default() {
        let tsv = format("\t", "", "\n");
        assert_eq!(
            records(&tsv, "a\\tb\tc\\\\d\n\t\\N\n", 1),
            vec![
                vec![Some("a\tb".to_owned()), Some("c\\d".to_owned())],
                vec![Some(String::new()), None],
            ]
        );
    }
}
