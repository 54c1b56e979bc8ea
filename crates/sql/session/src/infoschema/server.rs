//! What the server is and who uses it: ENGINES, CHARACTER_SETS, COLLATIONS, PLUGINS, PROCESSLIST, privileges, KEYWORDS.

use ilmenite_types::{Charset, Collation, Datum};

use super::define::{Definition, Source, maybe_text, yes_no};
use super::keywords::OTHER;
use crate::account::Account;
use crate::context::SessionContext;
use crate::privilege::PrivilegeSet;
use crate::quote::grantee;
use ilmenite_error::Result;
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;
use ilmenite_parser::reserved_words;
use ilmenite_planner::Privilege;

pub(super) const TABLES: &[Definition] = &[
    Definition {
        schema: "information_schema",
        name: "ENGINES",
        columns: "
            ENGINE varchar(64) not null
            SUPPORT varchar(8) not null
            COMMENT varchar(80) not null
            TRANSACTIONS varchar(3)
            XA varchar(3)
            SAVEPOINTS varchar(3)",
        source: Source::Memory(engines),
    },
    Definition {
        schema: "information_schema",
        name: "CHARACTER_SETS",
        columns: "
            CHARACTER_SET_NAME varchar(64) not null
            DEFAULT_COLLATE_NAME varchar(64) not null
            DESCRIPTION varchar(2048) not null
            MAXLEN int unsigned not null",
        source: Source::Memory(character_sets),
    },
    Definition {
        schema: "information_schema",
        name: "COLLATIONS",
        columns: "
            COLLATION_NAME varchar(64) not null
            CHARACTER_SET_NAME varchar(64) not null
            ID bigint unsigned not null
            IS_DEFAULT varchar(3) not null
            IS_COMPILED varchar(3) not null
            SORTLEN int unsigned not null
            PAD_ATTRIBUTE enum('PAD SPACE','NO PAD') not null",
        source: Source::Memory(collations),
    },
    Definition {
        schema: "information_schema",
        name: "COLLATION_CHARACTER_SET_APPLICABILITY",
        columns: "
            COLLATION_NAME varchar(64) not null
            CHARACTER_SET_NAME varchar(64) not null",
        source: Source::Memory(applicability),
    },
    Definition {
        schema: "information_schema",
        name: "KEYWORDS",
        columns: "
            WORD varchar(128)
            RESERVED int",
        source: Source::Memory(keywords),
    },
    Definition {
        schema: "information_schema",
        name: "PLUGINS",
        columns: "
            PLUGIN_NAME varchar(64) not null
            PLUGIN_VERSION varchar(20) not null
            PLUGIN_STATUS varchar(10) not null
            PLUGIN_TYPE varchar(80) not null
            PLUGIN_TYPE_VERSION varchar(20) not null
            PLUGIN_LIBRARY varchar(64)
            PLUGIN_LIBRARY_VERSION varchar(20)
            PLUGIN_AUTHOR varchar(64)
            PLUGIN_DESCRIPTION longtext
            PLUGIN_LICENSE varchar(80)
            LOAD_OPTION varchar(64) not null",
        source: Source::Memory(plugins),
    },
    Definition {
        schema: "information_schema",
        name: "PROCESSLIST",
        columns: "
            ID bigint unsigned not null
            USER varchar(32) not null
            HOST varchar(261) not null
            DB varchar(64)
            COMMAND varchar(16) not null
            TIME int not null
            STATE varchar(64)
            INFO varchar(65535)",
        source: Source::Memory(process_list),
    },
    Definition {
        schema: "performance_schema",
        name: "processlist",
        columns: "
            ID bigint unsigned not null
            USER varchar(32)
            HOST varchar(255)
            DB varchar(64)
            COMMAND varchar(16)
            TIME bigint
            STATE varchar(64)
            INFO longtext",
        source: Source::Memory(process_list),
    },
    Definition {
        schema: "information_schema",
        name: "USER_PRIVILEGES",
        columns: "
            GRANTEE varchar(292) not null
            TABLE_CATALOG varchar(512) not null
            PRIVILEGE_TYPE varchar(64) not null
            IS_GRANTABLE varchar(3) not null",
        source: Source::Memory(user_privileges),
    },
    Definition {
        schema: "information_schema",
        name: "SCHEMA_PRIVILEGES",
        columns: "
            GRANTEE varchar(292) not null
            TABLE_CATALOG varchar(512) not null
            TABLE_SCHEMA varchar(64) not null
            PRIVILEGE_TYPE varchar(64) not null
            IS_GRANTABLE varchar(3) not null",
        source: Source::Memory(schema_privileges),
    },
    Definition {
        schema: "information_schema",
        name: "TABLE_PRIVILEGES",
        columns: "
            GRANTEE varchar(292) not null
            TABLE_CATALOG varchar(512) not null
            TABLE_SCHEMA varchar(64) not null
            TABLE_NAME varchar(64) not null
            PRIVILEGE_TYPE varchar(64) not null
            IS_GRANTABLE varchar(3) not null",
        source: Source::Memory(table_privileges),
    },
];

