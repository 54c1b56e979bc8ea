//! CREATE and DROP.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::column::{self, charset_words};
use super::cursor::{Cursor, Parse, Stop};
use super::statement::{ddl, skip_rest};
use super::{account, alter};
use ilmenite_error::Error;

pub fn create(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("CREATE")?;
    if c.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        let if_not_exists = c.if_not_exists();
        let name = c.identifier()?;
        return Ok(ddl(Ddl::CreateDatabase {
            name,
            if_not_exists,
            options: database_options(c)?,
        }));
    }
    if c.peek_word("USER") {
        return account::create_user(c);
    }
    let temporary = c.word("TEMPORARY");
    if c.word("TABLE") {
        return Ok(ddl(Ddl::CreateTable(create_table(c, temporary)?)));
    }
    if temporary {
        return c.stop();
    }
    if let Some(index) = create_index(c)? {
        return Ok(ddl(index));
    }
    let what = [
        ("VIEW", "CREATE VIEW"),
        ("TRIGGER", "CREATE TRIGGER"),
        ("PROCEDURE", "CREATE PROCEDURE"),
        ("FUNCTION", "CREATE FUNCTION"),
        ("EVENT", "CREATE EVENT"),
        ("ROLE", "CREATE ROLE"),
        ("SEQUENCE", "CREATE SEQUENCE"),
        ("TABLESPACE", "CREATE TABLESPACE"),
        ("SERVER", "CREATE SERVER"),
    ];
    // OR REPLACE, ALGORITHM =, DEFINER = and SQL SECURITY come before what is created.
    for _ in 0..24 {
        for (word, name) in what {
            if c.word(word) {
                skip_rest(c);
                return Ok(ddl(Ddl::Unsupported(name)));
            }
        }
        let prefix = [
            "OR",
            "REPLACE",
            "ALGORITHM",
            "DEFINER",
            "SQL",
            "SECURITY",
            "AGGREGATE",
        ]
        .iter()
        .any(|word| c.peek_word(word));
        if !prefix {
            break;
        }
        let assigned = c.peek_word("ALGORITHM") || c.peek_word("DEFINER");
        c.parser.advance_token();
        if assigned {
            c.expect_token(&Token::Eq)?;
            c.name_or_string()?;
            if let Token::Word(word) = &c.parser.peek_token_ref().token
                && word.value.starts_with('@')
            {
                c.parser.advance_token();
            }
        } else {
            c.any_word(&["DEFINER", "INVOKER"]);
        }
    }
    c.stop()
}

fn database_options(c: &mut Cursor) -> Parse<CharsetOptions> {
    let mut options = CharsetOptions::default();
    loop {
        c.word("DEFAULT");
        if charset_words(c) {
            c.token(&Token::Eq);
            options.charset = Some(c.name_or_string()?);
        } else if c.word("COLLATE") {
            c.token(&Token::Eq);
            options.collate = Some(c.name_or_string()?);
        } else if c.word("ENCRYPTION") {
            c.token(&Token::Eq);
            c.string()?;
        } else {
            return Ok(options);
        }
    }
}

pub fn alter_database(c: &mut Cursor) -> Parse<Statement> {
    let option_next = ["CHARACTER", "CHARSET", "COLLATE", "DEFAULT", "ENCRYPTION"]
        .iter()
        .any(|word| c.peek_word(word));
    let name = if option_next { None } else { Some(c.identifier()?) };
    if c.at_end() {
        return c.stop();
    }
    Ok(ddl(Ddl::AlterDatabase {
        name,
        options: database_options(c)?,
    }))
}

