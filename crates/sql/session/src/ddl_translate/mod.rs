//! Schema changes: from the statement as parsed to what `ddl` is asked for, with the checks that need no table.

mod column;
mod run;
#[cfg(test)]
mod tests;

use ilmenite_catalog::{ColumnInfo, Name, SchemaState, SchemaView, TableInfo, TableRef};
use ilmenite_ddl::{
    AlterAction as Action, ColumnPosition as Position, CreateTable as NewTable, DdlStatement, IndexPart,
    IndexSpec, TableName as Target,
};
use ilmenite_types::{Collation, DateFlags};
use jiff::tz::TimeZone;

use crate::context::Warnings;
use ilmenite_error::{Error, Result};
use ilmenite_parser::{
    AlterAction, ColumnDef, ColumnPosition, CreateTable, Ddl, IndexDef, IndexKind, IndexPartDef,
    OnlineOptions, TableName, TableOptions,
};
pub(crate) use run::run;

use column::{ColumnContext, ColumnDefault, collation_said, column_info, default_of, origin_default};

/// What translation needs to know of the session and the schema.
pub(crate) struct TranslateContext<'a> {
    pub database: Option<&'a str>,
    pub view: &'a SchemaView,
    /// `collation_server`.
    pub server_collation: Collation,
    pub dates: DateFlags,
    pub now: jiff::Timestamp,
    pub time_zone: &'a TimeZone,
    /// `tidb_enable_clustered_index` OFF, or INT_ONLY.
    pub clustered_index: &'a str,
    pub require_primary_key: bool,
}

impl TranslateContext<'_> {
    fn target(&self, name: &TableName) -> Result<Target> {
        let database = match &name.database {
            Some(database) => database.as_str(),
            None => self.database.ok_or_else(Error::no_database_selected)?,
        };
        Ok(Target::new(database, &name.name))
    }

    /// The default of a database; the server's where there is no such database.
    fn collation_of(&self, database: &str) -> Collation {
        self.view
            .schema(database)
            .map_or(self.server_collation, |schema| {
                Collation::stored(&schema.charset, &schema.collate)
            })
    }

    fn table(&self, target: &Target) -> Option<&TableRef> {
        self.view.table(&target.schema.original, &target.table.original)
    }
}

/// What `ddl` is to do. Clauses that are understood and change nothing leave a warning.
pub(crate) fn translate(
    ddl: &Ddl,
    ctx: &TranslateContext<'_>,
    warnings: &mut Warnings,
) -> Result<DdlStatement> {
    Ok(match ddl {
        Ddl::CreateDatabase {
            name,
            if_not_exists,
            options,
        } => {
            let collation = collation_said(options, ctx.server_collation)?;
            DdlStatement::CreateDatabase {
                name: Name::new(name),
                charset: collation.charset().name.into(),
                collate: collation.name().into(),
                if_not_exists: *if_not_exists,
            }
        }
        Ddl::AlterDatabase { name, options } => {
            let name = match name {
                Some(name) => name.as_str(),
                None => ctx.database.ok_or_else(Error::no_database_selected)?,
            };
            let collation = collation_said(options, ctx.collation_of(name))?;
            DdlStatement::AlterDatabase {
                name: Name::new(name),
                charset: collation.charset().name.into(),
                collate: collation.name().into(),
            }
        }
        Ddl::DropDatabase { name, if_exists } => DdlStatement::DropDatabase {
            name: Name::new(name),
            if_exists: *if_exists,
        },
        Ddl::CreateTable(create) => create_table(create, ctx, warnings)?,
        Ddl::DropTables {
            tables,
            if_exists,
            temporary,
        } => {
            if *temporary {
                return Err(Error::not_supported_yet("temporary tables"));
            }
            DdlStatement::DropTables {
                tables: tables.iter().map(|t| ctx.target(t)).collect::<Result<_>>()?,
                if_exists: *if_exists,
            }
        }
        Ddl::DropViews { views, if_exists } => {
            let names: Vec<String> = views
                .iter()
                .map(|v| ctx.target(v).map(|t| t.to_string()))
                .collect::<Result<_>>()?;
            // There are no views, so none of them exists.
            return Err(if *if_exists {
                Error::not_supported_yet("views")
            } else {
                Error::unknown_table_drop(names.join(","))
            });
        }
        Ddl::Truncate(table) => DdlStatement::TruncateTable {
            table: ctx.target(table)?,
        },
        Ddl::RenameTables(renames) => DdlStatement::RenameTables {
            renames: renames
                .iter()
                .map(|(from, to)| Ok((ctx.target(from)?, ctx.target(to)?)))
                .collect::<Result<_>>()?,
        },
        Ddl::AlterTable {
            table,
            actions,
            online,
        } => alter_table(table, actions, online, ctx, warnings)?,
        Ddl::CreateIndex { table, index, online } => {
            check_online(online, false)?;
            DdlStatement::AlterTable {
                table: ctx.target(table)?,
                actions: vec![Action::AddIndex(index_spec(index)?)],
            }
        }
        Ddl::DropIndex {
            table,
            name,
            if_exists,
            online,
        } => {
            check_online(online, true)?;
            let action = if name.eq_ignore_ascii_case("PRIMARY") {
                Action::DropPrimaryKey
            } else {
                Action::DropIndex {
                    name: Name::new(name),
                    if_exists: *if_exists,
                }
            };
            DdlStatement::AlterTable {
                table: ctx.target(table)?,
                actions: vec![action],
            }
        }
        Ddl::Unsupported(what) => return Err(Error::not_supported_yet(what)),
    })
}

