//! ORDER BY: in memory, as the first n only, or by merging sorted runs in temporary files.

use std::cmp::Ordering;

use async_trait::async_trait;

use super::runtime::{BATCH_ROWS, Executor, MemoryGuard, Runtime, row_bytes};
use super::simple::limit_values;
use super::spill::{SpillReader, SpillWriter};
use crate::result::Row;
use ilmenite_error::{Error, Result};
use ilmenite_expr::EvalContext;
use ilmenite_planner::{Limit, SortKey};

/// Up to so many rows are kept when only the first n are wanted.
const TOP_ROWS: u64 = 100_000;
/// Runs merged at once.
const MERGE_RUNS: usize = 64;

pub(crate) struct SortExecutor<'p> {
    input: Box<dyn Executor + 'p>,
    keys: &'p [SortKey],
    limit: Option<&'p Limit>,
    sorted: Option<Sorted>,
}

enum Sorted {
    Memory(std::vec::IntoIter<Row>, #[allow(dead_code)] MemoryGuard),
    Runs(Merge),
}

impl<'p> SortExecutor<'p> {
    pub(crate) fn new(input: Box<dyn Executor + 'p>, keys: &'p [SortKey], limit: Option<&'p Limit>) -> Self {
        SortExecutor {
            input,
            keys,
            limit,
            sorted: None,
        }
    }

    async fn sort(&mut self, rt: &Runtime<'_>) -> Result<Sorted> {
        let top = match self.limit {
            Some(limit) => {
                let (count, offset) = limit_values(limit, &rt.eval)?;
                Some(count.saturating_add(offset)).filter(|rows| *rows <= TOP_ROWS)
            }
            None => None,
        };
        let mut memory = MemoryGuard::new(rt);
        let mut rows: Vec<Row> = Vec::new();
        let mut runs: Vec<SpillReader> = Vec::new();
        let mut batch = Vec::new();
        while self.input.next(rt, &mut batch).await? {
            rt.env.statement.turn().await?;
            for (at, row) in batch.drain(..).enumerate() {
                rt.env.statement.turn_at(at).await?;
                let bytes = row_bytes(&row);
                if !memory.try_grow(bytes) {
                    if rows.is_empty() {
                        return Err(Error::query_memory_exceeded(rt.env.settings.connection_id));
                    }
                    runs.push(spill(&mut rows, self.keys, rt).await?);
                    memory.reset();
                    memory.grow(bytes)?;
                }
                rows.push(row);
            }
            if let Some(top) = top
                && runs.is_empty()
                && rows.len() as u64 > top.saturating_mul(2).max(BATCH_ROWS as u64)
            {
                sort_rows(&mut rows, self.keys, rt).await?;
                rows.truncate(top as usize);
                memory.reset();
                memory.grow(rows.iter().map(|row| row_bytes(row)).sum())?;
            }
        }
        if runs.is_empty() {
            sort_rows(&mut rows, self.keys, rt).await?;
            return Ok(Sorted::Memory(rows.into_iter(), memory));
        }
        if !rows.is_empty() {
            runs.push(spill(&mut rows, self.keys, rt).await?);
        }
        drop(memory);
        while runs.len() > MERGE_RUNS {
            let rest = runs.split_off(MERGE_RUNS);
            let mut merge = Merge::new(runs)?;
            let mut writer = SpillWriter::new(rt.env.spill_dir)?;
            while let Some(row) = merge.next(self.keys, &rt.eval)? {
                rt.env.statement.turn_at(writer.rows() as usize).await?;
                writer.write(&row)?;
            }
            // In front: equal rows keep the order they came in.
            runs = vec![writer.finish()?];
            runs.extend(rest);
        }
        Ok(Sorted::Runs(Merge::new(runs)?))
    }
}

/// Sorts the rows into a file, and takes them out.
async fn spill(rows: &mut Vec<Row>, keys: &[SortKey], rt: &Runtime<'_>) -> Result<SpillReader> {
    sort_rows(rows, keys, rt).await?;
    let mut writer = SpillWriter::new(rt.env.spill_dir)?;
    for (at, row) in rows.drain(..).enumerate() {
        rt.env.statement.turn_at(at).await?;
        writer.write(&row)?;
    }
    writer.finish()
}

fn compare(a: &Row, b: &Row, keys: &[SortKey], eval: &EvalContext) -> Result<Ordering> {
    for key in keys {
        let order = key.comparer.sort_order(&a[key.slot], &b[key.slot], eval)?;
        if order.is_ne() {
            return Ok(if key.descending { order.reverse() } else { order });
        }
    }
    Ok(Ordering::Equal)
}

/// Rows of this many bytes are compared between two looks whether the turn is over, about.
const BYTES_PER_LOOK: usize = 1 << 20;
const ROWS_PER_LOOK_MAX: usize = 1024;

/// Sorts the rows, equal ones in the order they came in: short runs first, then two by two until there is one. A sort at one go
/// could neither be stopped nor let others run.
async fn sort_rows(rows: &mut Vec<Row>, keys: &[SortKey], rt: &Runtime<'_>) -> Result<()> {
    let eval = &rt.eval;
    let bytes_of_one = rows.first().map_or(0, |row| row_bytes(row) as usize).max(1);
    let run = (BYTES_PER_LOOK / bytes_of_one).clamp(1, ROWS_PER_LOOK_MAX);
    for run in rows.chunks_mut(run) {
        rt.env.statement.turn().await?;
        let mut failed = None;
        run.sort_by(|a, b| match compare(a, b, keys, eval) {
            Ok(order) => order,
            Err(e) => {
                failed.get_or_insert(e);
                Ordering::Equal
            }
        });
        failed.map_or(Ok(()), Err)?;
    }
    let mut length = run;
    while length < rows.len() {
        let mut merged = Vec::with_capacity(rows.len());
        for pair in rows.chunks_mut(2 * length) {
            let (left, right) = pair.split_at_mut(length.min(pair.len()));
            merge(left, right, &mut merged, keys, run, rt).await?;
        }
        *rows = merged;
        length *= 2;
    }
    Ok(())
}

/// Takes the rows of two sorted runs over into `out`, in order. `look`: so many rows between two looks.
async fn merge(
    left: &mut [Row],
    right: &mut [Row],
    out: &mut Vec<Row>,
    keys: &[SortKey],
    look: usize,
    rt: &Runtime<'_>,
) -> Result<()> {
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        if (l + r).is_multiple_of(look) {
            rt.env.statement.turn().await?;
        }
        let row = if compare(&left[l], &right[r], keys, &rt.eval)?.is_le() {
            l += 1;
            &mut left[l - 1]
        } else {
            r += 1;
            &mut right[r - 1]
        };
        out.push(std::mem::take(row));
    }
    out.extend(left[l..].iter_mut().map(std::mem::take));
    out.extend(right[r..].iter_mut().map(std::mem::take));
    Ok(())
}