fn create_table(c: &mut Cursor, temporary: bool) -> Parse<CreateTable> {
    let if_not_exists = c.if_not_exists();
    let mut found = CreateTable {
        table: c.table_name()?,
        temporary,
        if_not_exists,
        like: None,
        columns: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: 0,
        checks: 0,
        options: TableOptions::default(),
        partitioned: false,
        select: None,
    };
    if c.word("LIKE") {
        found.like = Some(c.table_name()?);
        return Ok(found);
    }
    if c.peek_token(&Token::LParen) && c.peek_word_at(1, "LIKE") {
        c.token(&Token::LParen);
        c.word("LIKE");
        found.like = Some(c.table_name()?);
        c.expect_token(&Token::RParen)?;
        return Ok(found);
    }
    let select_next = |c: &Cursor, at: usize| {
        ["SELECT", "WITH", "TABLE", "VALUES"]
            .iter()
            .any(|word| c.peek_word_at(at, word))
    };
    if c.peek_token(&Token::LParen) && !select_next(c, 1) {
        c.token(&Token::LParen);
        loop {
            element(c, &mut found)?;
            if !c.comma() {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    table_options(c, &mut found.options)?;
    if c.words(&["PARTITION", "BY"]) {
        found.partitioned = true;
        skip_rest(c);
        return Ok(found);
    }
    c.any_word(&["IGNORE", "REPLACE"]);
    c.word("AS");
    if select_next(c, 0) || c.peek_token(&Token::LParen) {
        found.select = Some(c.sql(|p| p.parse_query())?);
    }
    Ok(found)
}

/// One element of a table's definition: a column, a key, or a constraint.
fn element(c: &mut Cursor, table: &mut CreateTable) -> Parse<()> {
    let mut constraint_name = None;
    if c.word("CONSTRAINT") {
        let named = !["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]
            .iter()
            .any(|w| c.peek_word(w));
        if named {
            constraint_name = Some(c.identifier()?);
        }
    } else if !starts_key(c) && !c.peek_word("FOREIGN") && !c.peek_word("CHECK") {
        table.columns.push(column::column_def(c)?);
        return Ok(());
    }
    if c.peek_word("FOREIGN") {
        foreign_key(c)?;
        table.foreign_keys += 1;
    } else if c.peek_word("CHECK") {
        column::check(c)?;
        table.checks += 1;
    } else if starts_key(c) {
        let mut index = key(c)?;
        if index.name.is_none() && index.kind != IndexKind::Primary {
            index.name = constraint_name;
        }
        table.indexes.push(index);
    } else {
        return c.stop();
    }
    Ok(())
}

pub fn starts_key(c: &Cursor) -> bool {
    ["PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL"]
        .iter()
        .any(|word| c.peek_word(word))
}

/// `FOREIGN KEY [name] (columns) REFERENCES …`
pub fn foreign_key(c: &mut Cursor) -> Parse<()> {
    c.expect_words(&["FOREIGN", "KEY"])?;
    c.if_not_exists();
    if !c.peek_token(&Token::LParen) {
        c.identifier()?;
    }
    c.expect_token(&Token::LParen)?;
    c.list(Cursor::identifier)?;
    c.expect_token(&Token::RParen)?;
    c.expect_word("REFERENCES")?;
    column::references(c)
}

/// `[UNIQUE | FULLTEXT | SPATIAL] {INDEX | KEY} [IF NOT EXISTS] [name] [USING …] (parts) options`, or `PRIMARY KEY …`.
pub fn key(c: &mut Cursor) -> Parse<IndexDef> {
    let kind = if c.word("PRIMARY") {
        c.expect_word("KEY")?;
        IndexKind::Primary
    } else if c.word("UNIQUE") {
        c.any_word(&["INDEX", "KEY"]);
        IndexKind::Unique
    } else if c.word("FULLTEXT") {
        c.any_word(&["INDEX", "KEY"]);
        IndexKind::Fulltext
    } else if c.word("SPATIAL") {
        c.any_word(&["INDEX", "KEY"]);
        IndexKind::Spatial
    } else if c.any_word(&["INDEX", "KEY"]).is_some() {
        IndexKind::Plain
    } else {
        return c.stop();
    };
    let if_not_exists = c.if_not_exists();
    let named = !c.peek_token(&Token::LParen) && !c.peek_word("USING") && !c.peek_word("TYPE");
    let name = if named { Some(c.identifier()?) } else { None };
    let mut index = IndexDef {
        kind,
        name: name.filter(|_| kind != IndexKind::Primary),
        if_not_exists,
        parts: Vec::new(),
        comment: String::new(),
        invisible: false,
        clustered: None,
        unsupported: None,
    };
    index_type(c)?;
    index_parts(c, &mut index)?;
    index_options(c, &mut index)?;
    Ok(index)
}

fn index_type(c: &mut Cursor) -> Parse<()> {
    if c.any_word(&["USING", "TYPE"]).is_some() && c.any_word(&["BTREE", "HASH", "RTREE"]).is_none() {
        return c.stop();
    }
    Ok(())
}

fn index_parts(c: &mut Cursor, index: &mut IndexDef) -> Parse<()> {
    c.expect_token(&Token::LParen)?;
    index.parts = c.list(|c| {
        if c.token(&Token::LParen) {
            let expr = c.expr()?;
            c.expect_token(&Token::RParen)?;
            c.any_word(&["ASC", "DESC"]);
            return Ok(IndexPartDef::Expression(expr));
        }
        let name = c.identifier()?;
        let mut length = None;
        if c.token(&Token::LParen) {
            length = Some(c.unsigned()?);
            c.expect_token(&Token::RParen)?;
        }
        let descending = c.any_word(&["ASC", "DESC"]) == Some("DESC");
        Ok(IndexPartDef::Column {
            name,
            length,
            descending,
        })
    })?;
    c.expect_token(&Token::RParen)
}

fn index_options(c: &mut Cursor, index: &mut IndexDef) -> Parse<()> {
    loop {
        if c.word("COMMENT") {
            index.comment = c.string()?;
        } else if c.word("VISIBLE") {
            index.invisible = false;
        } else if c.word("INVISIBLE") {
            index.invisible = true;
        } else if c.word("KEY_BLOCK_SIZE") {
            c.token(&Token::Eq);
            c.unsigned()?;
        } else if c.peek_word("USING") || c.peek_word("TYPE") {
            index_type(c)?;
        } else if c.words(&["WITH", "PARSER"]) {
            c.identifier()?;
        } else if c.word("ENGINE_ATTRIBUTE") || c.word("SECONDARY_ENGINE_ATTRIBUTE") {
            c.token(&Token::Eq);
            c.string()?;
        } else if let Some(clustered) = column::clustered(c) {
            index.clustered = Some(clustered);
        } else if c.word("LOCAL") {
            // The only kind there is without partitions.
        } else if c.word("GLOBAL") {
            index.unsupported = Some("GLOBAL indexes");
        } else if c.word("WHERE") {
            c.expr()?;
            index.unsupported = Some("partial indexes");
        } else {
            return Ok(());
        }
    }
}

/// `CREATE [UNIQUE] INDEX …`, after CREATE; `None` when something else is created.
fn create_index(c: &mut Cursor) -> Parse<Option<Ddl>> {
    let kind = if c.words(&["UNIQUE", "INDEX"]) {
        IndexKind::Unique
    } else if c.words(&["FULLTEXT", "INDEX"]) {
        IndexKind::Fulltext
    } else if c.words(&["SPATIAL", "INDEX"]) {
        IndexKind::Spatial
    } else if c.word("INDEX") {
        IndexKind::Plain
    } else {
        return Ok(None);
    };
    let if_not_exists = c.if_not_exists();
    let mut index = IndexDef {
        kind,
        name: Some(c.identifier()?),
        if_not_exists,
        parts: Vec::new(),
        comment: String::new(),
        invisible: false,
        clustered: None,
        unsupported: None,
    };
    index_type(c)?;
    c.expect_word("ON")?;
    let table = c.table_name()?;
    index_parts(c, &mut index)?;
    index_options(c, &mut index)?;
    let online = alter::online_options(c)?;
    Ok(Some(Ddl::CreateIndex { table, index, online }))
}

/// Table options, separated by spaces or commas, as far as they go.
pub fn table_options(c: &mut Cursor, options: &mut TableOptions) -> Parse<bool> {
    let mut any = false;
    while table_option(c, options)? {
        any = true;
        // A comma between options, not one before the next action of ALTER TABLE.
        if c.peek_token(&Token::Comma) && starts_option(c, 1) {
            c.comma();
        }
    }
    Ok(any)
}

/// Options with a value of no consequence here.
const IGNORED_OPTIONS: &[&str] = &[
    "AUTOEXTEND_SIZE",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "COMPRESSION",
    "CONNECTION",
    "DELAY_KEY_WRITE",
    "ENCRYPTION",
    "ENGINE_ATTRIBUTE",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PASSWORD",
    "PRE_SPLIT_REGIONS",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "SHARD_ROW_ID_BITS",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLE_CHECKSUM",
    "TABLESPACE",
    "AUTO_ID_CACHE",
];

pub fn starts_option(c: &Cursor, at: usize) -> bool {
    [
        "DEFAULT",
        "CHARACTER",
        "CHARSET",
        "COLLATE",
        "COMMENT",
        "AUTO_INCREMENT",
        "ENGINE",
        "DATA",
        "INDEX",
    ]
    .iter()
    .chain(IGNORED_OPTIONS)
    .any(|word| c.peek_word_at(at, word))
}

fn table_option(c: &mut Cursor, options: &mut TableOptions) -> Parse<bool> {
    let defaulted = c.peek_word("DEFAULT")
        && ["CHARACTER", "CHARSET", "COLLATE"]
            .iter()
            .any(|w| c.peek_word_at(1, w));
    if defaulted {
        c.word("DEFAULT");
    }
    if charset_words(c) {
        c.token(&Token::Eq);
        options.charset.charset = Some(c.name_or_string()?);
    } else if c.word("COLLATE") {
        c.token(&Token::Eq);
        options.charset.collate = Some(c.name_or_string()?);
    } else if c.word("COMMENT") {
        c.token(&Token::Eq);
        options.comment = Some(c.string()?);
    } else if c.word("AUTO_INCREMENT") {
        c.token(&Token::Eq);
        options.auto_increment = Some(c.unsigned()?);
    } else if c.word("ENGINE") {
        c.token(&Token::Eq);
        options.engine = Some(c.name_or_string()?);
    } else if c.words(&["DATA", "DIRECTORY"]) || c.words(&["INDEX", "DIRECTORY"]) {
        c.token(&Token::Eq);
        c.string()?;
    } else if c.word("UNION") {
        c.token(&Token::Eq);
        return Err(Stop::Error(Error::not_supported_yet("MERGE tables")));
    } else if c.any_word(IGNORED_OPTIONS).is_some() {
        c.token(&Token::Eq);
        if c.unsigned().is_err() && !c.word("DEFAULT") {
            c.name_or_string()?;
        }
    } else {
        return Ok(false);
    }
    Ok(true)
}

pub fn drop(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("DROP")?;
    if c.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        let if_exists = c.if_exists();
        return Ok(ddl(Ddl::DropDatabase {
            name: c.identifier()?,
            if_exists,
        }));
    }
    if c.peek_word("USER") {
        return account::drop_user(c);
    }
    let temporary = c.word("TEMPORARY");
    if c.any_word(&["TABLE", "TABLES"]).is_some() {
        let if_exists = c.if_exists();
        let tables = c.table_names()?;
        c.any_word(&["RESTRICT", "CASCADE"]);
        return Ok(ddl(Ddl::DropTables {
            tables,
            if_exists,
            temporary,
        }));
    }
    if c.word("VIEW") {
        let if_exists = c.if_exists();
        let views = c.table_names()?;
        c.any_word(&["RESTRICT", "CASCADE"]);
        return Ok(ddl(Ddl::DropViews { views, if_exists }));
    }
    if c.word("INDEX") {
        let if_exists = c.if_exists();
        let name = index_name(c)?;
        c.expect_word("ON")?;
        let table = c.table_name()?;
        let online = alter::online_options(c)?;
        return Ok(ddl(Ddl::DropIndex {
            table,
            name,
            if_exists,
            online,
        }));
    }
    if c.words(&["PREPARE"]) {
        return Ok(Statement::Deallocate {
            name: c.identifier()?.to_lowercase(),
        });
    }
    for (word, name) in [
        ("TRIGGER", "DROP TRIGGER"),
        ("PROCEDURE", "DROP PROCEDURE"),
        ("FUNCTION", "DROP FUNCTION"),
        ("EVENT", "DROP EVENT"),
        ("ROLE", "DROP ROLE"),
        ("SEQUENCE", "DROP SEQUENCE"),
        ("TABLESPACE", "DROP TABLESPACE"),
    ] {
        if c.word(word) {
            skip_rest(c);
            return Ok(ddl(Ddl::Unsupported(name)));
        }
    }
    c.stop()
}

/// An index's name; PRIMARY may be written without quotes.
pub fn index_name(c: &mut Cursor) -> Parse<String> {
    if c.word("PRIMARY") {
        return Ok("PRIMARY".into());
    }
    c.identifier()
}
