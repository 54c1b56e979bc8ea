//! What executors share: the snapshot they read, the statement's context, its subqueries; and how they are driven.

use std::sync::Arc;

use ahash::AHashMap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use ilmenite_store::{KeyRange, Scan, ScanOptions, StoreRef, Timestamp, Transaction};
use ilmenite_types::Datum;
use parking_lot::Mutex;

use crate::env::StatementEnv;
use crate::result::Row;
use crate::statement::MemoryTracker;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{EvalContext, Expr, Subqueries, SubqueryId, SubqueryNeed};
use ilmenite_planner::{Node, NodeKind, SubqueryPlan};

/// Rows handed on at once, about.
pub(crate) const BATCH_ROWS: usize = 1024;

/// What a statement reads: a snapshot, with the writes of its transaction over it when there is one.
#[derive(Clone, Copy)]
pub struct ReadView<'a> {
    pub store: &'a StoreRef,
    pub txn: Option<&'a Transaction>,
    pub ts: Timestamp,
}

impl ReadView<'_> {
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(match self.txn {
            Some(txn) => txn.get_at(key, self.ts).await?,
            None => self.store.get(key, self.ts).await?,
        })
    }

    pub(crate) async fn batch_get(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        if let [key] = keys {
            return Ok(vec![self.get(key).await?]);
        }
        Ok(match self.txn {
            Some(txn) => txn.batch_get_at(keys, self.ts).await?,
            None => self.store.batch_get(keys, self.ts).await?,
        })
    }

    pub(crate) fn scan(&self, range: KeyRange, options: ScanOptions) -> Result<Box<dyn Scan>> {
        Ok(match self.txn {
            Some(txn) => txn.scan_at(range, self.ts, options)?,
            None => self.store.scan(range, self.ts, options)?,
        })
    }
}

/// What executors are given at every call.
pub(crate) struct Runtime<'a> {
    pub env: &'a StatementEnv<'a>,
    pub view: ReadView<'a>,
    pub eval: EvalContext,
    pub subqueries: &'a SubqueryRunner<'a>,
}

/// An operator at work. Rows are pulled in batches.
#[async_trait]
pub(crate) trait Executor: Send {
    /// Replaces the content of `out` by the next rows, at least one; `false` when there are no more.
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool>;
}

/// Makes the executor of a node.
pub(crate) fn build<'p>(node: &'p Node) -> Result<Box<dyn Executor + 'p>> {
    use super::{agg, join, scan, simple, sort};
    Ok(match &node.kind {
        NodeKind::Dual { width } => Box::new(simple::Dual::new(*width)),
        NodeKind::Empty => Box::new(simple::Empty),
        NodeKind::Table(table) => Box::new(scan::TableExecutor::new(table)),
        NodeKind::Virtual(table) => Box::new(simple::Virtual::new(table)),
        NodeKind::Derived(derived) => Box::new(simple::Derived::new(derived)?),
        NodeKind::Values { rows } => Box::new(simple::Values::new(rows)),
        NodeKind::Filter { input, conditions } => Box::new(simple::Filter::new(build(input)?, conditions)),
        NodeKind::Join(node) => join::build(node)?,
        NodeKind::SemiJoin(node) => Box::new(join::SemiJoinExecutor::new(node)?),
        NodeKind::Aggregate(node) => Box::new(agg::AggregateExecutor::new(node)?),
        NodeKind::Project { input, exprs } => Box::new(simple::Project::new(build(input)?, exprs)),
        NodeKind::Distinct { input, keys } => Box::new(simple::Distinct::new(build(input)?, keys)),
        NodeKind::Sort { input, keys, limit } => {
            Box::new(sort::SortExecutor::new(build(input)?, keys, limit.as_ref()))
        }
        NodeKind::Limit { input, limit } => Box::new(simple::LimitExecutor::new(build(input)?, limit)),
        NodeKind::Cut { input, width } => Box::new(simple::Cut::new(build(input)?, *width)),
        NodeKind::SetOp(node) => Box::new(simple::SetOpExecutor::new(node)?),
    })
}

