//! All sessions of a node: for SHOW PROCESSLIST, and for KILL.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use ilmenite_executor::{StatementContext, StopReason};

/// What others may know of a session, and do to it.
pub(crate) struct SessionEntry {
    pub id: u64,
    pub user: String,
    pub host: String,
    state: Mutex<State>,
    killed: CancellationToken,
}

struct State {
    database: Option<String>,
    /// The running statement.
    statement: Option<Arc<StatementContext>>,
    since: Instant,
}

/// One row of SHOW PROCESSLIST.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub id: u64,
    pub user: String,
    pub host: String,
    pub database: Option<String>,
    /// `Query` or `Sleep`.
    pub command: &'static str,
    pub seconds: u64,
    pub statement: Option<Arc<str>>,
}

impl SessionEntry {
    pub(crate) fn new(id: u64, user: String, host: String) -> Self {
        let state = State {
            database: None,
            statement: None,
            since: Instant::now(),
        };
        SessionEntry {
            id,
            user,
            host,
            state: Mutex::new(state),
            killed: CancellationToken::new(),
        }
    }

    pub(crate) fn process(&self) -> Process {
        let state = self.state.lock();
        Process {
            id: self.id,
            user: self.user.clone(),
            host: self.host.clone(),
            database: state.database.clone(),
            command: if state.statement.is_some() {
                "Query"
            } else {
                "Sleep"
            },
            seconds: state.since.elapsed().as_secs(),
            statement: state.statement.as_ref().map(|s| s.text.clone()),
        }
    }

    pub(crate) fn begin(&self, statement: Arc<StatementContext>, database: &Option<String>) {
        let mut state = self.state.lock();
        if state.database != *database {
            state.database.clone_from(database);
        }
        state.statement = Some(statement);
        state.since = Instant::now();
    }

    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.statement = None;
        state.since = Instant::now();
    }

    /// Ends the statement, if one runs.
    pub(crate) fn stop_statement(&self, reason: StopReason) {
        if let Some(statement) = &self.state.lock().statement {
            statement.stop(reason);
        }
    }

    /// KILL: ends the connection.
    pub(crate) fn kill(&self) {
        self.killed.cancel();
        self.stop_statement(StopReason::Killed);
    }

    pub(crate) fn killed(&self) -> CancellationToken {
        self.killed.clone()
    }
}

#[derive(Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<u64, Arc<SessionEntry>>>,
}

impl Registry {
    pub(crate) fn insert(&self, entry: Arc<SessionEntry>) {
        self.sessions.lock().insert(entry.id, entry);
    }

    pub(crate) fn remove(&self, id: u64) {
        self.sessions.lock().remove(&id);
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<SessionEntry>> {
        self.sessions.lock().get(&id).cloned()
    }

    /// By connection id.
    pub(crate) fn all(&self) -> Vec<Arc<SessionEntry>> {
        let mut all: Vec<_> = self.sessions.lock().values().cloned().collect();
        all.sort_by_key(|s| s.id);
        all
    }

    pub(crate) fn count(&self) -> usize {
        self.sessions.lock().len()
    }
}
