//! LOAD DATA: what becomes of the fields of a record.

use super::plan::{AssignmentPlan, LoadItem, LoadPlan};
use super::row::{find_column, row_block, target, value_or_default};
use crate::Privilege;
use crate::binder::Binder;
use crate::context::PlanEnv;
use crate::defaults::all_defaults;
use ilmenite_error::{Error, Result};
use ilmenite_parser::{LoadData, LoadTarget, OnDuplicate};

pub(crate) fn bind_load(env: &PlanEnv<'_>, load: &LoadData) -> Result<LoadPlan> {
    let database = match &load.table.database {
        Some(database) => database.as_str(),
        None => env.current_database()?,
    };
    let replace = load.on_duplicate == OnDuplicate::Replace;
    let privileges: &[Privilege] = if replace {
        &[Privilege::Insert, Privilege::Delete]
    } else {
        &[Privilege::Insert]
    };
    let table = target(env, database, &load.table.name, privileges)?;
    let mut items = Vec::with_capacity(load.columns.len());
    for item in &load.columns {
        items.push(match item {
            LoadTarget::Column(name) => LoadItem::Column(find_column(table, name)?),
            LoadTarget::Variable(name) => LoadItem::Variable(name.to_lowercase()),
        });
    }
    if items.is_empty() {
        items = (0..table.info.public_columns().count())
            .map(LoadItem::Column)
            .collect();
    }
    let mut binder = Binder::new(env);
    let level = row_block(&mut binder, table, &load.table.name)?;
    let mut assignments = Vec::with_capacity(load.assignments.len());
    for (name, ast) in &load.assignments {
        let column = find_column(table, name)?;
        let value = value_or_default(&mut binder, level, table, column, ast)?;
        assignments.push(AssignmentPlan {
            target: 0,
            column,
            slot: Some(column),
            value,
            automatic: false,
        });
    }
    binder.close_block()?;
    if !binder.finish()?.is_empty() {
        return Err(Error::not_supported_yet("subqueries in LOAD DATA"));
    }
    // A file on the client cannot be stopped in the middle of a row that fails: such rows are left out, with a warning.
    let ignore = load.on_duplicate == OnDuplicate::Ignore || (load.local && !replace);
    Ok(LoadPlan {
        table: table.clone(),
        items,
        assignments,
        defaults: all_defaults(env, &table.info)?,
        replace,
        ignore,
    })
}
