//! ALTER TABLE: its clauses as actions, in the order they stand.

use ilmenite_catalog::{ColumnInfo, Name};
use ilmenite_ddl::{AlterAction as Action, ColumnPosition as Position, DdlStatement, TableName as Target};
use ilmenite_types::Collation;
use sqlparser::ast as sql;

use super::column::{ColumnContext, ColumnDefault, column_info, default_of, origin_default};
use super::field_type::collation_said;
use super::index::{column_key, index_spec};
use super::{TranslateContext, check_engine, check_online};
use crate::context::Warnings;
use ilmenite_error::{Error, Result};
use ilmenite_parser::{
    AlterAction, CharsetOptions, ColumnDef, ColumnPosition, OnlineOptions, TableName, TableOptions,
};

fn position(position: &Option<ColumnPosition>) -> Option<Position> {
    position.as_ref().map(|p| match p {
        ColumnPosition::First => Position::First,
        ColumnPosition::After(name) => Position::After(Name::new(name)),
    })
}

pub(super) fn alter_table(
    table: &TableName,
    actions: &[AlterAction],
    online: &OnlineOptions,
    ctx: &TranslateContext<'_>,
    warnings: &mut Warnings,
) -> Result<DdlStatement> {
    let target = ctx.target(table)?;
    let builds = actions.iter().any(|a| matches!(a, AlterAction::AddIndex(_)));
    check_online(online, !builds)?;
    let collation = match ctx.table(&target) {
        Some(table) => Collation::stored(&table.charset, &table.collate),
        None => ctx.collation_of(&target.schema.original),
    };
    let column_ctx = ColumnContext {
        collation,
        dates: ctx.dates,
    };
    let mut altering = Altering {
        target,
        column_ctx,
        ctx,
        warnings,
        actions: Vec::new(),
    };
    for action in actions {
        altering.clause(action)?;
    }
    Ok(DdlStatement::AlterTable {
        table: altering.target,
        actions: altering.actions,
    })
}

/// One ALTER TABLE while its clauses are read.
struct Altering<'a> {
    target: Target,
    column_ctx: ColumnContext,
    ctx: &'a TranslateContext<'a>,
    warnings: &'a mut Warnings,
    /// What is asked for so far.
    actions: Vec<Action>,
}

