//! Column definitions and their types.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::cursor::{Cursor, Parse};

/// `name type attributes…`
pub(crate) fn column_def(c: &mut Cursor) -> Parse<ColumnDef> {
    let name = c.identifier()?;
    column_body(c, name)
}

/// What follows a column's name.
pub(crate) fn column_body(c: &mut Cursor, name: String) -> Parse<ColumnDef> {
    let mut column = ColumnDef {
        name,
        data_type: data_type(c)?,
        nullable: None,
        default: None,
        on_update: None,
        auto_increment: false,
        primary: false,
        clustered: None,
        unique: false,
        comment: String::new(),
        generated: false,
        check: false,
        references: false,
    };
    if column.data_type.name == TypeName::Serial {
        column.nullable = Some(false);
        column.auto_increment = true;
        column.unique = true;
    }
    while attribute(c, &mut column)? {}
    Ok(column)
}

fn attribute(c: &mut Cursor, column: &mut ColumnDef) -> Parse<bool> {
    if c.words(&["NOT", "NULL"]) {
        column.nullable = Some(false);
    } else if c.word("NULL") {
        column.nullable = Some(true);
    } else if c.word("DEFAULT") {
        column.default = Some(default_value(c)?);
    } else if c.words(&["ON", "UPDATE"]) {
        column.on_update = Some(c.sql(|p| p.parse_prefix())?);
    } else if c.word("AUTO_INCREMENT") {
        column.auto_increment = true;
    } else if c.words(&["SERIAL", "DEFAULT", "VALUE"]) {
        column.nullable = Some(false);
        column.auto_increment = true;
        column.unique = true;
    } else if c.words(&["PRIMARY", "KEY"]) || c.word("KEY") {
        column.primary = true;
        column.clustered = clustered(c);
    } else if c.word("UNIQUE") {
        c.word("KEY");
        column.unique = true;
    } else if c.word("COMMENT") {
        column.comment = c.string()?;
    } else if c.word("COLLATE") {
        column.data_type.collate = Some(c.name_or_string()?);
    } else if charset_words(c) {
        column.data_type.charset = Some(c.name_or_string()?);
    } else if c.word("COLUMN_FORMAT") || c.word("STORAGE") {
        c.identifier()
            .or_else(|_| c.expect_word("DEFAULT").map(|()| String::new()))?;
    } else if c.word("ENGINE_ATTRIBUTE") || c.word("SECONDARY_ENGINE_ATTRIBUTE") {
        c.token(&Token::Eq);
        c.string()?;
    } else if c.word("VISIBLE") {
        // The default.
    } else if c.words(&["GENERATED", "ALWAYS", "AS"]) || c.word("AS") {
        c.expect_token(&Token::LParen)?;
        c.expr()?;
        c.expect_token(&Token::RParen)?;
        c.any_word(&["VIRTUAL", "STORED"]);
        column.generated = true;
    } else if c.word("REFERENCES") {
        references(c)?;
        column.references = true;
    } else if c.peek_word("CONSTRAINT") || c.peek_word("CHECK") {
        if c.word("CONSTRAINT") && !c.peek_word("CHECK") {
            c.identifier()?;
        }
        check(c)?;
        column.check = true;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// A literal, CURRENT_TIMESTAMP, or an expression in parentheses.
pub(crate) fn default_value(c: &mut Cursor) -> Parse<sqlparser::ast::Expr> {
    // Tighter than NOT, so that `DEFAULT 1 NOT NULL` ends where it should.
    c.sql(|p| p.parse_prefix())
}

pub(crate) fn clustered(c: &mut Cursor) -> Option<bool> {
    c.any_word(&["CLUSTERED", "NONCLUSTERED"])
        .map(|word| word == "CLUSTERED")
}

/// `CHECK (condition) [[NOT] ENFORCED]`
pub(crate) fn check(c: &mut Cursor) -> Parse<()> {
    c.expect_word("CHECK")?;
    c.expect_token(&Token::LParen)?;
    c.expr()?;
    c.expect_token(&Token::RParen)?;
    if !c.words(&["NOT", "ENFORCED"]) {
        c.word("ENFORCED");
    }
    Ok(())
}

/// `FOREIGN KEY [name] (columns) REFERENCES …`
pub(crate) fn foreign_key(c: &mut Cursor) -> Parse<()> {
    c.expect_words(&["FOREIGN", "KEY"])?;
    c.if_not_exists();
    if !c.peek_token(&Token::LParen) {
        c.identifier()?;
    }
    c.expect_token(&Token::LParen)?;
    c.list(Cursor::identifier)?;
    c.expect_token(&Token::RParen)?;
    c.expect_word("REFERENCES")?;
    references(c)
}

/// What follows REFERENCES.
pub(crate) fn references(c: &mut Cursor) -> Parse<()> {
    c.table_name()?;
    if c.token(&Token::LParen) {
        c.list(Cursor::identifier)?;
        c.expect_token(&Token::RParen)?;
    }
    if c.word("MATCH") {
        c.identifier()?;
    }
    while c.word("ON") {
        if c.any_word(&["DELETE", "UPDATE"]).is_none() {
            return c.stop();
        }
        let known = c.words(&["SET", "NULL"])
            || c.words(&["SET", "DEFAULT"])
            || c.words(&["NO", "ACTION"])
            || c.word("CASCADE")
            || c.word("RESTRICT");
        if !known {
            return c.stop();
        }
    }
    Ok(())
}

/// `CHARACTER SET` or `CHARSET`.
pub(crate) fn charset_words(c: &mut Cursor) -> bool {
    c.words(&["CHARACTER", "SET"]) || c.words(&["CHAR", "SET"]) || c.word("CHARSET")
}

fn type_name(c: &mut Cursor) -> Parse<TypeName> {
    use TypeName::*;
    if c.mode.real_as_float && c.word("REAL") {
        return Ok(Float);
    }
    // Those of several words first.
    for (words, name) in [
        (&["DOUBLE", "PRECISION"][..], Double),
        (&["CHARACTER", "VARYING"], Varchar),
        (&["CHAR", "VARYING"], Varchar),
        (&["NATIONAL", "VARCHAR"], Varchar),
        (&["NATIONAL", "CHARACTER", "VARYING"], Varchar),
        (&["NATIONAL", "CHAR", "VARYING"], Varchar),
        (&["NATIONAL", "CHARACTER"], Char),
        (&["NATIONAL", "CHAR"], Char),
        (&["NCHAR", "VARYING"], Varchar),
        (&["LONG", "VARCHAR"], MediumText),
        (&["LONG", "VARBINARY"], MediumBlob),
        (&["CHAR", "BYTE"], Binary),
    ] {
        if c.words(words) {
            return Ok(name);
        }
    }
    const NAMES: &[(&str, TypeName)] = &[
        ("TINYINT", TinyInt),
        ("INT1", TinyInt),
        ("SMALLINT", SmallInt),
        ("INT2", SmallInt),
        ("MEDIUMINT", MediumInt),
        ("INT3", MediumInt),
        ("MIDDLEINT", MediumInt),
        ("INT", Int),
        ("INTEGER", Int),
        ("INT4", Int),
        ("BIGINT", BigInt),
        ("INT8", BigInt),
        ("SERIAL", Serial),
        ("BOOL", Bool),
        ("BOOLEAN", Bool),
        ("FLOAT", Float),
        ("FLOAT4", Float),
        ("DOUBLE", Double),
        ("FLOAT8", Double),
        ("REAL", Double),
        ("DECIMAL", Decimal),
        ("DEC", Decimal),
        ("NUMERIC", Decimal),
        ("FIXED", Decimal),
        ("BIT", Bit),
        ("DATE", Date),
        ("TIME", Time),
        ("DATETIME", DateTime),
        ("TIMESTAMP", Timestamp),
        ("YEAR", Year),
        ("CHAR", Char),
        ("CHARACTER", Char),
        ("NCHAR", Char),
        ("VARCHAR", Varchar),
        ("VARCHARACTER", Varchar),
        ("NVARCHAR", Varchar),
        ("BINARY", Binary),
        ("VARBINARY", Varbinary),
        ("TINYTEXT", TinyText),
        ("TEXT", Text),
        ("MEDIUMTEXT", MediumText),
        ("LONG", MediumText),
        ("LONGTEXT", LongText),
        ("TINYBLOB", TinyBlob),
        ("BLOB", Blob),
        ("MEDIUMBLOB", MediumBlob),
        ("LONGBLOB", LongBlob),
        ("ENUM", Enum),
        ("SET", Set),
        ("JSON", Json),
        ("GEOMETRY", Spatial),
        ("POINT", Spatial),
        ("LINESTRING", Spatial),
        ("POLYGON", Spatial),
        ("MULTIPOINT", Spatial),
        ("MULTILINESTRING", Spatial),
        ("MULTIPOLYGON", Spatial),
        ("GEOMETRYCOLLECTION", Spatial),
    ];
    for (word, name) in NAMES {
        if c.word(word) {
            return Ok(*name);
        }
    }
    c.stop()
}

pub(crate) fn data_type(c: &mut Cursor) -> Parse<DataType> {
    let mut found = DataType {
        name: type_name(c)?,
        length: None,
        scale: None,
        unsigned: false,
        zerofill: false,
        binary: false,
        charset: None,
        collate: None,
        members: Vec::new(),
    };
    match found.name {
        TypeName::Enum | TypeName::Set => {
            c.expect_token(&Token::LParen)?;
            found.members = c.list(Cursor::string_or_hex)?;
            c.expect_token(&Token::RParen)?;
        }
        TypeName::Date | TypeName::Json | TypeName::Serial | TypeName::Bool | TypeName::Spatial => {}
        _ => {
            if c.token(&Token::LParen) {
                found.length = Some(c.unsigned()?);
                let may_scale = matches!(found.name, TypeName::Float | TypeName::Double | TypeName::Decimal);
                if may_scale && c.comma() {
                    found.scale = Some(c.unsigned()?);
                }
                c.expect_token(&Token::RParen)?;
            } else if found.name == TypeName::Varchar || found.name == TypeName::Varbinary {
                // The length is not optional here.
                return c.stop();
            }
        }
    }
    let numeric = matches!(
        found.name,
        TypeName::TinyInt
            | TypeName::SmallInt
            | TypeName::MediumInt
            | TypeName::Int
            | TypeName::BigInt
            | TypeName::Float
            | TypeName::Double
            | TypeName::Decimal
    );
    let character = matches!(
        found.name,
        TypeName::Char
            | TypeName::Varchar
            | TypeName::TinyText
            | TypeName::Text
            | TypeName::MediumText
            | TypeName::LongText
            | TypeName::Enum
            | TypeName::Set
    );
    loop {
        if numeric && c.word("UNSIGNED") {
            found.unsigned = true;
        } else if numeric && c.word("SIGNED") {
            // The default.
        } else if numeric && c.word("ZEROFILL") {
            found.zerofill = true;
            found.unsigned = true;
        } else if character && c.word("BINARY") {
            found.binary = true;
        } else if character && charset_words(c) {
            found.charset = Some(c.name_or_string()?);
        } else if character && c.word("ASCII") {
            found.charset = Some("latin1".into());
        } else if character && c.word("UNICODE") {
            found.charset = Some("utf8mb4".into());
        } else if character && c.word("BYTE") {
            found.charset = Some("binary".into());
        } else {
            return Ok(found);
        }
    }
}