/// Sorted runs as one.
struct Merge {
    runs: Vec<(SpillReader, Option<Row>)>,
}

impl Merge {
    fn new(readers: Vec<SpillReader>) -> Result<Self> {
        let mut runs = Vec::with_capacity(readers.len());
        for mut reader in readers {
            let first = reader.next()?;
            runs.push((reader, first));
        }
        Ok(Merge { runs })
    }

    fn next(&mut self, keys: &[SortKey], eval: &EvalContext) -> Result<Option<Row>> {
        let mut least: Option<usize> = None;
        for at in 0..self.runs.len() {
            let Some(row) = &self.runs[at].1 else { continue };
            let better = match least.and_then(|l| self.runs[l].1.as_ref()) {
                None => true,
                Some(known) => compare(row, known, keys, eval)?.is_lt(),
            };
            if better {
                least = Some(at);
            }
        }
        let Some(at) = least else { return Ok(None) };
        let (reader, head) = &mut self.runs[at];
        let next = reader.next()?;
        Ok(std::mem::replace(head, next))
    }
}

#[async_trait]
impl Executor for SortExecutor<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        if self.sorted.is_none() {
            self.sorted = Some(self.sort(rt).await?);
        }
        rt.env.statement.turn().await?;
        match &mut self.sorted {
            Some(Sorted::Memory(rows, _)) => out.extend(rows.take(BATCH_ROWS)),
            Some(Sorted::Runs(merge)) => {
                while out.len() < BATCH_ROWS {
                    rt.env.statement.turn_at(out.len()).await?;
                    match merge.next(self.keys, &rt.eval)? {
                        Some(row) => out.push(row),
                        None => break,
                    }
                }
            }
            None => {}
        }
        Ok(!out.is_empty())
    }
}
