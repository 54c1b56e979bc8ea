//! The state of binding one statement: its blocks (one for each SELECT being read), subqueries and CTEs.

use std::sync::Arc;

use ilmenite_catalog::{ColumnInfo, TableRef};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{AggregateCall, Expr};
use ilmenite_types::FieldType;

use crate::context::{PlanEnv, TableUse, VirtualTable};
use crate::{QueryPlan, Slot, SubqueryPlan};

/// A CTE in reach: bound anew at each use.
#[derive(Clone)]
pub(crate) struct CteDef {
    pub name: String,
    pub columns: Vec<String>,
    pub query: Arc<sqlparser::ast::Query>,
    /// How many CTEs were in reach where it was defined.
    pub visible: usize,
}

pub(crate) struct Binder<'a> {
    pub env: &'a PlanEnv<'a>,
    pub blocks: Vec<Block>,
    /// Filled as subqueries are bound; `None` while one is being bound.
    pub subqueries: Vec<Option<SubqueryPlan>>,
    pub ctes: Vec<CteDef>,
    /// How deep queries nest.
    pub depth: usize,
    /// The block of an UPDATE's or DELETE's own tables: who only writes them need not be allowed to read them.
    pub changing: Option<usize>,
    /// Expressions met that give another value at every call.
    pub volatile_calls: usize,
}

/// Queries nested deeper are refused: binding and running them recurses.
pub(crate) const MAX_QUERY_DEPTH: usize = 32;

impl<'a> Binder<'a> {
    pub(crate) fn new(env: &'a PlanEnv<'a>) -> Self {
        Binder {
            env,
            blocks: Vec::new(),
            subqueries: Vec::new(),
            ctes: Vec::new(),
            depth: 0,
            changing: None,
            volatile_calls: 0,
        }
    }

    /// Opens a block; `parent` is the block whose columns it may also name.
    pub(crate) fn open_block(&mut self, parent: Option<usize>) -> usize {
        self.blocks.push(Block {
            parent,
            ..Block::default()
        });
        self.blocks.len() - 1
    }

    /// Takes the innermost block away again.
    pub(crate) fn close_block(&mut self) -> Result<Block> {
        self.blocks.pop().ok_or_else(|| Error::bug("no block to close"))
    }

    pub(crate) fn finish(self) -> Result<Vec<SubqueryPlan>> {
        self.subqueries
            .into_iter()
            .map(|plan| plan.ok_or_else(|| Error::bug("a subquery was not bound to its end")))
            .collect()
    }

