//! CREATE, ALTER, DROP and RENAME USER, SET PASSWORD, GRANT and REVOKE.

#[cfg(test)]
mod tests;

use super::{Grants, Privilege, PrivilegeSet};
use crate::account::{Account, CACHING_SHA2, Credential, NATIVE};
use crate::context::SessionContext;
use crate::quote::grantee;
use ilmenite_error::{Error, Result};
use ilmenite_executor::StatementOutcome;
use ilmenite_parser::{Account as Statement, AccountName, AuthSpec, GrantLevel, UserOptions};

/// A row to be written (`Some`) or removed, by user and host.
type Change = (String, String, Option<Account>);

pub(crate) async fn run_account(ctx: &mut SessionContext, statement: &Statement) -> Result<StatementOutcome> {
    let (operation, changes) = match statement {
        Statement::Create {
            users,
            if_not_exists,
            options,
        } => ("CREATE USER", create(ctx, users, *if_not_exists, options)?),
        Statement::Alter {
            users,
            if_exists,
            options,
        } => ("ALTER USER", alter(ctx, users, *if_exists, options)?),
        Statement::Drop { users, if_exists } => ("DROP USER", drop_users(ctx, users, *if_exists)?),
        Statement::Rename(renames) => ("RENAME USER", rename(ctx, renames)?),
        Statement::Grant {
            privileges,
            level,
            users,
            with_grant_option,
        } => ("GRANT", grant(ctx, privileges, level, users, *with_grant_option)?),
        Statement::Revoke {
            privileges,
            level,
            users,
        } => ("REVOKE", revoke(ctx, privileges, level, users)?),
        Statement::RevokeAll { users } => ("REVOKE", revoke_all(ctx, users)?),
    };
    check_administrator_left(ctx, operation, &changes)?;
    store(ctx, changes).await?;
    Ok(StatementOutcome::default())
}

/// SET PASSWORD; `None`: one's own.
pub(crate) async fn set_password(
    ctx: &mut SessionContext,
    account: Option<&AccountName>,
    password: &str,
) -> Result<()> {
    let (user, host) = match account {
        Some(name) => resolve(ctx, name),
        None => own(ctx),
    };
    let is_own = (user.clone(), host.clone()) == own(ctx);
    if !is_own {
        ctx.check(Privilege::CreateUser, "", "")?;
    }
    let found = ctx.engine.find_account(&user, &host);
    let mut found = found.ok_or_else(|| Error::no_such_grant(&user, &host))?;
    if !is_own {
        check_may_change(ctx, &found)?;
    }
    found.credential = Credential::new(found.credential.plugin(), password)?;
    store(ctx, vec![(user, host, Some(found))]).await
}

async fn store(ctx: &mut SessionContext, changes: Vec<Change>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let engine = ctx.engine.clone();
    Account::store(&engine.catalog, changes).await?;
    engine.load_settings().await
}

/// Whether the session's user may change or remove `account`: never one that may do what the user may not.
fn check_may_change(ctx: &SessionContext, account: &Account) -> Result<()> {
    ctx.check(Privilege::CreateUser, "", "")?;
    if !ctx.privileges.grants.cover(&account.grants) {
        return Err(Error::specific_access_denied("SYSTEM_USER"));
    }
    Ok(())
}

/// Refuses changes after which nobody could administer accounts any more.
fn check_administrator_left(ctx: &SessionContext, operation: &str, changes: &[Change]) -> Result<()> {
    let administers = |account: &Account| !account.locked && account.grants.administer();
    let accounts = ctx.engine.accounts();
    let before = accounts.iter().any(administers);
    let changed = |account: &&Account| {
        !changes
            .iter()
            .any(|(user, host, _)| *user == account.user && host.eq_ignore_ascii_case(&account.host))
    };
    let stay = accounts.iter().filter(changed).any(administers);
    let come = changes.iter().filter_map(|(.., account)| account.as_ref());
    if before && !stay && !come.into_iter().any(administers) {
        let names: Vec<String> = changes
            .iter()
            .map(|(user, host, _)| grantee(user, host))
            .collect();
        return Err(Error::last_administrator(operation, names.join(",")));
    }
    Ok(())
}

