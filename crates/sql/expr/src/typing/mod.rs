//! Nodes made from compiled operands: how the operands are converted, and what type the result has.

pub(crate) mod arith;
pub(crate) mod cast;
pub(crate) mod collation;
pub(crate) mod compare;
pub(crate) mod control;
pub(crate) mod pattern;
pub(crate) mod time;
