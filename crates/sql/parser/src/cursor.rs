//! A place in the tokens of one statement, and what every part of the parser does there.

use sqlparser::ast as sql;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::ast::TableName;
use super::dialect::Mysql;

/// Where parsing stopped making sense: a byte offset into the text. What would be right instead, MySQL does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    At(usize),
    /// The statement nests too deep.
    TooDeep,
    /// It makes sense, but has an error of its own.
    Error(ilmenite_error::Error),
}

pub type Parse<T> = std::result::Result<T, Stop>;

static DIALECT: std::sync::LazyLock<Mysql> = std::sync::LazyLock::new(Mysql::default);

/// How deep expressions and subqueries may nest: each level takes a few frames of the stack.
const MAX_DEPTH: usize = 256;

pub struct Cursor {
    pub parser: Parser<'static>,
    /// Byte offset of the end of the statement.
    end: usize,
}

impl Cursor {
    pub fn new(tokens: Vec<TokenWithSpan>, end: usize) -> Self {
        let parser = Parser::new(&*DIALECT)
            .with_recursion_limit(MAX_DEPTH)
            .with_tokens_with_locations(tokens);
        Cursor { parser, end }
    }

    fn offset_of(&self, token: &TokenWithSpan) -> usize {
        match token.token {
            Token::EOF => self.end,
            _ => (token.span.start.column as usize).saturating_sub(1),
        }
    }

    /// Byte offset of the next token.
    pub fn offset(&self) -> usize {
        self.offset_of(self.parser.peek_token_ref())
    }

