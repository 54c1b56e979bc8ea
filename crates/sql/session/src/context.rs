//! What a statement may use: everything that belongs to one connection, and the means to stop a statement.

use std::collections::HashMap;
use std::sync::Arc;

use ilmenite_error::{Error, Result, Warning, WarningLevel};
use ilmenite_executor::{MemoryTracker, Settings, StatementContext, StatementEnv};
use ilmenite_expr::{SqlMode, UserNames};
use ilmenite_parser::LexMode;
use ilmenite_planner::{Privilege, virtual_schema};
use ilmenite_types::Datum;

use crate::engine::Engine;
use crate::privilege::UserPrivileges;
use crate::txn::SessionTxn;
use crate::variables::{Scope, SessionVars};

/// Everything a statement may use; one per connection, lives in the session.
pub(crate) struct SessionContext {
    pub engine: Arc<Engine>,
    pub connection_id: u64,
    pub user: String,
    /// Where the client connects from.
    pub host: String,
    pub database: Option<String>,
    pub vars: SessionVars,
    /// The open transaction, if there is one, and the versions of the tables it uses.
    pub txn: SessionTxn,
    pub warnings: Warnings,
    pub last_insert_id: u64,
    /// What ROW_COUNT() answers; -1 after a statement that returned rows.
    pub row_count: i64,
    /// What FOUND_ROWS() answers.
    pub found_rows: u64,
    /// User variables, by lower-cased name.
    pub user_vars: HashMap<String, Datum>,
    pub privileges: Arc<UserPrivileges>,
    /// What USER() and CURRENT_USER() answer.
    pub users: Arc<UserNames>,
    /// LOCK TABLES was said, and UNLOCK TABLES not yet.
    pub tables_locked: bool,
    /// CLIENT_FOUND_ROWS: UPDATE reports the rows it matched, not those it changed.
    pub client_found_rows: bool,
    pub statement: Arc<StatementContext>,
}

impl SessionContext {
    pub(crate) fn new(
        engine: Arc<Engine>,
        connection_id: u64,
        user: String,
        host: String,
        privileges: Arc<UserPrivileges>,
    ) -> Self {
        let vars = SessionVars::new(&engine.globals);
        let memory = Arc::new(MemoryTracker::new(vars.mem_quota_query_bytes, connection_id));
        let txn = SessionTxn::new(engine.store.clone(), engine.catalog.clone(), connection_id, &user);
        let users = Arc::new(UserNames {
            user: format!("{user}@{host}"),
            account: format!("{}@{}", privileges.user, privileges.account_host),
        });
        SessionContext {
            users,
            connection_id,
            user,
            host,
            database: None,
            vars,
            txn,
            warnings: Warnings::default(),
            last_insert_id: 0,
            row_count: 0,
            found_rows: 0,
            user_vars: HashMap::new(),
            privileges,
            tables_locked: false,
            client_found_rows: false,
            statement: Arc::new(StatementContext::new(Arc::from(""), memory)),
            engine,
        }
    }

    /// A statement begins. `clear_warnings`: all but those that look at the warnings of the one before.
    pub(crate) fn begin_statement(&mut self, text: Arc<str>, clear_warnings: bool) {
        if clear_warnings {
            self.warnings.clear();
        }
        self.warnings.without_notes = !self.vars.sql_notes;
        let memory = Arc::new(MemoryTracker::new(
            self.vars.mem_quota_query_bytes,
            self.connection_id,
        ));
        self.txn.set_statement(text.clone());
        self.statement = Arc::new(StatementContext::new(text, memory));
    }

    /// As after connecting; the transaction must be over.
    pub(crate) fn reset(&mut self) {
        self.release_user_locks();
        self.vars = SessionVars::new(&self.engine.globals);
        self.user_vars.clear();
        self.tables_locked = false;
        self.warnings.clear();
        self.last_insert_id = 0;
        self.row_count = 0;
        self.found_rows = 0;
    }

    /// Gives back what GET_LOCK took.
    pub(crate) fn release_user_locks(&self) {
        self.engine.user_locks.release_all(self.connection_id);
    }

