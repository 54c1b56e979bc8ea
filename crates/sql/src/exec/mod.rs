//! Statements at work: queries and DML from plan to result, within the session's transaction.

mod agg;
mod explain;
mod facts;
mod insert;
mod join;
mod load;
mod prepared;
mod query;
mod runtime;
mod scan;
mod simple;
mod sort;
mod spill;
mod statement;
mod tables;
#[cfg(test)]
mod tests;
mod update;
mod write;

pub use explain::explain;
pub use load::load_data;
pub use prepared::{PreparedPlan, describe, run_prepared};
pub use statement::{evaluate, run_query_into, run_query_or_dml};
pub use tables::TableCache;

pub(crate) use facts::{UsedVariables, variable_type};