    pub(crate) fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_QUERY_DEPTH {
            return Err(Error::not_supported_yet(format!(
                "queries nested deeper than {MAX_QUERY_DEPTH} levels"
            )));
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// One SELECT (or the tables of one UPDATE or DELETE) while it is read.
#[derive(Default)]
pub(crate) struct Block {
    pub parent: Option<usize>,
    pub sources: Vec<Source>,
    pub width: usize,
    /// Which source fills which slot; the row's own slots in order.
    pub owners: Vec<usize>,
    /// Columns as `*` and unqualified names see them, when joins with USING or NATURAL merged some.
    pub visible: Option<Vec<VisibleColumn>>,
    pub aggregates: Vec<AggregateCall>,
    /// What the block's `Outer` slots stand for in its parent.
    pub outer: Vec<Expr>,
    /// It has no tables and only passes names on: around the SELECTs of a subquery, which share its outer row.
    pub carrier: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct VisibleColumn {
    pub source: usize,
    pub column: usize,
}

pub(crate) enum SourceKind {
    Table(TableUse),
    Virtual {
        table: Arc<dyn VirtualTable>,
    },
    Derived {
        plan: Option<Box<QueryPlan>>,
        columns: Vec<(String, FieldType)>,
    },
    /// The row an INSERT would have written, in ON DUPLICATE KEY UPDATE.
    NewRow {
        table: TableRef,
        names: Option<Vec<String>>,
    },
}

/// What index hints allow.
#[derive(Debug, Clone, Default)]
pub(crate) struct IndexHints {
    /// USE and FORCE: only these (lower case); an empty list with `only` means the table itself.
    pub only: Option<Vec<String>>,
    pub ignore: Vec<String>,
}

/// One entry of FROM.
pub(crate) struct Source {
    pub alias: String,
    pub database: Option<String>,
    pub kind: SourceKind,
    /// Of each column, its slot once it is used.
    pub slots: Vec<Option<Slot>>,
    /// The row's key, as stored.
    pub key_slot: Option<Slot>,
    /// The row, as stored.
    pub raw_slot: Option<Slot>,
    pub hints: IndexHints,
}

impl Source {
    pub(crate) fn column_count(&self) -> usize {
        self.slots.len()
    }

    /// Name and type of a column.
    pub(crate) fn column(&self, at: usize) -> (&str, &FieldType) {
        match &self.kind {
            SourceKind::Table(TableUse { info, .. }) => {
                let ColumnInfo { name, field_type, .. } = &info.columns[at];
                (&name.original, field_type)
            }
            SourceKind::NewRow { table, names } => {
                let ColumnInfo { name, field_type, .. } = &table.columns[at];
                match names {
                    Some(names) => (&names[at], field_type),
                    None => (&name.original, field_type),
                }
            }
            SourceKind::Virtual { table } => {
                let column = &table.columns()[at];
                (column.name, &column.field_type)
            }
            SourceKind::Derived { columns, .. } => (&columns[at].0, &columns[at].1),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        (0..self.column_count()).find(|at| same_name(self.column(*at).0, name))
    }

    pub(crate) fn table(&self) -> Option<&TableUse> {
        match &self.kind {
            SourceKind::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// Identifiers compare without case.
pub fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!(a.is_ascii() && b.is_ascii()) && a.to_lowercase() == b.to_lowercase())
}

impl Block {
    /// The slot of a column, given to it at its first use.
    pub(crate) fn slot(&mut self, source: usize, column: usize) -> Slot {
        if let Some(slot) = self.sources[source].slots[column] {
            return slot;
        }
        let slot = self.new_slot(source);
        self.sources[source].slots[column] = Some(slot);
        slot
    }

    fn new_slot(&mut self, source: usize) -> Slot {
        let slot = self.width;
        self.width += 1;
        self.owners.push(source);
        slot
    }

    /// The slot of a table's row keys.
    pub(crate) fn key_slot(&mut self, source: usize) -> Slot {
        if let Some(slot) = self.sources[source].key_slot {
            return slot;
        }
        let slot = self.new_slot(source);
        self.sources[source].key_slot = Some(slot);
        slot
    }

    /// The slot of a table's rows as stored.
    pub(crate) fn raw_slot(&mut self, source: usize) -> Slot {
        if let Some(slot) = self.sources[source].raw_slot {
            return slot;
        }
        let slot = self.new_slot(source);
        self.sources[source].raw_slot = Some(slot);
        slot
    }

    /// The column as an expression.
    pub(crate) fn column_expr(&mut self, source: usize, column: usize) -> Expr {
        let slot = self.slot(source, column);
        let source = &self.sources[source];
        let (name, ty) = source.column(column);
        let shown = match source.database.as_deref() {
            Some(database) if !source.alias.is_empty() => format!("{database}.{}.{name}", source.alias),
            _ if source.alias.is_empty() => name.to_owned(),
            _ => format!("{}.{name}", source.alias),
        };
        Expr::column(slot, ty.clone(), &shown)
    }

    /// Source and column that a slot was given to.
    pub(crate) fn owner(&self, slot: Slot) -> Option<(usize, usize)> {
        let source = *self.owners.get(slot)?;
        let slots = &self.sources[source].slots;
        let column = slots.iter().position(|s| *s == Some(slot))?;
        Some((source, column))
    }

    /// All slots of a source.
    pub(crate) fn slots_of(&self, source: usize) -> Vec<Slot> {
        (0..self.width)
            .filter(|slot| self.owners[*slot] == source)
            .collect()
    }

    /// (column, slot) of the columns of a source that are used.
    pub(crate) fn used_columns(&self, source: usize) -> Vec<(usize, Slot)> {
        let slots = self.sources[source].slots.iter().enumerate();
        slots
            .filter_map(|(column, slot)| Some((column, (*slot)?)))
            .collect()
    }
}
