//! SHOW and DESCRIBE. Most are a look at a virtual table with its columns under other names; the rest makes text.

mod account;
mod create;
mod diagnostics;
mod regions;
#[cfg(test)]
mod tests;

use ilmenite_types::{Datum, FieldType, TypeCode};
use sqlparser::ast as sql;

use crate::context::SessionContext;
use crate::infoschema::{self, PRIVILEGES, column_type, find_table, table_entries};
use crate::rowset::RowSet;
use ilmenite_error::{Error, Result};
use ilmenite_executor::VirtualFilter;
use ilmenite_executor::{ResultSink, StatementOutcome};
use ilmenite_parser::{EmptyShow, Show, ShowFilter, ShowWhat, TableName};
use ilmenite_planner::ResultColumn;
use ilmenite_planner::{VirtualTable, virtual_schema};

/// How much of a statement SHOW PROCESSLIST prints without FULL.
const SHORT_INFO_CHARS: usize = 100;

/// Runs a SHOW. The session's warnings stay as they are.
pub(crate) async fn run(
    ctx: &mut SessionContext,
    show: &Show,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let mut found = rows(ctx, show).await?;
    match &show.filter {
        Some(ShowFilter::Where(condition)) => found.filter(ctx, condition)?,
        Some(ShowFilter::Like(pattern)) => like(ctx, &mut found, pattern)?,
        None => {}
    }
    found.send(sink).await
}

async fn rows(ctx: &SessionContext, show: &Show) -> Result<RowSet> {
    match &show.what {
        ShowWhat::Databases => {
            let shown = with_pattern("Database", show);
            let all = VirtualFilter::default();
            let mut found =
                project(ctx, INFORMATION, "SCHEMATA", &all, &[("SCHEMA_NAME", "Database")]).await?;
            found.columns[0].name = shown;
            Ok(found)
        }
        ShowWhat::Tables { database, full } => tables(ctx, database.as_deref(), *full, show),
        ShowWhat::TableStatus { database } => {
            let of = VirtualFilter::equal("TABLE_SCHEMA", &database_of(ctx, database.as_deref())?);
            project(ctx, INFORMATION, "TABLES", &of, TABLE_STATUS).await
        }
        ShowWhat::OpenTables { database } => {
            if database.is_some() {
                database_of(ctx, database.as_deref())?;
            }
            Ok(RowSet::new(columns(OPEN_TABLES)))
        }
        ShowWhat::Columns { table, full, column } => {
            table_columns(ctx, table, *full, column.as_deref()).await
        }
        ShowWhat::Indexes { table } => {
            let of = filter_of(ctx, table)?;
            project(ctx, INFORMATION, "STATISTICS", &of, INDEXES).await
        }
        ShowWhat::CreateTable(table) => create::table(ctx, table).await,
        ShowWhat::CreateView(table) => {
            let found = find_table(ctx, table)?;
            let name = format!("{}.{}", found.schema(), found.name());
            Err(Error::wrong_object(name, "VIEW"))
        }
        ShowWhat::CreateDatabase { name, if_not_exists } => create::database(ctx, name, *if_not_exists),
        ShowWhat::CreateUser(name) => account::create_user(ctx, name),
        ShowWhat::Grants(name) => account::grants(ctx, name.as_ref()),
        ShowWhat::Variables { global } => {
            let table = if *global {
                "global_variables"
            } else {
                "session_variables"
            };
            project(ctx, PERFORMANCE, table, &VirtualFilter::default(), VARIABLE).await
        }
        ShowWhat::Status { global } => {
            let table = if *global {
                "global_status"
            } else {
                "session_status"
            };
            project(ctx, PERFORMANCE, table, &VirtualFilter::default(), VARIABLE).await
        }
        ShowWhat::Warnings { errors_only, limit } => Ok(diagnostics::warnings(ctx, *errors_only, *limit)),
        ShowWhat::WarningCount { errors_only } => Ok(diagnostics::count(ctx, *errors_only)),
        ShowWhat::ProcessList { full } => process_list(ctx, *full).await,
        ShowWhat::Engines => whole(ctx, "ENGINES", ENGINES).await,
        ShowWhat::Charset => whole(ctx, "CHARACTER_SETS", CHARSETS).await,
        ShowWhat::Collation => whole(ctx, "COLLATIONS", COLLATIONS).await,
        ShowWhat::Plugins => whole(ctx, "PLUGINS", PLUGINS).await,
        ShowWhat::Privileges => Ok(privileges()),
        ShowWhat::Regions { table, index } => regions::rows(ctx, table, index.as_deref()).await,
        ShowWhat::Empty(what) => empty(ctx, *what).await,
    }
}

