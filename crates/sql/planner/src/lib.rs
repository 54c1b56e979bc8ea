//! From the parser's tree to a plan: names, conditions, access paths, joins.
//!
//! Planning asks the world around it through [`PlanContext`] (`context`), which waits for nothing, and gives a [`Planned`]
//! (`statement`, the door). Nothing here knows a session, a transaction or a store.
//!
//! - `binder`: what is known while one statement is read: a *block* for each of its SELECTs, with the *sources* of its FROM;
//!   `from` fills in the sources, `names` says what a name in an expression means, in the block or in those around it;
//! - `query`: set operations, and what stands after a query's body; `select`: one SELECT, clause by clause; `dml`: INSERT,
//!   UPDATE, DELETE, LOAD DATA; `defaults`: what columns are when nothing is said of them;
//! - `join`: FROM and WHERE as a plan, conditions pushed down and joins put in order; `condition` looks into conditions;
//! - `access`: how one table is read, by the key that costs least (`cost`); `ranges`: which conditions bound a key's columns;
//! - `node`: the plan, a tree of operators (`ops` puts them over each other); `explain` writes it out, `text` its expressions;
//! - `readers`: what a scan reads with, worked out once for a plan; `keys`: when the plan runs, the key ranges that its
//!   bounds come to; `bounds`: a bound as a value of the column;
//! - `privilege`: the rights there are, since binding asks for them.
//!
//! A plan's rows are vectors of datums, one *slot* for each column the statement really uses: slots are given out as names
//! are met, so that a scan decodes nothing else. All operators between FROM and the grouping (or the projection) of one
//! SELECT share one layout; each fills in its own tables' slots.
//!
//! Tests are golden scripts of EXPLAIN: `tests/golden`, and `tests/plans/world.rs` for what a script may say.

mod access;
mod binder;
mod bounds;
mod condition;
mod context;
mod cost;
mod defaults;
mod dml;
mod explain;
mod from;
mod join;
mod keys;
mod names;
mod node;
mod ops;
mod privilege;
mod query;
mod ranges;
mod readers;
mod select;
mod statement;
mod text;

pub use binder::same_name;
pub use condition::subqueries;
pub use context::{
    PlanContext, PlanEnv, PlanMode, TableUse, UsedVariables, VirtualColumn, VirtualTable, virtual_schema,
};
pub use dml::plan::{
    AssignmentPlan, DeletePlan, InsertPlan, InsertSource, LoadItem, LoadPlan, OnDuplicatePlan, TargetTable,
    UpdatePlan,
};
pub use explain::{ExplainRow, explain};
pub use from::split_name;
pub use keys::{BytesRange, KeyBuilder};
pub use node::*;
pub use privilege::Privilege;
pub use query::limit_number;
pub use ranges::ColumnBound;
pub use readers::{EntryReader, Readers};
pub use statement::{Planned, PlannedKind, plan, plan_expression, plan_load};