/// The account the session acts as.
fn own(ctx: &SessionContext) -> (String, String) {
    (ctx.privileges.user.clone(), ctx.privileges.account_host.clone())
}

fn resolve(ctx: &SessionContext, name: &AccountName) -> (String, String) {
    if name.current {
        own(ctx)
    } else {
        (name.user.clone(), name.host.clone())
    }
}

/// 1396, which names everyone the operation failed for: nothing is done for anyone.
fn failed(operation: &str, names: &[String]) -> Error {
    Error::cannot_user(operation, names.join(","))
}

fn credential(ctx: &SessionContext, auth: &AuthSpec, before: Option<&Credential>) -> Result<Credential> {
    let default = ctx.engine.globals.get("default_authentication_plugin");
    let plugin = match (&auth.plugin, before) {
        (Some(plugin), _) => plugin.as_str(),
        (None, Some(before)) => before.plugin(),
        (None, None) => &default,
    };
    match &auth.hash {
        Some(hash) => credential_of_hash(plugin, hash),
        None => Credential::new(plugin, auth.password.as_deref().unwrap_or("")),
    }
}

/// What `mysql.user.authentication_string` shows, read back.
fn credential_of_hash(plugin: &str, hash: &str) -> Result<Credential> {
    let wrong = || Error::password_format();
    match plugin {
        _ if hash.is_empty() => Credential::new(plugin, ""),
        NATIVE => {
            let digits = hash.strip_prefix('*').ok_or_else(wrong)?;
            if digits.len() != 40 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            Ok(Credential::Native {
                hash: hash.to_ascii_uppercase(),
            })
        }
        CACHING_SHA2 => {
            let parts: Vec<&str> = hash.split('$').collect();
            let rounds = Credential::CachingSha2 {
                salt: "s".into(),
                hash: "h".into(),
            }
            .text();
            let expected: Vec<&str> = rounds.split('$').collect();
            match parts[..] {
                ["", kind, count, salt, hash] if kind == expected[1] && count == expected[2] => {
                    Ok(Credential::CachingSha2 {
                        salt: salt.into(),
                        hash: hash.into(),
                    })
                }
                _ => Err(wrong()),
            }
        }
        other => Err(Error::plugin_not_loaded(other)),
    }
}

fn create(
    ctx: &mut SessionContext,
    users: &[(AccountName, AuthSpec)],
    if_not_exists: bool,
    options: &UserOptions,
) -> Result<Vec<Change>> {
    ctx.check(Privilege::CreateUser, "", "")?;
    let (mut changes, mut existing) = (Vec::new(), Vec::new());
    for (name, auth) in users {
        let (user, host) = resolve(ctx, name);
        if user.chars().count() > 32 {
            return Err(Error::user_name_too_long(user));
        }
        if ctx.engine.find_account(&user, &host).is_some() {
            existing.push(grantee(&user, &host));
            continue;
        }
        let account = Account {
            user: user.clone(),
            host: host.clone(),
            credential: credential(ctx, auth, None)?,
            grants: Grants::default(),
            locked: options.locked.unwrap_or(false),
        };
        changes.push((user, host, Some(account)));
    }
    if !existing.is_empty() {
        if !if_not_exists {
            return Err(failed("CREATE USER", &existing));
        }
        for name in existing {
            ctx.warnings.note(&Error::user_already_exists(name));
        }
    }
    Ok(changes)
}

fn alter(
    ctx: &mut SessionContext,
    users: &[(AccountName, AuthSpec)],
    if_exists: bool,
    options: &UserOptions,
) -> Result<Vec<Change>> {
    let (mut changes, mut missing) = (Vec::new(), Vec::new());
    for (name, auth) in users {
        let (user, host) = resolve(ctx, name);
        let only_own_password = (user.clone(), host.clone()) == own(ctx) && options.locked.is_none();
        if !only_own_password {
            ctx.check(Privilege::CreateUser, "", "")?;
        }
        let Some(mut account) = ctx.engine.find_account(&user, &host) else {
            missing.push(grantee(&user, &host));
            continue;
        };
        if !only_own_password {
            check_may_change(ctx, &account)?;
        }
        if *auth != AuthSpec::default() {
            account.credential = credential(ctx, auth, Some(&account.credential))?;
        }
        account.locked = options.locked.unwrap_or(account.locked);
        changes.push((account.user.clone(), account.host.clone(), Some(account)));
    }
    missing_users(ctx, "ALTER USER", missing, if_exists)?;
    Ok(changes)
}