const INFORMATION: &str = "information_schema";
const PERFORMANCE: &str = "performance_schema";

/// A virtual table's column, and what SHOW calls it.
type Pick = (&'static str, &'static str);

/// The rows of a virtual table that `filter` admits, some of its columns, under other names.
async fn project(
    ctx: &SessionContext,
    schema: &str,
    table: &str,
    filter: &VirtualFilter,
    picks: &[Pick],
) -> Result<RowSet> {
    let source = infoschema::resolve(schema, table)
        .ok_or_else(|| Error::bug(format!("no virtual table {schema}.{table}")))?;
    let mut places = Vec::with_capacity(picks.len());
    let mut shown = Vec::with_capacity(picks.len());
    for (name, as_name) in picks {
        let at = source.columns().iter().position(|c| c.name == *name);
        let at = at.ok_or_else(|| Error::bug(format!("{schema}.{table} has no column {name}")))?;
        places.push(at);
        shown.push(ResultColumn {
            name: (*as_name).into(),
            original_name: (*name).into(),
            table: table.into(),
            original_table: table.into(),
            schema: schema.into(),
            field_type: source.columns()[at].field_type.clone(),
        });
    }
    let mut found = RowSet::new(shown);
    let rows = source.rows(ctx, filter).await?.into_iter();
    found.rows = rows
        .map(|row| places.iter().map(|at| row[*at].clone()).collect())
        .collect();
    Ok(found)
}

async fn whole(ctx: &SessionContext, table: &str, picks: &[Pick]) -> Result<RowSet> {
    project(ctx, INFORMATION, table, &VirtualFilter::default(), picks).await
}

/// Columns of no table: names and types.
fn columns(list: &[(&str, &str)]) -> Vec<ResultColumn> {
    list.iter()
        .map(|(name, spec)| {
            let unknown = || FieldType::new(TypeCode::Blob);
            ResultColumn::computed(*name, column_type(spec).unwrap_or_else(unknown))
        })
        .collect()
}

/// LIKE looks at the first column, without regard to case.
fn like(ctx: &SessionContext, found: &mut RowSet, pattern: &str) -> Result<()> {
    let Some(first) = found.columns.first() else {
        return Ok(());
    };
    let pattern = sql::Value::SingleQuotedString(pattern.into());
    let condition = sql::Expr::Like {
        negated: false,
        any: false,
        expr: Box::new(sql::Expr::Identifier(sql::Ident::new(&first.name))),
        pattern: Box::new(sql::Expr::Value(pattern.into())),
        escape_char: None,
    };
    found.filter(ctx, &condition)
}

/// `Tables_in_d`, with LIKE `Tables_in_d (pattern)`.
fn with_pattern(name: &str, show: &Show) -> String {
    match &show.filter {
        Some(ShowFilter::Like(pattern)) => format!("{name} ({pattern})"),
        _ => name.into(),
    }
}

/// The database named, or the current one; 1049 and 1044 as the case may be.
fn database_of(ctx: &SessionContext, name: Option<&str>) -> Result<String> {
    let name = match name {
        Some(name) => name,
        None => ctx.current_database()?,
    };
    let view = ctx.engine.catalog.view();
    let found = match view.schema(name) {
        Some(schema) => schema.name.original.clone(),
        None if virtual_schema(name).is_some() => name.to_lowercase(),
        None => return Err(Error::unknown_database(name)),
    };
    let open = virtual_schema(&found).is_some() && found != "mysql";
    if open || ctx.privileges.grants.sees_database(&found) {
        return Ok(found);
    }
    let user = &ctx.privileges;
    Err(Error::db_access_denied(&user.user, &user.host, found))
}