/// Runs a node to its end, all rows kept. What they take is counted against the statement's memory.
pub(crate) async fn collect(node: &Node, rt: &Runtime<'_>, limit: usize) -> Result<(Vec<Row>, MemoryGuard)> {
    let mut executor = build(node)?;
    let mut memory = MemoryGuard::new(rt);
    let mut rows = Vec::new();
    let mut batch = Vec::new();
    while rows.len() < limit && executor.next(rt, &mut batch).await? {
        rt.env.statement.turn().await?;
        memory.grow(batch.iter().map(|row| row_bytes(row)).sum())?;
        rows.append(&mut batch);
    }
    rows.truncate(limit);
    Ok((rows, memory))
}

/// Bytes of memory a row takes, about.
pub(crate) fn row_bytes(row: &[Datum]) -> u64 {
    let mut bytes = std::mem::size_of::<Row>() + std::mem::size_of_val(row);
    for datum in row {
        bytes += match datum {
            Datum::Bytes(b) => b.len(),
            Datum::Json(j) => j.as_slice().len(),
            _ => 0,
        };
    }
    bytes as u64
}

/// Gives strings memory of their own, where they are small parts of something large.
pub(crate) fn detach(row: &mut [Datum]) {
    for datum in row {
        if let Datum::Bytes(bytes) = datum {
            *bytes = Bytes::copy_from_slice(bytes);
        }
    }
}

/// Memory taken of the statement's quota, given back when dropped.
pub(crate) struct MemoryGuard {
    tracker: Arc<MemoryTracker>,
    bytes: u64,
}

impl MemoryGuard {
    pub(crate) fn new(rt: &Runtime<'_>) -> Self {
        MemoryGuard {
            tracker: rt.env.statement.memory.clone(),
            bytes: 0,
        }
    }

    /// 8175 when there is not that much left.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<()> {
        self.tracker.consume(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// `grow`, or `false`.
    pub(crate) fn try_grow(&mut self, bytes: u64) -> bool {
        self.grow(bytes).is_ok()
    }

    pub(crate) fn reset(&mut self) {
        self.tracker.release(self.bytes);
        self.bytes = 0;
    }
}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.reset();
    }
}

/// The rows of each subquery for the row that is being evaluated: run before the expression that asks for them, since
/// running them waits, and evaluating does not.
pub struct SubqueryRows {
    current: Mutex<Vec<Option<RunRows>>>,
}

/// What a run of a subquery gave.
type RunRows = Result<Arc<Vec<Row>>>;

impl SubqueryRows {
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(SubqueryRows {
            current: Mutex::new(vec![None; count]),
        })
    }
}

impl Subqueries for SubqueryRows {
    fn rows(&self, id: SubqueryId, _: SubqueryNeed, _: &[Datum], _: &EvalContext) -> Result<Arc<Vec<Row>>> {
        match self.current.lock().get(id.0) {
            Some(Some(rows)) => rows.clone(),
            _ => Err(Error::bug(format!("subquery {} was not run", id.0))),
        }
    }
}

/// Runs of correlated subqueries kept, by the outer values they read.
const CACHED_RUNS: usize = 1024;
/// Runs with more rows are not kept.
const CACHED_ROWS: usize = 1024;

#[derive(Default)]
struct RunCache {
    runs: AHashMap<Vec<u8>, RunRows>,
}

/// Runs subqueries.
pub(crate) struct SubqueryRunner<'a> {
    plans: &'a [SubqueryPlan],
    rows: Arc<SubqueryRows>,
    caches: Mutex<Vec<RunCache>>,
}

impl<'a> SubqueryRunner<'a> {
    pub(crate) fn new(plans: &'a [SubqueryPlan], rows: Arc<SubqueryRows>) -> Self {
        let caches = plans.iter().map(|_| RunCache::default()).collect();
        SubqueryRunner {
            plans,
            rows,
            caches: Mutex::new(caches),
        }
    }

