//! LIKE and REGEXP as nodes.

use std::sync::Arc;

use ilmenite_error::Result;
use ilmenite_types::Datum;

use super::{cast, collation};
use crate::kernel::like::{LikePattern, RegexCell};
use crate::node::{Expr, Op};
use crate::types;

pub(crate) fn like(x: Expr, pattern: Expr, escape: Option<char>, negated: bool) -> Result<Expr> {
    let (x, pattern) = (cast::to_text(x), cast::to_text(pattern));
    let collation = collation::of_operands(&[&x, &pattern], "like")?;
    let compiled = match &pattern.op {
        Op::Const {
            value: Datum::Bytes(b),
            ..
        } => Some(Arc::new(LikePattern::compile(b, escape, collation))),
        _ => None,
    };
    let op = Op::Like {
        negated,
        escape,
        collation,
        pattern: compiled,
    };
    Ok(Expr::new(op, vec![x, pattern], types::boolean()))
}

pub(crate) fn regexp(x: Expr, pattern: Expr, negated: bool) -> Result<Expr> {
    let (x, pattern) = (cast::to_text(x), cast::to_text(pattern));
    let collation = collation::of_operands(&[&x, &pattern], "regexp")?;
    let op = Op::Regexp {
        negated,
        case_insensitive: !collation.is_bin(),
        cache: RegexCell::default(),
    };
    Ok(Expr::new(op, vec![x, pattern], types::boolean()))
}
