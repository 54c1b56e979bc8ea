//! MySQL's lexical rules, giving sqlparser's tokens.
//!
//! Ours and not sqlparser's, since MySQL's depend on `sql_mode`, run comments by version, and let string literals hold
//! bytes that are no UTF-8 (what drivers send for `_binary'…'`). A token's place is kept exactly: `line` as usual,
//! `column` as its byte offset plus one, so that error messages and column names can quote the statement as written.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Whitespace};

/// The parts of `sql_mode` that change how text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LexMode {
    pub ansi_quotes: bool,
    pub no_backslash_escapes: bool,
    pub pipes_as_concat: bool,
    pub real_as_float: bool,
}

/// Comments `/*!NNNNN … */` are run up to this version: that of the MySQL we claim to be.
const VERSION_NUMBER: u32 = 80036;
/// TiDB's feature comments `/*T![feature] … */` we know what to do with.
const FEATURES: &[&[u8]] = &[b"clustered_index"];
/// No feature's name is longer, with its brackets.
const FEATURE_BYTES_MAX: usize = 64;

/// Where the text stops making sense: a byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LexError {
    pub offset: usize,
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
    mode: LexMode,
    /// Inside `/*! … */`, whose content counts.
    in_comment: bool,
    tokens: Vec<TokenWithSpan>,
}