    pub(crate) fn plan(&self, id: usize) -> Result<&'a SubqueryPlan> {
        self.plans
            .get(id)
            .ok_or_else(|| Error::bug(format!("there is no subquery {id}")))
    }

    /// Has the rows of these subqueries ready for evaluating an expression over `row`.
    pub(crate) fn prepare<'f>(
        &'f self,
        rt: &'f Runtime<'_>,
        ids: &'f [SubqueryId],
        row: &'f [Datum],
    ) -> BoxFuture<'f, Result<()>> {
        Box::pin(async move {
            for id in ids {
                self.prepare_one(rt, id.0, row).await?;
            }
            Ok(())
        })
    }

    async fn prepare_one(&self, rt: &Runtime<'_>, id: usize, row: &[Datum]) -> Result<()> {
        let plan = self.plan(id)?;
        let mut nested = Vec::new();
        plan.outer
            .iter()
            .for_each(|expr| ilmenite_planner::subqueries(expr, &mut nested));
        if !nested.is_empty() {
            self.prepare(rt, &nested, row).await?;
        }
        let mut outer = Vec::with_capacity(plan.outer.len());
        for expr in &plan.outer {
            outer.push(expr.eval(row, &rt.eval)?);
        }
        let mut key = Vec::new();
        for (value, expr) in outer.iter().zip(&plan.outer) {
            // Exact: values that compare equal may still be told apart inside.
            append_exact(value, &mut key);
            debug_assert!(!matches!(expr.op, ilmenite_expr::Op::Aggregate { .. }));
        }
        let cached = self
            .caches
            .lock()
            .get(id)
            .and_then(|cache| cache.runs.get(&key).cloned());
        let rows = match cached {
            Some(rows) => rows,
            None => {
                rt.env.statement.turn().await?;
                // An error counts only if the expression really asks for the rows.
                let rows = self.run(rt, plan, &outer).await.map(Arc::new);
                if rt.env.statement.cancel.is_cancelled() {
                    return Err(rt.env.statement.stop_error());
                }
                let small = rows.as_ref().is_ok_and(|rows| rows.len() <= CACHED_ROWS);
                if let Some(cache) = self.caches.lock().get_mut(id)
                    && (small || outer.is_empty())
                    && !plan.volatile
                {
                    if cache.runs.len() >= CACHED_RUNS {
                        cache.runs.clear();
                    }
                    cache.runs.insert(key, rows.clone());
                }
                rows
            }
        };
        if let Some(current) = self.rows.current.lock().get_mut(id) {
            *current = Some(rows);
        }
        Ok(())
    }

    async fn run(&self, rt: &Runtime<'_>, plan: &SubqueryPlan, outer: &[Datum]) -> Result<Vec<Row>> {
        let inner = Runtime {
            env: rt.env,
            view: rt.view,
            eval: rt.eval.with_outer(outer),
            subqueries: self,
        };
        let (rows, _memory) = collect(&plan.plan.root, &inner, usize::MAX).await?;
        Ok(rows)
    }
}

fn append_exact(value: &Datum, out: &mut Vec<u8>) {
    match value {
        Datum::Null => out.push(0),
        Datum::Int(n) => {
            out.push(1);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Datum::Bytes(bytes) => {
            out.push(2);
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        other => {
            let text = format!("{other:?}");
            out.push(3);
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The subqueries that expressions use.
pub(crate) fn used_subqueries<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> Vec<SubqueryId> {
    let mut ids = Vec::new();
    for expr in exprs {
        ilmenite_planner::subqueries(expr, &mut ids);
    }
    ids
}

/// Do all conditions hold for the row?
pub(crate) async fn holds(
    conditions: &[Expr],
    subqueries: &[SubqueryId],
    row: &[Datum],
    rt: &Runtime<'_>,
) -> Result<bool> {
    if !subqueries.is_empty() {
        rt.subqueries.prepare(rt, subqueries, row).await?;
    }
    holds_now(conditions, row, &rt.eval)
}

/// `holds` for conditions without subqueries.
pub(crate) fn holds_now(conditions: &[Expr], row: &[Datum], eval: &EvalContext) -> Result<bool> {
    for condition in conditions {
        if condition.eval_bool(row, eval)? != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}
