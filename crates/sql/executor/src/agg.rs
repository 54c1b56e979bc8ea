//! GROUP BY and aggregates, by hash. Groups that do not fit the statement's memory wait in temporary files: the groups met
//! first are finished in memory, rows of others are set aside by the hash of their key, and each part is done afterwards.

use std::hash::{BuildHasher, Hasher};

use ahash::{AHashMap, RandomState};
use async_trait::async_trait;
use ilmenite_types::Datum;

use super::runtime::{BATCH_ROWS, Executor, MemoryGuard, Runtime, build, row_bytes, used_subqueries};
use super::spill::{SpillReader, SpillWriter};
use crate::result::Row;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{AggregateState, Comparer, EvalContext, SubqueryId, append_group_key};
use ilmenite_planner::Aggregate;

const PARTS: usize = 16;
/// Parts of parts, at most: then the keys cannot be told apart by hashing, and memory has run out.
const MAX_DEPTH: u32 = 6;
const GROUP_BYTES: u64 = 96;

struct Group {
    keys: Row,
    states: Vec<AggregateState>,
    firsts: Row,
}

pub(crate) struct AggregateExecutor<'p> {
    node: &'p Aggregate,
    input: Option<Box<dyn Executor + 'p>>,
    comparers: Vec<Comparer>,
    subqueries: Vec<SubqueryId>,
    done: std::vec::IntoIter<Group>,
    memory: Option<MemoryGuard>,
    /// Rows set aside, and how often their keys were split before.
    aside: Vec<(SpillReader, u32)>,
    started: bool,
}

/// Groups being made from one input.
struct Round {
    table: AHashMap<Vec<u8>, u32>,
    groups: Vec<Group>,
    /// Once memory is full.
    parts: Option<Vec<SpillWriter>>,
    depth: u32,
    hasher: RandomState,
    states_bytes: u64,
}

impl<'p> AggregateExecutor<'p> {
    pub(crate) fn new(node: &'p Aggregate) -> Result<Self> {
        let args = node
            .calls
            .iter()
            .flat_map(|call| call.args.iter().chain(call.order_by.iter().map(|(e, _)| e)));
        Ok(AggregateExecutor {
            input: Some(build(&node.input)?),
            comparers: node
                .keys
                .iter()
                .map(|key| Comparer::for_type(key.field_type()))
                .collect(),
            subqueries: used_subqueries(node.keys.iter().chain(args).chain(&node.firsts)),
            node,
            done: Vec::new().into_iter(),
            memory: None,
            aside: Vec::new(),
            started: false,
        })
    }

    fn new_round(depth: u32) -> Round {
        Round {
            table: AHashMap::new(),
            groups: Vec::new(),
            parts: None,
            depth,
            // Another hash at every depth, or all rows of a part would fall into one again.
            hasher: RandomState::with_seeds(u64::from(depth) + 1, 2, 3, 4),
            states_bytes: 0,
        }
    }

    async fn add(
        &mut self,
        round: &mut Round,
        row: Row,
        memory: &mut MemoryGuard,
        rt: &Runtime<'_>,
    ) -> Result<()> {
        if !self.subqueries.is_empty() {
            rt.subqueries.prepare(rt, &self.subqueries, &row).await?;
        }
        let eval = &rt.eval;
        let mut key = Vec::with_capacity(self.comparers.len() * 12);
        let mut values = Row::new();
        for (expr, comparer) in self.node.keys.iter().zip(&self.comparers) {
            let value = expr.eval(&row, eval)?;
            append_group_key(&value, comparer, eval, &mut key)?;
            values.push(value);
        }
        let at = match round.table.get(&key) {
            Some(at) => *at as usize,
            None => {
                if let Some(parts) = &mut round.parts {
                    let part = part_of(&round.hasher, &key);
                    return parts[part].write(&row);
                }
                let bytes = key.len() as u64
                    + GROUP_BYTES
                    + row_bytes(&values)
                    + (self.node.calls.len() * std::mem::size_of::<AggregateState>()) as u64;
                if !memory.try_grow(bytes) && !round.groups.is_empty() {
                    if round.depth >= MAX_DEPTH {
                        return Err(Error::query_memory_exceeded(rt.env.settings.connection_id));
                    }
                    let mut parts = (0..PARTS)
                        .map(|_| SpillWriter::new(rt.env.spill_dir))
                        .collect::<Result<Vec<_>>>()?;
                    let part = part_of(&round.hasher, &key);
                    let written = parts[part].write(&row);
                    round.parts = Some(parts);
                    return written;
                }
                let firsts = self
                    .node
                    .firsts
                    .iter()
                    .map(|expr| expr.eval(&row, eval))
                    .collect::<Result<Row>>()?;
                let states = self.node.calls.iter().map(|call| call.new_state()).collect();
                round.groups.push(Group {
                    keys: values,
                    states,
                    firsts,
                });
                round.table.insert(key, (round.groups.len() - 1) as u32);
                round.groups.len() - 1
            }
        };
        let Group { states, .. } = &mut round.groups[at];
        for (state, call) in states.iter_mut().zip(&self.node.calls) {
            let before = state.memory_bytes();
            state.update(call, &row, eval)?;
            round.states_bytes += state.memory_bytes().saturating_sub(before) as u64;
        }
        if round.states_bytes > 64 << 10 {
            memory.grow(round.states_bytes)?;
            round.states_bytes = 0;
        }
        Ok(())
    }

