//! Expressions: compiled once from the parser's tree, typed, and evaluated with MySQL's semantics.
//!
//! `ExprBuilder` compiles against a `Scope` (what names mean) and gives an `Expr`; `Expr::eval` computes it for a row
//! under an `EvalContext` (what the statement knows). The operator of each node is chosen for its operands' types when
//! it is compiled, so that nothing about types is decided per row.

mod agg;
mod analyze;
mod arith;
mod build;
pub(crate) mod cast;
mod coll;
pub(crate) mod compare;
mod context;
mod convert;
mod display;
mod func;
mod json;
mod like;
mod mode;
mod node;
mod subquery;
#[cfg(test)]
mod tests;
mod time_arith;
mod time_format;
mod time_unit;
pub(crate) mod types;
pub mod value;

pub use agg::{AggregateCall, AggregateKind, AggregateState, append_group_key};
pub use analyze::{Bound, ColumnPredicate, bound_for_column};
pub use build::{
    BoundSubquery, BuildOptions, ColumnName, ExprBuilder, NoColumns, Scope, number_placeholders,
};
pub use cast::coerced;
pub use compare::{CmpOp, Comparer, build as comparison, compare};
pub use context::{
    EvalContext, StatementFacts, Subqueries, SubqueryId, SubqueryNeed, UserLocks, UserNames, Variables,
    WarningSink,
};
pub use convert::convert_for_column;
pub use func::zone_named;
pub use mode::SqlMode;
pub use node::{Expr, Op, SubqueryUse};
pub use types::common as common_type;
pub use value::text_of;
