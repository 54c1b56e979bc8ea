//! The small operators: one input at most, a row at a time.

use std::collections::VecDeque;

use ahash::{AHashMap, AHashSet};
use async_trait::async_trait;
use ilmenite_types::Datum;

use super::runtime::{BATCH_ROWS, Executor, MemoryGuard, Runtime, build, holds, row_bytes, used_subqueries};
use crate::env::VirtualFilter;
use crate::result::Row;
use ilmenite_error::Result;
use ilmenite_expr::{Comparer, EvalContext, Expr, SubqueryId, append_group_key};
use ilmenite_planner::{DerivedScan, Limit, SetKind, SetOp, Slot, VirtualScan, limit_number};

pub(crate) struct Dual {
    row: Option<Row>,
}

impl Dual {
    pub(crate) fn new(width: usize) -> Self {
        Dual {
            row: Some(vec![Datum::Null; width]),
        }
    }
}

#[async_trait]
impl Executor for Dual {
    async fn next(&mut self, _rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        out.extend(self.row.take());
        Ok(!out.is_empty())
    }
}

pub(crate) struct Empty;

#[async_trait]
impl Executor for Empty {
    async fn next(&mut self, _rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        Ok(false)
    }
}

/// information_schema and the like.
pub(crate) struct Virtual<'p> {
    scan: &'p VirtualScan,
    subqueries: Vec<SubqueryId>,
    rows: Option<VecDeque<Row>>,
}

impl<'p> Virtual<'p> {
    pub(crate) fn new(scan: &'p VirtualScan) -> Self {
        Virtual {
            scan,
            subqueries: used_subqueries(&scan.filter),
            rows: None,
        }
    }
}

#[async_trait]
impl Executor for Virtual<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        if self.rows.is_none() {
            let mut filter = VirtualFilter::default();
            for (column, values) in &self.scan.equals {
                let values = values
                    .iter()
                    .map(|value| value.eval(&[], &rt.eval))
                    .collect::<Result<Vec<_>>>()?;
                filter.equals.push((column.clone(), values));
            }
            self.rows = Some(rt.env.virtual_rows.rows(&*self.scan.table, &filter).await?.into());
        }
        let Some(rows) = &mut self.rows else {
            return Ok(false);
        };
        while out.len() < BATCH_ROWS {
            let Some(mut stored) = rows.pop_front() else { break };
            rt.env.statement.turn_at(rows.len()).await?;
            let row = spread(&mut stored, &self.scan.columns, self.scan.width);
            if holds(&self.scan.filter, &self.subqueries, &row, rt).await? {
                out.push(row);
            }
        }
        Ok(!out.is_empty())
    }
}

/// The columns of one row put into the slots of another.
fn spread(from: &mut Row, columns: &[(usize, Slot)], width: usize) -> Row {
    let mut row = vec![Datum::Null; width];
    for (column, slot) in columns {
        if let Some(value) = from.get_mut(*column) {
            row[*slot] = std::mem::replace(value, Datum::Null);
        }
    }
    row
}

pub(crate) struct Derived<'p> {
    scan: &'p DerivedScan,
    input: Box<dyn Executor + 'p>,
    subqueries: Vec<SubqueryId>,
    batch: Vec<Row>,
}

impl<'p> Derived<'p> {
    pub(crate) fn new(scan: &'p DerivedScan) -> Result<Self> {
        let input = build(&scan.query.root)?;
        Ok(Derived {
            scan,
            input,
            subqueries: used_subqueries(&scan.filter),
            batch: Vec::new(),
        })
    }
}

#[async_trait]
impl Executor for Derived<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            if !self.input.next(rt, &mut self.batch).await? {
                return Ok(false);
            }
            for (at, mut stored) in self.batch.drain(..).enumerate() {
                rt.env.statement.turn_at(at).await?;
                let row = spread(&mut stored, &self.scan.columns, self.scan.width);
                if holds(&self.scan.filter, &self.subqueries, &row, rt).await? {
                    out.push(row);
                }
            }
        }
        Ok(true)
    }
}

pub(crate) struct Values<'p> {
    rows: std::slice::Iter<'p, Vec<Expr>>,
}

impl<'p> Values<'p> {
    pub(crate) fn new(rows: &'p [Vec<Expr>]) -> Self {
        Values { rows: rows.iter() }
    }
}

#[async_trait]
impl Executor for Values<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        for (at, exprs) in self.rows.by_ref().take(BATCH_ROWS).enumerate() {
            rt.env.statement.turn_at(at).await?;
            let subqueries = used_subqueries(exprs);
            rt.subqueries.prepare(rt, &subqueries, &[]).await?;
            out.push(
                exprs
                    .iter()
                    .map(|expr| expr.eval(&[], &rt.eval))
                    .collect::<Result<Row>>()?,
            );
        }
        Ok(!out.is_empty())
    }
}

