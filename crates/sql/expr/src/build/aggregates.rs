//! Aggregate calls: the scope decides what stands for their results.

use ilmenite_error::{Error, Result};
use sqlparser::ast::{FunctionArg, FunctionArgExpr, FunctionArgumentClause, OrderBySort, Value};

use super::ExprBuilder;
use crate::agg::call::{AggregateCall, AggregateKind};
use crate::node::Expr;

impl ExprBuilder<'_> {
    pub(super) fn aggregate(
        &mut self,
        kind: AggregateKind,
        args: &[FunctionArg],
        clauses: &[FunctionArgumentClause],
        distinct: bool,
    ) -> Result<Expr> {
        if self.in_aggregate {
            return Err(Error::invalid_group_func());
        }
        self.in_aggregate = true;
        let call = self.aggregate_call(kind, args, clauses, distinct);
        self.in_aggregate = false;
        self.scope.aggregate(call?)
    }

    fn aggregate_call(
        &mut self,
        kind: AggregateKind,
        args: &[FunctionArg],
        clauses: &[FunctionArgumentClause],
        distinct: bool,
    ) -> Result<AggregateCall> {
        let mut built = Vec::with_capacity(args.len());
        for arg in args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => built.push(self.operand(arg)?),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard)
                    if kind == AggregateKind::Count && args.len() == 1 => {}
                other => return Err(Error::syntax(format!("'{other}'"))),
            }
        }
        let mut order_by = Vec::new();
        let mut separator = ",".to_string();
        for clause in clauses {
            match clause {
                FunctionArgumentClause::OrderBy(items) if kind == AggregateKind::GroupConcat => {
                    for item in items {
                        let descending = matches!(item.options.sort, Some(OrderBySort::Desc));
                        order_by.push((self.operand(&item.expr)?, descending));
                    }
                }
                FunctionArgumentClause::Separator(value) if kind == AggregateKind::GroupConcat => {
                    separator = match &value.value {
                        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
                        other => return Err(Error::syntax(format!("'{other}'"))),
                    };
                }
                other => return Err(Error::syntax(format!("'{other}'"))),
            }
        }
        AggregateCall::new(kind, distinct, built, order_by, separator)
    }
}
