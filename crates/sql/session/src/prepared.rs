//! Prepared statements: those of the binary protocol, by number, and those of PREPARE, by name.

use std::collections::HashMap;
use std::sync::Arc;

use ilmenite_types::{Datum, FieldType, TypeCode};

use crate::dispatch::{Work, type_of};
use crate::session::{Session, parse};
use crate::statement::{self, PreparedPlan, describe};
use ilmenite_error::{Error, Result};
use ilmenite_executor::{ResultSink, StatementOutcome};
use ilmenite_parser::{Parsed, Statement};
use ilmenite_planner::ResultColumn;

/// What the protocol tells the client about a statement it prepared.
#[derive(Debug, Clone)]
pub struct PreparedInfo {
    pub id: u32,
    pub params: Vec<ResultColumn>,
    /// Empty for statements without a result set.
    pub columns: Arc<[ResultColumn]>,
}

struct Prepared {
    statements: Arc<Vec<Parsed>>,
    /// The plan of a query or DML, kept from one execution to the next.
    plan: Option<PreparedPlan>,
}

impl Prepared {
    fn parsed(&self) -> &Parsed {
        // `prepare` lets only texts of exactly one statement through.
        &self.statements[0]
    }
}

#[derive(Default)]
pub(crate) struct PreparedStatements {
    by_id: HashMap<u32, Prepared>,
    by_name: HashMap<String, Prepared>,
    last_id: u32,
}

impl PreparedStatements {
    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
        self.by_name.clear();
    }
}

impl Session {
    fn make(&self, text: &[u8]) -> Result<Prepared> {
        let statements = parse(&self.ctx.engine.parses, text, &self.ctx)?;
        if statements.len() != 1 {
            return Err(Error::syntax(format!("near '{}' at line 1", statements[1].text)));
        }
        match &statements[0].statement {
            Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::LoadData(_) => Err(Error::unsupported_in_prepare()),
            _ => Ok(Prepared {
                statements,
                plan: None,
            }),
        }
    }

    fn room(&self) -> Result<()> {
        let max = self.ctx.engine.globals.number("max_prepared_stmt_count");
        let have = (self.prepared.by_id.len() + self.prepared.by_name.len()) as u64;
        if have >= max {
            Err(Error::too_many_prepared(max))
        } else {
            Ok(())
        }
    }

    pub async fn prepare(&mut self, text: &[u8]) -> Result<PreparedInfo> {
        self.refresh_privileges()?;
        self.room()?;
        let prepared = self.make(text)?;
        let parsed = prepared.parsed();
        // Describing pins tables, too.
        self.ctx.txn.set_statement(parsed.text.clone());
        let columns = match &parsed.statement {
            Statement::Query(query) => describe(&mut self.ctx, query).await?,
            _ => Arc::default(),
        };
        let mut param_type = FieldType::new(TypeCode::VarString);
        param_type.flen = 0;
        let params = vec![ResultColumn::computed("?", param_type); parsed.params];
        self.prepared.last_id = self.prepared.last_id.wrapping_add(1).max(1);
        let id = self.prepared.last_id;
        self.prepared.by_id.insert(id, prepared);
        Ok(PreparedInfo { id, params, columns })
    }

    pub async fn execute_prepared(
        &mut self,
        id: u32,
        params: &[Datum],
        sink: &mut dyn ResultSink,
    ) -> Result<()> {
        let Some(mut prepared) = self.prepared.by_id.remove(&id) else {
            return Err(Error::unknown_statement_handler(id, "mysqld_stmt_execute"));
        };
        let result = self.run_prepared(&mut prepared, params, sink).await;
        self.prepared.by_id.insert(id, prepared);
        result
    }

    async fn run_prepared(
        &mut self,
        prepared: &mut Prepared,
        params: &[Datum],
        sink: &mut dyn ResultSink,
    ) -> Result<()> {
        let statements = prepared.statements.clone();
        let parsed = &statements[0];
        if params.len() != parsed.params {
            return Err(Error::wrong_arguments("EXECUTE"));
        }
        let Statement::Query(query) = &parsed.statement else {
            return self.run(parsed, params, sink, false).await;
        };
        let kind = type_of(&parsed.statement);
        self.around(
            kind,
            parsed.text.clone(),
            false,
            sink,
            Work::Prepared(query, &mut prepared.plan, params),
        )
        .await
    }

    pub fn close_prepared(&mut self, id: u32) {
        self.prepared.by_id.remove(&id);
    }

    pub(crate) async fn prepare_named(&mut self, name: &str, text: &str) -> Result<StatementOutcome> {
        self.prepared.by_name.remove(name);
        self.room()?;
        let prepared = self.make(text.as_bytes())?;
        self.prepared.by_name.insert(name.to_string(), prepared);
        Ok(StatementOutcome::default())
    }

    /// EXECUTE name USING @a, …: part of the EXECUTE statement, whose OK is sent by who runs that.
    pub(crate) async fn execute_named(
        &mut self,
        name: &str,
        using: &[String],
        sink: &mut dyn ResultSink,
    ) -> Result<StatementOutcome> {
        let Some(mut prepared) = self.prepared.by_name.remove(name) else {
            return Err(Error::unknown_statement_handler(name, "EXECUTE"));
        };
        let params: Vec<Datum> = using
            .iter()
            .map(|v| self.ctx.user_vars.get(v).cloned().unwrap_or(Datum::Null))
            .collect();
        let statements = prepared.statements.clone();
        let parsed = &statements[0];
        let result = match &parsed.statement {
            _ if params.len() != parsed.params => Err(Error::wrong_arguments("EXECUTE")),
            Statement::Query(query) => {
                statement::run_prepared(&mut self.ctx, query, &mut prepared.plan, &params, sink).await
            }
            _ => Box::pin(self.dispatch(parsed, &params, sink)).await,
        };
        self.prepared.by_name.insert(name.to_string(), prepared);
        result
    }

    pub(crate) fn deallocate(&mut self, name: &str) -> Result<StatementOutcome> {
        match self.prepared.by_name.remove(name) {
            Some(_) => Ok(StatementOutcome::default()),
            None => Err(Error::unknown_statement_handler(name, "DEALLOCATE PREPARE")),
        }
    }
}