fn tables(ctx: &SessionContext, database: Option<&str>, full: bool, show: &Show) -> Result<RowSet> {
    let database = database_of(ctx, database)?;
    let name = with_pattern(&format!("Tables_in_{database}"), show);
    let mut list = vec![(name.as_str(), "varchar(64) not null")];
    if full {
        list.push(("Table_type", "enum('BASE TABLE','VIEW','SYSTEM VIEW') not null"));
    }
    let mut found = RowSet::new(columns(&list));
    let filter = VirtualFilter::equal("TABLE_SCHEMA", &database);
    for table in table_entries(ctx, &filter, "TABLE_SCHEMA", "TABLE_NAME") {
        let mut row = vec![Datum::text(table.name())];
        if full {
            row.push(Datum::Enum(if table.kind() == "SYSTEM VIEW" { 3 } else { 1 }));
        }
        found.rows.push(row);
    }
    Ok(found)
}

/// For the rows of one table, which is there and may be seen.
fn filter_of(ctx: &SessionContext, table: &TableName) -> Result<VirtualFilter> {
    let found = find_table(ctx, table)?;
    Ok(VirtualFilter::equal("TABLE_SCHEMA", found.schema()).and("TABLE_NAME", found.name()))
}

async fn table_columns(
    ctx: &SessionContext,
    table: &TableName,
    full: bool,
    column: Option<&str>,
) -> Result<RowSet> {
    let of = filter_of(ctx, table)?;
    let picks = if full { FULL_COLUMNS } else { COLUMNS };
    let mut found = project(ctx, INFORMATION, "COLUMNS", &of, picks).await?;
    if let Some(pattern) = column {
        like(ctx, &mut found, pattern)?;
    }
    Ok(found)
}

async fn process_list(ctx: &SessionContext, full: bool) -> Result<RowSet> {
    let mut found = whole(ctx, "PROCESSLIST", PROCESSES).await?;
    if !full {
        for row in &mut found.rows {
            if let Some(Datum::Bytes(info)) = row.last_mut() {
                let text = String::from_utf8_lossy(info);
                let short: String = text.chars().take(SHORT_INFO_CHARS).collect();
                *info = short.into_bytes().into();
            }
        }
    }
    Ok(found)
}

fn privileges() -> RowSet {
    let mut found = RowSet::new(columns(&[
        ("Privilege", "varchar(64)"),
        ("Context", "varchar(64)"),
        ("Comment", "varchar(256)"),
    ]));
    found.rows = PRIVILEGES
        .iter()
        .map(|(name, context, comment)| [*name, *context, *comment].into_iter().map(Datum::text).collect())
        .collect();
    found
}

async fn empty(ctx: &SessionContext, what: EmptyShow) -> Result<RowSet> {
    let list = match what {
        EmptyShow::Triggers => return whole(ctx, "TRIGGERS", TRIGGERS).await,
        EmptyShow::Events => return whole(ctx, "EVENTS", EVENTS).await,
        EmptyShow::ProcedureStatus | EmptyShow::FunctionStatus => {
            return whole(ctx, "ROUTINES", ROUTINES).await;
        }
        EmptyShow::BinaryLogs => BINARY_LOGS,
        EmptyShow::BinaryLogStatus => BINARY_LOG_STATUS,
        EmptyShow::ReplicaStatus => REPLICA_STATUS,
        EmptyShow::Replicas => REPLICAS,
        EmptyShow::Profiles => PROFILES,
        EmptyShow::Profile => PROFILE,
    };
    Ok(RowSet::new(columns(list)))
}

const VARIABLE: &[Pick] = &[("VARIABLE_NAME", "Variable_name"), ("VARIABLE_VALUE", "Value")];

