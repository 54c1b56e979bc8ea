//! SHOW GRANTS and SHOW CREATE USER.

use ilmenite_types::Datum;

use super::columns;
use crate::account::Account;
use crate::context::SessionContext;
use crate::quote::{grantee, identifier, quoted};
use crate::rowset::RowSet;
use ilmenite_error::{Error, Result};
use ilmenite_parser::AccountName;
use ilmenite_planner::Privilege;

/// User and host an account name stands for; looking at others takes SELECT on `mysql`.
fn resolve(ctx: &SessionContext, name: Option<&AccountName>) -> Result<(String, String)> {
    let own = &ctx.privileges;
    let name = match name {
        Some(name) if !name.current => name,
        _ => return Ok((own.user.clone(), own.account_host.clone())),
    };
    if name.user != own.user || !name.host.eq_ignore_ascii_case(&own.account_host) {
        own.check(Privilege::Select, "mysql", "")?;
    }
    Ok((name.user.clone(), name.host.clone()))
}

pub(super) fn grants(ctx: &SessionContext, name: Option<&AccountName>) -> Result<RowSet> {
    let (user, host) = resolve(ctx, name)?;
    let account = ctx
        .engine
        .find_account(&user, &host)
        .ok_or_else(|| Error::no_such_grant(&user, &host))?;
    let title = format!("Grants for {user}@{host}");
    let mut found = RowSet::new(columns(&[(&title, "varchar(1024) not null")]));
    found.rows = account
        .grants
        .statements(&account.user, &account.host)
        .into_iter()
        .map(|text| vec![Datum::text(text)])
        .collect();
    Ok(found)
}
pub(super) fn create_user(ctx: &SessionContext, name: &AccountName) -> Result<RowSet> {
    let (user, host) = resolve(ctx, Some(name))?;
    let account = ctx
        .engine
        .find_account(&user, &host)
        .ok_or_else(|| Error::cannot_user("SHOW CREATE USER", grantee(&user, &host)))?;
    let title = format!("CREATE USER for {user}@{host}");
    let mut found = RowSet::new(columns(&[(&title, "varchar(2048) not null")]));
    found.rows.push(vec![Datum::text(create_user_text(&account))]);
    Ok(found)
}

fn create_user_text(account: &Account) -> String {
    let proof = account.credential.text();
    let proof = if proof.is_empty() {
        String::new()
    } else {
        format!(" AS {}", quoted(&proof))
    };
    format!(
        "CREATE USER {}@{} IDENTIFIED WITH {}{proof} REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT {} \
         PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT",
        identifier(&account.user),
        identifier(&account.host),
        quoted(account.credential.plugin()),
        if account.locked { "LOCK" } else { "UNLOCK" },
    )
}
