//! Aggregates: what is called, and the state machines that compute it.

mod call;
mod key;
mod state;

pub use call::{AggregateCall, AggregateKind};
pub use key::append_group_key;
pub use state::AggregateState;
