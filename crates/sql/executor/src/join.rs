//! Joins: by index, by hash, every pair; and semi joins.

use ahash::{AHashMap, AHashSet};
use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_types::Datum;

use super::runtime::{
    BATCH_ROWS, Executor, MemoryGuard, Runtime, build as build_node, collect, holds, used_subqueries,
};
use super::scan::TableAccess;
use super::simple::rows_bytes;
use crate::result::Row;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Comparer, EvalContext, Expr, SubqueryId, append_group_key};
use ilmenite_planner::{Join, JoinKind, JoinMethod, NodeKind, SemiJoin, Slot};

pub(crate) fn build<'p>(join: &'p Join) -> Result<Box<dyn Executor + 'p>> {
    Ok(match &join.method {
        JoinMethod::Index => Box::new(IndexJoin::new(join)?),
        JoinMethod::Hash { keys } => Box::new(HashJoin::new(join, keys)?),
        JoinMethod::Loop => Box::new(HashJoin::new(join, &[])?),
    })
}

/// What all joins do with a left row and the rows that fit it.
struct Matching<'p> {
    kind: JoinKind,
    conditions: &'p [Expr],
    subqueries: Vec<SubqueryId>,
    right_slots: &'p [Slot],
}

impl<'p> Matching<'p> {
    fn new(join: &'p Join) -> Self {
        Matching {
            kind: join.kind,
            conditions: &join.conditions,
            subqueries: used_subqueries(&join.conditions),
            right_slots: &join.right_slots,
        }
    }

    async fn fits(&self, row: &[Datum], rt: &Runtime<'_>) -> Result<bool> {
        Ok(self.conditions.is_empty() || holds(self.conditions, &self.subqueries, row, rt).await?)
    }

    fn joined(&self, left: &[Datum], right: &[Datum]) -> Row {
        let mut row = left.to_vec();
        for slot in self.right_slots {
            row[*slot] = right[*slot].clone();
        }
        row
    }
}

/// Reads the right table for each left row, by an index or its key.
struct IndexJoin<'p> {
    left: Box<dyn Executor + 'p>,
    access: TableAccess<'p>,
    matching: Matching<'p>,
    batch: Vec<Row>,
    ended: bool,
}

impl<'p> IndexJoin<'p> {
    fn new(join: &'p Join) -> Result<Self> {
        let NodeKind::Table(scan) = &join.right.kind else {
            return Err(Error::bug("an index join of what is no table"));
        };
        Ok(IndexJoin {
            left: build_node(&join.left)?,
            access: TableAccess::new(scan),
            matching: Matching::new(join),
            batch: Vec::new(),
            ended: false,
        })
    }

