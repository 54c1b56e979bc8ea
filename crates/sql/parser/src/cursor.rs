//! A place in the tokens of one statement, and what every part of the parser does there.

use sqlparser::ast as sql;
use sqlparser::ast::VisitMut;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::ast::TableName;
use super::depth;
use super::dialect::Mysql;
use super::lexer::LexMode;
use super::reserved::is_reserved;
use super::rewrite;

/// Where parsing stopped making sense: a byte offset into the text. What would be right instead, MySQL does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    At(usize),
    /// The statement nests too deep.
    TooDeep,
    /// It makes sense, but has an error of its own.
    Error(ilmenite_error::Error),
}

pub(crate) type Parse<T> = std::result::Result<T, Stop>;

static DIALECT: std::sync::LazyLock<Mysql> = std::sync::LazyLock::new(Mysql::default);

/// How deep expressions and subqueries may nest: each level takes a few frames of the stack.
const MAX_DEPTH: usize = 256;

pub(crate) struct Cursor {
    pub parser: Parser<'static>,
    pub mode: LexMode,
    /// Byte offset of the end of the statement.
    end: usize,
    /// No tree of the statement is deeper.
    pub depth_bound: usize,
    /// The byte ranges of the items of the first select list.
    pub select_items: Vec<(usize, usize)>,
}

impl Cursor {
    pub(crate) fn new(tokens: Vec<TokenWithSpan>, end: usize, mode: LexMode) -> Self {
        let depth_bound = depth::bound(&tokens);
        let select_items = rewrite::select_items(&tokens);
        let parser = Parser::new(&*DIALECT)
            .with_recursion_limit(MAX_DEPTH)
            .with_tokens_with_locations(tokens);
        Cursor {
            parser,
            mode,
            end,
            depth_bound,
            select_items,
        }
    }

    fn offset_of(&self, token: &TokenWithSpan) -> usize {
        match token.token {
            Token::EOF => self.end,
            _ => (token.span.start.column as usize).saturating_sub(1),
        }
    }

    /// Byte offset of the next token.
    pub(crate) fn offset(&self) -> usize {
        self.offset_of(self.parser.peek_token_ref())
    }

    /// The next token makes no sense here.
    pub(crate) fn stop<T>(&self) -> Parse<T> {
        Err(Stop::At(self.offset()))
    }