    /// Makes it the current database: 1049 when there is none of that name, 1044 when the user may not see it.
    pub(crate) fn use_database(&mut self, name: &str) -> Result<()> {
        let view = self.engine.catalog.view();
        let found = match view.schema(name) {
            Some(schema) => schema.name.original.clone(),
            None if virtual_schema(name).is_some() => name.to_lowercase(),
            None => return Err(Error::unknown_database(name)),
        };
        if !self.privileges.grants.sees_database(&found) && virtual_schema(&found).is_none() {
            return Err(Error::db_access_denied(&self.user, &self.host, &found));
        }
        self.database = Some(found);
        Ok(())
    }

    /// What a statement at work uses of this session.
    pub(crate) fn statement_env(&self) -> StatementEnv<'_> {
        StatementEnv {
            store: &self.engine.store,
            catalog: &self.engine.catalog,
            tables: &self.engine.table_cache,
            virtual_rows: self,
            spill_dir: &self.engine.spill_dir,
            statement: &self.statement,
            settings: Settings {
                connection_id: self.connection_id,
                lock_wait_timeout: self.vars.lock_wait_timeout,
                auto_increment_increment: self.vars.auto_increment_increment,
                auto_increment_offset: self.vars.auto_increment_offset,
                insert_id: self.vars.insert_id,
                select_limit: match self.vars.sql_select_limit {
                    0 => u64::MAX,
                    limit => limit,
                },
                found_rows: self.client_found_rows,
            },
        }
    }

    /// How this session's `sql_mode` has text read.
    pub(crate) fn lex_mode(&self) -> LexMode {
        let mode = self.vars.sql_mode;
        LexMode {
            ansi_quotes: mode.has(SqlMode::ANSI_QUOTES),
            no_backslash_escapes: mode.has(SqlMode::NO_BACKSLASH_ESCAPES),
            pipes_as_concat: mode.has(SqlMode::PIPES_AS_CONCAT),
            real_as_float: mode.has(SqlMode::REAL_AS_FLOAT),
        }
    }

    /// The text in a user variable; empty when it has none.
    pub(crate) fn user_variable_text(&self, name: &str) -> String {
        match self.user_vars.get(name) {
            Some(Datum::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    /// The text of system variable `name` in `scope`.
    pub(crate) fn variable(&self, name: &str, scope: Scope) -> Result<Arc<str>> {
        if let Some(computed) = self.computed(name, scope)? {
            return Ok(computed.into());
        }
        self.vars.get(&self.engine.globals, name, scope)
    }

    /// May the user do this? `table` empty: to the database as a whole; `database` empty too: globally.
    pub(crate) fn check(&self, privilege: Privilege, database: &str, table: &str) -> Result<()> {
        if virtual_schema(database).is_some() && privilege == Privilege::Select {
            return Ok(());
        }
        self.privileges.check(privilege, database, table)
    }

    /// Whether the statement may change anything: 1792 in a transaction that only reads, 1290 while the server is read-only.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.txn.is_read_only() || (!self.txn.in_transaction() && self.vars.transaction_read_only) {
            return Err(Error::read_only_transaction());
        }
        self.engine
            .check_writable(|| self.check(Privilege::Super, "", "").is_ok())
    }

    /// The current database, or 1046.
    pub(crate) fn current_database(&self) -> Result<&str> {
        self.database.as_deref().ok_or_else(Error::no_database_selected)
    }
}

/// The diagnostics of the last statement. Kept are the first 1024 (max_error_count), counted are all.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    kept: Vec<Warning>,
    count: u64,
    /// `sql_notes = OFF`.
    without_notes: bool,
}

const MAX_KEPT_WARNINGS: usize = 1024;

impl Warnings {
    pub(crate) fn push(&mut self, level: WarningLevel, code: u16, message: impl Into<String>) {
        if level == WarningLevel::Note && self.without_notes {
            return;
        }
        self.count += 1;
        if self.kept.len() < MAX_KEPT_WARNINGS {
            self.kept.push(Warning {
                level,
                code,
                message: message.into(),
            });
        }
    }

    /// An error taken as a warning: what a laxer sql_mode or IGNORE makes of it.
    pub(crate) fn warn(&mut self, error: &Error) {
        self.push(WarningLevel::Warning, error.code, error.message.clone());
    }

    pub(crate) fn note(&mut self, error: &Error) {
        self.push(WarningLevel::Note, error.code, error.message.clone());
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.count = 0;
    }

    pub(crate) fn kept(&self) -> &[Warning] {
        &self.kept
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// As the OK packet carries it.
    pub(crate) fn count_u16(&self) -> u16 {
        self.count.min(u64::from(u16::MAX)) as u16
    }
}