pub(crate) struct Filter<'p> {
    input: Box<dyn Executor + 'p>,
    conditions: &'p [Expr],
    subqueries: Vec<SubqueryId>,
    batch: Vec<Row>,
}

impl<'p> Filter<'p> {
    pub(crate) fn new(input: Box<dyn Executor + 'p>, conditions: &'p [Expr]) -> Self {
        Filter {
            input,
            conditions,
            subqueries: used_subqueries(conditions),
            batch: Vec::new(),
        }
    }
}

#[async_trait]
impl Executor for Filter<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            rt.env.statement.turn().await?;
            if !self.input.next(rt, &mut self.batch).await? {
                return Ok(false);
            }
            for (at, row) in self.batch.drain(..).enumerate() {
                rt.env.statement.turn_at(at).await?;
                if holds(self.conditions, &self.subqueries, &row, rt).await? {
                    out.push(row);
                }
            }
        }
        Ok(true)
    }
}

pub(crate) struct Project<'p> {
    input: Box<dyn Executor + 'p>,
    exprs: &'p [Expr],
    subqueries: Vec<SubqueryId>,
    batch: Vec<Row>,
}

impl<'p> Project<'p> {
    pub(crate) fn new(input: Box<dyn Executor + 'p>, exprs: &'p [Expr]) -> Self {
        Project {
            input,
            exprs,
            subqueries: used_subqueries(exprs),
            batch: Vec::new(),
        }
    }
}

#[async_trait]
impl Executor for Project<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        if !self.input.next(rt, &mut self.batch).await? {
            return Ok(false);
        }
        for (at, row) in self.batch.drain(..).enumerate() {
            rt.env.statement.turn_at(at).await?;
            if !self.subqueries.is_empty() {
                rt.subqueries.prepare(rt, &self.subqueries, &row).await?;
            }
            let mut projected = Vec::with_capacity(self.exprs.len());
            for expr in self.exprs {
                projected.push(expr.eval(&row, &rt.eval)?);
            }
            out.push(projected);
        }
        Ok(true)
    }
}

/// Appends what makes a row the same as another in its first `keys.len()` columns.
fn group_key(row: &[Datum], keys: &[Comparer], eval: &EvalContext) -> Result<Vec<u8>> {
    let mut key = Vec::with_capacity(keys.len() * 12);
    for (value, comparer) in row.iter().zip(keys) {
        append_group_key(value, comparer, eval, &mut key)?;
    }
    Ok(key)
}

pub(crate) struct Distinct<'p> {
    input: Box<dyn Executor + 'p>,
    keys: &'p [Comparer],
    seen: AHashSet<Vec<u8>>,
    memory: Option<MemoryGuard>,
    batch: Vec<Row>,
}

impl<'p> Distinct<'p> {
    pub(crate) fn new(input: Box<dyn Executor + 'p>, keys: &'p [Comparer]) -> Self {
        Distinct {
            input,
            keys,
            seen: AHashSet::new(),
            memory: None,
            batch: Vec::new(),
        }
    }
}

/// What an entry of a hash set takes besides its key.
const SET_ENTRY_BYTES: u64 = 48;

#[async_trait]
impl Executor for Distinct<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        let memory = self.memory.get_or_insert_with(|| MemoryGuard::new(rt));
        while out.is_empty() {
            rt.env.statement.turn().await?;
            if !self.input.next(rt, &mut self.batch).await? {
                return Ok(false);
            }
            for (at, row) in self.batch.drain(..).enumerate() {
                rt.env.statement.turn_at(at).await?;
                let key = group_key(&row, self.keys, &rt.eval)?;
                if !self.seen.contains(&key) {
                    memory.grow(key.len() as u64 + SET_ENTRY_BYTES)?;
                    self.seen.insert(key);
                    out.push(row);
                }
            }
        }
        Ok(true)
    }
}

/// LIMIT and OFFSET as numbers.
pub(crate) fn limit_values(limit: &Limit, eval: &EvalContext) -> Result<(u64, u64)> {
    let number = |expr: &Option<Expr>, absent: u64| match expr {
        None => Ok(absent),
        Some(expr) => limit_number(&expr.eval(&[], eval)?),
    };
    Ok((number(&limit.count, u64::MAX)?, number(&limit.offset, 0)?))
}

pub(crate) struct LimitExecutor<'p> {
    input: Box<dyn Executor + 'p>,
    limit: &'p Limit,
    /// Rows still to give, and still to pass over.
    left: Option<(u64, u64)>,
}

impl<'p> LimitExecutor<'p> {
    pub(crate) fn new(input: Box<dyn Executor + 'p>, limit: &'p Limit) -> Self {
        LimitExecutor {
            input,
            limit,
            left: None,
        }
    }
}

