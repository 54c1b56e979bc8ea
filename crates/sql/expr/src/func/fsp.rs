//! Fractional digits of times.

use ilmenite_types::{Datum, FieldType};

use crate::node::{Expr, Op};
use crate::types::{self, EvalType};

/// Fractional digits of a time given as this type: a text may have six.
pub(super) fn fsp_of(ty: &FieldType) -> i32 {
    match types::eval_type(ty) {
        EvalType::Int => 0,
        EvalType::String if types::is_null_type(ty) => 0,
        EvalType::String | EvalType::Real | EvalType::Json => 6,
        _ => ty.decimal.clamp(0, 6),
    }
}

/// As `fsp_of`, but a constant text has as many as it is written with.
pub(super) fn fsp_of_arg(arg: &Expr) -> i32 {
    match &arg.op {
        Op::Const {
            value: Datum::Bytes(b),
            ..
        } => match b.iter().rposition(|c| *c == b'.') {
            Some(at) => b[at + 1..]
                .iter()
                .take_while(|c| c.is_ascii_digit())
                .count()
                .min(6) as i32,
            None => 0,
        },
        _ => fsp_of(&arg.ty),
    }
}
