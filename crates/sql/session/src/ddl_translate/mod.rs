//! Schema changes: from the statement as parsed to what `ddl` is asked for, with the checks that need no table.

mod alter;
mod column;
mod create;
mod field_type;
mod index;
mod run;
#[cfg(test)]
mod tests;

use ilmenite_catalog::{Name, SchemaView, TableRef};
use ilmenite_ddl::{AlterAction as Action, DdlStatement, TableName as Target};
use ilmenite_types::{Collation, DateFlags};
use jiff::tz::TimeZone;

use crate::context::Warnings;
use ilmenite_error::{Error, Result};
use ilmenite_parser::{CharsetOptions, Ddl, OnlineOptions, TableName, TableOptions};
pub(crate) use run::run;

use alter::{alter_table, drop_index};
use create::create_table;
use field_type::collation_said;
use index::index_spec;

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
        Ddl::AlterDatabase { name, options } => alter_database(name.as_deref(), options, ctx)?,
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
            return Err(drop_views(views, *if_exists, ctx)?);
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
            DdlStatement::AlterTable {
                table: ctx.target(table)?,
                actions: vec![drop_index(name, *if_exists)],
            }
        }
        Ddl::Unsupported(what) => return Err(Error::not_supported_yet(what)),
    })
}

fn alter_database(
    name: Option<&str>,
    options: &CharsetOptions,
    ctx: &TranslateContext<'_>,
) -> Result<DdlStatement> {
    let name = match name {
        Some(name) => name,
        None => ctx.database.ok_or_else(Error::no_database_selected)?,
    };
    let collation = collation_said(options, ctx.collation_of(name))?;
    Ok(DdlStatement::AlterDatabase {
        name: Name::new(name),
        charset: collation.charset().name.into(),
        collate: collation.name().into(),
    })
}

/// There are no views, so none of them exists: the error that says so.
fn drop_views(views: &[TableName], if_exists: bool, ctx: &TranslateContext<'_>) -> Result<Error> {
    if if_exists {
        return Ok(Error::not_supported_yet("views"));
    }
    let names: Vec<String> = views
        .iter()
        .map(|v| ctx.target(v).map(|t| t.to_string()))
        .collect::<Result<_>>()?;
    Ok(Error::unknown_table_drop(names.join(",")))
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