impl Altering<'_> {
    fn clause(&mut self, clause: &AlterAction) -> Result<()> {
        let action = match clause {
            AlterAction::AddColumn {
                column,
                position,
                if_not_exists,
            } => return self.add_column(column, position, *if_not_exists),
            AlterAction::ModifyColumn {
                name,
                column,
                position,
            } => return self.modify_column(name, column, position),
            AlterAction::Options(options) => return self.options(options),
            AlterAction::ConvertCharset(options) => return self.convert_charset(options),
            AlterAction::SetDefault { column, default } => self.set_default(column, default)?,
            AlterAction::DropColumn { name, if_exists } => Action::DropColumn {
                name: Name::new(name),
                if_exists: *if_exists,
            },
            AlterAction::RenameColumn { from, to } => Action::RenameColumn {
                from: Name::new(from),
                to: Name::new(to),
            },
            AlterAction::DropDefault { column } => Action::DropDefault {
                column: Name::new(column),
            },
            AlterAction::AddIndex(index) => Action::AddIndex(index_spec(index)?),
            AlterAction::DropIndex { name, if_exists } => drop_index(name, *if_exists),
            AlterAction::DropPrimaryKey => Action::DropPrimaryKey,
            AlterAction::RenameIndex { from, to } => Action::RenameIndex {
                from: Name::new(from),
                to: Name::new(to),
            },
            AlterAction::IndexVisibility { name, invisible } => Action::IndexVisibility {
                name: Name::new(name),
                invisible: *invisible,
            },
            AlterAction::RenameTable(to) => {
                let mut to = to.clone();
                to.database
                    .get_or_insert_with(|| self.target.schema.original.clone());
                Action::RenameTable(self.ctx.target(&to)?)
            }
            AlterAction::Nothing => return Ok(()),
            AlterAction::Unsupported(what) => return Err(Error::not_supported_yet(what)),
        };
        self.actions.push(action);
        Ok(())
    }

    fn add_column(
        &mut self,
        column: &ColumnDef,
        place: &Option<ColumnPosition>,
        if_not_exists: bool,
    ) -> Result<()> {
        if column.auto_increment {
            return Err(Error::unsupported_ddl("add column with AUTO_INCREMENT"));
        }
        if column.primary {
            return Err(Error::unsupported_ddl("add column with PRIMARY KEY"));
        }
        let mut info = column_info(column, &self.column_ctx)?;
        let ctx = self.ctx;
        info.origin_default = origin_default(&info, ctx.now, ctx.time_zone, ctx.dates)?;
        self.actions.push(Action::AddColumn {
            column: Box::new(info),
            position: position(place),
            if_not_exists,
        });
        self.actions
            .extend(column_key(column).map(|(index, _)| Action::AddIndex(index)));
        Ok(())
    }

    fn modify_column(
        &mut self,
        name: &str,
        column: &ColumnDef,
        place: &Option<ColumnPosition>,
    ) -> Result<()> {
        let mut info = column_info(column, &self.column_ctx)?;
        // PRIMARY KEY here would add a key; NOT NULL from it alone is not meant.
        if column.primary {
            return Err(Error::unsupported_ddl("modify column with PRIMARY KEY"));
        }
        info.origin_default = None;
        self.actions.push(Action::ModifyColumn {
            name: Name::new(name),
            column: Box::new(info),
            position: position(place),
        });
        self.actions
            .extend(column_key(column).map(|(index, _)| Action::AddIndex(index)));
        Ok(())
    }

    fn set_default(&self, column: &str, default: &sql::Expr) -> Result<Action> {
        let existing = existing_column(self.ctx, &self.target, column)
            .ok_or_else(|| Error::unknown_column(column, &self.target.table))?;
        let found = default_of(column, default, &existing.field_type, &self.column_ctx)?;
        let (default, is_expr) = match found {
            ColumnDefault::Literal(text) => (Some(text), false),
            ColumnDefault::Expression(text) => (Some(text), true),
            ColumnDefault::Null | ColumnDefault::None => {
                if existing.field_type.is_not_null() {
                    return Err(Error::invalid_default(column));
                }
                (None, false)
            }
        };
        Ok(Action::SetDefault {
            column: Name::new(column),
            default,
            is_expr,
        })
    }

    fn options(&mut self, options: &TableOptions) -> Result<()> {
        check_engine(options, &self.target.table.original, self.warnings);
        if let Some(comment) = &options.comment {
            self.actions.push(Action::Comment(comment.clone()));
        }
        if let Some(next) = options.auto_increment {
            let next = i64::try_from(next).unwrap_or(i64::MAX);
            self.actions.push(Action::AutoIncrement(next));
        }
        if options.charset.charset.is_some() || options.charset.collate.is_some() {
            let collation = collation_said(&options.charset, self.column_ctx.collation)?;
            self.actions.push(Action::Charset {
                charset: collation.charset().name.into(),
                collate: collation.name().into(),
            });
        }
        Ok(())
    }

    fn convert_charset(&self, options: &CharsetOptions) -> Result<()> {
        let collation = collation_said(options, self.ctx.server_collation)?;
        // Without string columns of another kind there is nothing to convert.
        if collation != self.column_ctx.collation {
            return Err(Error::unsupported_ddl(format!(
                "CONVERT TO CHARACTER SET {} COLLATE {collation}: it would need the rows to be rewritten",
                collation.charset().name
            )));
        }
        Ok(())
    }
}

/// The primary key goes by the name PRIMARY.
pub(super) fn drop_index(name: &str, if_exists: bool) -> Action {
    if name.eq_ignore_ascii_case("PRIMARY") {
        return Action::DropPrimaryKey;
    }
    Action::DropIndex {
        name: Name::new(name),
        if_exists,
    }
}

/// The public column of an existing table.
fn existing_column(ctx: &TranslateContext<'_>, target: &Target, name: &str) -> Option<ColumnInfo> {
    let lower = Name::new(name).lower;
    let mut columns = ctx.table(target)?.public_columns();
    columns.find(|column| column.name.lower == lower).cloned()
}
