//! The tables of schema `mysql` that clients look at. Reading them takes a SELECT grant.

use ilmenite_types::Datum;

use super::define::{Definition, Source};
use crate::context::SessionContext;
use crate::privilege::PrivilegeSet;
use ilmenite_error::Result;
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;
use ilmenite_planner::Privilege;

pub(super) const TABLES: &[Definition] = &[
    Definition {
        schema: "mysql",
        name: "user",
        columns: "
            Host char(255) not null
            User char(32) not null
            Select_priv enum('N','Y') not null
            Insert_priv enum('N','Y') not null
            Update_priv enum('N','Y') not null
            Delete_priv enum('N','Y') not null
            Create_priv enum('N','Y') not null
            Drop_priv enum('N','Y') not null
            Reload_priv enum('N','Y') not null
            Shutdown_priv enum('N','Y') not null
            Process_priv enum('N','Y') not null
            File_priv enum('N','Y') not null
            Grant_priv enum('N','Y') not null
            References_priv enum('N','Y') not null
            Index_priv enum('N','Y') not null
            Alter_priv enum('N','Y') not null
            Show_db_priv enum('N','Y') not null
            Super_priv enum('N','Y') not null
            Create_tmp_table_priv enum('N','Y') not null
            Lock_tables_priv enum('N','Y') not null
            Execute_priv enum('N','Y') not null
            Repl_slave_priv enum('N','Y') not null
            Repl_client_priv enum('N','Y') not null
            Create_view_priv enum('N','Y') not null
            Show_view_priv enum('N','Y') not null
            Create_routine_priv enum('N','Y') not null
            Alter_routine_priv enum('N','Y') not null
            Create_user_priv enum('N','Y') not null
            Event_priv enum('N','Y') not null
            Trigger_priv enum('N','Y') not null
            Create_tablespace_priv enum('N','Y') not null
            ssl_type enum('','ANY','X509','SPECIFIED') not null
            ssl_cipher blob not null
            x509_issuer blob not null
            x509_subject blob not null
            max_questions int unsigned not null
            max_updates int unsigned not null
            max_connections int unsigned not null
            max_user_connections int unsigned not null
            plugin char(64) not null
            authentication_string text
            password_expired enum('N','Y') not null
            password_last_changed timestamp
            password_lifetime smallint unsigned
            account_locked enum('N','Y') not null
            Create_role_priv enum('N','Y') not null
            Drop_role_priv enum('N','Y') not null
            Password_reuse_history smallint unsigned
            Password_reuse_time smallint unsigned
            Password_require_current enum('N','Y')
            User_attributes json",
        source: Source::Memory(users),
    },
    Definition {
        schema: "mysql",
        name: "db",
        columns: "
            Host char(255) not null
            Db char(64) not null
            User char(32) not null
            Select_priv enum('N','Y') not null
            Insert_priv enum('N','Y') not null
            Update_priv enum('N','Y') not null
            Delete_priv enum('N','Y') not null
            Create_priv enum('N','Y') not null
            Drop_priv enum('N','Y') not null
            Grant_priv enum('N','Y') not null
            References_priv enum('N','Y') not null
            Index_priv enum('N','Y') not null
            Alter_priv enum('N','Y') not null
            Create_tmp_table_priv enum('N','Y') not null
            Lock_tables_priv enum('N','Y') not null
            Create_view_priv enum('N','Y') not null
            Show_view_priv enum('N','Y') not null
            Create_routine_priv enum('N','Y') not null
            Alter_routine_priv enum('N','Y') not null
            Execute_priv enum('N','Y') not null
            Event_priv enum('N','Y') not null
            Trigger_priv enum('N','Y') not null",
        source: Source::Memory(databases),
    },
    Definition {
        schema: "mysql",
        name: "tables_priv",
        columns: "
            Host char(255) not null
            Db char(64) not null
            User char(32) not null
            Table_name char(64) not null
            Grantor varchar(288) not null
            Timestamp timestamp
            Table_priv varchar(255) not null
            Column_priv varchar(64) not null",
        source: Source::Memory(table_grants),
    },
    Definition {
        schema: "mysql",
        name: "columns_priv",
        columns: "
            Host char(255) not null
            Db char(64) not null
            User char(32) not null
            Table_name char(64) not null
            Column_name char(64) not null
            Timestamp timestamp
            Column_priv varchar(64) not null",
        source: Source::Empty,
    },
    Definition {
        schema: "mysql",
        name: "help_topic",
        columns: "
            help_topic_id int unsigned not null
            name char(64) not null
            help_category_id smallint unsigned not null
            description text not null
            example text not null
            url text not null",
        source: Source::Empty,
    },
    Definition {
        schema: "mysql",
        name: "time_zone_name",
        columns: "
            Name char(64) not null
            Time_zone_id int unsigned not null",
        source: Source::Empty,
    },
];

