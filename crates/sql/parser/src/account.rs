//! Users and what they may do.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::cursor::{Cursor, Parse, Stop};
use ilmenite_error::Error;

/// `user`, `'user'@'host'`, CURRENT_USER.
pub(crate) fn account_name(c: &mut Cursor) -> Parse<AccountName> {
    if c.word("CURRENT_USER") {
        if c.token(&Token::LParen) {
            c.expect_token(&Token::RParen)?;
        }
        return Ok(AccountName {
            user: String::new(),
            host: String::new(),
            current: true,
        });
    }
    let user = c.name_or_string()?;
    let mut host = "%".to_string();
    // The lexer takes `@host` for one word, quoted or not.
    if let Token::Word(word) = &c.parser.peek_token_ref().token
        && let Some(name) = word.value.strip_prefix('@')
    {
        let name = name.to_string();
        c.parser.advance_token();
        host = name;
        if host.is_empty() && !c.peek_token(&Token::Mod) {
            host = c.name_or_string()?;
        }
        // `@10.0.0.%` and `@%`: what is left of it.
        while c.token(&Token::Mod) {
            host.push('%');
        }
    }
    Ok(AccountName {
        user,
        host: host.to_lowercase(),
        current: false,
    })
}

fn auth_spec(c: &mut Cursor) -> Parse<AuthSpec> {
    let mut auth = AuthSpec::default();
    if !c.word("IDENTIFIED") {
        return Ok(auth);
    }
    if c.word("WITH") {
        auth.plugin = Some(c.name_or_string()?.to_lowercase());
        if c.word("AS") {
            auth.hash = Some(c.string_or_hex()?);
        } else if c.word("BY") {
            auth.password = Some(c.string()?);
        }
    } else {
        c.expect_word("BY")?;
        if c.word("PASSWORD") {
            auth.hash = Some(c.string()?);
        } else {
            auth.password = Some(c.string()?);
        }
    }
    Ok(auth)
}

/// Options after the users. Promises that would not be kept are refused.
fn user_options(c: &mut Cursor) -> Parse<UserOptions> {
    let mut options = UserOptions::default();
    let refused = |what: &str| Err(Stop::Error(Error::not_supported_yet(what)));
    while !c.at_end() {
        if c.words(&["ACCOUNT", "LOCK"]) {
            options.locked = Some(true);
        } else if c.words(&["ACCOUNT", "UNLOCK"]) {
            options.locked = Some(false);
        } else if c.words(&["REQUIRE", "NONE"])
            || c.words(&["PASSWORD", "EXPIRE", "NEVER"])
            || c.words(&["PASSWORD", "EXPIRE", "DEFAULT"])
            || c.words(&["PASSWORD", "HISTORY", "DEFAULT"])
            || c.words(&["PASSWORD", "REUSE", "INTERVAL", "DEFAULT"])
            || c.words(&["PASSWORD", "REQUIRE", "CURRENT", "DEFAULT"])
        {
            // What holds anyway.
        } else if c.any_word(&["COMMENT", "ATTRIBUTE"]).is_some() {
            c.string()?;
        } else if c.word("REQUIRE") {
            return refused("REQUIRE for an account");
        } else if c.word("PASSWORD") {
            return refused("password expiry and history");
        } else if c.word("WITH") {
            return refused("resource limits of an account");
        } else if c.words(&["DEFAULT", "ROLE"]) {
            return refused("roles");
        } else {
            return c.stop();
        }
    }
    Ok(options)
}

fn users(c: &mut Cursor) -> Parse<Vec<(AccountName, AuthSpec)>> {
    c.list(|c| {
        let name = account_name(c)?;
        Ok((name, auth_spec(c)?))
    })
}

pub(crate) fn create_user(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("USER")?;
    let if_not_exists = c.if_not_exists();
    let users = users(c)?;
    Ok(Statement::Account(Account::Create {
        users,
        if_not_exists,
        options: user_options(c)?,
    }))
}