    /// All lookups of the batch in one request, when each is for one key.
    async fn join_points(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<()> {
        let mut keys: Vec<Bytes> = Vec::with_capacity(self.batch.len());
        let mut whose: Vec<usize> = Vec::with_capacity(self.batch.len());
        for (at, row) in self.batch.iter().enumerate() {
            for range in self.access.ranges(row, &rt.eval)? {
                if !range.point {
                    return self.join_ranges(rt, out).await;
                }
                keys.push(self.access.point_key(range));
                whose.push(at);
            }
        }
        let lefts: Vec<&[Datum]> = whose.iter().map(|at| &self.batch[*at][..]).collect();
        let (mut rows, mut origins) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        self.access
            .get_rows(&keys, Some(&lefts), rt, &mut rows, Some(&mut origins))
            .await?;
        drop(lefts);
        let mut found = rows
            .into_iter()
            .zip(origins.into_iter().map(|at| whose[at]))
            .peekable();
        for (at, left) in self.batch.drain(..).enumerate() {
            rt.env.statement.turn_at(at).await?;
            let mut matched = false;
            while let Some((row, _)) = found.next_if(|(_, origin)| *origin == at) {
                if self.matching.fits(&row, rt).await? {
                    matched = true;
                    out.push(row);
                }
            }
            if !matched && self.matching.kind == JoinKind::Left {
                out.push(left);
            }
        }
        Ok(())
    }

    async fn join_ranges(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<()> {
        let mut rows = Vec::new();
        for left in std::mem::take(&mut self.batch) {
            rt.env.statement.turn().await?;
            rows.clear();
            self.access.read_all(&left, rt, &mut rows).await?;
            let mut matched = false;
            for (at, row) in rows.drain(..).enumerate() {
                rt.env.statement.turn_at(at).await?;
                if self.matching.fits(&row, rt).await? {
                    matched = true;
                    out.push(row);
                }
            }
            if !matched && self.matching.kind == JoinKind::Left {
                out.push(left);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Executor for IndexJoin<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            rt.env.statement.turn().await?;
            if self.ended || !self.left.next(rt, &mut self.batch).await? {
                self.ended = true;
                return Ok(false);
            }
            if self.access.is_point() {
                self.join_points(rt, out).await?;
            } else {
                self.join_ranges(rt, out).await?;
            }
        }
        Ok(true)
    }
}

/// Keeps the right side, in a hash table when there are keys to find its rows by, and goes through the left. The right
/// side must fit the statement's memory; 8175 says that it does not.
struct HashJoin<'p> {
    join: &'p Join,
    left: Box<dyn Executor + 'p>,
    keys: &'p [(Expr, Expr, Comparer)],
    left_subqueries: Vec<SubqueryId>,
    matching: Matching<'p>,
    built: Option<Built>,
    batch: std::vec::IntoIter<Row>,
    /// The left row at work, and the right rows still to be tried for it.
    current: Option<(Row, Vec<u32>, usize, bool)>,
}

struct Built {
    rows: Vec<Row>,
    table: AHashMap<Vec<u8>, Vec<u32>>,
    all: Vec<u32>,
    _memory: MemoryGuard,
}

impl<'p> HashJoin<'p> {
    fn new(join: &'p Join, keys: &'p [(Expr, Expr, Comparer)]) -> Result<Self> {
        Ok(HashJoin {
            join,
            left: build_node(&join.left)?,
            keys,
            left_subqueries: used_subqueries(keys.iter().map(|(l, ..)| l)),
            matching: Matching::new(join),
            built: None,
            batch: Vec::new().into_iter(),
            current: None,
        })
    }

    async fn build(&mut self, rt: &Runtime<'_>) -> Result<Built> {
        let (rows, mut memory) = collect(&self.join.right, rt, usize::MAX).await?;
        let mut table: AHashMap<Vec<u8>, Vec<u32>> = AHashMap::new();
        if self.keys.is_empty() {
            let all = (0..rows.len() as u32).collect();
            return Ok(Built {
                rows,
                table,
                all,
                _memory: memory,
            });
        }
        let subqueries = used_subqueries(self.keys.iter().map(|(_, r, _)| r));
        for (at, row) in rows.iter().enumerate() {
            rt.env.statement.turn_at(at).await?;
            rt.subqueries.prepare(rt, &subqueries, row).await?;
            if let Some(key) = join_key(self.keys.iter().map(|(_, r, c)| (r, c)), row, &rt.eval)? {
                memory.grow(key.len() as u64 + 64)?;
                table.entry(key).or_default().push(at as u32);
            }
        }
        Ok(Built {
            rows,
            table,
            all: Vec::new(),
            _memory: memory,
        })
    }
}

/// What rows that are equal in all keys have in common; `None` when one is NULL, which equals nothing.
fn join_key<'e>(
    keys: impl Iterator<Item = (&'e Expr, &'e Comparer)>,
    row: &[Datum],
    eval: &EvalContext,
) -> Result<Option<Vec<u8>>> {
    let mut key = Vec::with_capacity(16);
    for (expr, comparer) in keys {
        let value = expr.eval_ref(row, eval)?;
        if *value == Datum::Null {
            return Ok(None);
        }
        append_group_key(&value, comparer, eval, &mut key)?;
    }
    Ok(Some(key))
}

#[async_trait]
impl Executor for HashJoin<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        if self.built.is_none() {
            self.built = Some(self.build(rt).await?);
        }
        let Some(built) = &self.built else {
            return Ok(false);
        };
        if built.rows.is_empty() && self.join.kind == JoinKind::Inner {
            return Ok(false);
        }
        let mut tried = 0usize;
        while out.len() < BATCH_ROWS {
            if let Some((left, candidates, at, matched)) = &mut self.current {
                if let Some(candidate) = candidates.get(*at) {
                    *at += 1;
                    tried += 1;
                    rt.env.statement.turn_at(tried).await?;
                    let row = self.matching.joined(left, &built.rows[*candidate as usize]);
                    if self.matching.fits(&row, rt).await? {
                        *matched = true;
                        out.push(row);
                    }
                    continue;
                }
                let unmatched = !*matched && self.join.kind == JoinKind::Left;
                if let Some((left, ..)) = self.current.take()
                    && unmatched
                {
                    out.push(left);
                }
                continue;
            }
            let Some(left) = self.batch.next() else {
                rt.env.statement.turn().await?;
                let mut batch = Vec::new();
                if !self.left.next(rt, &mut batch).await? {
                    break;
                }
                self.batch = batch.into_iter();
                continue;
            };
            let candidates = if self.keys.is_empty() {
                built.all.clone()
            } else {
                if !self.left_subqueries.is_empty() {
                    rt.subqueries.prepare(rt, &self.left_subqueries, &left).await?;
                }
                match join_key(self.keys.iter().map(|(l, _, c)| (l, c)), &left, &rt.eval)? {
                    Some(key) => built.table.get(&key).cloned().unwrap_or_default(),
                    None => Vec::new(),
                }
            };
            self.current = Some((left, candidates, 0, false));
        }
        Ok(!out.is_empty())
    }
}

