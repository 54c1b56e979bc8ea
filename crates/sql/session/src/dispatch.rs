//! Running one statement: before, dispatch, after.

use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::FutureExt;
use ilmenite_base::metrics::{HistogramVec, histograms};
use ilmenite_types::Datum;
use tokio_util::task::AbortOnDropHandle;

use crate::session::Session;
use crate::statement::{self, PreparedPlan, evaluate};
use crate::{admin, ddl_translate, privilege, show, variables};
use ilmenite_error::WarningLevel;
use ilmenite_error::{Error, Result, code};
use ilmenite_executor::StopReason;
use ilmenite_executor::{OkInfo, ResultSink, StatementOutcome};
use ilmenite_parser::{Parsed, PrepareSource, Statement, TransactionStatement};
use ilmenite_planner::Privilege;

static STATEMENT_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "ilmenite_statement_seconds",
        "How long statements took, by type.",
        &["type"],
        vec![
            0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0,
        ],
    )
});

/// What a statement is to do.
pub(crate) enum Work<'a> {
    Parsed(&'a Parsed, &'a [Datum]),
    Prepared(
        &'a sqlparser::ast::Statement,
        &'a mut Option<PreparedPlan>,
        &'a [Datum],
    ),
}

/// The label of a statement in metrics.
pub(crate) fn type_of(statement: &Statement) -> &'static str {
    use sqlparser::ast::Statement as S;
    match statement {
        Statement::Query(query) | Statement::QueryInto { query, .. } => match **query {
            S::Query(_) => "select",
            S::Insert(_) => "insert",
            S::Update { .. } => "update",
            S::Delete(_) => "delete",
            _ => "other",
        },
        Statement::LoadData(_) => "load",
        Statement::Ddl(_) => "ddl",
        Statement::Admin(_) => "admin",
        Statement::Show(_) | Statement::Explain(_) => "show",
        Statement::Set(_) | Statement::Use(_) => "set",
        Statement::Transaction(_) => "transaction",
        _ => "other",
    }
}

impl Session {
    /// Runs a parsed statement and finishes its result in the sink.
    pub(crate) async fn run(
        &mut self,
        parsed: &Parsed,
        params: &[Datum],
        sink: &mut dyn ResultSink,
        more_results: bool,
    ) -> Result<()> {
        let kind = type_of(&parsed.statement);
        self.around(
            kind,
            parsed.text.clone(),
            more_results,
            sink,
            Work::Parsed(parsed, params),
        )
        .await
    }

