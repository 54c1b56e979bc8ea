//! Expressions: compiled once from the parser's tree, typed, and evaluated with MySQL's semantics.
//!
//! The files, in the order of the data (tree → build → `Expr` → eval → value):
//!
//! 1. What a statement says. `options` and `mode` are how its text is read; `scope` is what its names mean, which the
//!    planner knows; `context` is what evaluation needs beyond the row: the clock, the session's facts, where warnings go.
//! 2. `build` turns the parser's tree into nodes, one file for each kind of syntax, and computes what is constant (`build/fold`).
//! 3. `typing` makes the nodes: which operator serves operands of these types, what they are converted to, which
//!    collation decides, what type the result has. `types` are the result types themselves.
//! 4. `node` is what comes out: `Expr`, an operator with its operands and type; `display` is its text, `equal` its equality.
//!    Nothing about types is decided per row.
//! 5. `eval` computes an `Expr` for a row: it evaluates operands and hands their values to a kernel or a function.
//! 6. `kernel` is what operators do with values: arithmetic, comparison, patterns, casts, intervals, and assignment to
//!    a column. Kernels know no expressions. `value` underneath them is values as other kinds of values.
//! 7. `func` is the table of functions: for each name its result type and what it computes.
//! 8. `agg` is aggregates: what is called, the state that takes in rows, and keys of groups.
//!
//! To add a function: a line in the `FUNCTIONS` of a file of `func`, the `fn` it names, and lines in `src/tests/values`.

mod agg;
mod build;
mod context;
mod display;
mod equal;
mod eval;
mod func;
mod kernel;
mod mode;
mod node;
mod options;
mod scope;
#[cfg(test)]
mod tests;
mod types;
mod typing;
pub mod value;

pub use agg::{call::AggregateCall, call::AggregateKind, key::append_group_key, state::AggregateState};
pub use build::ExprBuilder;
pub use context::{
    EvalContext, StatementFacts, Subqueries, SubqueryId, SubqueryNeed, UserLocks, UserNames, Variables,
};
pub use kernel::assign::convert_for_column;
pub use kernel::compare::{CmpOp, Comparer};
pub use mode::SqlMode;
pub use node::{Expr, Op, SubqueryUse};
pub use options::BuildOptions;
pub use scope::{BoundSubquery, ColumnName, NoColumns, Scope};
pub use types::common as common_type;
pub use typing::cast::coerced;
pub use typing::compare::comparison;
pub use value::text_of;
