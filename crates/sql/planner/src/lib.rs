//! From the parser's tree to a plan: names, conditions, access paths, joins.
//!
//! A plan's rows are vectors of datums, one *slot* for each column the statement really uses: slots are given out as names
//! are met, so that a scan decodes nothing else. All operators between FROM and the grouping (or the projection) of one
//! SELECT share one layout; each fills in its own tables' slots.

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
mod select;
mod statement;
mod text;

pub use binder::same_name;
pub use condition::subqueries;
pub use context::{
    PlanContext, PlanEnv, PlanMode, TableUse, UsedVariables, VirtualColumn, VirtualTable, virtual_schema,
};
pub use dml::{
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
pub use statement::{Planned, PlannedKind, plan, plan_expression, plan_load};
