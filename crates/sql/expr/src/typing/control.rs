//! CASE and its kin as nodes: results of several kinds brought to one.

use ilmenite_error::Result;

use super::compare::{self, comparison};
use super::{cast, collation};
use crate::kernel::compare::CmpOp;
use crate::node::{Expr, Op};
use crate::types;

/// IF and CASE over `args` as `Op::Case` has them, with results brought to their common type.
pub(crate) fn case(mut args: Vec<Expr>, name: &str) -> Result<Expr> {
    let last = args.len() - 1;
    let is_result = |at: usize| at % 2 == 1 || at == last;
    let results: Vec<&Expr> = (0..args.len())
        .filter(|at| is_result(*at))
        .map(|at| &args[at])
        .collect();
    let (ty, coercibility) = collation::common_type(&results, name)?;
    for (at, arg) in args.iter_mut().enumerate() {
        if is_result(at) {
            *arg = cast::coerced(arg.clone(), &ty);
        }
    }
    Ok(Expr::new(Op::Case, args, ty).with_coercibility(coercibility))
}

/// IFNULL and COALESCE.
pub(crate) fn coalesce(args: Vec<Expr>, name: &str) -> Result<Expr> {
    let refs: Vec<&Expr> = args.iter().collect();
    let (ty, coercibility) = collation::common_type(&refs, name)?;
    let args = args.into_iter().map(|a| cast::coerced(a, &ty)).collect();
    Ok(Expr::new(Op::Coalesce, args, ty).with_coercibility(coercibility))
}

/// NULLIF(a, b).
pub(crate) fn null_if(mut a: Expr, mut b: Expr) -> Result<Expr> {
    let (ty, coercibility) = (types::without_key_flags(&a.ty), a.coercibility);
    let kept = a.clone();
    let comparer = compare::settle(&mut a, &mut b, "nullif")?;
    let node = if a.ty == kept.ty {
        Expr::new(Op::NullIf(comparer), vec![a, b], ty)
    } else {
        // The value itself is given, not what it was compared as.
        let equal = comparison(CmpOp::Eq, a, b)?;
        Expr::new(Op::Case, vec![equal, Expr::null(), kept], ty)
    };
    Ok(node.with_coercibility(coercibility))
}