    /// What every statement has around it: a fresh statement context, its time limit, accounting, the final OK.
    pub(crate) async fn around(
        &mut self,
        kind: &'static str,
        text: std::sync::Arc<str>,
        more_results: bool,
        sink: &mut dyn ResultSink,
        work: Work<'_>,
    ) -> Result<()> {
        let began = Instant::now();
        self.ctx.engine.statements.fetch_add(1, Ordering::Relaxed);
        self.ctx.begin_statement(text, kind != "show");
        let statement = self.ctx.statement.clone();
        self.entry.begin(statement.clone(), &self.ctx.database);
        if self.entry.killed().is_cancelled() {
            statement.stop(StopReason::Killed);
        }
        let limit_ms = if kind == "select" {
            self.ctx.vars.max_execution_time_ms
        } else {
            0
        };
        let control = (limit_ms > 0).then(|| self.ctx.engine.control.clone());
        let result = {
            // Pinned before it is passed on: its state takes kilobytes, which would be copied each time.
            let work = std::pin::pin!(self.work(work, sink));
            let work = AssertUnwindSafe(work).catch_unwind();
            // Not by the task that runs it: a statement that computes would not notice how late it is.
            let _timer = control.map(|control| {
                let statement = statement.clone();
                AbortOnDropHandle::new(control.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(limit_ms)).await;
                    statement.stop(StopReason::Timeout);
                }))
            });
            work.await
        };
        let result = result.unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|s| s.to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(
                connection = self.ctx.connection_id,
                statement = &*statement.text,
                panic = text,
                "a statement panicked"
            );
            Err(Error::bug(format!("internal error: {text}")))
        });
        // An expression that was interrupted knows only that, not why.
        let result = match result {
            Err(e) if e.code == code::query_interrupted && statement.stop_reason().is_some() => {
                Err(statement.stop_error())
            }
            other => other,
        };
        self.entry.end();
        let took = began.elapsed();
        STATEMENT_SECONDS
            .with_label_values(&[kind])
            .observe(took.as_secs_f64());
        let slow_ms = self.ctx.vars.slow_statement_ms;
        if slow_ms > 0 && took >= Duration::from_millis(slow_ms) {
            tracing::warn!(
                connection = self.ctx.connection_id,
                user = self.ctx.user,
                took_ms = took.as_millis() as u64,
                statement = &*statement.text,
                "slow statement"
            );
        }
        self.conclude(result, more_results, sink).await
    }

    async fn work(&mut self, work: Work<'_>, sink: &mut dyn ResultSink) -> Result<StatementOutcome> {
        self.refresh_privileges()?;
        match work {
            Work::Parsed(parsed, params) => self.dispatch(parsed, params, sink).await,
            Work::Prepared(query, plan, params) => {
                statement::run_prepared(&mut self.ctx, query, plan, params, sink).await
            }
        }
    }

    async fn conclude(
        &mut self,
        result: Result<StatementOutcome>,
        more_results: bool,
        sink: &mut dyn ResultSink,
    ) -> Result<()> {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                self.ctx.row_count = -1;
                self.ctx
                    .warnings
                    .push(WarningLevel::Error, error.code, error.message.clone());
                return Err(error);
            }
        };
        match outcome.rows_sent {
            Some(rows) => {
                self.ctx.row_count = -1;
                self.ctx.found_rows = outcome.found_rows.unwrap_or(rows);
            }
            None => self.ctx.row_count = outcome.affected as i64,
        }
        let session = self.status();
        sink.finish(OkInfo {
            affected_rows: outcome.affected,
            last_insert_id: outcome.last_insert_id,
            warnings: self.ctx.warnings.count_u16(),
            info: outcome.info,
            session,
            more_results,
        })
        .await
    }

    pub(crate) async fn dispatch(
        &mut self,
        parsed: &Parsed,
        params: &[Datum],
        sink: &mut dyn ResultSink,
    ) -> Result<StatementOutcome> {
        let ctx = &mut self.ctx;
        // What runs rarely is boxed: otherwise every statement has room for it.
        match &parsed.statement {
            Statement::Query(query) => statement::run_query_or_dml(ctx, query, params, sink).await,
            Statement::QueryInto { query, variables } => {
                Box::pin(statement::run_query_into(ctx, query, params, variables)).await
            }
            Statement::LoadData(load) => Box::pin(statement::load_data(ctx, load, sink)).await,
            Statement::Explain(explain) => Box::pin(statement::explain(ctx, explain, params, sink)).await,
            Statement::Ddl(ddl) => {
                ctx.check_writable()?;
                ctx.txn.commit().await?;
                Box::pin(ddl_translate::run(ctx, ddl)).await
            }
            Statement::Show(show) => Box::pin(show::run(ctx, show, sink)).await,
            Statement::Admin(statement) => Box::pin(admin::run(ctx, statement, sink)).await,
            Statement::Set(items) => Box::pin(variables::run_set(ctx, items, params)).await,
            Statement::Transaction(statement) => self.transaction(statement).await,
            Statement::Prepare { name, source } => {
                let text = match source {
                    PrepareSource::Text(text) => text.clone(),
                    PrepareSource::Variable(variable) => ctx.user_variable_text(variable),
                };
                self.prepare_named(name, &text).await
            }
            Statement::Execute { name, using } => Box::pin(self.execute_named(name, using, sink)).await,
            Statement::Deallocate { name } => self.deallocate(name),
            Statement::Use(name) => ctx.use_database(name).map(|()| StatementOutcome::default()),
            Statement::Kill {
                connection_id,
                query_only,
            } => {
                let id = Box::pin(evaluate(ctx, connection_id, params)).await?;
                self.kill(&id, *query_only)
            }
            Statement::Do(expressions) => {
                for expression in expressions {
                    Box::pin(evaluate(ctx, expression, params)).await?;
                }
                Ok(StatementOutcome::default())
            }
            Statement::Account(statement) => {
                ctx.check_writable()?;
                ctx.txn.commit().await?;
                Box::pin(privilege::run_account(ctx, statement)).await
            }
            Statement::Flush(what) if what.iter().any(|what| what == "TABLES WITH READ LOCK") => {
                Err(Error::not_supported_yet("FLUSH TABLES WITH READ LOCK"))
            }
            // There is nothing to flush.
            Statement::Flush(_) => Ok(StatementOutcome::default()),
            Statement::LockTables(_) => {
                ctx.txn.commit().await?;
                ctx.tables_locked = true;
                ctx.warnings.warn(&Error::table_locks_not_taken());
                Ok(StatementOutcome::default())
            }
            Statement::UnlockTables => {
                // Without LOCK TABLES before it, it does nothing, and leaves the transaction as it is.
                if std::mem::take(&mut ctx.tables_locked) {
                    ctx.txn.commit().await?;
                }
                Ok(StatementOutcome::default())
            }
            Statement::Maintain { kind, tables } => Box::pin(admin::maintain(ctx, *kind, tables, sink)).await,
        }
    }

    async fn transaction(&mut self, statement: &TransactionStatement) -> Result<StatementOutcome> {
        let ctx = &mut self.ctx;
        match statement {
            TransactionStatement::Begin {
                read_only,
                consistent_snapshot,
                pessimistic,
            } => {
                ctx.tables_locked = false;
                ctx.txn
                    .begin(&ctx.vars, *read_only, *consistent_snapshot, *pessimistic)
                    .await?;
            }
            TransactionStatement::Commit { chain, release } => {
                let read_only = ctx.txn.is_read_only();
                ctx.txn.commit().await?;
                if *chain {
                    ctx.txn.begin(&ctx.vars, Some(read_only), false, None).await?;
                }
                if *release {
                    self.entry.kill();
                }
            }
            TransactionStatement::Rollback { chain, release } => {
                let read_only = ctx.txn.is_read_only();
                ctx.txn.rollback().await?;
                if *chain {
                    ctx.txn.begin(&ctx.vars, Some(read_only), false, None).await?;
                }
                if *release {
                    self.entry.kill();
                }
            }
            TransactionStatement::Savepoint(name) => ctx.txn.savepoint(&ctx.vars, name).await?,
            TransactionStatement::RollbackTo(name) => ctx.txn.rollback_to(name)?,
            TransactionStatement::ReleaseSavepoint(name) => ctx.txn.release_savepoint(name)?,
        }
        Ok(StatementOutcome::default())
    }

    fn kill(&mut self, id: &Datum, query_only: bool) -> Result<StatementOutcome> {
        let id = match id {
            Datum::Int(id) => *id as u64,
            Datum::UInt(id) => *id,
            _ => 0,
        };
        let Some(other) = self.ctx.engine.registry.get(id) else {
            return Err(Error::no_such_thread(id));
        };
        if other.user != self.ctx.user && self.ctx.check(Privilege::Super, "", "").is_err() {
            return Err(Error::kill_denied(id));
        }
        if query_only {
            other.stop_statement(StopReason::Killed)
        } else {
            other.kill()
        }
        Ok(StatementOutcome::default())
    }
}