/// What SHOW PRIVILEGES says of each: name, context, comment.
pub(crate) const PRIVILEGES: &[(&str, &str, &str)] = &[
    ("Alter", "Tables", "To alter the table"),
    (
        "Alter routine",
        "Functions,Procedures",
        "To alter or drop stored functions/procedures",
    ),
    (
        "Config",
        "Server Admin",
        "To use SHOW CONFIG and SET CONFIG statements",
    ),
    (
        "Create",
        "Databases,Tables,Indexes",
        "To create new databases and tables",
    ),
    ("Create routine", "Databases", "To use CREATE FUNCTION/PROCEDURE"),
    ("Create role", "Server Admin", "To create new roles"),
    (
        "Create temporary tables",
        "Databases",
        "To use CREATE TEMPORARY TABLE",
    ),
    ("Create view", "Tables", "To create new views"),
    ("Create user", "Server Admin", "To create new users"),
    ("Delete", "Tables", "To delete existing rows"),
    ("Drop", "Databases,Tables", "To drop databases, tables, and views"),
    ("Drop role", "Server Admin", "To drop roles"),
    (
        "Event",
        "Server Admin",
        "To create, alter, drop and execute events",
    ),
    ("Execute", "Functions,Procedures", "To execute stored routines"),
    (
        "File",
        "File access on server",
        "To read and write files on the server",
    ),
    (
        "Grant option",
        "Databases,Tables,Functions,Procedures",
        "To give to other users those privileges you possess",
    ),
    ("Index", "Tables", "To create or drop indexes"),
    ("Insert", "Tables", "To insert data into tables"),
    (
        "Lock tables",
        "Databases",
        "To use LOCK TABLES (together with SELECT privilege)",
    ),
    (
        "Process",
        "Server Admin",
        "To view the plain text of currently executing queries",
    ),
    ("References", "Databases,Tables", "To have references on tables"),
    (
        "Reload",
        "Server Admin",
        "To reload or refresh tables, logs and privileges",
    ),
    (
        "Replication client",
        "Server Admin",
        "To ask where the slave or master servers are",
    ),
    (
        "Replication slave",
        "Server Admin",
        "To read binary log events from the master",
    ),
    ("Select", "Tables", "To retrieve rows from table"),
    (
        "Show databases",
        "Server Admin",
        "To see all databases with SHOW DATABASES",
    ),
    ("Show view", "Tables", "To see views with SHOW CREATE VIEW"),
    ("Shutdown", "Server Admin", "To shut down the server"),
    (
        "Super",
        "Server Admin",
        "To use KILL thread, SET GLOBAL, CHANGE MASTER, etc.",
    ),
    ("Trigger", "Tables", "To use triggers"),
    (
        "Create tablespace",
        "Server Admin",
        "To create/alter/drop tablespaces",
    ),
    ("Update", "Tables", "To update existing rows"),
    ("Usage", "Server Admin", "No privileges - allow connect only"),
];

fn engines(_: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let comment = "Supports transactions, row-level locking and online schema changes";
    let row = ["InnoDB", "DEFAULT", comment, "YES", "NO", "YES"];
    Ok(vec![row.into_iter().map(Datum::text).collect()])
}

fn character_sets(_: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let rows = Charset::all().map(|charset| {
        vec![
            Datum::text(charset.name),
            Datum::text(charset.default_collation().name()),
            Datum::text(charset.description),
            Datum::UInt(charset.max_len.into()),
        ]
    });
    Ok(rows.collect())
}

fn collations(_: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let rows = Collation::all().map(|collation| {
        vec![
            Datum::text(collation.name()),
            Datum::text(collation.charset().name),
            Datum::UInt(collation.id().into()),
            Datum::text(if collation.is_default() { "Yes" } else { "" }),
            Datum::text("Yes"),
            Datum::UInt(collation.sort_len().into()),
            Datum::text(if collation.is_pad_space() {
                "PAD SPACE"
            } else {
                "NO PAD"
            }),
        ]
    });
    Ok(rows.collect())
}

