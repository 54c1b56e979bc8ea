//! LIKE and REGEXP: compiled patterns.

use std::sync::Arc;

use bytes::Bytes;
use ilmenite_error::{Error, Result};
use ilmenite_types::Collation;
use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Char(char),
    /// `_`
    One,
    /// `%`
    Many,
}

/// A compiled LIKE pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LikePattern {
    pieces: Vec<Piece>,
    /// Set when the pattern is these bytes and then perhaps `%`, and bytes decide: the usual case.
    plain: Option<(Bytes, bool)>,
}

impl LikePattern {
    pub(crate) fn compile(pattern: &[u8], escape: Option<char>, collation: Collation) -> LikePattern {
        let mut pieces = Vec::with_capacity(pattern.len());
        let mut at = 0;
        while at < pattern.len() {
            let (c, len) = next_char(&pattern[at..], collation);
            at += len;
            if Some(c) == escape && at < pattern.len() {
                let (literal, len) = next_char(&pattern[at..], collation);
                at += len;
                pieces.push(Piece::Char(literal));
            } else if c == '%' {
                // Several in a row are one.
                if pieces.last() != Some(&Piece::Many) {
                    pieces.push(Piece::Many);
                }
            } else if c == '_' {
                pieces.push(Piece::One);
            } else {
                pieces.push(Piece::Char(c));
            }
        }
        let plain = collation
            .is_bin()
            .then(|| plain_prefix(&pieces, collation))
            .filter(|(_, rest)| *rest <= 1)
            .and_then(|(prefix, rest)| match (rest, pieces.last()) {
                (0, _) => Some((prefix, false)),
                (_, Some(Piece::Many)) => Some((prefix, true)),
                _ => None,
            });
        LikePattern { pieces, plain }
    }

    pub(crate) fn matches(&self, text: &[u8], collation: Collation) -> bool {
        if let Some((prefix, open)) = &self.plain {
            return if *open {
                text.starts_with(prefix)
            } else {
                text == &prefix[..]
            };
        }
        let (mut piece, mut at) = (0, 0);
        // Where to go on when what follows the last `%` does not fit: that `%` takes one character more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.pieces.get(piece) {
                Some(Piece::Many) => {
                    retry = Some((piece + 1, at));
                    piece += 1;
                    continue;
                }
                Some(expected) if at < text.len() => {
                    let (c, len) = next_char(&text[at..], collation);
                    let fits = match expected {
                        Piece::Char(p) => collation.chars_equal(*p, c),
                        _ => true,
                    };
                    if fits {
                        piece += 1;
                        at += len;
                        continue;
                    }
                }
                None if at == text.len() => return true,
                _ => {}
            }
            match retry {
                Some((after, from)) if from < text.len() => {
                    let (_, len) = next_char(&text[from..], collation);
                    retry = Some((after, from + len));
                    piece = after;
                    at = from + len;
                }
                _ => return false,
            }
        }
    }
}

/// The literal characters a pattern starts with, and how many pieces follow.
fn plain_prefix(pieces: &[Piece], collation: Collation) -> (Bytes, usize) {
    let mut prefix = Vec::new();
    let mut used = 0;
    for piece in pieces {
        let Piece::Char(c) = piece else { break };
        if collation.is_binary() {
            prefix.push(*c as u32 as u8);
        } else {
            prefix.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        used += 1;
    }
    (prefix.into(), pieces.len() - used)
}

/// The first character and its length; a byte that is no character stands for itself.
fn next_char(text: &[u8], collation: Collation) -> (char, usize) {
    let first = text[0];
    if first < 0x80 || collation.is_binary() {
        return (first as char, 1);
    }
    let len = match first {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF7 => 4,
        _ => 1,
    };
    let decoded = text.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok());
    match decoded.and_then(|s| s.chars().next()) {
        Some(c) => (c, len),
        None => (first as char, 1),
    }
}

/// The last pattern compiled, so that a pattern that does not change is compiled once.
#[derive(Clone, Default)]
pub struct RegexCell(Arc<Mutex<Option<(Bytes, Regex)>>>);

impl std::fmt::Debug for RegexCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegexCell")
    }
}

impl RegexCell {
    pub(crate) fn get(&self, pattern: &Bytes, case_insensitive: bool) -> Result<Regex> {
        let mut last = self.0.lock();
        if let Some((text, regex)) = &*last
            && text == pattern
        {
            return Ok(regex.clone());
        }
        let regex = compile_regex(pattern, case_insensitive)?;
        *last = Some((pattern.clone(), regex.clone()));
        Ok(regex)
    }
}

/// More memory than this a pattern does not get.
const REGEX_SIZE_LIMIT_BYTES: usize = 4 << 20;

fn compile_regex(pattern: &[u8], case_insensitive: bool) -> Result<Regex> {
    let text = std::str::from_utf8(pattern).map_err(|_| Error::regexp("the pattern is not UTF-8"))?;
    if text.is_empty() {
        return Err(Error::regexp("empty (sub)expression"));
    }
    RegexBuilder::new(text)
        .case_insensitive(case_insensitive)
        .size_limit(REGEX_SIZE_LIMIT_BYTES)
        .build()
        .map_err(|e| Error::regexp(e.to_string().lines().last().unwrap_or_default()))
}
