//! One connection's session: from a statement's text to its results.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ilmenite_types::{Charset, Collation};
use tokio_util::sync::CancellationToken;

use crate::account::Login;
use crate::context::SessionContext;
use crate::engine::Engine;
use crate::prepared::PreparedStatements;
use crate::privilege::UserPrivileges;
use crate::registry::SessionEntry;
use ilmenite_error::{Error, Result};
use ilmenite_executor::{ResultSink, SessionStatus};
use ilmenite_expr::SqlMode;
use ilmenite_parser::{LexMode, ParseCache};
use ilmenite_planner::{Privilege, ResultColumn};

/// What the protocol knows of a client once it has proved who it is.
pub struct ConnectionInfo {
    pub id: u64,
    pub user: String,
    pub host: String,
    pub account: Login,
    pub database: Option<String>,
    /// MySQL's number of the collation the client asked for.
    pub collation: u8,
    /// CLIENT_FOUND_ROWS.
    pub found_rows: bool,
    /// CLIENT_INTERACTIVE: `interactive_timeout` is its `wait_timeout`.
    pub interactive: bool,
    pub attributes: Vec<(String, String)>,
    pub tls: bool,
}

pub struct Session {
    pub(crate) ctx: SessionContext,
    pub(crate) entry: Arc<SessionEntry>,
    pub(crate) prepared: PreparedStatements,
    /// Of the accounts, when its own was looked up.
    accounts_generation: u64,
    /// How the session began, for COM_RESET_CONNECTION.
    collation: u8,
    interactive: bool,
}

impl Session {
    /// A session of an authenticated client; its database, if it names one, must exist (1049).
    pub async fn open(engine: &Arc<Engine>, info: ConnectionInfo) -> Result<Session> {
        // Taken first: what changes from here on is seen by the first statement.
        let accounts_generation = engine.accounts_generation();
        let privileges = Arc::new(UserPrivileges {
            user: info.user.clone(),
            account_host: info.account.account.host.clone(),
            host: info.host.clone(),
            grants: info.account.account.grants.clone(),
        });
        let mut ctx = SessionContext::new(
            engine.clone(),
            info.id,
            info.user.clone(),
            info.host.clone(),
            privileges,
        );
        ctx.client_found_rows = info.found_rows;
        let entry = Arc::new(SessionEntry::new(info.id, info.user, info.host));
        let mut session = Session {
            ctx,
            entry: entry.clone(),
            prepared: Default::default(),
            accounts_generation,
            collation: info.collation,
            interactive: info.interactive,
        };
        session.greet()?;
        if let Some(database) = &info.database {
            session.init_db(database).await?;
        }
        engine.registry.insert(entry);
        Ok(session)
    }

    /// One that may do everything, without a login.
    #[cfg(test)]
    pub(crate) fn internal(engine: &Arc<Engine>) -> Session {
        let id = engine.next_connection_id();
        let privileges = Arc::new(UserPrivileges::internal());
        let ctx = SessionContext::new(engine.clone(), id, "root".into(), "localhost".into(), privileges);
        Session {
            ctx,
            entry: Arc::new(SessionEntry::new(id, "root".into(), "localhost".into())),
            prepared: Default::default(),
            accounts_generation: engine.accounts_generation(),
            collation: 0,
            interactive: false,
        }
    }

    /// Variables that follow from the handshake.
    fn greet(&mut self) -> Result<()> {
        if let Some(collation) = Collation::by_id(u16::from(self.collation)) {
            let (charset, name) = (collation.charset().name, collation.name());
            for variable in [
                "character_set_client",
                "character_set_connection",
                "character_set_results",
            ] {
                self.ctx.vars.set_by_name(variable, charset);
            }
            self.ctx.vars.set_by_name("collation_connection", name);
        }
        if self.interactive {
            let timeout = self.ctx.engine.globals.get("interactive_timeout");
            self.ctx.vars.set_by_name("wait_timeout", &timeout);
        }
        Ok(())
    }

    /// How many connections there may be; with one more for a `session` of an administrator.
    pub fn max_connections(engine: &Engine, session: Option<&Session>) -> usize {
        let kept = usize::from(session.is_some_and(Session::is_administrator));
        engine.globals.number("max_connections") as usize + kept
    }

    /// Whether the last connection is kept for the likes of it.
    fn is_administrator(&self) -> bool {
        self.ctx.check(Privilege::Super, "", "").is_ok()
    }

    pub fn id(&self) -> u64 {
        self.ctx.connection_id
    }

    pub fn status(&self) -> SessionStatus {
        SessionStatus {
            in_transaction: self.ctx.txn.in_transaction(),
            autocommit: self.ctx.vars.autocommit,
            no_backslash_escapes: self.ctx.vars.sql_mode.has(SqlMode::NO_BACKSLASH_ESCAPES),
        }
    }