#[async_trait]
impl Executor for LimitExecutor<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        let (mut count, mut skip) = match self.left {
            Some(left) => left,
            None => limit_values(self.limit, &rt.eval)?,
        };
        out.clear();
        while out.is_empty() {
            if count == 0 || !self.input.next(rt, out).await? {
                out.clear();
                self.left = Some((count, skip));
                return Ok(false);
            }
            let passed = skip.min(out.len() as u64);
            out.drain(..passed as usize);
            skip -= passed;
            out.truncate(usize::try_from(count).unwrap_or(usize::MAX));
            count -= out.len() as u64;
        }
        self.left = Some((count, skip));
        Ok(true)
    }
}

pub(crate) struct Cut<'p> {
    input: Box<dyn Executor + 'p>,
    width: usize,
}

impl<'p> Cut<'p> {
    pub(crate) fn new(input: Box<dyn Executor + 'p>, width: usize) -> Self {
        Cut { input, width }
    }
}

#[async_trait]
impl Executor for Cut<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        let more = self.input.next(rt, out).await?;
        out.iter_mut().for_each(|row| row.truncate(self.width));
        Ok(more)
    }
}

/// UNION, EXCEPT and INTERSECT.
pub(crate) struct SetOpExecutor<'p> {
    set: &'p SetOp,
    left: Option<Box<dyn Executor + 'p>>,
    right: Option<Box<dyn Executor + 'p>>,
    /// UNION: rows given so far. Else: the right side's rows, with how often each came.
    seen: AHashMap<Vec<u8>, u64>,
    right_read: bool,
    memory: Option<MemoryGuard>,
    batch: Vec<Row>,
}

impl<'p> SetOpExecutor<'p> {
    pub(crate) fn new(set: &'p SetOp) -> Result<Self> {
        Ok(SetOpExecutor {
            set,
            left: Some(build(&set.left)?),
            right: Some(build(&set.right)?),
            seen: AHashMap::new(),
            right_read: false,
            memory: None,
            batch: Vec::new(),
        })
    }

    async fn read_right(&mut self, rt: &Runtime<'_>) -> Result<()> {
        let Some(mut right) = self.right.take() else {
            return Ok(());
        };
        let memory = self.memory.get_or_insert_with(|| MemoryGuard::new(rt));
        while right.next(rt, &mut self.batch).await? {
            rt.env.statement.turn().await?;
            for (at, row) in self.batch.drain(..).enumerate() {
                rt.env.statement.turn_at(at).await?;
                let key = group_key(&row, &self.set.keys, &rt.eval)?;
                if !self.seen.contains_key(&key) {
                    memory.grow(key.len() as u64 + SET_ENTRY_BYTES)?;
                }
                *self.seen.entry(key).or_default() += 1;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Executor for SetOpExecutor<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        if self.set.kind != SetKind::Union && !self.right_read {
            self.read_right(rt).await?;
            self.right_read = true;
        }
        while out.is_empty() {
            rt.env.statement.turn().await?;
            let input = match (&mut self.left, &mut self.right) {
                (Some(left), _) => left,
                (None, Some(right)) if self.set.kind == SetKind::Union => right,
                _ => return Ok(false),
            };
            if !input.next(rt, &mut self.batch).await? {
                if self.left.is_some() {
                    self.left = None
                } else {
                    self.right = None
                }
                continue;
            }
            if self.set.kind == SetKind::Union && self.set.all {
                out.append(&mut self.batch);
                continue;
            }
            let memory = self.memory.get_or_insert_with(|| MemoryGuard::new(rt));
            for (at, row) in self.batch.drain(..).enumerate() {
                rt.env.statement.turn_at(at).await?;
                let key = group_key(&row, &self.set.keys, &rt.eval)?;
                let known = self.seen.get_mut(&key);
                let keep = match (self.set.kind, self.set.all, known) {
                    (SetKind::Union, _, Some(_)) => false,
                    (SetKind::Union, _, None) => {
                        memory.grow(key.len() as u64 + SET_ENTRY_BYTES)?;
                        self.seen.insert(key, 1);
                        true
                    }
                    // With ALL, each row of the right side answers for one of the left.
                    (SetKind::Except, true, Some(count)) if *count > 0 => {
                        *count -= 1;
                        false
                    }
                    (SetKind::Except, true, _) => true,
                    (SetKind::Intersect, true, Some(count)) if *count > 0 => {
                        *count -= 1;
                        true
                    }
                    (SetKind::Intersect, true, _) => false,
                    (SetKind::Except, false, Some(_)) => false,
                    (SetKind::Except, false, None) => {
                        memory.grow(key.len() as u64 + SET_ENTRY_BYTES)?;
                        self.seen.insert(key, 0);
                        true
                    }
                    (SetKind::Intersect, false, Some(count)) if *count > 0 => {
                        *count = 0;
                        true
                    }
                    (SetKind::Intersect, false, _) => false,
                };
                if keep {
                    out.push(row);
                }
            }
        }
        Ok(true)
    }
}

/// Memory of rows kept, for those who keep them.
pub(crate) fn rows_bytes(rows: &[Row]) -> u64 {
    rows.iter().map(|row| row_bytes(row)).sum()
}
