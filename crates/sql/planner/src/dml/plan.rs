//! What INSERT, REPLACE, UPDATE, DELETE and LOAD DATA are planned as.

use ilmenite_expr::Expr;

use crate::context::TableUse;
use crate::{Node, QueryPlan, Slot, SubqueryPlan};

/// A table written to, and where its rows stand in those the plan reads.
#[derive(Debug)]
pub struct TargetTable {
    pub table: TableUse,
    pub key_slot: Slot,
    pub raw_slot: Slot,
}

/// `column = value`.
#[derive(Debug)]
pub struct AssignmentPlan {
    /// Of the targets.
    pub target: usize,
    /// Position in `TableInfo::columns`.
    pub column: usize,
    /// Where the row read has the column, for assignments that come after.
    pub slot: Option<Slot>,
    pub value: Expr,
    /// ON UPDATE CURRENT_TIMESTAMP: only when something else changes.
    pub automatic: bool,
}

#[derive(Debug)]
pub enum InsertSource {
    /// Over the row being made; `None` for DEFAULT.
    Values(Vec<Vec<Option<Expr>>>),
    Query(Box<QueryPlan>),
}

/// ON DUPLICATE KEY UPDATE: expressions over the existing row's columns, then those of the row that was to be inserted.
#[derive(Debug)]
pub struct OnDuplicatePlan {
    pub assignments: Vec<AssignmentPlan>,
    pub width: usize,
}

#[derive(Debug)]
pub struct InsertPlan {
    pub table: TableUse,
    /// Positions of the columns that are given.
    pub columns: Vec<usize>,
    pub source: InsertSource,
    pub on_duplicate: Option<OnDuplicatePlan>,
    pub ignore: bool,
    pub replace: bool,
    /// The default of each public column; `None` where there is none and NULL is not allowed.
    pub defaults: Vec<Option<Expr>>,
    pub subqueries: Vec<SubqueryPlan>,
}

#[derive(Debug)]
pub struct UpdatePlan {
    pub rows: Node,
    pub targets: Vec<TargetTable>,
    pub assignments: Vec<AssignmentPlan>,
    pub ignore: bool,
    pub subqueries: Vec<SubqueryPlan>,
}

#[derive(Debug)]
pub struct DeletePlan {
    pub rows: Node,
    pub targets: Vec<TargetTable>,
    pub subqueries: Vec<SubqueryPlan>,
}

#[derive(Debug)]
pub enum LoadItem {
    Column(usize),
    Variable(String),
}

#[derive(Debug)]
pub struct LoadPlan {
    pub table: TableUse,
    pub items: Vec<LoadItem>,
    /// Over the row being made.
    pub assignments: Vec<AssignmentPlan>,
    pub defaults: Vec<Option<Expr>>,
    pub replace: bool,
    pub ignore: bool,
}

impl LoadPlan {
    pub(crate) fn sets_variables(&self) -> bool {
        let variable = |item: &LoadItem| matches!(item, LoadItem::Variable(_));
        self.items.iter().any(variable)
    }
}
