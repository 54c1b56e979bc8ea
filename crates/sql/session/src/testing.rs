//! A node over an embedded store, and a session on it, for tests.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_codec::key::partition_prefix_len;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::StoreRef;
use ilmenite_types::Datum;

use crate::context::SessionContext;
use crate::engine::{Engine, EngineConfig};
use crate::privilege::{Grants, UserPrivileges};
use crate::{admin, ddl_translate, statement, variables};
use ilmenite_error::Result;
use ilmenite_executor::{OkInfo, ResultSink, Row, StatementOutcome};
use ilmenite_parser::{LexMode, Statement, TransactionStatement, parse_single};
use ilmenite_planner::ResultColumn;

pub(crate) struct Node {
    pub engine: Arc<Engine>,
    _directory: tempfile::TempDir,
}

impl Node {
    pub(crate) async fn open() -> Node {
        let directory = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions {
            sync: false,
            cache_bytes: 16 << 20,
            partition: partition_prefix_len,
            ..Default::default()
        };
        let store: StoreRef = Arc::new(EmbeddedStore::open(directory.path().join("data"), options).unwrap());
        let config = EngineConfig {
            slots: 2,
            ..EngineConfig::new(store, directory.path().join("scratch"))
        };
        Node {
            engine: Engine::open(config).await.unwrap(),
            _directory: directory,
        }
    }

    pub(crate) async fn stop(self) {
        self.engine.shutdown().await;
    }

    /// A session of `root`, in database `test`.
    pub(crate) fn session(&self) -> SessionContext {
        self.session_of(Grants::everything())
    }

    pub(crate) fn session_of(&self, grants: Grants) -> SessionContext {
        let privileges = Arc::new(UserPrivileges {
            user: "root".into(),
            account_host: "%".into(),
            host: "localhost".into(),
            grants,
        });
        let (user, host) = ("root".into(), "localhost".into());
        let mut ctx = SessionContext::new(self.engine.clone(), 1, user, host, privileges);
        ctx.database = Some("test".into());
        ctx
    }
}

/// Keeps what a statement returns.
#[derive(Default)]
pub(crate) struct Captured {
    pub columns: Vec<ResultColumn>,
    pub rows: Vec<Row>,
    pub outcome: StatementOutcome,
    /// What LOAD DATA LOCAL is given.
    pub file: Bytes,
}

#[async_trait]
impl ResultSink for Captured {
    async fn columns(&mut self, columns: &Arc<[ResultColumn]>) -> Result<()> {
        self.columns = columns.to_vec();
        Ok(())
    }

    async fn rows(&mut self, rows: &[Row]) -> Result<()> {
        self.rows.extend_from_slice(rows);
        Ok(())
    }

    async fn finish(&mut self, _info: OkInfo) -> Result<()> {
        Ok(())
    }

    async fn request_file(&mut self, _name: &str) -> Result<()> {
        Ok(())
    }

    async fn read_file(&mut self) -> Result<Bytes> {
        let len = self.file.len().min(1000);
        Ok(self.file.split_to(len))
    }
}

impl Captured {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|c| c.name.as_str()).collect()
    }

    /// The rows as the text protocol would send them.
    pub(crate) fn text(&self) -> Vec<Vec<String>> {
        let cell = |datum: &Datum, column: &ResultColumn| {
            let text = datum.to_text(&column.field_type);
            text.map_or("NULL".into(), |t| String::from_utf8_lossy(&t).into_owned())
        };
        let row = |row: &Row| row.iter().zip(&self.columns).map(|(d, c)| cell(d, c)).collect();
        self.rows.iter().map(row).collect()
    }

    pub(crate) fn column(&self, name: &str) -> Vec<String> {
        let at = self.columns.iter().position(|c| c.name == name).unwrap();
        self.text()
            .into_iter()
            .map(|mut row| row.swap_remove(at))
            .collect()
    }
}

/// Runs a statement.
pub(crate) async fn run(ctx: &mut SessionContext, text: &str) -> Result<Captured> {
    run_with_file(ctx, text, Bytes::new()).await
}

/// Runs a statement; the client has this file.
pub(crate) async fn run_with_file(ctx: &mut SessionContext, text: &str, file: Bytes) -> Result<Captured> {
    let parsed = parse_single(text.as_bytes(), LexMode::default())?;
    let mut captured = Captured {
        file,
        ..Captured::default()
    };
    ctx.warnings.clear();
    // The same context goes on, so that a test may stop it from outside; one that does so has no text.
    if let Some(statement) = Arc::get_mut(&mut ctx.statement) {
        statement.text = parsed.text.clone();
    }
    captured.outcome = match &parsed.statement {
        Statement::Query(query) => statement::run_query_or_dml(ctx, query, &[], &mut captured).await?,
        Statement::QueryInto { query, variables } => {
            statement::run_query_into(ctx, query, &[], variables).await?
        }
        Statement::LoadData(load) => statement::load_data(ctx, load, &mut captured).await?,
        Statement::Explain(explain) => statement::explain(ctx, explain, &[], &mut captured).await?,
        Statement::Transaction(statement) => {
            transaction(ctx, statement).await?;
            StatementOutcome::default()
        }
        Statement::Set(items) => variables::run_set(ctx, items, &[]).await?,
        Statement::Ddl(ddl) => ddl_translate::run(ctx, ddl).await?,
        Statement::Admin(statement) => admin::run(ctx, statement, &mut captured).await?,
        Statement::Maintain { kind, tables } => admin::maintain(ctx, *kind, tables, &mut captured).await?,
        other => panic!("not for this: {other:?}"),
    };
    if let Some(found) = captured.outcome.found_rows {
        ctx.found_rows = found;
    }
    Ok(captured)
}

async fn transaction(ctx: &mut SessionContext, statement: &TransactionStatement) -> Result<()> {
    match statement {
        TransactionStatement::Begin {
            read_only,
            consistent_snapshot,
            pessimistic,
        } => {
            ctx.txn
                .begin(&ctx.vars, *read_only, *consistent_snapshot, *pessimistic)
                .await
        }
        TransactionStatement::Commit { .. } => ctx.txn.commit().await,
        TransactionStatement::Rollback { .. } => ctx.txn.rollback().await,
        TransactionStatement::Savepoint(name) => ctx.txn.savepoint(&ctx.vars, name).await,
        TransactionStatement::RollbackTo(name) => ctx.txn.rollback_to(name),
        TransactionStatement::ReleaseSavepoint(name) => ctx.txn.release_savepoint(name),
    }
}
