//! What kinds of jobs there are: TiDB's names and numbers.

use serde::{Deserialize, Serialize};

use super::Involved;
use crate::statement::{AlterAction, DdlStatement, TableName};

macro_rules! job_types {
    ($($variant:ident = $number:literal, $text:literal;)*) => {
        /// What a job does. Numbers and texts are TiDB's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u8", into = "u8")]
        #[repr(u8)]
        pub enum JobType { $($variant = $number,)* }

        impl JobType {
            /// As ADMIN SHOW DDL JOBS prints it, without what it adds for index builds.
            pub fn as_str(self) -> &'static str {
                match self { $(JobType::$variant => $text,)* }
            }
        }

        impl TryFrom<u8> for JobType {
            type Error = String;

            fn try_from(n: u8) -> Result<Self, String> {
                match n { $($number => Ok(JobType::$variant),)* _ => Err(format!("unknown job type {n}")) }
            }
        }
    };
}

job_types! {
    CreateSchema = 1, "create schema";
    DropSchema = 2, "drop schema";
    CreateTable = 3, "create table";
    DropTable = 4, "drop table";
    AddColumn = 5, "add column";
    DropColumn = 6, "drop column";
    AddIndex = 7, "add index";
    DropIndex = 8, "drop index";
    TruncateTable = 11, "truncate table";
    ModifyColumn = 12, "modify column";
    RebaseAutoId = 13, "rebase auto_increment ID";
    RenameTable = 14, "rename table";
    SetDefault = 15, "set default value";
    TableComment = 17, "modify table comment";
    RenameIndex = 18, "rename index";
    TableCharset = 22, "modify table charset and collate";
    SchemaCharset = 26, "modify schema charset and collate";
    AddPrimaryKey = 32, "add primary key";
    DropPrimaryKey = 33, "drop primary key";
    IndexVisibility = 41, "alter index visibility";
    RenameTables = 47, "rename tables";
    MultiSchemaChange = 61, "alter table multi-schema change";
}

impl From<JobType> for u8 {
    fn from(kind: JobType) -> u8 {
        kind as u8
    }
}

impl JobType {
    pub fn of(statement: &DdlStatement) -> JobType {
        match statement {
            DdlStatement::CreateDatabase { .. } => JobType::CreateSchema,
            DdlStatement::AlterDatabase { .. } => JobType::SchemaCharset,
            DdlStatement::DropDatabase { .. } => JobType::DropSchema,
            DdlStatement::CreateTable(_) | DdlStatement::CreateTableLike { .. } => JobType::CreateTable,
            DdlStatement::DropTables { .. } => JobType::DropTable,
            DdlStatement::TruncateTable { .. } => JobType::TruncateTable,
            DdlStatement::RenameTables { renames } if renames.len() > 1 => JobType::RenameTables,
            DdlStatement::RenameTables { .. } => JobType::RenameTable,
            DdlStatement::AlterTable { actions, .. } => match &actions[..] {
                [only] => JobType::of_action(only),
                _ => JobType::MultiSchemaChange,
            },
        }
    }

    pub fn of_action(action: &AlterAction) -> JobType {
        match action {
            AlterAction::AddIndex(spec) if spec.primary => JobType::AddPrimaryKey,
            AlterAction::AddIndex(_) => JobType::AddIndex,
            AlterAction::DropIndex { .. } => JobType::DropIndex,
            AlterAction::DropPrimaryKey => JobType::DropPrimaryKey,
            AlterAction::RenameIndex { .. } => JobType::RenameIndex,
            AlterAction::IndexVisibility { .. } => JobType::IndexVisibility,
            AlterAction::AddColumn { .. } => JobType::AddColumn,
            AlterAction::DropColumn { .. } => JobType::DropColumn,
            AlterAction::ModifyColumn { .. } | AlterAction::RenameColumn { .. } => JobType::ModifyColumn,
            AlterAction::SetDefault { .. } | AlterAction::DropDefault { .. } => JobType::SetDefault,
            AlterAction::Comment(_) => JobType::TableComment,
            AlterAction::AutoIncrement(_) => JobType::RebaseAutoId,
            AlterAction::RenameTable(_) => JobType::RenameTable,
            AlterAction::Charset { .. } => JobType::TableCharset,
        }
    }
}

impl DdlStatement {
    pub(crate) fn adds_index(&self) -> bool {
        matches!(self, DdlStatement::AlterTable { actions, .. }
            if actions.iter().any(|a| matches!(a, AlterAction::AddIndex(_))))
    }

    /// Every name the statement is about: what orders jobs in the queue.
    pub(crate) fn involving(&self) -> Vec<Involved> {
        let database = |name: &ilmenite_catalog::Name| Involved {
            schema: name.lower.clone(),
            table: None,
        };
        let table = |name: &TableName| Involved {
            schema: name.schema.lower.clone(),
            table: Some(name.table.lower.clone()),
        };
        match self {
            DdlStatement::CreateDatabase { name, .. }
            | DdlStatement::AlterDatabase { name, .. }
            | DdlStatement::DropDatabase { name, .. } => vec![database(name)],
            DdlStatement::CreateTable(create) => vec![Involved {
                schema: create.schema.lower.clone(),
                table: Some(create.table.name.lower.clone()),
            }],
            DdlStatement::CreateTableLike {
                table: name, like, ..
            } => vec![table(name), table(like)],
            DdlStatement::DropTables { tables, .. } => tables.iter().map(table).collect(),
            DdlStatement::TruncateTable { table: name } => vec![table(name)],
            DdlStatement::RenameTables { renames } => renames
                .iter()
                .flat_map(|(from, to)| [table(from), table(to)])
                .collect(),
            DdlStatement::AlterTable { table: name, actions } => {
                let mut all = vec![table(name)];
                for action in actions {
                    if let AlterAction::RenameTable(to) = action {
                        all.push(table(to));
                    }
                }
                all
            }
        }
    }

    /// Database and table for people to recognise the job by.
    pub(crate) fn subject(&self) -> (String, String) {
        let of = |name: &TableName| (name.schema.original.clone(), name.table.original.clone());
        match self {
            DdlStatement::CreateDatabase { name, .. }
            | DdlStatement::AlterDatabase { name, .. }
            | DdlStatement::DropDatabase { name, .. } => (name.original.clone(), String::new()),
            DdlStatement::CreateTable(create) => {
                (create.schema.original.clone(), create.table.name.original.clone())
            }
            DdlStatement::CreateTableLike { table, .. }
            | DdlStatement::TruncateTable { table }
            | DdlStatement::AlterTable { table, .. } => of(table),
            DdlStatement::DropTables { tables, .. } => tables.first().map(of).unwrap_or_default(),
            DdlStatement::RenameTables { renames } => {
                renames.first().map(|(_, to)| of(to)).unwrap_or_default()
            }
        }
    }
}