    /// What sqlparser found wrong, as a place.
    fn stopped_at(&self, error: ParserError) -> Stop {
        match error {
            ParserError::RecursionLimitExceeded => Stop::TooDeep,
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
                let place = message
                    .rfind("Column: ")
                    .and_then(|at| message[at + 8..].trim().parse::<usize>().ok());
                match place {
                    Some(column) if column > 0 => Stop::At(column - 1),
                    _ => Stop::At(self.offset()),
                }
            }
        }
    }

    /// Runs a part of sqlparser's grammar. What comes of it is shallow.
    pub(crate) fn sql<T: VisitMut>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
    ) -> Parse<T> {
        let mut tree = parse(&mut self.parser).map_err(|error| self.stopped_at(error))?;
        depth::settle(self.depth_bound, &mut tree)?;
        Ok(tree)
    }

    pub(crate) fn expr(&mut self) -> Parse<sql::Expr> {
        self.sql(|p| p.parse_expr())
    }

    pub(crate) fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    pub(crate) fn expect_end(&self) -> Parse<()> {
        if self.at_end() { Ok(()) } else { self.stop() }
    }

    /// Takes all that is left, whatever it says.
    pub(crate) fn skip_rest(&mut self) {
        while !self.at_end() {
            self.parser.advance_token();
        }
    }

    fn is_word(token: &Token, expected: &str) -> bool {
        matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
    }

    /// Is the token `ahead` of the next the word `expected`?
    pub(crate) fn peek_word_at(&self, ahead: usize, expected: &str) -> bool {
        Self::is_word(&self.parser.peek_nth_token_ref(ahead).token, expected)
    }

    pub(crate) fn peek_word(&self, expected: &str) -> bool {
        self.peek_word_at(0, expected)
    }

    /// Takes the words when all of them come next.
    pub(crate) fn words(&mut self, expected: &[&str]) -> bool {
        let found = expected
            .iter()
            .enumerate()
            .all(|(ahead, word)| self.peek_word_at(ahead, word));
        if found {
            for _ in expected {
                self.parser.advance_token();
            }
        }
        found
    }

    pub(crate) fn word(&mut self, expected: &str) -> bool {
        self.words(&[expected])
    }

    /// Takes whichever of the words comes next.
    pub(crate) fn any_word(&mut self, expected: &[&'static str]) -> Option<&'static str> {
        expected.iter().copied().find(|word| self.word(word))
    }

    pub(crate) fn expect_word(&mut self, expected: &str) -> Parse<()> {
        if self.word(expected) { Ok(()) } else { self.stop() }
    }

    pub(crate) fn expect_words(&mut self, expected: &[&str]) -> Parse<()> {
        for word in expected {
            self.expect_word(word)?;
        }
        Ok(())
    }

    pub(crate) fn peek_token(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    pub(crate) fn token(&mut self, token: &Token) -> bool {
        let found = self.peek_token(token);
        if found {
            self.parser.advance_token();
        }
        found
    }

    pub(crate) fn expect_token(&mut self, token: &Token) -> Parse<()> {
        if self.token(token) { Ok(()) } else { self.stop() }
    }

    pub(crate) fn comma(&mut self) -> bool {
        self.token(&Token::Comma)
    }

    /// A name, quoted or not. Reserved words need quotes.
    pub(crate) fn identifier(&mut self) -> Parse<String> {
        let offset = self.offset();
        match &self.parser.peek_token_ref().token {
            Token::Word(word)
                if !word.value.starts_with('@')
                    && (word.quote_style.is_some() || !is_reserved(word.keyword, &word.value)) =>
            {
                let name = word.value.clone();
                if name.is_empty() {
                    return Err(Stop::At(offset));
                }
                self.parser.advance_token();
                Ok(name)
            }
            _ => Err(Stop::At(offset)),
        }
    }

    /// A name where, after a dot, even reserved words are allowed.
    fn any_identifier(&mut self) -> Parse<String> {
        match &self.parser.peek_token_ref().token {
            Token::Word(word) if !word.value.starts_with('@') && !word.value.is_empty() => {
                let name = word.value.clone();
                self.parser.advance_token();
                Ok(name)
            }
            _ => self.stop(),
        }
    }

    pub(crate) fn table_name(&mut self) -> Parse<TableName> {
        let first = self.identifier()?;
        if self.token(&Token::Period) {
            return Ok(TableName {
                database: Some(first),
                name: self.any_identifier()?,
            });
        }
        Ok(TableName {
            database: None,
            name: first,
        })
    }

    pub(crate) fn table_names(&mut self) -> Parse<Vec<TableName>> {
        self.list(Self::table_name)
    }

    pub(crate) fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Parse<T>) -> Parse<Vec<T>> {
        let mut found = vec![one(self)?];
        while self.comma() {
            found.push(one(self)?);
        }
        Ok(found)
    }

    pub(crate) fn peek_string(&self) -> bool {
        matches!(self.parser.peek_token_ref().token, Token::SingleQuotedString(_))
    }

    pub(crate) fn string(&mut self) -> Parse<String> {
        match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(text) => {
                let text = text.clone();
                self.parser.advance_token();
                Ok(text)
            }
            _ => self.stop(),
        }
    }

    /// A string where bytes that are no text may stand, as hex or bit literals.
    pub(crate) fn string_or_hex(&mut self) -> Parse<String> {
        if let Token::HexStringLiteral(digits) = &self.parser.peek_token_ref().token {
            let bytes = hex::decode(digits).map_err(|_| Stop::At(self.offset()))?;
            let text = String::from_utf8(bytes).map_err(|_| Stop::At(self.offset()))?;
            self.parser.advance_token();
            return Ok(text);
        }
        self.string()
    }

    /// A name or a string: character sets, engines and users are written either way.
    pub(crate) fn name_or_string(&mut self) -> Parse<String> {
        if self.peek_string() {
            self.string()
        } else {
            self.any_identifier()
        }
    }

    /// A user variable `@x`; the name without the sign, lower case.
    pub(crate) fn user_variable(&mut self) -> Parse<String> {
        match &self.parser.peek_token_ref().token {
            Token::Word(word) if word.quote_style.is_none() && word.value.starts_with('@') => {
                let name = word.value[1..].to_lowercase();
                if name.starts_with('@') {
                    return self.stop();
                }
                self.parser.advance_token();
                Ok(name)
            }
            _ => self.stop(),
        }
    }

    pub(crate) fn unsigned(&mut self) -> Parse<u64> {
        match &self.parser.peek_token_ref().token {
            Token::Number(digits, _) => {
                let number = digits.parse().map_err(|_| Stop::At(self.offset()))?;
                self.parser.advance_token();
                Ok(number)
            }
            _ => self.stop(),
        }
    }

    pub(crate) fn signed(&mut self) -> Parse<i64> {
        let offset = self.offset();
        let negative = self.token(&Token::Minus);
        let number = i64::try_from(self.unsigned()?).map_err(|_| Stop::At(offset))?;
        Ok(if negative { -number } else { number })
    }

    pub(crate) fn if_exists(&mut self) -> bool {
        self.words(&["IF", "EXISTS"])
    }

    pub(crate) fn if_not_exists(&mut self) -> bool {
        self.words(&["IF", "NOT", "EXISTS"])
    }
}
