//! SET: all assignments are checked before the first takes effect.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use ilmenite_base::redact::redact_uri;
use ilmenite_catalog::Settings;
use ilmenite_sort::ObjectStorage;
use ilmenite_types::Datum;

use super::{Kind, SetValue, VARIABLES, VarDef, find, position};
use crate::context::SessionContext;
use crate::privilege;
use crate::statement::evaluate;
use ilmenite_error::{Error, Result};
use ilmenite_executor::StatementOutcome;
use ilmenite_parser::{SetExpr, SetItem, SetScope};
use ilmenite_planner::Privilege;
use ilmenite_types::{Charset, Collation};

/// One thing to do once everything is found right.
enum Change {
    Session {
        at: usize,
        text: String,
    },
    Global {
        at: usize,
        text: String,
    },
    /// SET GLOBAL x = DEFAULT: what is stored goes.
    GlobalDefault {
        at: usize,
    },
    UserVariable {
        name: String,
        value: Datum,
    },
    LastInsertId(u64),
    NextTransaction {
        isolation: Option<String>,
        read_only: Option<bool>,
    },
}

pub(crate) async fn run_set(
    ctx: &mut SessionContext,
    items: &[SetItem],
    params: &[Datum],
) -> Result<StatementOutcome> {
    let mut changes = Vec::with_capacity(items.len());
    for item in items {
        prepare(ctx, item, params, &mut changes).await?;
    }
    for change in changes {
        apply(ctx, change).await?;
    }
    Ok(StatementOutcome::default())
}

async fn prepare(
    ctx: &mut SessionContext,
    item: &SetItem,
    params: &[Datum],
    changes: &mut Vec<Change>,
) -> Result<()> {
    match item {
        SetItem::Variable { scope, name, value } => {
            variable(ctx, *scope, name, value, params, changes).await?
        }
        SetItem::UserVariable { name, value } => changes.push(Change::UserVariable {
            name: name.clone(),
            value: evaluate(ctx, value, params).await?,
        }),
        SetItem::Names { charset, collate } => names(charset.as_deref(), collate.as_deref(), changes)?,
        SetItem::CharacterSet(name) => {
            let name = name.as_deref().unwrap_or("utf8mb4");
            let found = Charset::by_name(name).ok_or_else(|| Error::unknown_charset(name))?;
            session(changes, "character_set_client", found.name);
            session(changes, "character_set_results", found.name);
            let database_charset = ctx.variable("character_set_database", super::Scope::Session)?;
            let database_collation = ctx.variable("collation_database", super::Scope::Session)?;
            session(changes, "character_set_connection", &database_charset);
            session(changes, "collation_connection", &database_collation);
        }
        SetItem::Transaction {
            scope,
            isolation,
            read_only,
        } => {
            if *scope == SetScope::Unsaid {
                if ctx.txn.in_transaction() {
                    return Err(Error::cant_change_tx());
                }
                changes.push(Change::NextTransaction {
                    isolation: isolation.clone(),
                    read_only: *read_only,
                });
                return Ok(());
            }
            let texts = [
                ("transaction_isolation", isolation.clone()),
                (
                    "transaction_read_only",
                    read_only.map(|on| if on { "ON" } else { "OFF" }.to_string()),
                ),
            ];
            for (name, text) in texts {
                let (Some(text), Some(at)) = (text, position(name)) else {
                    continue;
                };
                changes.push(if *scope == SetScope::Global {
                    ctx.check(Privilege::Super, "", "")?;
                    Change::Global { at, text }
                } else {
                    Change::Session { at, text }
                });
            }
        }
        SetItem::Password { account, password } => {
            privilege::set_password(ctx, account.as_ref(), password).await?;
        }
        SetItem::RoleNone => {}
    }
    Ok(())
}

fn session(changes: &mut Vec<Change>, name: &str, text: &str) {
    if let Some(at) = position(name) {
        changes.push(Change::Session {
            at,
            text: text.to_string(),
        });
    }
}

fn names(charset: Option<&str>, collate: Option<&str>, changes: &mut Vec<Change>) -> Result<()> {
    let name = charset.unwrap_or("utf8mb4");
    let found = Charset::by_name(name).ok_or_else(|| Error::unknown_charset(name))?;
    let collation = match collate {
        None => found.default_collation(),
        Some(wanted) => {
            let collation = Collation::by_name(wanted).ok_or_else(|| Error::unknown_collation(wanted))?;
            if collation.charset() != found {
                return Err(Error::collation_charset_mismatch(collation, found.name));
            }
            collation
        }
    };
    for variable in [
        "character_set_client",
        "character_set_connection",
        "character_set_results",
    ] {
        session(changes, variable, found.name);
    }
    session(changes, "collation_connection", collation.name());
    Ok(())
}