/// ALGORITHM and LOCK promise things: what cannot be kept is refused, what can is accepted.
fn check_online(online: &OnlineOptions, metadata_only: bool) -> Result<()> {
    match online.algorithm.as_deref() {
        Some("COPY") => {
            return Err(Error::alter_not_supported_reason(
                "ALGORITHM=COPY",
                "Cannot alter table by COPY",
                "ALGORITHM=INPLACE",
            ));
        }
        Some("INSTANT") if !metadata_only => {
            return Err(Error::alter_not_supported_reason(
                "ALGORITHM=INSTANT",
                "Cannot alter table by INSTANT",
                "ALGORITHM=INPLACE",
            ));
        }
        _ => {}
    }
    match online.lock.as_deref() {
        Some(lock @ ("SHARED" | "EXCLUSIVE")) => {
            Err(Error::alter_not_supported(format!("LOCK={lock}"), "LOCK=NONE"))
        }
        _ => Ok(()),
    }
}

fn check_engine(options: &TableOptions, table: &str, warnings: &mut Warnings) {
    if let Some(engine) = &options.engine
        && !["InnoDB", "TiDB", "Ilmenite"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(engine))
    {
        // As NO_ENGINE_SUBSTITUTION off: there is one engine.
        warnings.warn(&Error::unknown_engine(engine));
        warnings.warn(&Error::other_engine("InnoDB", table));
    }
}

/// The public column of an existing table.
fn existing_column(ctx: &TranslateContext<'_>, target: &Target, name: &str) -> Option<ColumnInfo> {
    let lower = Name::new(name).lower;
    let mut columns = ctx.table(target)?.public_columns();
    columns.find(|column| column.name.lower == lower).cloned()
}