const TABLE_STATUS: &[Pick] = &[
    ("TABLE_NAME", "Name"),
    ("ENGINE", "Engine"),
    ("VERSION", "Version"),
    ("ROW_FORMAT", "Row_format"),
    ("TABLE_ROWS", "Rows"),
    ("AVG_ROW_LENGTH", "Avg_row_length"),
    ("DATA_LENGTH", "Data_length"),
    ("MAX_DATA_LENGTH", "Max_data_length"),
    ("INDEX_LENGTH", "Index_length"),
    ("DATA_FREE", "Data_free"),
    ("AUTO_INCREMENT", "Auto_increment"),
    ("CREATE_TIME", "Create_time"),
    ("UPDATE_TIME", "Update_time"),
    ("CHECK_TIME", "Check_time"),
    ("TABLE_COLLATION", "Collation"),
    ("CHECKSUM", "Checksum"),
    ("CREATE_OPTIONS", "Create_options"),
    ("TABLE_COMMENT", "Comment"),
];

const COLUMNS: &[Pick] = &[
    ("COLUMN_NAME", "Field"),
    ("COLUMN_TYPE", "Type"),
    ("IS_NULLABLE", "Null"),
    ("COLUMN_KEY", "Key"),
    ("COLUMN_DEFAULT", "Default"),
    ("EXTRA", "Extra"),
];

const FULL_COLUMNS: &[Pick] = &[
    ("COLUMN_NAME", "Field"),
    ("COLUMN_TYPE", "Type"),
    ("COLLATION_NAME", "Collation"),
    ("IS_NULLABLE", "Null"),
    ("COLUMN_KEY", "Key"),
    ("COLUMN_DEFAULT", "Default"),
    ("EXTRA", "Extra"),
    ("PRIVILEGES", "Privileges"),
    ("COLUMN_COMMENT", "Comment"),
];

const INDEXES: &[Pick] = &[
    ("TABLE_NAME", "Table"),
    ("NON_UNIQUE", "Non_unique"),
    ("INDEX_NAME", "Key_name"),
    ("SEQ_IN_INDEX", "Seq_in_index"),
    ("COLUMN_NAME", "Column_name"),
    ("COLLATION", "Collation"),
    ("CARDINALITY", "Cardinality"),
    ("SUB_PART", "Sub_part"),
    ("PACKED", "Packed"),
    ("NULLABLE", "Null"),
    ("INDEX_TYPE", "Index_type"),
    ("COMMENT", "Comment"),
    ("INDEX_COMMENT", "Index_comment"),
    ("IS_VISIBLE", "Visible"),
    ("EXPRESSION", "Expression"),
];

const PROCESSES: &[Pick] = &[
    ("ID", "Id"),
    ("USER", "User"),
    ("HOST", "Host"),
    ("DB", "db"),
    ("COMMAND", "Command"),
    ("TIME", "Time"),
    ("STATE", "State"),
    ("INFO", "Info"),
];

const ENGINES: &[Pick] = &[
    ("ENGINE", "Engine"),
    ("SUPPORT", "Support"),
    ("COMMENT", "Comment"),
    ("TRANSACTIONS", "Transactions"),
    ("XA", "XA"),
    ("SAVEPOINTS", "Savepoints"),
];

const CHARSETS: &[Pick] = &[
    ("CHARACTER_SET_NAME", "Charset"),
    ("DESCRIPTION", "Description"),
    ("DEFAULT_COLLATE_NAME", "Default collation"),
    ("MAXLEN", "Maxlen"),
];

const COLLATIONS: &[Pick] = &[
    ("COLLATION_NAME", "Collation"),
    ("CHARACTER_SET_NAME", "Charset"),
    ("ID", "Id"),
    ("IS_DEFAULT", "Default"),
    ("IS_COMPILED", "Compiled"),
    ("SORTLEN", "Sortlen"),
    ("PAD_ATTRIBUTE", "Pad_attribute"),
];

const PLUGINS: &[Pick] = &[
    ("PLUGIN_NAME", "Name"),
    ("PLUGIN_STATUS", "Status"),
    ("PLUGIN_TYPE", "Type"),
    ("PLUGIN_LIBRARY", "Library"),
    ("PLUGIN_LICENSE", "License"),
];