    /// The collation result sets are labelled with; `None`: as stored.
    pub fn results_collation(&self) -> Option<u16> {
        match &*self.ctx.vars.character_set_results {
            "" => None,
            "utf8mb4" => Some(self.ctx.vars.collation_connection.id()),
            "binary" => Some(63),
            name => Charset::by_name(name).map(|charset| charset.default_collation().id()),
        }
    }

    pub fn max_allowed_packet(&self) -> usize {
        self.ctx.vars.max_allowed_packet as usize
    }

    /// How long the connection may idle.
    pub fn wait_timeout(&self) -> Duration {
        self.ctx.vars.wait_timeout
    }

    /// Fires when the connection is to end.
    pub fn killed(&self) -> CancellationToken {
        self.entry.killed()
    }

    /// What a statement may do is what its account may do when it begins. An account that is gone or locked may do nothing
    /// any more, and the connection ends.
    pub(crate) fn refresh_privileges(&mut self) -> Result<()> {
        let generation = self.ctx.engine.accounts_generation();
        if generation == self.accounts_generation {
            return Ok(());
        }
        let own = &self.ctx.privileges;
        let account = self.ctx.engine.find_account(&own.user, &own.account_host);
        let Some(account) = account.filter(|account| !account.locked) else {
            self.entry.kill();
            return Err(Error::account_gone(&own.user, &own.host));
        };
        self.accounts_generation = generation;
        if account.grants != own.grants {
            self.ctx.privileges = Arc::new(UserPrivileges {
                grants: account.grants,
                ..UserPrivileges::clone(own)
            });
        }
        Ok(())
    }

    /// COM_INIT_DB and USE.
    pub async fn init_db(&mut self, name: &str) -> Result<()> {
        self.refresh_privileges()?;
        self.ctx.use_database(name)
    }

    /// COM_FIELD_LIST: the columns of a table.
    pub async fn field_list(&mut self, table: &str) -> Result<Vec<ResultColumn>> {
        self.refresh_privileges()?;
        let database = self.ctx.current_database()?.to_string();
        self.ctx.check(Privilege::Select, &database, table)?;
        let view = self.ctx.engine.catalog.view();
        let Some(info) = view.table(&database, table) else {
            return Err(Error::no_such_table(&database, table));
        };
        Ok(info
            .public_columns()
            .map(|c| ResultColumn {
                name: c.name.original.clone(),
                original_name: c.name.original.clone(),
                table: info.name.original.clone(),
                original_table: info.name.original.clone(),
                schema: database.clone(),
                field_type: c.field_type.clone(),
            })
            .collect())
    }

    /// COM_STATISTICS.
    pub fn statistics(&self) -> String {
        let engine = &self.ctx.engine;
        format!(
            "Uptime: {}  Threads: {}  Questions: {}  Slow queries: 0  Opens: 0  Flush tables: 0  Open tables: 0",
            engine.uptime().as_secs(),
            engine.registry.count(),
            engine.statements.load(Ordering::Relaxed),
        )
    }

    /// COM_RESET_CONNECTION: as after connecting, without logging in again.
    pub async fn reset(&mut self) -> Result<()> {
        self.ctx.txn.rollback().await?;
        self.prepared.clear();
        self.ctx.reset();
        self.greet()
    }

    /// Rolls back what is open. The session is of no more use afterwards.
    pub async fn close(&mut self) {
        self.ctx.engine.registry.remove(self.ctx.connection_id);
        if let Err(e) = self.ctx.txn.rollback().await {
            tracing::warn!(connection = self.ctx.connection_id, error = %e, "rolling back a closed session failed");
        }
        self.ctx.release_user_locks();
    }

    /// Runs the statements of `text`, one after another until one fails. `multi`: more than one is allowed.
    pub async fn execute(&mut self, text: &[u8], multi: bool, sink: &mut dyn ResultSink) -> Result<()> {
        let engine = self.ctx.engine.clone();
        let parsed = parse(&engine.parses, text, &self.ctx)?;
        if parsed.len() > 1 && !multi {
            return Err(Error::syntax(format!("near '{}' at line 1", parsed[1].text)));
        }
        for (i, statement) in parsed.iter().enumerate() {
            self.run(statement, &[], sink, i + 1 < parsed.len()).await?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ctx.engine.registry.remove(self.ctx.connection_id);
    }
}

pub(crate) fn parse(
    cache: &ParseCache,
    text: &[u8],
    ctx: &SessionContext,
) -> Result<Arc<Vec<ilmenite_parser::Parsed>>> {
    let mode: LexMode = ctx.lex_mode();
    cache.parse(text, mode)
}