fn create_table(
    create: &CreateTable,
    ctx: &TranslateContext<'_>,
    warnings: &mut Warnings,
) -> Result<DdlStatement> {
    let target = ctx.target(&create.table)?;
    if create.temporary {
        return Err(Error::not_supported_yet("temporary tables"));
    }
    if let Some(like) = &create.like {
        return Ok(DdlStatement::CreateTableLike {
            table: target,
            like: ctx.target(like)?,
            if_not_exists: create.if_not_exists,
        });
    }
    if create.partitioned {
        return Err(Error::not_supported_yet("partitioned tables"));
    }
    if create.foreign_keys > 0 {
        return Err(Error::not_supported_yet("foreign keys"));
    }
    if create.checks > 0 {
        return Err(Error::not_supported_yet("CHECK constraints"));
    }
    check_engine(&create.options, &create.table.name, warnings);
    let options = &create.options;
    let collation = collation_said(&options.charset, ctx.collation_of(&target.schema.original))?;
    let column_ctx = ColumnContext {
        collation,
        dates: ctx.dates,
    };
    let mut columns = Vec::with_capacity(create.columns.len());
    let mut indexes = Vec::new();
    let mut clustered = None;
    for (offset, def) in create.columns.iter().enumerate() {
        let mut column = column_info(def, &column_ctx)?;
        column.offset = offset;
        columns.push(column);
        if let Some((index, said)) = column_key(def) {
            clustered = clustered.or(said);
            indexes.push(index);
        }
    }
    if columns.is_empty() {
        return Err(Error::table_must_have_columns());
    }
    for index in &create.indexes {
        clustered = clustered.or(index.clustered);
        indexes.push(index_spec(index)?);
    }
    let primary: Vec<&IndexSpec> = indexes.iter().filter(|i| i.primary).collect();
    if primary.len() > 1 {
        return Err(Error::multiple_primary_key());
    }
    if ctx.require_primary_key && primary.is_empty() {
        return Err(Error::table_without_primary_key());
    }
    if let (None, Some(primary)) = (clustered, primary.first()) {
        let single_integer = match &primary.columns[..] {
            [only] => columns
                .iter()
                .any(|c| c.name.lower == only.column.lower && c.field_type.is_integer()),
            _ => false,
        };
        clustered = match ctx.clustered_index {
            "OFF" => Some(false),
            "INT_ONLY" => Some(single_integer),
            _ => None,
        };
    }
    let table = TableInfo {
        id: 0,
        name: target.table.clone(),
        charset: collation.charset().name.into(),
        collate: collation.name().into(),
        columns,
        indexes: Vec::new(),
        state: SchemaState::None,
        pk_is_handle: false,
        is_common_handle: false,
        common_handle_version: 0,
        comment: options.comment.clone().unwrap_or_default(),
        auto_inc_id: options
            .auto_increment
            .map_or(0, |n| i64::try_from(n).unwrap_or(i64::MAX)),
        max_col_id: 0,
        max_idx_id: 0,
        update_ts: 0,
    };
    Ok(DdlStatement::CreateTable(Box::new(NewTable {
        schema: target.schema,
        table,
        indexes,
        clustered,
        if_not_exists: create.if_not_exists,
    })))
}

/// The key a column's own definition asks for, and CLUSTERED or NONCLUSTERED when said.
fn column_key(def: &ColumnDef) -> Option<(IndexSpec, Option<bool>)> {
    if !def.primary && !def.unique {
        return None;
    }
    let index = IndexSpec {
        name: None,
        columns: vec![IndexPart {
            column: Name::new(&def.name),
            length: None,
        }],
        unique: true,
        primary: def.primary,
        invisible: false,
        comment: String::new(),
        if_not_exists: false,
    };
    Some((index, def.clustered.filter(|_| def.primary)))
}

fn index_spec(def: &IndexDef) -> Result<IndexSpec> {
    match def.kind {
        IndexKind::Fulltext => return Err(Error::not_supported_yet("FULLTEXT indexes")),
        IndexKind::Spatial => return Err(Error::not_supported_yet("SPATIAL indexes")),
        _ => {}
    }
    if let Some(what) = def.unsupported {
        return Err(Error::not_supported_yet(what));
    }
    let mut columns: Vec<IndexPart> = Vec::with_capacity(def.parts.len());
    for part in &def.parts {
        match part {
            IndexPartDef::Column { name, length, .. } => {
                if *length == Some(0) {
                    return Err(Error::key_part_zero(name));
                }
                let column = Name::new(name);
                if columns.iter().any(|c| c.column.lower == column.lower) {
                    return Err(Error::duplicate_column(name));
                }
                let length = length.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                columns.push(IndexPart { column, length });
            }
            IndexPartDef::Expression(_) => {
                return Err(Error::not_supported_yet("indexes on expressions"));
            }
        }
    }
    Ok(IndexSpec {
        name: def.name.as_deref().map(Name::new),
        columns,
        unique: matches!(def.kind, IndexKind::Unique | IndexKind::Primary),
        primary: def.kind == IndexKind::Primary,
        invisible: def.invisible,
        comment: def.comment.clone(),
        if_not_exists: def.if_not_exists,
    })
}

fn position(position: &Option<ColumnPosition>) -> Option<Position> {
    position.as_ref().map(|p| match p {
        ColumnPosition::First => Position::First,
        ColumnPosition::After(name) => Position::After(Name::new(name)),
    })
}

fn alter_table(
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
    let mut out = Vec::new();
    for action in actions {
        one_action(action, &target, &column_ctx, ctx, warnings, &mut out)?;
    }
    Ok(DdlStatement::AlterTable {
        table: target,
        actions: out,
    })
}