    /// The groups of a round are ready; what it set aside comes later.
    fn end(&mut self, round: Round) -> Result<()> {
        if let Some(parts) = round.parts {
            for part in parts.into_iter().filter(|part| part.rows() > 0) {
                self.aside.push((part.finish()?, round.depth + 1));
            }
        }
        self.done = round.groups.into_iter();
        Ok(())
    }

    async fn first_round(&mut self, rt: &Runtime<'_>) -> Result<()> {
        let mut memory = MemoryGuard::new(rt);
        let mut round = Self::new_round(0);
        let mut batch = Vec::new();
        if let Some(mut input) = self.input.take() {
            while input.next(rt, &mut batch).await? {
                rt.env.statement.turn().await?;
                for (at, row) in batch.drain(..).enumerate() {
                    rt.env.statement.turn_at(at).await?;
                    self.add(&mut round, row, &mut memory, rt).await?;
                }
            }
        }
        if self.node.keys.is_empty() && round.groups.is_empty() {
            // No row makes one group all the same.
            round.groups.push(Group {
                keys: Row::new(),
                states: self.node.calls.iter().map(|call| call.new_state()).collect(),
                firsts: vec![Datum::Null; self.node.firsts.len()],
            });
        }
        self.memory = Some(memory);
        self.end(round)
    }

    async fn next_round(&mut self, rt: &Runtime<'_>) -> Result<bool> {
        let Some((mut reader, depth)) = self.aside.pop() else {
            return Ok(false);
        };
        self.memory = None;
        let mut memory = MemoryGuard::new(rt);
        let mut round = Self::new_round(depth);
        let mut count = 0usize;
        while let Some(row) = reader.next()? {
            count += 1;
            rt.env.statement.turn_at(count).await?;
            self.add(&mut round, row, &mut memory, rt).await?;
        }
        self.memory = Some(memory);
        self.end(round)?;
        Ok(true)
    }

    fn finish(&self, group: Group, eval: &EvalContext) -> Result<Row> {
        let mut row = group.keys;
        for (state, call) in group.states.into_iter().zip(&self.node.calls) {
            row.push(state.finish(call, eval)?);
        }
        row.extend(group.firsts);
        Ok(row)
    }
}

fn part_of(hasher: &RandomState, key: &[u8]) -> usize {
    let mut state = hasher.build_hasher();
    state.write(key);
    state.finish() as usize % PARTS
}

#[async_trait]
impl Executor for AggregateExecutor<'_> {
    async fn next(&mut self, rt: &Runtime<'_>, out: &mut Vec<Row>) -> Result<bool> {
        out.clear();
        if !self.started {
            self.started = true;
            self.first_round(rt).await?;
        }
        loop {
            rt.env.statement.turn().await?;
            while out.len() < BATCH_ROWS {
                let Some(group) = self.done.next() else { break };
                rt.env.statement.turn_at(out.len()).await?;
                out.push(self.finish(group, &rt.eval)?);
            }
            if !out.is_empty() {
                return Ok(true);
            }
            if !self.next_round(rt).await? {
                return Ok(false);
            }
        }
    }
}
