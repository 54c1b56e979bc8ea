//! Plans: operators, what each reads, and by which path.

use std::sync::Arc;

use ilmenite_catalog::{IndexId, TableRef};
use ilmenite_expr::{AggregateCall, Comparer, Expr};
use ilmenite_types::{Datum, FieldType};

use crate::context::VirtualTable;
use crate::ranges::ColumnBound;
use crate::readers::Readers;

/// One column of a result set, with all that the protocol's column definition carries.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultColumn {
    /// The alias, or the expression's text.
    pub name: String,
    pub original_name: String,
    pub table: String,
    pub original_table: String,
    pub schema: String,
    pub field_type: FieldType,
}

impl ResultColumn {
    /// A column that belongs to no table.
    pub fn computed(name: impl Into<String>, field_type: FieldType) -> Self {
        let name = name.into();
        ResultColumn {
            original_name: String::new(),
            name,
            table: String::new(),
            original_table: String::new(),
            schema: String::new(),
            field_type,
        }
    }
}

/// A place in a row.
pub type Slot = usize;

/// A query, its subqueries apart (they are the statement's: `Statement::subqueries`).
#[derive(Debug)]
pub struct QueryPlan {
    pub root: Node,
    pub columns: Arc<[ResultColumn]>,
    pub lock: Option<LockMode>,
    /// With `lock`: rows carry the keys to lock from this position on; 0 when they carry none.
    pub lock_keys: usize,
    pub calc_found_rows: bool,
    /// With `calc_found_rows`: the LIMIT, which whoever sends the rows applies, counting on.
    pub calc_limit: Option<Limit>,
}

impl QueryPlan {
    /// A query of those rows and columns, without a lock.
    pub(crate) fn of(root: Node, columns: Vec<ResultColumn>) -> Self {
        QueryPlan {
            root,
            columns: columns.into(),
            lock: None,
            lock_keys: 0,
            calc_found_rows: false,
            calc_limit: None,
        }
    }
}

/// What `FOR UPDATE` and its kin ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    Wait,
    Nowait,
    SkipLocked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockMode {
    pub wait: LockWait,
}

/// An operator with its inputs, and how many rows it is expected to give.
#[derive(Debug)]
pub struct Node {
    pub rows: f64,
    pub kind: NodeKind,
}

impl Node {
    pub(crate) fn new(rows: f64, kind: NodeKind) -> Node {
        Node {
            rows: rows.max(0.0),
            kind,
        }
    }
}

#[derive(Debug)]
pub enum NodeKind {
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
pub struct SortKey {
    pub slot: Slot,
    pub descending: bool,
    pub comparer: Comparer,
    /// For EXPLAIN.
    pub text: String,
}

/// Both evaluated when the query starts.
#[derive(Debug, Clone, Default)]
pub struct Limit {
    pub count: Option<Expr>,
    pub offset: Option<Expr>,
    /// What is known of offset + count while planning.
    pub known_rows: Option<u64>,
}

impl Limit {
    /// LIMIT 1
    pub(crate) fn one() -> Limit {
        let count = Expr::constant(Datum::Int(1), FieldType::new(ilmenite_types::TypeCode::LongLong));
        Limit {
            count: Some(count),
            offset: None,
            known_rows: Some(1),
        }
    }
}

/// Reading one table, by one path.
#[derive(Debug)]
pub struct TableScan {
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
    pub readers: Readers,
}

#[derive(Debug, Clone)]
pub enum Path {
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

impl Path {
    /// On the first columns of its key.
    pub(crate) fn bounds(&self) -> &[ColumnBound] {
        match self {
            Path::Table { bounds, .. } | Path::Index { bounds, .. } => bounds,
        }
    }
}

#[derive(Debug)]
pub struct VirtualScan {
    pub table: Arc<dyn VirtualTable>,
    pub alias: String,
    pub width: usize,
    pub columns: Vec<(usize, Slot)>,
    /// `column = value` and `column IN (…)`, for the table to make fewer rows by.
    pub equals: Vec<(String, Vec<Expr>)>,
    pub filter: Vec<Expr>,
}

#[derive(Debug)]
pub struct DerivedScan {
    pub query: QueryPlan,
    pub width: usize,
    /// (position in the query's columns, slot).
    pub columns: Vec<(usize, Slot)>,
    pub filter: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    /// Every left row comes, with NULLs where no right row fits.
    Left,
}

#[derive(Debug)]
pub struct Join {
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
pub enum JoinMethod {
    /// The right side is kept in a hash table. (left, right, how to compare).
    Hash { keys: Vec<(Expr, Expr, Comparer)> },
    /// The right side is a `Table` node whose bounds read from the left row.
    Index,
    /// Every pair.
    Loop,
}

#[derive(Debug)]
pub struct SemiJoin {
    pub input: Node,
    pub subquery: usize,
    pub left: Vec<Expr>,
    pub comparers: Vec<Comparer>,
    pub negated: bool,
}

#[derive(Debug)]
pub struct Aggregate {
    pub input: Node,
    pub keys: Vec<Expr>,
    pub calls: Vec<AggregateCall>,
    /// Columns that are neither grouped nor aggregated: the first row's value of each group.
    pub firsts: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    Union,
    Except,
    Intersect,
}

#[derive(Debug)]
pub struct SetOp {
    pub kind: SetKind,
    pub all: bool,
    /// Each gives the columns of the result.
    pub left: Node,
    pub right: Node,
    pub keys: Vec<Comparer>,
}

/// A subquery in an expression.
#[derive(Debug)]
pub struct SubqueryPlan {
    pub plan: QueryPlan,
    /// What its `Outer` slots stand for, as expressions of the block around it.
    pub outer: Vec<Expr>,
    pub types: Vec<FieldType>,
    /// Each run may give something else, even for the same outer row.
    pub volatile: bool,
}