fn applicability(_: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let rows = Collation::all().map(|collation| {
        vec![
            Datum::text(collation.name()),
            Datum::text(collation.charset().name),
        ]
    });
    Ok(rows.collect())
}

fn keywords(_: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let mut words: Vec<(&str, i64)> = reserved_words().iter().map(|word| (*word, 1)).collect();
    words.extend(OTHER.split_whitespace().map(|word| (word, 0)));
    words.sort_unstable();
    let rows = words.into_iter();
    Ok(rows
        .map(|(word, reserved)| vec![Datum::text(word), Datum::Int(reserved)])
        .collect())
}

fn plugins(_: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let all = [
        (
            crate::account::NATIVE,
            "AUTHENTICATION",
            "Native MySQL authentication",
        ),
        (
            crate::account::CACHING_SHA2,
            "AUTHENTICATION",
            "Caching sha2 authentication",
        ),
        (
            "InnoDB",
            "STORAGE ENGINE",
            "Supports transactions and row-level locking",
        ),
    ];
    let rows = all.into_iter().map(|(name, kind, description)| {
        vec![
            Datum::text(name),
            Datum::text("1.0"),
            Datum::text("ACTIVE"),
            Datum::text(kind),
            Datum::text("1.0"),
            Datum::Null,
            Datum::Null,
            Datum::text("Ilmenite"),
            Datum::text(description),
            Datum::text("Apache-2.0"),
            Datum::text("FORCE"),
        ]
    });
    Ok(rows.collect())
}

/// All sessions of this node for who has PROCESS, else the user's own.
fn process_list(ctx: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let sees_all = ctx.privileges.grants.has(Privilege::Process, "", "");
    let mut rows = Vec::new();
    for session in ctx.engine.sessions() {
        let process = session.process();
        if !sees_all && process.user != ctx.user {
            continue;
        }
        let running = process.statement.is_some();
        rows.push(vec![
            Datum::UInt(process.id),
            Datum::text(process.user),
            Datum::text(process.host),
            maybe_text(process.database),
            Datum::text(process.command),
            Datum::Int(i64::try_from(process.seconds).unwrap_or(i64::MAX)),
            Datum::text(if running { "executing" } else { "" }),
            maybe_text(process.statement.as_deref()),
        ]);
    }
    Ok(rows)
}

/// The accounts whose grants the user may see: all for who may read `mysql.user`, else the user's own.
fn accounts(ctx: &SessionContext) -> Vec<Account> {
    let own = &ctx.privileges;
    let sees_all = own.grants.has(Privilege::Select, "mysql", "user");
    let accounts = ctx.engine.accounts();
    let seen =
        |account: &&Account| sees_all || (account.user == own.user && account.host == own.account_host);
    accounts.iter().filter(seen).cloned().collect()
}

/// One row a privilege, `USAGE` when there is none.
fn privilege_rows(rows: &mut Vec<Row>, account: &Account, set: PrivilegeSet, object: &[&str]) {
    let grantable = set.has(Privilege::GrantOption);
    let mut names: Vec<&str> = set
        .iter()
        .filter(|p| *p != Privilege::GrantOption)
        .map(Privilege::as_str)
        .collect();
    if names.is_empty() {
        names.push("USAGE");
    }
    for name in names {
        let mut row = vec![
            Datum::text(grantee(&account.user, &account.host)),
            Datum::text("def"),
        ];
        row.extend(object.iter().map(|part| Datum::text(*part)));
        row.extend([Datum::text(name), yes_no(grantable)]);
        rows.push(row);
    }
}

fn user_privileges(ctx: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for account in accounts(ctx) {
        privilege_rows(&mut rows, &account, account.grants.global, &[]);
    }
    Ok(rows)
}

fn schema_privileges(ctx: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for account in accounts(ctx) {
        for (database, set) in &account.grants.databases {
            privilege_rows(&mut rows, &account, *set, &[database]);
        }
    }
    Ok(rows)
}

fn table_privileges(ctx: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for account in accounts(ctx) {
        for (database, tables) in &account.grants.tables {
            for (table, set) in tables {
                privilege_rows(&mut rows, &account, *set, &[database, table]);
            }
        }
    }
    Ok(rows)
}