/// `left IN (subquery)`, the subquery's rows in a hash table.
pub(crate) struct SemiJoinExecutor<'p> {
    join: &'p SemiJoin,
    input: Box<dyn Executor + 'p>,
    left_subqueries: Vec<SubqueryId>,
    members: Option<Members>,
    batch: Vec<Row>,
}

struct Members {
    keys: AHashSet<Vec<u8>>,
    /// Rows with a NULL in them: whether they equal something is not known.
    partly_null: Vec<Row>,
    empty: bool,
    rows: Vec<Row>,
    _memory: MemoryGuard,
}

impl<'p> SemiJoinExecutor<'p> {
    pub(crate) fn new(join: &'p SemiJoin) -> Result<Self> {
        Ok(SemiJoinExecutor {
            join,
            input: build_node(&join.input)?,
            left_subqueries: used_subqueries(&join.left),
            members: None,
            batch: Vec::new(),
        })
    }

    async fn read(&mut self, rt: &Runtime<'_>) -> Result<Members> {
        let plan = rt.subqueries.plan(self.join.subquery)?;
        let (rows, mut memory) = collect(&plan.plan.root, rt, usize::MAX).await?;
        let mut members = AHashSet::new();
        let mut partly_null = Vec::new();
        let mut plain = Vec::new();
        let empty = rows.is_empty();
        for (at, row) in rows.into_iter().enumerate() {
            rt.env.statement.turn_at(at).await?;
            if row.contains(&Datum::Null) {
                partly_null.push(row);
                continue;
            }
            let mut key = Vec::with_capacity(16);
            for ((value, comparer), ty) in row.iter().zip(&self.join.comparers).zip(&plan.types) {
                let named = matches!(
                    (value, comparer),
                    (Datum::Enum(_) | Datum::Set(_), Comparer::Bytes(_))
                );
                let text = named.then(|| Datum::Bytes(ilmenite_expr::text_of(value, ty)));
                append_group_key(text.as_ref().unwrap_or(value), comparer, &rt.eval, &mut key)?;
            }
            memory.grow(key.len() as u64 + 48)?;
            members.insert(key);
            if self.join.left.len() > 1 {
                plain.push(row);
            }
        }
        memory.grow(rows_bytes(&partly_null))?;
        Ok(Members {
            keys: members,
            partly_null,
            empty,
            rows: plain,
            _memory: memory,
        })
    }

    /// IN, with SQL's three values.
    fn is_in(join: &SemiJoin, members: &Members, left: &[Datum], eval: &EvalContext) -> Result<Option<bool>> {
        if members.empty {
            return Ok(Some(false));
        }
        let unknown_with = |rows: &[Row]| -> Result<bool> {
            for row in rows {
                let mut possible = true;
                for ((l, r), comparer) in left.iter().zip(row).zip(&join.comparers) {
                    if *l != Datum::Null && *r != Datum::Null && comparer.order(l, r, eval)?.is_ne() {
                        possible = false;
                        break;
                    }
                }
                if possible {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        if left.contains(&Datum::Null) {
            let unknown =
                left.len() == 1 || unknown_with(&members.rows)? || unknown_with(&members.partly_null)?;
            return Ok(if unknown { None } else { Some(false) });
        }
        let mut key = Vec::with_capacity(16);
        for (value, comparer) in left.iter().zip(&join.comparers) {
            append_group_key(value, comparer, eval, &mut key)?;
        }
        if members.keys.contains(&key) {
            return Ok(Some(true));
        }
        Ok(if unknown_with(&members.partly_null)? {
            None
        } else {
            Some(false)
        })
    }
}

#[async_trait]
impl Executor for SemiJoinExecutor<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        if self.members.is_none() {
            self.members = Some(self.read(rt).await?);
        }
        while out.is_empty() {
            rt.env.statement.turn().await?;
            if !self.input.next(rt, &mut self.batch).await? {
                return Ok(false);
            }
            let Some(members) = &self.members else {
                return Ok(false);
            };
            for (at, row) in self.batch.drain(..).enumerate() {
                rt.env.statement.turn_at(at).await?;
                if !self.left_subqueries.is_empty() {
                    rt.subqueries.prepare(rt, &self.left_subqueries, &row).await?;
                }
                let left = self
                    .join
                    .left
                    .iter()
                    .map(|expr| expr.eval(&row, &rt.eval))
                    .collect::<Result<Vec<_>>>()?;
                if Self::is_in(self.join, members, &left, &rt.eval)? == Some(!self.join.negated) {
                    out.push(row);
                }
            }
        }
        Ok(true)
    }
}
