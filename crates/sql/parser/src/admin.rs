//! ADMIN.

use ilmenite_base::ErrorClass;
use sqlparser::tokenizer::Token;

use super::ast::*;
use super::cursor::{Cursor, Parse, Stop};
use ilmenite_error::Error;

pub(crate) fn admin(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("ADMIN")?;
    let found = if c.words(&["SHOW", "DDL"]) {
        show_ddl(c)?
    } else if c.words(&["CANCEL", "DDL"]) {
        Admin::CancelJobs(job_ids(c)?)
    } else if c.words(&["PAUSE", "DDL"]) {
        Admin::PauseJobs(job_ids(c)?)
    } else if c.words(&["RESUME", "DDL"]) {
        Admin::ResumeJobs(job_ids(c)?)
    } else if c.words(&["ALTER", "DDL", "JOBS"]) {
        alter_job(c)?
    } else if c.words(&["CHECK", "TABLE"]) {
        Admin::CheckTables(c.table_names()?)
    } else if c.words(&["CHECK", "INDEX"]) {
        Admin::CheckIndex {
            table: c.table_name()?,
            index: c.identifier()?,
        }
    } else if c.words(&["CHECKSUM", "TABLE"]) {
        Admin::ChecksumTables(c.table_names()?)
    } else if let Some(what) = unsupported(c) {
        c.skip_rest();
        Admin::Unsupported(what)
    } else {
        return c.stop();
    };
    Ok(Statement::Admin(found))
}

fn show_ddl(c: &mut Cursor) -> Parse<Admin> {
    if c.words(&["JOB", "QUERIES"]) {
        if c.word("LIMIT") {
            let first = c.unsigned()?;
            let (offset, limit) = if c.comma() {
                (first, c.unsigned()?)
            } else if c.word("OFFSET") {
                (c.unsigned()?, first)
            } else {
                (0, first)
            };
            return Ok(Admin::ShowDdlJobQueriesLimit { limit, offset });
        }
        return Ok(Admin::ShowDdlJobQueries {
            ids: c.list(Cursor::signed)?,
        });
    }
    if c.word("JOBS") {
        let limit = if matches!(c.parser.peek_token_ref().token, Token::Number(..)) {
            Some(c.unsigned()?)
        } else {
            None
        };
        let filter = if c.word("WHERE") { Some(c.expr()?) } else { None };
        return Ok(Admin::ShowDdlJobs { limit, filter });
    }
    Ok(Admin::ShowDdl)
}

fn job_ids(c: &mut Cursor) -> Parse<Vec<i64>> {
    if c.any_word(&["JOBS", "JOB"]).is_none() {
        return c.stop();
    }
    c.list(Cursor::signed)
}

fn alter_job(c: &mut Cursor) -> Parse<Admin> {
    let id = c.signed()?;
    let (mut thread, mut batch_size, mut max_write_speed) = (None, None, None);
    loop {
        let slot = match c.any_word(&["THREAD", "BATCH_SIZE", "MAX_WRITE_SPEED"]) {
            Some("THREAD") => &mut thread,
            Some("BATCH_SIZE") => &mut batch_size,
            Some(_) => &mut max_write_speed,
            None => return c.stop(),
        };
        c.expect_token(&Token::Eq)?;
        if slot.is_some() {
            return Err(Stop::Error(Error::other(
                ErrorClass::User,
                "an option of ADMIN ALTER DDL JOBS is given twice",
            )));
        }
        *slot = Some(c.expr()?);
        if !c.comma() {
            break;
        }
    }
    Ok(Admin::AlterJob {
        id,
        thread,
        batch_size,
        max_write_speed,
    })
}

fn unsupported(c: &mut Cursor) -> Option<&'static str> {
    const KNOWN: &[(&[&str], &str)] = &[
        (&["RECOVER", "INDEX"], "ADMIN RECOVER INDEX"),
        (&["CLEANUP", "INDEX"], "ADMIN CLEANUP INDEX"),
        (&["CLEANUP", "TABLE"], "ADMIN CLEANUP TABLE LOCK"),
        (&["REPAIR", "TABLE"], "ADMIN REPAIR TABLE"),
        (&["RELOAD"], "ADMIN RELOAD"),
        (&["PLUGINS"], "ADMIN PLUGINS"),
        (&["SHOW"], "ADMIN SHOW of something else"),
        (&["CAPTURE"], "ADMIN CAPTURE BINDINGS"),
        (&["EVOLVE"], "ADMIN EVOLVE BINDINGS"),
        (&["FLUSH"], "ADMIN FLUSH"),
    ];
    KNOWN
        .iter()
        .find_map(|(words, name)| c.words(words).then_some(*name))
}
