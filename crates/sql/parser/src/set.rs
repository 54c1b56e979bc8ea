//! SET in all its forms.

use sqlparser::ast as sql;
use sqlparser::tokenizer::Token;

use super::account;
use super::ast::*;
use super::column::charset_words;
use super::cursor::{Cursor, Parse};

pub(crate) fn set(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("SET")?;
    if let Some(item) = alone(c)? {
        return Ok(Statement::Set(vec![item]));
    }
    // SESSION or GLOBAL before one assignment holds for those after it too.
    let mut scope = SetScope::Unsaid;
    let items = c.list(|c| item(c, &mut scope))?;
    Ok(Statement::Set(items))
}

/// Forms that take the whole statement.
fn alone(c: &mut Cursor) -> Parse<Option<SetItem>> {
    if c.peek_word("PASSWORD") {
        c.word("PASSWORD");
        let account = if c.word("FOR") {
            Some(account::account_name(c)?)
        } else {
            None
        };
        c.expect_token(&Token::Eq)?;
        let password = if c.word("PASSWORD") {
            c.expect_token(&Token::LParen)?;
            let text = c.string()?;
            c.expect_token(&Token::RParen)?;
            text
        } else {
            c.string()?
        };
        return Ok(Some(SetItem::Password { account, password }));
    }
    if c.words(&["DEFAULT", "ROLE"]) || c.word("ROLE") {
        if c.any_word(&["NONE", "DEFAULT"]).is_none() {
            return c.stop();
        }
        if c.word("TO") {
            c.list(account::account_name)?;
        }
        return Ok(Some(SetItem::RoleNone));
    }
    let (scope, ahead) = if c.peek_word("SESSION") || c.peek_word("LOCAL") {
        (SetScope::Session, 1)
    } else if c.peek_word("GLOBAL") {
        (SetScope::Global, 1)
    } else {
        (SetScope::Unsaid, 0)
    };
    if c.peek_word_at(ahead, "TRANSACTION") {
        for _ in 0..=ahead {
            c.parser.advance_token();
        }
        return transaction(c, scope).map(Some);
    }
    Ok(None)
}

fn transaction(c: &mut Cursor, scope: SetScope) -> Parse<SetItem> {
    let (mut isolation, mut read_only) = (None, None);
    loop {
        if c.words(&["ISOLATION", "LEVEL"]) {
            let level = if c.words(&["READ", "UNCOMMITTED"]) {
                "READ-UNCOMMITTED"
            } else if c.words(&["READ", "COMMITTED"]) {
                "READ-COMMITTED"
            } else if c.words(&["REPEATABLE", "READ"]) {
                "REPEATABLE-READ"
            } else if c.word("SERIALIZABLE") {
                "SERIALIZABLE"
            } else {
                return c.stop();
            };
            isolation = Some(level.to_string());
        } else if c.words(&["READ", "ONLY"]) {
            read_only = Some(true);
        } else if c.words(&["READ", "WRITE"]) {
            read_only = Some(false);
        } else {
            return c.stop();
        }
        if !c.comma() {
            return Ok(SetItem::Transaction {
                scope,
                isolation,
                read_only,
            });
        }
    }
}

fn item(c: &mut Cursor, scope: &mut SetScope) -> Parse<SetItem> {
    if c.word("NAMES") {
        if c.word("DEFAULT") {
            return Ok(SetItem::Names {
                charset: None,
                collate: None,
            });
        }
        let charset = Some(c.name_or_string()?);
        let collate = if c.word("COLLATE") {
            Some(c.name_or_string()?)
        } else {
            None
        };
        return Ok(SetItem::Names { charset, collate });
    }
    if charset_words(c) {
        c.token(&Token::Eq);
        if c.word("DEFAULT") {
            return Ok(SetItem::CharacterSet(None));
        }
        return Ok(SetItem::CharacterSet(Some(c.name_or_string()?)));
    }
    if let Token::Word(word) = &c.parser.peek_token_ref().token
        && word.quote_style.is_none()
        && word.value.starts_with('@')
    {
        let value = word.value.clone();
        c.parser.advance_token();
        if let Some(name) = value.strip_prefix("@@") {
            return system_variable(c, name);
        }
        assignment_sign(c)?;
        return Ok(SetItem::UserVariable {
            name: value[1..].to_lowercase(),
            value: c.expr()?,
        });
    }
    // A variable could be called that: then an assignment sign follows at once.
    let names_scope = !matches!(
        c.parser.peek_nth_token_ref(1).token,
        Token::Eq | Token::Assignment
    );
    if names_scope {
        if c.any_word(&["SESSION", "LOCAL"]).is_some() {
            *scope = SetScope::Session;
        } else if c.any_word(&["GLOBAL", "PERSIST"]).is_some() {
            *scope = SetScope::Global;
        }
    }
    let name = variable_name(c)?;
    assignment_sign(c)?;
    Ok(SetItem::Variable {
        scope: *scope,
        name,
        value: value(c)?,
    })
}

/// `name` or `name.part` (`validate_password.policy`).
fn variable_name(c: &mut Cursor) -> Parse<String> {
    let mut name = c.name_or_string()?;
    if c.token(&Token::Period) {
        name = format!("{name}.{}", c.name_or_string()?);
    }
    Ok(name.to_lowercase())
}

/// After `@@first`.
fn system_variable(c: &mut Cursor, first: &str) -> Parse<SetItem> {
    let scope = match first.to_ascii_lowercase().as_str() {
        "session" | "local" => SetScope::Session,
        "global" | "persist" => SetScope::Global,
        _ => SetScope::Unsaid,
    };
    let name = if scope != SetScope::Unsaid {
        c.expect_token(&Token::Period)?;
        variable_name(c)?
    } else if c.token(&Token::Period) {
        format!("{first}.{}", c.name_or_string()?).to_lowercase()
    } else {
        first.to_lowercase()
    };
    assignment_sign(c)?;
    Ok(SetItem::Variable {
        // `@@x` is the session's, whatever was said before.
        scope: if scope == SetScope::Unsaid {
            SetScope::Session
        } else {
            scope
        },
        name,
        value: value(c)?,
    })
}

fn assignment_sign(c: &mut Cursor) -> Parse<()> {
    if c.token(&Token::Eq) || c.token(&Token::Assignment) {
        Ok(())
    } else {
        c.stop()
    }
}

fn value(c: &mut Cursor) -> Parse<SetExpr> {
    let ends = |token: &Token| matches!(token, Token::EOF | Token::Comma);
    if let Token::Word(word) = &c.parser.peek_token_ref().token
        && !word.value.starts_with('@')
        && ends(&c.parser.peek_nth_token_ref(1).token)
    {
        let text = word.value.clone();
        let quoted = word.quote_style.is_some();
        let upper = text.to_ascii_uppercase();
        if !quoted && upper == "DEFAULT" {
            c.parser.advance_token();
            return Ok(SetExpr::Default);
        }
        let literal = matches!(upper.as_str(), "NULL" | "TRUE" | "FALSE");
        let function =
            upper.starts_with("CURRENT_") || upper.starts_with("UTC_") || upper.starts_with("LOCALTIME");
        if quoted || !(literal || function) {
            c.parser.advance_token();
            return Ok(SetExpr::Word(text));
        }
    }
    Ok(match c.expr()? {
        sql::Expr::Identifier(ident) if !ident.value.starts_with('@') => SetExpr::Word(ident.value),
        expr => SetExpr::Expr(expr),
    })
}
