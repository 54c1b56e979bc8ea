//! INSERT, REPLACE, UPDATE, DELETE and LOAD DATA: what is written where, from which rows.
//!
//! `plan` is what comes of it; `row` what all of them do: columns by name, and the values assigned to them.

mod change;
mod insert;
mod load;
pub(crate) mod plan;
mod row;

pub(crate) use change::{bind_delete, bind_update};
pub(crate) use insert::bind_insert;
pub(crate) use load::bind_load;
pub(crate) use plan::{DeletePlan, InsertPlan, LoadPlan, UpdatePlan};
