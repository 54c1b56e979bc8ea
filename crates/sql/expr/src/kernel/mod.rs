//! What operators do with values: functions of datums and a context. None of them knows an expression.

pub(crate) mod arith;
pub(crate) mod assign;
pub(crate) mod cast;
pub(crate) mod compare;
pub(crate) mod like;
pub(crate) mod time_arith;
pub(crate) mod time_format;
pub(crate) mod time_unit;