fn missing_users(
    ctx: &mut SessionContext,
    operation: &str,
    missing: Vec<String>,
    if_exists: bool,
) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    if !if_exists {
        return Err(failed(operation, &missing));
    }
    for name in missing {
        ctx.warnings.note(&Error::no_such_user(name));
    }
    Ok(())
}

fn drop_users(ctx: &mut SessionContext, users: &[AccountName], if_exists: bool) -> Result<Vec<Change>> {
    ctx.check(Privilege::CreateUser, "", "")?;
    let (mut changes, mut missing) = (Vec::new(), Vec::new());
    for name in users {
        let (user, host) = resolve(ctx, name);
        match ctx.engine.find_account(&user, &host) {
            Some(account) => {
                check_may_change(ctx, &account)?;
                changes.push((account.user, account.host, None))
            }
            None => missing.push(grantee(&user, &host)),
        }
    }
    missing_users(ctx, "DROP USER", missing, if_exists)?;
    Ok(changes)
}

fn rename(ctx: &SessionContext, renames: &[(AccountName, AccountName)]) -> Result<Vec<Change>> {
    ctx.check(Privilege::CreateUser, "", "")?;
    let mut changes = Vec::new();
    for (from, to) in renames {
        let (user, host) = resolve(ctx, from);
        let (new_user, new_host) = resolve(ctx, to);
        let taken = ctx.engine.find_account(&new_user, &new_host).is_some();
        let Some(mut account) = ctx.engine.find_account(&user, &host).filter(|_| !taken) else {
            return Err(failed("RENAME USER", &[grantee(&user, &host)]));
        };
        check_may_change(ctx, &account)?;
        changes.push((account.user.clone(), account.host.clone(), None));
        account.user = new_user.clone();
        account.host = new_host.clone();
        changes.push((new_user, new_host, Some(account)));
    }
    Ok(changes)
}

/// A level with its names filled in, lower case as grants are kept.
enum Level {
    Global,
    Database(String),
    Table(String, String),
}

fn level_of(ctx: &SessionContext, level: &GrantLevel) -> Result<Level> {
    let current = || ctx.current_database().map(str::to_lowercase);
    Ok(match level {
        GrantLevel::Global => Level::Global,
        GrantLevel::Database(Some(name)) => Level::Database(name.to_lowercase()),
        GrantLevel::Database(None) => Level::Database(current()?),
        GrantLevel::Table(table) => {
            let database = match &table.database {
                Some(database) => database.to_lowercase(),
                None => current()?,
            };
            Level::Table(database, table.name.to_lowercase())
        }
    })
}

/// The privileges named, as far as the level knows them.
fn privilege_set(names: &[String], level: &Level) -> Result<PrivilegeSet> {
    let mut set = PrivilegeSet::NONE;
    for name in names {
        if name == "ALL" {
            set = set.union(match level {
                Level::Global => PrivilegeSet::all_global(),
                Level::Database(_) => PrivilegeSet::all_database(),
                Level::Table(..) => PrivilegeSet::all_table(),
            });
            continue;
        }
        if name == "USAGE" {
            continue;
        }
        let privilege =
            Privilege::parse(name).ok_or_else(|| Error::dynamic_privilege_not_registered(name))?;
        match level {
            Level::Database(_) if privilege.is_administrative() => {
                return Err(Error::wrong_usage("DB GRANT", "GLOBAL PRIVILEGES"));
            }
            Level::Table(..) if !privilege.applies_to_table() => {
                return Err(Error::illegal_grant());
            }
            _ => set = set.union(PrivilegeSet::of([privilege])),
        }
    }
    Ok(set)
}