const TRIGGERS: &[Pick] = &[
    ("TRIGGER_NAME", "Trigger"),
    ("EVENT_MANIPULATION", "Event"),
    ("EVENT_OBJECT_TABLE", "Table"),
    ("ACTION_STATEMENT", "Statement"),
    ("ACTION_TIMING", "Timing"),
    ("CREATED", "Created"),
    ("SQL_MODE", "sql_mode"),
    ("DEFINER", "Definer"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];

const EVENTS: &[Pick] = &[
    ("EVENT_SCHEMA", "Db"),
    ("EVENT_NAME", "Name"),
    ("DEFINER", "Definer"),
    ("TIME_ZONE", "Time zone"),
    ("EVENT_TYPE", "Type"),
    ("EXECUTE_AT", "Execute at"),
    ("INTERVAL_VALUE", "Interval value"),
    ("INTERVAL_FIELD", "Interval field"),
    ("STARTS", "Starts"),
    ("ENDS", "Ends"),
    ("STATUS", "Status"),
    ("ORIGINATOR", "Originator"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];

const ROUTINES: &[Pick] = &[
    ("ROUTINE_SCHEMA", "Db"),
    ("ROUTINE_NAME", "Name"),
    ("ROUTINE_TYPE", "Type"),
    ("DEFINER", "Definer"),
    ("LAST_ALTERED", "Modified"),
    ("CREATED", "Created"),
    ("SECURITY_TYPE", "Security_type"),
    ("ROUTINE_COMMENT", "Comment"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];

const OPEN_TABLES: &[(&str, &str)] = &[
    ("Database", "varchar(64)"),
    ("Table", "varchar(64)"),
    ("In_use", "int"),
    ("Name_locked", "int"),
];

const BINARY_LOGS: &[(&str, &str)] = &[
    ("Log_name", "varchar(255)"),
    ("File_size", "bigint"),
    ("Encrypted", "varchar(3)"),
];

const BINARY_LOG_STATUS: &[(&str, &str)] = &[
    ("File", "varchar(255)"),
    ("Position", "bigint"),
    ("Binlog_Do_DB", "varchar(255)"),
    ("Binlog_Ignore_DB", "varchar(255)"),
    ("Executed_Gtid_Set", "varchar(255)"),
];

const REPLICA_STATUS: &[(&str, &str)] = &[
    ("Replica_IO_State", "varchar(255)"),
    ("Source_Host", "varchar(255)"),
    ("Source_User", "varchar(96)"),
    ("Source_Port", "int"),
    ("Source_Log_File", "varchar(255)"),
    ("Read_Source_Log_Pos", "bigint"),
    ("Relay_Log_File", "varchar(255)"),
    ("Relay_Log_Pos", "bigint"),
    ("Replica_IO_Running", "varchar(3)"),
    ("Replica_SQL_Running", "varchar(3)"),
    ("Last_Errno", "int"),
    ("Last_Error", "varchar(1024)"),
    ("Exec_Source_Log_Pos", "bigint"),
    ("Seconds_Behind_Source", "bigint"),
    ("Last_IO_Errno", "int"),
    ("Last_IO_Error", "varchar(1024)"),
    ("Last_SQL_Errno", "int"),
    ("Last_SQL_Error", "varchar(1024)"),
    ("Source_Server_Id", "bigint"),
    ("Source_UUID", "varchar(36)"),
    ("Replica_SQL_Running_State", "varchar(255)"),
    ("Retrieved_Gtid_Set", "text"),
    ("Executed_Gtid_Set", "text"),
    ("Auto_Position", "int"),
    ("Channel_Name", "varchar(64)"),
];

const REPLICAS: &[(&str, &str)] = &[
    ("Server_Id", "bigint"),
    ("Host", "varchar(255)"),
    ("Port", "int"),
    ("Source_Id", "bigint"),
    ("Replica_UUID", "varchar(36)"),
];

const PROFILES: &[(&str, &str)] = &[
    ("Query_ID", "bigint"),
    ("Duration", "double"),
    ("Query", "varchar(300)"),
];

const PROFILE: &[(&str, &str)] = &[("Status", "varchar(30)"), ("Duration", "decimal(9,6)")];