/// The tokens of `text`, without white space and comments; optimizer hints `/*+ … */` stay as comment tokens.
pub(crate) fn tokenize(text: &[u8], mode: LexMode) -> Result<Vec<TokenWithSpan>, LexError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
        mode,
        in_comment: false,
        tokens: Vec::with_capacity(text.len() / 4 + 4),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts_with(&self, prefix: &[u8]) -> bool {
        self.text[self.at..].starts_with(prefix)
    }

    fn location(&self, offset: usize) -> Location {
        Location {
            line: self.line,
            column: offset as u64 + 1,
        }
    }

    fn push(&mut self, token: Token, start: usize, start_line: u64) {
        let span = Span {
            start: Location {
                line: start_line,
                column: start as u64 + 1,
            },
            end: self.location(self.at),
        };
        self.tokens.push(TokenWithSpan { token, span });
    }

    fn symbol(&mut self, token: Token, bytes: usize) {
        let start = self.at;
        self.at += bytes;
        self.push(token, start, self.line);
    }

    fn run(&mut self) -> Result<(), LexError> {
        while self.at < self.text.len() {
            let before = self.at;
            match self.text[before] {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'#' => self.skip_line(),
                // Two dashes begin a comment only before white space, control characters or the end.
                b'-' if self.peek(1) == b'-' && (self.at + 2 >= self.text.len() || self.peek(2) <= b' ') => {
                    self.skip_line()
                }
                b'/' if self.peek(1) == b'*' => self.comment()?,
                b'*' if self.in_comment && self.peek(1) == b'/' => {
                    self.in_comment = false;
                    self.at += 2;
                }
                b'\'' => self.string()?,
                b'"' if !self.mode.ansi_quotes => self.string()?,
                b'"' | b'`' => {
                    let (start, line) = (self.at, self.line);
                    let word = self.quoted_identifier()?;
                    self.push(Token::make_word(&word, Some('`')), start, line);
                }
                b'@' => self.variable()?,
                b'0'..=b'9' => self.number()?,
                b'.' if self.peek(1).is_ascii_digit() && !self.after_name() => self.number()?,
                // NULL, as the old client tools wrote it.
                b'\\' if self.peek(1) == b'N' => self.symbol(Token::make_word("NULL", None), 2),
                b if is_word_byte(b) => self.word()?,
                _ => self.operator()?,
            }
            // Whatever the rules above make of a text, they come to its end.
            if self.at == before {
                return Err(LexError { offset: before });
            }
        }
        if self.in_comment {
            return Err(LexError {
                offset: self.text.len(),
            });
        }
        Ok(())
    }

    /// Is the text right before this point a name, so that `.1a` goes on with it?
    fn after_name(&self) -> bool {
        self.at > 0 && matches!(self.text[self.at - 1], b if is_word_byte(b) || b == b'`')
    }

    fn skip_line(&mut self) {
        while self.at < self.text.len() && self.text[self.at] != b'\n' {
            self.at += 1;
        }
    }

    fn comment(&mut self) -> Result<(), LexError> {
        let (start, start_line) = (self.at, self.line);
        if !self.in_comment {
            if self.starts_with(b"/*!") {
                let digits = self.text[self.at + 3..]
                    .iter()
                    .take(6)
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                // Five or six digits are a version; fewer belong to the content.
                let digits = if digits >= 5 { digits } else { 0 };
                let version = self.text[self.at + 3..self.at + 3 + digits]
                    .iter()
                    .fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
                if version <= VERSION_NUMBER {
                    self.at += 3 + digits;
                    self.in_comment = true;
                    return Ok(());
                }
            } else if self.starts_with(b"/*T!") {
                let rest = &self.text[self.at + 4..];
                let known = match (
                    rest.first(),
                    rest.iter().take(FEATURE_BYTES_MAX).position(|b| *b == b']'),
                ) {
                    (Some(b'['), Some(end)) => FEATURES.contains(&&rest[1..end]).then_some(end + 1),
                    (Some(b'['), None) => None,
                    _ => Some(0),
                };
                if let Some(skip) = known {
                    self.at += 4 + skip;
                    self.in_comment = true;
                    return Ok(());
                }
            }
        }
        let body = start + 2;
        let end = self.text[body..]
            .windows(2)
            .position(|pair| pair == b"*/")
            .map(|n| body + n)
            .ok_or(LexError { offset: start })?;
        self.line += self.text[start..end].iter().filter(|b| **b == b'\n').count() as u64;
        self.at = end + 2;
        if self.text[body] == b'+' {
            let hint = String::from_utf8_lossy(&self.text[body..end]).into_owned();
            self.push(
                Token::Whitespace(Whitespace::MultiLineComment(hint)),
                start,
                start_line,
            );
        }
        Ok(())
    }

    /// The bytes of the string literal that starts here, escapes resolved.
    fn string_bytes(&mut self) -> Result<Vec<u8>, LexError> {
        let start = self.at;
        let quote = self.text[self.at];
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let stop = rest
                .iter()
                .position(|b| *b == quote || *b == b'\\' || *b == b'\n')
                .ok_or(LexError { offset: start })?;
            out.extend_from_slice(&rest[..stop]);
            self.at += stop + 1;
            match rest[stop] {
                b'\n' => {
                    self.line += 1;
                    out.push(b'\n');
                }
                b'\\' if self.mode.no_backslash_escapes => out.push(b'\\'),
                b'\\' => {
                    let escaped = *self.text.get(self.at).ok_or(LexError { offset: start })?;
                    self.at += 1;
                    match escaped {
                        b'0' => out.push(0),
                        b'b' => out.push(8),
                        b'n' => out.push(b'\n'),
                        b'r' => out.push(b'\r'),
                        b't' => out.push(b'\t'),
                        b'Z' => out.push(26),
                        // Kept for LIKE patterns.
                        b'%' | b'_' => out.extend_from_slice(&[b'\\', escaped]),
                        b'\n' => {
                            self.line += 1;
                            out.push(b'\n');
                        }
                        other => out.push(other),
                    }
                }
                _ if self.peek(0) == quote => {
                    self.at += 1;
                    out.push(quote);
                }
                _ => return Ok(out),
            }
        }
    }

    fn string(&mut self) -> Result<(), LexError> {
        let (start, line) = (self.at, self.line);
        let bytes = self.string_bytes()?;
        // Adjacent literals are one.
        if let Some(TokenWithSpan {
            token: Token::SingleQuotedString(before),
            span,
        }) = self.tokens.last_mut()
            && let Ok(more) = std::str::from_utf8(&bytes)
        {
            before.push_str(more);
            span.end = Location {
                line: self.line,
                column: self.at as u64 + 1,
            };
            return Ok(());
        }
        let token = match String::from_utf8(bytes) {
            Ok(text) => Token::SingleQuotedString(text),
            Err(not_text) => Token::HexStringLiteral(hex::encode(not_text.as_bytes())),
        };
        self.push(token, start, line);
        Ok(())
    }

    fn quoted_identifier(&mut self) -> Result<String, LexError> {
        let start = self.at;
        let quote = self.text[self.at];
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let stop = rest
                .iter()
                .position(|b| *b == quote)
                .ok_or(LexError { offset: start })?;
            out.extend_from_slice(&rest[..stop]);
            self.line += rest[..stop].iter().filter(|b| **b == b'\n').count() as u64;
            self.at += stop + 1;
            if self.peek(0) != quote {
                break;
            }
            self.at += 1;
            out.push(quote);
        }
        String::from_utf8(out).map_err(|_| LexError { offset: start })
    }

    /// `@x`, `@'x y'`, `@@x`, `@@global`: the word includes the signs.
    fn variable(&mut self) -> Result<(), LexError> {
        let (start, line) = (self.at, self.line);
        let signs = if self.peek(1) == b'@' { 2 } else { 1 };
        self.at += signs;
        let name = match self.peek(0) {
            b'`' => self.quoted_identifier()?,
            b'\'' | b'"' if signs == 1 => {
                String::from_utf8(self.string_bytes()?).map_err(|_| LexError { offset: start })?
            }
            _ => {
                let from = self.at;
                // A user variable's name may hold dots; a system variable's dots separate.
                while is_word_byte(self.peek(0)) || (signs == 1 && self.peek(0) == b'.') {
                    self.at += 1;
                }
                String::from_utf8(self.text[from..self.at].to_vec())
                    .map_err(|_| LexError { offset: start })?
            }
        };
        if name.is_empty() && signs == 2 {
            return Err(LexError { offset: start });
        }
        let word = format!("{}{name}", &"@@"[..signs]);
        self.push(Token::make_word(&word, None), start, line);
        Ok(())
    }

    fn number(&mut self) -> Result<(), LexError> {
        let (start, line) = (self.at, self.line);
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'b') {
            let is_hex = self.peek(1) == b'x';
            let digits = self.text[self.at + 2..]
                .iter()
                .take_while(|b| {
                    if is_hex {
                        b.is_ascii_hexdigit()
                    } else {
                        matches!(b, b'0' | b'1')
                    }
                })
                .count();
            let end = self.at + 2 + digits;
            if digits > 0 && !self.text.get(end).copied().is_some_and(is_word_byte) {
                let digits = String::from_utf8_lossy(&self.text[self.at + 2..end]).into_owned();
                self.at = end;
                let token = if is_hex {
                    // An odd count has a zero before it.
                    Token::HexStringLiteral(if digits.len() % 2 == 1 {
                        format!("0{digits}")
                    } else {
                        digits
                    })
                } else {
                    Token::SingleQuotedByteStringLiteral(digits)
                };
                self.push(token, start, line);
                return Ok(());
            }
        }
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        // What begins with a dot is no name, whatever stands before and after it.
        let dotted = self.text[start] == b'.';
        // Right after `name.`, digits are (part of) a name.
        let after_dot = !dotted && start > 0 && self.text[start - 1] == b'.' && {
            start > 1 && matches!(self.text[start - 2], b if is_word_byte(b) || b == b'`')
        };
        let whole_part_end = self.at;
        if !after_dot && self.peek(0) == b'.' {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        let mut is_number = true;
        if matches!(self.peek(0), b'e' | b'E') && !after_dot {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 2 + sign;
                while self.peek(0).is_ascii_digit() {
                    self.at += 1;
                }
                is_number = !is_word_byte(self.peek(0)) || sign == 1;
            } else if self.at == whole_part_end {
                is_number = false;
            }
        } else if self.at == whole_part_end && is_word_byte(self.peek(0)) {
            is_number = false;
        }
        if dotted || (is_number && !after_dot) {
            let digits = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
            self.push(Token::Number(digits, false), start, line);
            return Ok(());
        }
        // An identifier that begins with a digit.
        self.at = start;
        self.plain_word(start, line)
    }

    fn plain_word(&mut self, start: usize, line: u64) -> Result<(), LexError> {
        while is_word_byte(self.peek(0)) {
            self.at += 1;
        }
        let word = std::str::from_utf8(&self.text[start..self.at]).map_err(|_| LexError { offset: start })?;
        let token = Token::make_word(word, None);
        self.push(token, start, line);
        Ok(())
    }

    fn word(&mut self) -> Result<(), LexError> {
        let (start, line) = (self.at, self.line);
        let quoted = self.peek(1) == b'\'';
        match self.peek(0) {
            b'x' | b'X' if quoted => {
                self.at += 1;
                let digits = self.string_bytes()?;
                if digits.len() % 2 == 1 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(LexError { offset: start });
                }
                let digits = String::from_utf8_lossy(&digits).into_owned();
                self.push(Token::HexStringLiteral(digits), start, line);
                Ok(())
            }
            b'b' | b'B' if quoted => {
                self.at += 1;
                let digits = self.string_bytes()?;
                if !digits.iter().all(|b| matches!(b, b'0' | b'1')) {
                    return Err(LexError { offset: start });
                }
                let digits = String::from_utf8_lossy(&digits).into_owned();
                self.push(Token::SingleQuotedByteStringLiteral(digits), start, line);
                Ok(())
            }
            b'n' | b'N' if quoted => {
                self.at += 1;
                let bytes = self.string_bytes()?;
                let text = String::from_utf8(bytes).map_err(|_| LexError { offset: start })?;
                self.push(Token::SingleQuotedString(text), start, line);
                Ok(())
            }
            // What `SELECT $$` probes for: dollar quotes, which MySQL does not have outside of routines.
            b'$' if self.peek(1) == b'$' => Err(LexError { offset: start }),
            _ => self.plain_word(start, line),
        }
    }

    fn operator(&mut self) -> Result<(), LexError> {
        let (token, bytes) = match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'<', b'=', b'>') => (Token::Spaceship, 3),
            (b'-', b'>', b'>') => (Token::LongArrow, 3),
            (b'<', b'=', _) => (Token::LtEq, 2),
            (b'>', b'=', _) => (Token::GtEq, 2),
            (b'<', b'>', _) | (b'!', b'=', _) => (Token::Neq, 2),
            (b'<', b'<', _) => (Token::ShiftLeft, 2),
            (b'>', b'>', _) => (Token::ShiftRight, 2),
            (b'-', b'>', _) => (Token::Arrow, 2),
            (b':', b'=', _) => (Token::Assignment, 2),
            (b'&', b'&', _) => (Token::make_word("AND", None), 2),
            (b'|', b'|', _) if self.mode.pipes_as_concat => (Token::StringConcat, 2),
            (b'|', b'|', _) => (Token::make_word("OR", None), 2),
            (b'<', ..) => (Token::Lt, 1),
            (b'>', ..) => (Token::Gt, 1),
            (b'=', ..) => (Token::Eq, 1),
            (b'!', ..) => (Token::ExclamationMark, 1),
            (b'&', ..) => (Token::Ampersand, 1),
            (b'|', ..) => (Token::Pipe, 1),
            (b'^', ..) => (Token::Caret, 1),
            (b'~', ..) => (Token::Tilde, 1),
            (b'+', ..) => (Token::Plus, 1),
            (b'-', ..) => (Token::Minus, 1),
            (b'*', ..) => (Token::Mul, 1),
            (b'/', ..) => (Token::Div, 1),
            (b'%', ..) => (Token::Mod, 1),
            (b'(', ..) => (Token::LParen, 1),
            (b')', ..) => (Token::RParen, 1),
            (b'{', ..) => (Token::LBrace, 1),
            (b'}', ..) => (Token::RBrace, 1),
            (b',', ..) => (Token::Comma, 1),
            (b';', ..) => (Token::SemiColon, 1),
            (b'.', ..) => (Token::Period, 1),
            (b':', ..) => (Token::Colon, 1),
            (b'?', ..) => (Token::Placeholder("?".into()), 1),
            _ => return Err(LexError { offset: self.at }),
        };
        self.symbol(token, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        with(text.as_bytes(), LexMode::default())
    }

    fn with(text: &[u8], mode: LexMode) -> Vec<String> {
        tokenize(text, mode)
            .map(|tokens| tokens.into_iter().map(|t| t.token.to_string()).collect())
            .unwrap_or_else(|e| vec![format!("error at {}", e.offset)])
    }

    #[test]
    fn strings_escapes_and_adjacency() {
        let joined = tokenize(br"'a\nb''c' 'd'", LexMode::default()).unwrap();
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].token, Token::SingleQuotedString("a\nb'cd".into()));
        assert_eq!(tokens(r"'100\%'"), [r"'100\%'"]);
        assert_eq!(
            with(
                br"'a\'",
                LexMode {
                    no_backslash_escapes: true,
                    ..LexMode::default()
                }
            ),
            [r"'a\'"]
        );
        assert_eq!(tokens("'open"), ["error at 0"]);
        assert_eq!(with(b"'\xff\x00'", LexMode::default()), ["X'ff00'"]);
        assert_eq!(
            with(
                b"\"a b\"",
                LexMode {
                    ansi_quotes: true,
                    ..LexMode::default()
                }
            ),
            ["`a b`"]
        );
    }

    #[test]
    fn numbers_and_names_that_begin_with_digits() {
        assert_eq!(tokens("1 1.5 .5 1e3 1.e-2"), ["1", "1.5", ".5", "1e3", "1.e-2"]);
        assert_eq!(tokens("1a t.1b db.2"), ["1a", "t", ".", "1b", "db", ".", "2"]);
        assert_eq!(
            tokens("0x1F 0b101 x'41' b'01' 0xzz"),
            ["X'1F'", "B'101'", "X'41'", "B'01'", "0xzz"]
        );
        assert_eq!(tokens("0xabc"), ["X'0abc'"]);
        assert_eq!(tokens("1..5 .5e3e2 .5a"), ["1.", ".5", ".5e3", "e2", ".5", "a"]);
    }

    #[test]
    fn comments_by_version() {
        assert_eq!(tokens("a /* b */ c -- d\n# e\nf"), ["a", "c", "f"]);
        assert_eq!(tokens("/*!40101 SET */ x"), ["SET", "x"]);
        assert_eq!(tokens("/*!99999 SET */ x"), ["x"]);
        assert_eq!(tokens("/*! a */"), ["a"]);
        assert_eq!(
            tokens("/*T![clustered_index] NONCLUSTERED */ /*T![auto_rand] z */"),
            ["NONCLUSTERED"]
        );
        assert_eq!(tokens("select 1--1"), ["select", "1", "-", "-", "1"]);
        assert_eq!(tokens("/* open"), ["error at 0"]);
        assert_eq!(tokens("/*!40101 open"), ["error at 13"]);
        assert!(tokens("select /*+ hint() */ 1")[1].contains("hint"));
    }

    #[test]
    fn operators_and_variables() {
        assert_eq!(tokens("a||b && !c"), ["a", "OR", "b", "AND", "!", "c"]);
        assert_eq!(
            with(
                b"a||b",
                LexMode {
                    pipes_as_concat: true,
                    ..LexMode::default()
                }
            ),
            ["a", "||", "b"]
        );
        assert_eq!(
            tokens("@a:=1 @@global.x @`b c`"),
            ["@a", ":=", "1", "@@global", ".", "x", "@b c"]
        );
        assert_eq!(tokens("a<=>b j->>'$.x'"), ["a", "<=>", "b", "j", "->>", "'$.x'"]);
        assert_eq!(tokens("SELECT $$"), ["error at 7"]);
        assert_eq!(tokens("a \\ b"), ["error at 2"]);
    }

    #[test]
    fn places_are_byte_offsets() {
        let found = tokenize("a\n 'ü' b".as_bytes(), LexMode::default()).unwrap();
        let places: Vec<_> = found
            .iter()
            .map(|t| (t.span.start.line, t.span.start.column))
            .collect();
        assert_eq!(places, [(1, 1), (2, 4), (2, 9)]);
    }
}