/// Whoever hands out a right must have it, and GRANT OPTION, on that level.
fn check_granter(ctx: &SessionContext, level: &Level, set: PrivilegeSet) -> Result<()> {
    let (database, table) = match level {
        Level::Global => ("", ""),
        Level::Database(database) => (database.as_str(), ""),
        Level::Table(database, table) => (database.as_str(), table.as_str()),
    };
    let grants = &ctx.privileges.grants;
    let needed = set.iter().chain([Privilege::GrantOption]);
    if needed.into_iter().all(|p| grants.has(p, database, table)) {
        return Ok(());
    }
    Err(match level {
        Level::Global => Error::access_denied(&ctx.user, &ctx.host, "YES"),
        Level::Database(database) => Error::db_access_denied(&ctx.user, &ctx.host, database),
        Level::Table(_, table) => Error::table_access_denied("GRANT", &ctx.user, &ctx.host, table),
    })
}

fn grant(
    ctx: &SessionContext,
    privileges: &[String],
    level: &GrantLevel,
    users: &[AccountName],
    with_grant_option: bool,
) -> Result<Vec<Change>> {
    let level = level_of(ctx, level)?;
    let mut set = privilege_set(privileges, &level)?;
    check_granter(ctx, &level, set)?;
    if let Level::Table(database, table) = &level
        && ctx.engine.catalog.view().table(database, table).is_none()
        && crate::infoschema::resolve(database, table).is_none()
        && !set.has(Privilege::Create)
    {
        return Err(Error::no_such_table(database, table));
    }
    if with_grant_option {
        set = set.union(PrivilegeSet::of([Privilege::GrantOption]));
    }
    let mut changes = Vec::new();
    for name in users {
        let (user, host) = resolve(ctx, name);
        let mut account = ctx
            .engine
            .find_account(&user, &host)
            .ok_or_else(Error::cannot_create_with_grant)?;
        let grants = &mut account.grants;
        match &level {
            Level::Global => grants.global = grants.global.union(set),
            Level::Database(database) => {
                let held = grants.databases.entry(database.clone()).or_default();
                *held = held.union(set);
            }
            Level::Table(database, table) => {
                let tables = grants.tables.entry(database.clone()).or_default();
                let held = tables.entry(table.clone()).or_default();
                *held = held.union(set);
            }
        }
        changes.push((account.user.clone(), account.host.clone(), Some(account)));
    }
    Ok(changes)
}

fn revoke(
    ctx: &SessionContext,
    privileges: &[String],
    level: &GrantLevel,
    users: &[AccountName],
) -> Result<Vec<Change>> {
    let level = level_of(ctx, level)?;
    let set = privilege_set(privileges, &level)?;
    check_granter(ctx, &level, set)?;
    let mut changes = Vec::new();
    for name in users {
        let (user, host) = resolve(ctx, name);
        let missing = || Error::no_such_grant(&user, &host);
        let mut account = ctx.engine.find_account(&user, &host).ok_or_else(missing)?;
        let grants = &mut account.grants;
        match &level {
            Level::Global => grants.global = grants.global.minus(set),
            Level::Database(database) => {
                let held = grants.databases.get_mut(database).ok_or_else(missing)?;
                *held = held.minus(set);
            }
            Level::Table(database, table) => {
                let held = grants
                    .tables
                    .get_mut(database)
                    .and_then(|tables| tables.get_mut(table))
                    .ok_or_else(|| Error::no_such_table_grant(user, host, table))?;
                *held = held.minus(set);
            }
        }
        grants.databases.retain(|_, set| !set.is_empty());
        for tables in grants.tables.values_mut() {
            tables.retain(|_, set| !set.is_empty());
        }
        grants.tables.retain(|_, tables| !tables.is_empty());
        changes.push((account.user.clone(), account.host.clone(), Some(account)));
    }
    Ok(changes)
}

fn revoke_all(ctx: &SessionContext, users: &[AccountName]) -> Result<Vec<Change>> {
    ctx.check(Privilege::CreateUser, "", "")?;
    let (mut changes, mut missing) = (Vec::new(), Vec::new());
    for name in users {
        let (user, host) = resolve(ctx, name);
        match ctx.engine.find_account(&user, &host) {
            Some(mut account) => {
                check_may_change(ctx, &account)?;
                account.grants = Grants::default();
                changes.push((account.user.clone(), account.host.clone(), Some(account)));
            }
            None => missing.push(grantee(&user, &host)),
        }
    }
    if missing.is_empty() {
        Ok(changes)
    } else {
        Err(Error::cannot_revoke_all())
    }
}