fn one_action(
    action: &AlterAction,
    target: &Target,
    column_ctx: &ColumnContext,
    ctx: &TranslateContext<'_>,
    warnings: &mut Warnings,
    out: &mut Vec<Action>,
) -> Result<()> {
    match action {
        AlterAction::AddColumn {
            column,
            position: place,
            if_not_exists,
        } => {
            if column.auto_increment {
                return Err(Error::unsupported_ddl("add column with AUTO_INCREMENT"));
            }
            if column.primary {
                return Err(Error::unsupported_ddl("add column with PRIMARY KEY"));
            }
            let mut info = column_info(column, column_ctx)?;
            info.origin_default = origin_default(&info, ctx.now, ctx.time_zone, ctx.dates)?;
            out.push(Action::AddColumn {
                column: Box::new(info),
                position: position(place),
                if_not_exists: *if_not_exists,
            });
            if let Some((index, _)) = column_key(column) {
                out.push(Action::AddIndex(index));
            }
        }
        AlterAction::DropColumn { name, if_exists } => out.push(Action::DropColumn {
            name: Name::new(name),
            if_exists: *if_exists,
        }),
        AlterAction::ModifyColumn {
            name,
            column,
            position: place,
        } => {
            let mut info = column_info(column, column_ctx)?;
            // PRIMARY KEY here would add a key; NOT NULL from it alone is not meant.
            if column.primary {
                return Err(Error::unsupported_ddl("modify column with PRIMARY KEY"));
            }
            info.origin_default = None;
            out.push(Action::ModifyColumn {
                name: Name::new(name),
                column: Box::new(info),
                position: position(place),
            });
            if let Some((index, _)) = column_key(column) {
                out.push(Action::AddIndex(index));
            }
        }
        AlterAction::RenameColumn { from, to } => out.push(Action::RenameColumn {
            from: Name::new(from),
            to: Name::new(to),
        }),
        AlterAction::SetDefault { column, default } => {
            let existing = existing_column(ctx, target, column)
                .ok_or_else(|| Error::unknown_column(column, &target.table))?;
            let found = default_of(column, default, &existing.field_type, column_ctx)?;
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
            out.push(Action::SetDefault {
                column: Name::new(column),
                default,
                is_expr,
            });
        }
        AlterAction::DropDefault { column } => out.push(Action::DropDefault {
            column: Name::new(column),
        }),
        AlterAction::AddIndex(index) => out.push(Action::AddIndex(index_spec(index)?)),
        AlterAction::DropIndex { name, if_exists } => out.push(if name.eq_ignore_ascii_case("PRIMARY") {
            Action::DropPrimaryKey
        } else {
            Action::DropIndex {
                name: Name::new(name),
                if_exists: *if_exists,
            }
        }),
        AlterAction::DropPrimaryKey => out.push(Action::DropPrimaryKey),
        AlterAction::RenameIndex { from, to } => out.push(Action::RenameIndex {
            from: Name::new(from),
            to: Name::new(to),
        }),
        AlterAction::IndexVisibility { name, invisible } => out.push(Action::IndexVisibility {
            name: Name::new(name),
            invisible: *invisible,
        }),
        AlterAction::RenameTable(to) => {
            let mut to = to.clone();
            to.database.get_or_insert_with(|| target.schema.original.clone());
            out.push(Action::RenameTable(ctx.target(&to)?));
        }
        AlterAction::Options(options) => {
            check_engine(options, &target.table.original, warnings);
            if let Some(comment) = &options.comment {
                out.push(Action::Comment(comment.clone()));
            }
            if let Some(next) = options.auto_increment {
                out.push(Action::AutoIncrement(i64::try_from(next).unwrap_or(i64::MAX)));
            }
            if options.charset.charset.is_some() || options.charset.collate.is_some() {
                let collation = collation_said(&options.charset, column_ctx.collation)?;
                out.push(Action::Charset {
                    charset: collation.charset().name.into(),
                    collate: collation.name().into(),
                });
            }
        }
        AlterAction::ConvertCharset(options) => {
            let collation = collation_said(options, ctx.server_collation)?;
            // Without string columns of another kind there is nothing to convert.
            if collation != column_ctx.collation {
                return Err(Error::unsupported_ddl(format!(
                    "CONVERT TO CHARACTER SET {} COLLATE {collation}: it would need the rows to be rewritten",
                    collation.charset().name
                )));
            }
        }
        AlterAction::Nothing => {}
        AlterAction::Unsupported(what) => return Err(Error::not_supported_yet(what)),
    }
    Ok(())
}