/// The privileges of `mysql.db`, in the order of its columns.
const DATABASE_PRIVILEGES: [Privilege; 19] = [
    Privilege::Select,
    Privilege::Insert,
    Privilege::Update,
    Privilege::Delete,
    Privilege::Create,
    Privilege::Drop,
    Privilege::GrantOption,
    Privilege::References,
    Privilege::Index,
    Privilege::Alter,
    Privilege::CreateTemporaryTables,
    Privilege::LockTables,
    Privilege::CreateView,
    Privilege::ShowView,
    Privilege::CreateRoutine,
    Privilege::AlterRoutine,
    Privilege::Execute,
    Privilege::Event,
    Privilege::Trigger,
];

/// Those of `mysql.user`, in the order of its columns, without the two for roles at its end.
const GLOBAL_PRIVILEGES: [Privilege; 29] = [
    Privilege::Select,
    Privilege::Insert,
    Privilege::Update,
    Privilege::Delete,
    Privilege::Create,
    Privilege::Drop,
    Privilege::Reload,
    Privilege::Shutdown,
    Privilege::Process,
    Privilege::File,
    Privilege::GrantOption,
    Privilege::References,
    Privilege::Index,
    Privilege::Alter,
    Privilege::ShowDatabases,
    Privilege::Super,
    Privilege::CreateTemporaryTables,
    Privilege::LockTables,
    Privilege::Execute,
    Privilege::ReplicationSlave,
    Privilege::ReplicationClient,
    Privilege::CreateView,
    Privilege::ShowView,
    Privilege::CreateRoutine,
    Privilege::AlterRoutine,
    Privilege::CreateUser,
    Privilege::Event,
    Privilege::Trigger,
    Privilege::CreateTablespace,
];

fn yn(yes: bool) -> Datum {
    Datum::text(if yes { "Y" } else { "N" })
}

fn users(ctx: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    ctx.privileges.check(Privilege::Select, "mysql", "user")?;
    let accounts = ctx.engine.accounts();
    let rows = accounts.iter().map(|account| {
        let set = account.grants.global;
        let mut row = vec![Datum::text(&account.host), Datum::text(&account.user)];
        row.extend(GLOBAL_PRIVILEGES.iter().map(|p| yn(set.has(*p))));
        row.extend(std::iter::repeat_n(Datum::text(""), 4));
        row.extend(std::iter::repeat_n(Datum::UInt(0), 4));
        row.extend([
            Datum::text(account.credential.plugin()),
            Datum::text(account.credential.text()),
            yn(false),
            Datum::Null,
            Datum::Null,
            yn(account.locked),
            yn(set.has(Privilege::CreateRole)),
            yn(set.has(Privilege::DropRole)),
            Datum::Null,
            Datum::Null,
            Datum::Null,
            Datum::Null,
        ]);
        row
    });
    Ok(rows.collect())
}

fn databases(ctx: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    ctx.privileges.check(Privilege::Select, "mysql", "db")?;
    let mut rows = Vec::new();
    for account in ctx.engine.accounts().iter() {
        for (database, set) in &account.grants.databases {
            let mut row = vec![
                Datum::text(&account.host),
                Datum::text(database),
                Datum::text(&account.user),
            ];
            row.extend(DATABASE_PRIVILEGES.iter().map(|p| yn(set.has(*p))));
            rows.push(row);
        }
    }
    Ok(rows)
}

/// As the SET column of MySQL prints it: `Select,Create View,Grant`.
fn set_text(set: PrivilegeSet) -> String {
    let names = set.iter().map(|privilege| match privilege {
        Privilege::GrantOption => "Grant".to_string(),
        other => {
            let words = other.as_str().split(' ').map(|word| {
                let (first, rest) = word.split_at(1);
                format!("{first}{}", rest.to_lowercase())
            });
            words.collect::<Vec<_>>().join(" ")
        }
    });
    names.collect::<Vec<_>>().join(",")
}

fn table_grants(ctx: &SessionContext, _: &VirtualFilter) -> Result<Vec<Row>> {
    ctx.privileges.check(Privilege::Select, "mysql", "tables_priv")?;
    let mut rows = Vec::new();
    for account in ctx.engine.accounts().iter() {
        for (database, tables) in &account.grants.tables {
            for (table, set) in tables {
                rows.push(vec![
                    Datum::text(&account.host),
                    Datum::text(database),
                    Datum::text(&account.user),
                    Datum::text(table),
                    Datum::text(""),
                    Datum::Null,
                    Datum::text(set_text(*set)),
                    Datum::text(""),
                ]);
            }
        }
    }
    Ok(rows)
}