pub(crate) fn alter_user(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("USER")?;
    let if_exists = c.if_exists();
    if c.words(&["USER"]) {
        // ALTER USER USER() IDENTIFIED BY …
        c.expect_token(&Token::LParen)?;
        c.expect_token(&Token::RParen)?;
        let current = AccountName {
            user: String::new(),
            host: String::new(),
            current: true,
        };
        let auth = auth_spec(c)?;
        return Ok(Statement::Account(Account::Alter {
            users: vec![(current, auth)],
            if_exists,
            options: UserOptions::default(),
        }));
    }
    let users = users(c)?;
    Ok(Statement::Account(Account::Alter {
        users,
        if_exists,
        options: user_options(c)?,
    }))
}

pub(crate) fn drop_user(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("USER")?;
    let if_exists = c.if_exists();
    Ok(Statement::Account(Account::Drop {
        users: c.list(account_name)?,
        if_exists,
    }))
}

/// After RENAME.
pub(crate) fn rename_user(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("USER")?;
    let renames = c.list(|c| {
        let from = account_name(c)?;
        c.expect_word("TO")?;
        Ok((from, account_name(c)?))
    })?;
    Ok(Statement::Account(Account::Rename(renames)))
}

/// Privilege names as written, upper case, words joined by one space.
fn privileges(c: &mut Cursor) -> Parse<Vec<String>> {
    c.list(|c| {
        let mut words: Vec<String> = Vec::new();
        loop {
            match &c.parser.peek_token_ref().token {
                Token::Word(word) if word.quote_style.is_none() => {
                    let upper = word.value.to_ascii_uppercase();
                    let ends = matches!(upper.as_str(), "ON" | "TO" | "FROM");
                    if ends {
                        break;
                    }
                    words.push(upper);
                    c.parser.advance_token();
                }
                Token::LParen => {
                    return Err(Stop::Error(Error::not_supported_yet("privileges on columns")));
                }
                _ => break,
            }
        }
        if words.is_empty() {
            return c.stop();
        }
        let name = words.join(" ");
        Ok(if name == "ALL PRIVILEGES" {
            "ALL".into()
        } else {
            name
        })
    })
}

fn level(c: &mut Cursor) -> Parse<GrantLevel> {
    c.word("TABLE");
    if c.token(&Token::Mul) {
        if c.token(&Token::Period) {
            c.expect_token(&Token::Mul)?;
            return Ok(GrantLevel::Global);
        }
        return Ok(GrantLevel::Database(None));
    }
    let first = c.identifier()?;
    if c.token(&Token::Period) {
        if c.token(&Token::Mul) {
            return Ok(GrantLevel::Database(Some(first)));
        }
        return Ok(GrantLevel::Table(TableName {
            database: Some(first),
            name: c.identifier()?,
        }));
    }
    Ok(GrantLevel::Table(TableName {
        database: None,
        name: first,
    }))
}

pub(crate) fn grant_or_revoke(c: &mut Cursor) -> Parse<Statement> {
    let grant = c.word("GRANT");
    if !grant {
        c.expect_word("REVOKE")?;
        c.if_exists();
    }
    let privileges = privileges(c)?;
    if !grant && privileges == ["ALL", "GRANT OPTION"] && c.word("FROM") {
        return Ok(Statement::Account(Account::RevokeAll {
            users: c.list(account_name)?,
        }));
    }
    if !c.word("ON") {
        // GRANT role TO user.
        return Err(Stop::Error(Error::not_supported_yet("roles")));
    }
    let level = level(c)?;
    c.expect_word(if grant { "TO" } else { "FROM" })?;
    let users = c.list(|c| {
        let name = account_name(c)?;
        auth_spec(c)?;
        Ok(name)
    })?;
    let account = if grant {
        let with_grant_option = c.words(&["WITH", "GRANT", "OPTION"]);
        Account::Grant {
            privileges,
            level,
            users,
            with_grant_option,
        }
    } else {
        Account::Revoke {
            privileges,
            level,
            users,
        }
    };
    Ok(Statement::Account(account))
}
