//! Aggregates: what is called, and the state machines that compute it.

pub(crate) mod call;
pub(crate) mod key;
pub(crate) mod state;