async fn variable(
    ctx: &mut SessionContext,
    scope: SetScope,
    name: &str,
    value: &SetExpr,
    params: &[Datum],
    changes: &mut Vec<Change>,
) -> Result<()> {
    let (at, def) = find(name)?;
    if def.read_only {
        return Err(Error::wrong_variable_scope(def.name, "read only"));
    }
    let global = scope == SetScope::Global;
    if global && !def.has_global() {
        return Err(Error::local_variable(def.name));
    }
    if !global && !def.has_session() {
        return Err(if def.session_readable {
            Error::session_variable_read_only(def.name)
        } else {
            Error::global_variable(def.name)
        });
    }
    if global {
        ctx.check(Privilege::Super, "", "")?;
    }
    let value = match value {
        SetExpr::Default => SetValue::Default,
        SetExpr::Word(word) => SetValue::Text(word.clone()),
        SetExpr::Expr(expr) => SetValue::from_datum(&evaluate(ctx, expr, params).await?),
    };
    if value == SetValue::Default {
        changes.push(match global {
            true => Change::GlobalDefault { at },
            false => Change::Session {
                at,
                text: ctx.vars.default_of(&ctx.engine.globals, at).to_string(),
            },
        });
        return Ok(());
    }
    if def.kind == Kind::StorageUri {
        probe(ctx, def, &value.text()).await?;
    }
    let normalized = def.normalize(&value)?;
    if normalized.clamped {
        ctx.warnings
            .warn(&Error::truncated_wrong_value(def.name, value.text()));
    }
    let text = normalized.text;
    if matches!(def.name, "last_insert_id" | "identity") {
        changes.push(Change::LastInsertId(text.parse().unwrap_or(0)));
        return Ok(());
    }
    // A character set brings its collation along, and a collation its character set.
    if let Some((other, other_text)) = companion(def.name, &text)
        && let Some(at) = position(other)
    {
        let text = other_text.to_string();
        changes.push(if global {
            Change::Global { at, text }
        } else {
            Change::Session { at, text }
        });
    }
    changes.push(if global {
        Change::Global { at, text }
    } else {
        Change::Session { at, text }
    });
    Ok(())
}

fn companion(name: &str, text: &str) -> Option<(&'static str, &'static str)> {
    let of_charset = || Charset::by_name(text).map(|c| c.default_collation().name());
    let of_collation = || Collation::by_name(text).map(|c| c.charset().name);
    Some(match name {
        "character_set_connection" => ("collation_connection", of_charset()?),
        "character_set_server" => ("collation_server", of_charset()?),
        "character_set_database" => ("collation_database", of_charset()?),
        "collation_connection" => ("character_set_connection", of_collation()?),
        "collation_server" => ("character_set_server", of_collation()?),
        "collation_database" => ("character_set_database", of_collation()?),
        _ => return None,
    })
}

/// Tries everything a build will ask of the store. The error has the store's own words, and never a secret.
async fn probe(ctx: &SessionContext, def: &VarDef, uri: &str) -> Result<()> {
    if uri.is_empty() {
        return Ok(());
    }
    let refused = |detail: String| Error::variable_refused(def.name, redact_uri(uri), detail);
    let storage = ObjectStorage::from_uri(uri).map_err(|e| refused(e.to_string()))?;
    let probed = storage.probe(&ctx.statement.cancel).await;
    ctx.statement.check()?;
    probed.map_err(|e| refused(storage.scrub(&e.to_string())))
}

async fn apply(ctx: &mut SessionContext, change: Change) -> Result<()> {
    match change {
        Change::Session { at, text } => {
            let name = VARIABLES[at].name;
            if name == "autocommit" && text == "ON" && !ctx.vars.autocommit {
                // Turning it on ends what is open.
                ctx.txn.commit().await?;
            }
            ctx.vars.set(at, &text);
        }
        Change::Global { at, text } => set_global(ctx, at, Some(&text)).await?,
        Change::GlobalDefault { at } => set_global(ctx, at, None).await?,
        Change::UserVariable { name, value } => {
            ctx.user_vars.insert(name, value);
        }
        Change::LastInsertId(id) => ctx.last_insert_id = id,
        Change::NextTransaction { isolation, read_only } => {
            let isolation = isolation.as_deref().and_then(super::Isolation::parse);
            ctx.txn.set_next(isolation, read_only);
        }
    }
    Ok(())
}

/// Stores the value for all nodes, and uses it here at once. `None`: back to the default.
async fn set_global(ctx: &SessionContext, at: usize, text: Option<&str>) -> Result<()> {
    let def = &VARIABLES[at];
    let engine = &ctx.engine;
    let value = match text {
        Some(text) => text.to_string(),
        None => engine.globals.default_of(at).to_string(),
    };
    if def.instance {
        if def.name == "tidb_service_scope" {
            engine.catalog.set_service_scope(&value);
        }
        engine.globals.set_local(at, &value);
        return Ok(());
    }
    let stored = text.map(|text| Bytes::copy_from_slice(text.as_bytes()));
    engine
        .catalog
        .put_settings(Settings::Variables, vec![(def.name.to_string(), stored)])
        .await?;
    engine.globals.set_local(at, &value);
    Ok(())
}