    /// The next token makes no sense here.
    pub fn stop<T>(&self) -> Parse<T> {
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

    /// Runs a part of sqlparser's grammar.
    pub fn sql<T>(&mut self, parse: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>) -> Parse<T> {
        parse(&mut self.parser).map_err(|error| self.stopped_at(error))
    }

    pub fn expr(&mut self) -> Parse<sql::Expr> {
        self.sql(|p| p.parse_expr())
    }

    pub fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    pub fn expect_end(&self) -> Parse<()> {
        if self.at_end() { Ok(()) } else { self.stop() }
    }

    fn is_word(token: &Token, expected: &str) -> bool {
        matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
    }

    /// Is the token `ahead` of the next the word `expected`?
    pub fn peek_word_at(&self, ahead: usize, expected: &str) -> bool {
        Self::is_word(&self.parser.peek_nth_token_ref(ahead).token, expected)
    }

    pub fn peek_word(&self, expected: &str) -> bool {
        self.peek_word_at(0, expected)
    }

    /// Takes the words when all of them come next.
    pub fn words(&mut self, expected: &[&str]) -> bool {
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

    pub fn word(&mut self, expected: &str) -> bool {
        self.words(&[expected])
    }

    /// Takes whichever of the words comes next.
    pub fn any_word(&mut self, expected: &[&'static str]) -> Option<&'static str> {
        expected.iter().copied().find(|word| self.word(word))
    }

    pub fn expect_word(&mut self, expected: &str) -> Parse<()> {
        if self.word(expected) { Ok(()) } else { self.stop() }
    }

    pub fn expect_words(&mut self, expected: &[&str]) -> Parse<()> {
        for word in expected {
            self.expect_word(word)?;
        }
        Ok(())
    }

    pub fn peek_token(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    pub fn token(&mut self, token: &Token) -> bool {
        let found = self.peek_token(token);
        if found {
            self.parser.advance_token();
        }
        found
    }

    pub fn expect_token(&mut self, token: &Token) -> Parse<()> {
        if self.token(token) { Ok(()) } else { self.stop() }
    }

    pub fn comma(&mut self) -> bool {
        self.token(&Token::Comma)
    }

    /// A name, quoted or not. Reserved words need quotes.
    pub fn identifier(&mut self) -> Parse<String> {
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

    pub fn table_name(&mut self) -> Parse<TableName> {
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

    pub fn table_names(&mut self) -> Parse<Vec<TableName>> {
        self.list(Self::table_name)
    }

    pub fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Parse<T>) -> Parse<Vec<T>> {
        let mut found = vec![one(self)?];
        while self.comma() {
            found.push(one(self)?);
        }
        Ok(found)
    }

    pub fn peek_string(&self) -> bool {
        matches!(self.parser.peek_token_ref().token, Token::SingleQuotedString(_))
    }

    pub fn string(&mut self) -> Parse<String> {
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
    pub fn string_or_hex(&mut self) -> Parse<String> {
        if let Token::HexStringLiteral(digits) = &self.parser.peek_token_ref().token {
            let bytes = hex::decode(digits).map_err(|_| Stop::At(self.offset()))?;
            let text = String::from_utf8(bytes).map_err(|_| Stop::At(self.offset()))?;
            self.parser.advance_token();
            return Ok(text);
        }
        self.string()
    }

    /// A name or a string: character sets, engines and users are written either way.
    pub fn name_or_string(&mut self) -> Parse<String> {
        if self.peek_string() {
            self.string()
        } else {
            self.any_identifier()
        }
    }

    pub fn unsigned(&mut self) -> Parse<u64> {
        match &self.parser.peek_token_ref().token {
            Token::Number(digits, _) => {
                let number = digits.parse().map_err(|_| Stop::At(self.offset()))?;
                self.parser.advance_token();
                Ok(number)
            }
            _ => self.stop(),
        }
    }

    pub fn signed(&mut self) -> Parse<i64> {
        let offset = self.offset();
        let negative = self.token(&Token::Minus);
        let number = i64::try_from(self.unsigned()?).map_err(|_| Stop::At(offset))?;
        Ok(if negative { -number } else { number })
    }

    pub fn if_exists(&mut self) -> bool {
        self.words(&["IF", "EXISTS"])
    }

    pub fn if_not_exists(&mut self) -> bool {
        self.words(&["IF", "NOT", "EXISTS"])
    }
}

/// MySQL's reserved words: not usable as names without quotes.
fn is_reserved(keyword: Keyword, word: &str) -> bool {
    if keyword == Keyword::NoKeyword {
        return false;
    }
    let upper = word.to_ascii_uppercase();
    RESERVED.binary_search(&upper.as_str()).is_ok()
}

/// Sorted.
pub const RESERVED: &[&str] = &[
    "ACCESSIBLE",
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "ASENSITIVE",
    "BEFORE",
    "BETWEEN",
    "BIGINT",
    "BINARY",
    "BLOB",
    "BOTH",
    "BY",
    "CALL",
    "CASCADE",
    "CASE",
    "CHANGE",
    "CHAR",
    "CHARACTER",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "CONDITION",
    "CONSTRAINT",
    "CONTINUE",
    "CONVERT",
    "CREATE",
    "CROSS",
    "CUBE",
    "CUME_DIST",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "CURSOR",
    "DATABASE",
    "DATABASES",
    "DAY_HOUR",
    "DAY_MICROSECOND",
    "DAY_MINUTE",
    "DAY_SECOND",
    "DEC",
    "DECIMAL",
    "DECLARE",
    "DEFAULT",
    "DELAYED",
    "DELETE",
    "DENSE_RANK",
    "DESC",
    "DESCRIBE",
    "DETERMINISTIC",
    "DISTINCT",
    "DISTINCTROW",
    "DIV",
    "DOUBLE",
    "DROP",
    "DUAL",
    "EACH",
    "ELSE",
    "ELSEIF",
    "EMPTY",
    "ENCLOSED",
    "ESCAPED",
    "EXCEPT",
    "EXISTS",
    "EXIT",
    "EXPLAIN",
    "FALSE",
    "FETCH",
    "FIRST_VALUE",
    "FLOAT",
    "FLOAT4",
    "FLOAT8",
    "FOR",
    "FORCE",
    "FOREIGN",
    "FROM",
    "FULLTEXT",
    "FUNCTION",
    "GENERATED",
    "GET",
    "GRANT",
    "GROUP",
    "GROUPING",
    "GROUPS",
    "HAVING",
    "HIGH_PRIORITY",
    "HOUR_MICROSECOND",
    "HOUR_MINUTE",
    "HOUR_SECOND",
    "IF",
    "IGNORE",
    "IN",
    "INDEX",
    "INFILE",
    "INNER",
    "INOUT",
    "INSENSITIVE",
    "INSERT",
    "INT",
    "INT1",
    "INT2",
    "INT3",
    "INT4",
    "INT8",
    "INTEGER",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IO_AFTER_GTIDS",
    "IO_BEFORE_GTIDS",
    "IS",
    "ITERATE",
    "JOIN",
    "JSON_TABLE",
    "KEY",
    "KEYS",
    "KILL",
    "LAG",
    "LAST_VALUE",
    "LATERAL",
    "LEAD",
    "LEADING",
    "LEAVE",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LINEAR",
    "LINES",
    "LOAD",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "LOCK",
    "LONG",
    "LONGBLOB",
    "LONGTEXT",
    "LOOP",
    "LOW_PRIORITY",
    "MASTER_BIND",
    "MASTER_SSL_VERIFY_SERVER_CERT",
    "MATCH",
    "MAXVALUE",
    "MEDIUMBLOB",
    "MEDIUMINT",
    "MEDIUMTEXT",
    "MIDDLEINT",
    "MINUTE_MICROSECOND",
    "MINUTE_SECOND",
    "MOD",
    "MODIFIES",
    "NATURAL",
    "NOT",
    "NO_WRITE_TO_BINLOG",
    "NTH_VALUE",
    "NTILE",
    "NULL",
    "NUMERIC",
    "OF",
    "ON",
    "OPTIMIZE",
    "OPTIMIZER_COSTS",
    "OPTION",
    "OPTIONALLY",
    "OR",
    "ORDER",
    "OUT",
    "OUTER",
    "OUTFILE",
    "OVER",
    "PARTITION",
    "PERCENT_RANK",
    "PRECISION",
    "PRIMARY",
    "PROCEDURE",
    "PURGE",
    "RANGE",
    "RANK",
    "READ",
    "READS",
    "READ_WRITE",
    "REAL",
    "RECURSIVE",
    "REFERENCES",
    "REGEXP",
    "RELEASE",
    "RENAME",
    "REPEAT",
    "REPLACE",
    "REQUIRE",
    "RESIGNAL",
    "RESTRICT",
    "RETURN",
    "REVOKE",
    "RIGHT",
    "RLIKE",
    "ROW",
    "ROWS",
    "ROW_NUMBER",
    "SCHEMA",
    "SCHEMAS",
    "SECOND_MICROSECOND",
    "SELECT",
    "SENSITIVE",
    "SEPARATOR",
    "SET",
    "SHOW",
    "SIGNAL",
    "SMALLINT",
    "SPATIAL",
    "SPECIFIC",
    "SQL",
    "SQLEXCEPTION",
    "SQLSTATE",
    "SQLWARNING",
    "SQL_BIG_RESULT",
    "SQL_CALC_FOUND_ROWS",
    "SQL_SMALL_RESULT",
    "SSL",
    "STARTING",
    "STORED",
    "STRAIGHT_JOIN",
    "SYSTEM",
    "TABLE",
    "TERMINATED",
    "THEN",
    "TINYBLOB",
    "TINYINT",
    "TINYTEXT",
    "TO",
    "TRAILING",
    "TRIGGER",
    "TRUE",
    "UNDO",
    "UNION",
    "UNIQUE",
    "UNLOCK",
    "UNSIGNED",
    "UPDATE",
    "USAGE",
    "USE",
    "USING",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
    "VALUES",
    "VARBINARY",
    "VARCHAR",
    "VARCHARACTER",
    "VARYING",
    "VIRTUAL",
    "WHEN",
    "WHERE",
    "WHILE",
    "WINDOW",
    "WITH",
    "WRITE",
    "XOR",
    "YEAR_MONTH",
    "ZEROFILL",
];
