//! From the parser's tree to a plan: names, conditions, access paths, joins.
//!
//! A plan's rows are vectors of datums, one *slot* for each column the statement really uses: slots are given out as names
//! are met, so that a scan decodes nothing else. All operators between FROM and the grouping (or the projection) of one
//! SELECT share one layout; each fills in its own tables' slots.

mod access;
mod binder;
mod bounds;
mod condition;
mod cost;
mod dml;
mod explain;
mod from;
mod join;
mod keys;
mod names;
mod query;
mod ranges;
mod select;
mod tables;
mod text;

use std::sync::Arc;

use ilmenite_catalog::{IndexId, TableRef};
use ilmenite_codec::Datum;

use crate::expr::{AggregateCall, Comparer, Expr};
use crate::infoschema::VirtualTable;
use crate::result::ResultColumn;

pub(crate) use binder::{Binder, PlanEnv, SubqueryPlan};
pub(crate) use condition::subqueries;
pub(crate) use dml::{
    AssignmentPlan, DeletePlan, InsertPlan, InsertSource, LoadItem, LoadPlan, OnDuplicatePlan, TargetTable,
    UpdatePlan, bind_delete, bind_insert, bind_load, bind_update,
};
pub(crate) use explain::{ExplainRow, explain_rows};
pub(crate) use keys::{BytesRange, KeyBuilder};
pub(crate) use query::limit_number;
pub(crate) use ranges::ColumnBound;
pub(crate) use tables::{StatementTables, StatsCache, TableUse};

/// A place in a row.
pub(crate) type Slot = usize;

/// A query, its subqueries apart (they are the statement's: `Statement::subqueries`).
#[derive(Debug)]
pub(crate) struct QueryPlan {
    pub root: Node,
    pub columns: Vec<ResultColumn>,
    pub lock: Option<LockMode>,
    /// With `lock`: rows carry the keys to lock from this position on; 0 when they carry none.
    pub lock_keys: usize,
    pub calc_found_rows: bool,
    /// With `calc_found_rows`: the LIMIT, which whoever sends the rows applies, counting on.
    pub calc_limit: Option<Limit>,
}

/// What `FOR UPDATE` and its kin ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockWait {
    Wait,
    Nowait,
    SkipLocked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockMode {
    pub wait: LockWait,
}

/// An operator with its inputs, and how many rows it is expected to give.
#[derive(Debug)]
pub(crate) struct Node {
    pub rows: f64,
    pub kind: NodeKind,
}

impl Node {
    pub fn new(rows: f64, kind: NodeKind) -> Node {
        Node {
            rows: rows.max(0.0),
            kind,
        }
    }
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    /// One row of `width` NULLs: SELECT without FROM.
    Dual {
        width: usize,
    },
    /// No row: a condition that is never true.
    Empty,
    Table(Arc<TableScan>),
    Virtual(Arc<VirtualScan>),
    /// A derived table or CTE: the rows of a query, put into slots.
    Derived(Box<DerivedScan>),
    /// Rows of expressions.
    Values {
        rows: Vec<Vec<Expr>>,
    },
    Filter {
        input: Box<Node>,
        conditions: Vec<Expr>,
    },
    Join(Box<Join>),
    /// `left IN (subquery)` for every row at once, by hash.
    SemiJoin(Box<SemiJoin>),
    Aggregate(Box<Aggregate>),
    Project {
        input: Box<Node>,
        exprs: Vec<Expr>,
    },
    /// Rows equal in their first `keys` datums come once.
    Distinct {
        input: Box<Node>,
        keys: Vec<Comparer>,
    },
    Sort {
        input: Box<Node>,
        keys: Vec<SortKey>,
        limit: Option<Limit>,
    },
    Limit {
        input: Box<Node>,
        limit: Limit,
    },
    /// Cuts rows to their first `width` datums.
    Cut {
        input: Box<Node>,
        width: usize,
    },
    SetOp(Box<SetOp>),
}

#[derive(Debug, Clone)]
pub(crate) struct SortKey {
    pub slot: Slot,
    pub descending: bool,
    pub comparer: Comparer,
    /// For EXPLAIN.
    pub text: String,
}

/// Both evaluated when the query starts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit {
    pub count: Option<Expr>,
    pub offset: Option<Expr>,
    /// What is known of offset + count while planning.
    pub known_rows: Option<u64>,
}

