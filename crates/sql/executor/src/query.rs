//! Queries: rows to the client as they are made, or locked first.

use std::sync::Arc;

use bytes::Bytes;
use ilmenite_store::{Transaction, TxnMode};
use ilmenite_types::Datum;

use super::runtime::{ReadView, Runtime, SubqueryRows, SubqueryRunner, build, collect};
use super::simple::limit_values;
use crate::attempt::Work;
use crate::env::StatementEnv;
use crate::result::{ResultSink, Row};
use crate::write::WriteContext;
use ilmenite_error::{Error, Result};
use ilmenite_expr::EvalContext;
use ilmenite_planner::{LockWait, QueryPlan, SubqueryPlan};

pub struct Sent {
    pub rows: u64,
    /// What FOUND_ROWS() says.
    pub found: u64,
}

/// Which rows of a result go out.
struct Window {
    skip: u64,
    count: u64,
    /// All rows are to be counted.
    count_on: bool,
}

impl Window {
    fn of(plan: &QueryPlan, env: &StatementEnv<'_>, eval: &EvalContext) -> Result<Window> {
        let (count, skip) = match &plan.calc_limit {
            Some(limit) => limit_values(limit, eval)?,
            None => (env.settings.select_limit, 0),
        };
        Ok(Window {
            skip,
            count,
            count_on: plan.calc_found_rows,
        })
    }

    /// Takes out of the batch what does not go out.
    fn cut(&mut self, batch: &mut Vec<Row>) {
        let skipped = self.skip.min(batch.len() as u64);
        batch.drain(..skipped as usize);
        self.skip -= skipped;
        batch.truncate(usize::try_from(self.count).unwrap_or(usize::MAX));
        self.count -= batch.len() as u64;
    }

    fn done(&self) -> bool {
        self.count == 0 && !self.count_on
    }
}

/// Sends a query's rows as they are made.
pub async fn send(
    env: &StatementEnv<'_>,
    plan: &QueryPlan,
    subqueries: &[SubqueryPlan],
    rows: Arc<SubqueryRows>,
    eval: &EvalContext,
    view: ReadView<'_>,
    sink: &mut dyn ResultSink,
) -> Result<Sent> {
    let runner = SubqueryRunner::new(subqueries, rows);
    let rt = Runtime {
        env,
        view,
        eval: eval.clone(),
        subqueries: &runner,
    };
    let mut executor = build(&plan.root)?;
    let mut window = Window::of(plan, env, eval)?;
    let mut sent = Sent { rows: 0, found: 0 };
    let mut batch = Vec::new();
    // The first rows before the columns: what fails at once is an error, not a result that breaks off.
    let mut more = executor.next(&rt, &mut batch).await?;
    sink.columns(&plan.columns).await?;
    while more {
        env.statement.turn().await?;
        sent.found += batch.len() as u64;
        window.cut(&mut batch);
        if plan.lock_keys > 0 {
            batch.iter_mut().for_each(|row| row.truncate(plan.columns.len()));
        }
        if !batch.is_empty() {
            sent.rows += batch.len() as u64;
            sink.rows(&batch).await?;
        }
        if window.done() {
            break;
        }
        more = executor.next(&rt, &mut batch).await?;
    }
    Ok(sent)
}

/// Reads a query's rows and locks them. All are there before the first goes out, since another transaction may make the
/// statement start anew.
pub(crate) async fn read_and_lock(
    plan: &QueryPlan,
    work: &Work<'_>,
    transaction: &mut Transaction,
) -> Result<(Vec<Row>, u64)> {
    let lock = plan.lock.ok_or_else(|| Error::bug("nothing to lock"))?;
    let WriteContext {
        env,
        eval,
        for_update_ts,
    } = work.write;
    let (mut rows, memory) = collect(&plan.root, &work.reading(transaction), usize::MAX).await?;
    let found = rows.len() as u64;
    let mut window = Window::of(plan, env, eval)?;
    window.cut(&mut rows);
    let keys_of = |row: &Row| -> Vec<Bytes> {
        let keys = row.get(plan.lock_keys..).unwrap_or_default().iter();
        keys.filter_map(|key| match key {
            Datum::Bytes(key) => Some(key.clone()),
            _ => None,
        })
        .collect()
    };
    if plan.lock_keys > 0 && transaction.mode() == TxnMode::Pessimistic {
        match lock.wait {
            LockWait::SkipLocked => {
                let mut kept = Vec::with_capacity(rows.len());
                for row in rows {
                    env.statement.turn().await?;
                    match transaction
                        .lock(keys_of(&row), for_update_ts, std::time::Duration::ZERO)
                        .await
                    {
                        Ok(_) => kept.push(row),
                        Err(
                            ilmenite_store::Error::LockNotAvailable { .. }
                            | ilmenite_store::Error::LockTimeout { .. },
                        ) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                rows = kept;
            }
            wait => {
                let mut keys: Vec<Bytes> = rows.iter().flat_map(keys_of).collect();
                keys.sort_unstable();
                keys.dedup();
                if !keys.is_empty() {
                    let time = match wait {
                        LockWait::Nowait => std::time::Duration::ZERO,
                        _ => env.settings.lock_wait_timeout,
                    };
                    transaction.lock(keys, for_update_ts, time).await?;
                }
            }
        }
    }
    rows.iter_mut().for_each(|row| row.truncate(plan.columns.len()));
    drop(memory);
    Ok((rows, found))
}