impl Limit {
    /// LIMIT 1
    pub fn one() -> Limit {
        let count = Expr::constant(
            Datum::Int(1),
            ilmenite_codec::FieldType::new(ilmenite_codec::TypeCode::LongLong),
        );
        Limit {
            count: Some(count),
            offset: None,
            known_rows: Some(1),
        }
    }
}

/// Reading one table, by one path.
#[derive(Debug)]
pub(crate) struct TableScan {
    pub table: TableRef,
    /// As the statement calls it.
    pub alias: String,
    /// Of the rows made.
    pub width: usize,
    /// (position in `TableInfo::columns`, slot).
    pub columns: Vec<(usize, Slot)>,
    /// Where the row's key goes, for locking and writing.
    pub key_slot: Option<Slot>,
    /// Where the stored row itself goes, for writing.
    pub raw_slot: Option<Slot>,
    pub path: Path,
    /// What the index's own columns decide, before the row is fetched.
    pub index_filter: Vec<Expr>,
    pub filter: Vec<Expr>,
    pub reverse: bool,
    /// The rows must come in the path's order.
    pub keep_order: bool,
    /// So many are enough, if this is all that is asked of the table.
    pub limit: Option<u64>,
    /// Rows in the ranges, before filters.
    pub scan_rows: f64,
}

#[derive(Debug, Clone)]
pub(crate) enum Path {
    /// Rows by key: `bounds` on the columns of the clustered primary key; none of them for a full scan.
    Table { bounds: Vec<ColumnBound>, point: bool },
    Index {
        index: IndexId,
        bounds: Vec<ColumnBound>,
        /// All bounds are points and the index is unique: each gives one row at most.
        point: bool,
        covering: bool,
    },
}

#[derive(Debug)]
pub(crate) struct VirtualScan {
    pub table: Arc<dyn VirtualTable>,
    pub alias: String,
    pub width: usize,
    pub columns: Vec<(usize, Slot)>,
    /// `column = value` and `column IN (…)`, for the table to make fewer rows by.
    pub equals: Vec<(String, Vec<Expr>)>,
    pub filter: Vec<Expr>,
}

impl std::fmt::Debug for dyn VirtualTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug)]
pub(crate) struct DerivedScan {
    pub query: QueryPlan,
    pub width: usize,
    /// (position in the query's columns, slot).
    pub columns: Vec<(usize, Slot)>,
    pub filter: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    /// Every left row comes, with NULLs where no right row fits.
    Left,
}

#[derive(Debug)]
pub(crate) struct Join {
    pub kind: JoinKind,
    pub left: Node,
    pub right: Node,
    /// The slots the right side fills.
    pub right_slots: Vec<Slot>,
    pub method: JoinMethod,
    /// What must hold besides, of the joined row.
    pub conditions: Vec<Expr>,
}

#[derive(Debug)]
pub(crate) enum JoinMethod {
    /// The right side is kept in a hash table. (left, right, how to compare).
    Hash { keys: Vec<(Expr, Expr, Comparer)> },
    /// The right side is a `Table` node whose bounds read from the left row.
    Index,
    /// Every pair.
    Loop,
}

#[derive(Debug)]
pub(crate) struct SemiJoin {
    pub input: Node,
    pub subquery: usize,
    pub left: Vec<Expr>,
    pub comparers: Vec<Comparer>,
    pub negated: bool,
}

#[derive(Debug)]
pub(crate) struct Aggregate {
    pub input: Node,
    pub keys: Vec<Expr>,
    pub calls: Vec<AggregateCall>,
    /// Columns that are neither grouped nor aggregated: the first row's value of each group.
    pub firsts: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetKind {
    Union,
    Except,
    Intersect,
}

#[derive(Debug)]
pub(crate) struct SetOp {
    pub kind: SetKind,
    pub all: bool,
    /// Each gives the columns of the result.
    pub left: Node,
    pub right: Node,
    pub keys: Vec<Comparer>,
}

/// A constant's value, when the expression is one.
pub(crate) fn constant(expr: &Expr) -> Option<&Datum> {
    match &expr.op {
        crate::expr::Op::Const { value, .. } => Some(value),
        _ => None,
    }
}
