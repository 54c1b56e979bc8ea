//! Function calls: the table's functions, those with a form of their own, and aggregates.

use sqlparser::ast::{
    self, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    Interval, Value,
};

use super::super::agg::{AggregateCall, AggregateKind};
use super::super::compare::{self, CmpOp};
use super::super::node::{Expr, Op};
use super::super::time_unit::Unit;
use super::super::{cast, func, time_arith, types};
use super::{ExprBuilder, case_node, column_name};
use ilmenite_error::{Error, Result};

impl ExprBuilder<'_> {
    pub(super) fn call(&mut self, name: &'static str, args: &[&Ast]) -> Result<Expr> {
        let args = args
            .iter()
            .map(|arg| self.operand(arg))
            .collect::<Result<Vec<_>>>()?;
        self.call_built(name, args)
    }

    pub(super) fn call_built(&mut self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let def = func::find(name).ok_or_else(|| self.no_such_function(name))?;
        let built = func::build(def, args, self.options)?;
        self.finish(built)
    }

    fn no_such_function(&self, name: &str) -> Error {
        let name = name.to_lowercase();
        match &self.options.database {
            Some(db) if !name.contains('.') => Error::does_not_exist("FUNCTION", format!("{db}.{name}")),
            _ => Error::does_not_exist("FUNCTION", name),
        }
    }

    pub(super) fn function(&mut self, function: &Function) -> Result<Expr> {
        let written = super::object_name(&function.name);
        let name = written.to_ascii_uppercase();
        if function.over.is_some() {
            return Err(Error::not_supported_yet("window functions"));
        }
        let (args, clauses, distinct) = match &function.args {
            FunctionArguments::None => (&[][..], &[][..], false),
            FunctionArguments::List(list) => {
                let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
                (&list.args[..], &list.clauses[..], distinct)
            }
            FunctionArguments::Subquery(_) => return Err(Error::syntax(format!("'{written}'"))),
        };
        if let Some(kind) = AggregateKind::from_name(&name) {
            return self.aggregate(kind, args, clauses, distinct);
        }
        if distinct || !clauses.is_empty() {
            return Err(Error::syntax(format!("'{written}'")));
        }
        let args = args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Ok(arg),
                _ => Err(Error::syntax(format!("'{arg}'"))),
            })
            .collect::<Result<Vec<&Ast>>>()?;
        self.special(&name, &args)
    }

    /// Functions whose arguments are not all values, and those that are operators in disguise.
    fn special(&mut self, name: &str, args: &[&Ast]) -> Result<Expr> {
        let wrong_count = || Error::wrong_param_count(name);
        match (name, args) {
            ("IF", [condition, then, otherwise]) => {
                let args = vec![
                    self.operand(condition)?,
                    self.operand(then)?,
                    self.operand(otherwise)?,
                ];
                let case = case_node(args, "if")?;
                self.finish(case)
            }
            ("IFNULL", [_, _]) | ("COALESCE", [_, ..]) => {
                let args = args.iter().map(|a| self.operand(a)).collect::<Result<Vec<_>>>()?;
                let refs: Vec<&Expr> = args.iter().collect();
                let (ty, coercibility) = super::super::coll::common_type(&refs, &name.to_lowercase())?;
                let args = args.into_iter().map(|a| cast::coerced(a, &ty)).collect();
                self.finish(Expr::new(Op::Coalesce, args, ty).with_coercibility(coercibility))
            }
            ("NULLIF", [a, b]) => {
                let (mut a, mut b) = (self.operand(a)?, self.operand(b)?);
                let (ty, coercibility) = (types::without_key_flags(&a.ty), a.coercibility);
                let kept = a.clone();
                let comparer = compare::settle(&mut a, &mut b, "nullif")?;
                if a.ty != kept.ty {
                    // The value itself is given, not what it was compared as.
                    let equal = compare::build(CmpOp::Eq, a, b)?;
                    let case = Expr::new(Op::Case, vec![equal, Expr::null(), kept], ty);
                    return self.finish(case.with_coercibility(coercibility));
                }
                self.finish(Expr::new(Op::NullIf(comparer), vec![a, b], ty).with_coercibility(coercibility))
            }
            ("ISNULL", [x]) => {
                let x = self.operand(x)?;
                self.finish(Expr::new(
                    Op::IsNull { negated: false },
                    vec![x],
                    types::boolean(),
                ))
            }
            ("DATE_ADD" | "ADDDATE", [date, Ast::Interval(interval)]) => {
                self.date_arith(date, interval, false)
            }
            ("DATE_SUB" | "SUBDATE", [date, Ast::Interval(interval)]) => {
                self.date_arith(date, interval, true)
            }
            ("ADDDATE" | "SUBDATE", [date, days]) => {
                let (date, days) = (self.operand(date)?, self.operand(days)?);
                let built = time_arith::build_date_arith(date, days, Unit::Day, name == "SUBDATE");
                self.finish(built)
            }
            ("TIMESTAMPADD", [Ast::Identifier(unit), amount, date]) => {
                let unit = Unit::from_name(&unit.value)?;
                let (amount, date) = (self.operand(amount)?, self.operand(date)?);
                let built = time_arith::build_date_arith(date, amount, unit, false);
                self.finish(built)
            }
            ("TIMESTAMPDIFF", [Ast::Identifier(unit), a, b]) => {
                let unit = Unit::from_name(&unit.value)?;
                let (a, b) = (self.operand(a)?, self.operand(b)?);
                self.finish(Expr::new(Op::TimestampDiff(unit), vec![a, b], types::int(21)))
            }
            ("MOD", [l, r]) => self.binary(l, l, &ast::BinaryOperator::Modulo, r),
            ("VALUES", [Ast::Identifier(column)]) => {
                let parts = std::slice::from_ref(column);
                self.scope.inserted_value(&column_name(parts)?)
            }
            ("VALUES", [Ast::CompoundIdentifier(parts)]) => self.scope.inserted_value(&column_name(parts)?),
            ("DEFAULT", [Ast::Identifier(column)]) => {
                let parts = std::slice::from_ref(column);
                self.scope.default_value(&column_name(parts)?)
            }
            ("DEFAULT", [Ast::CompoundIdentifier(parts)]) => self.scope.default_value(&column_name(parts)?),
            ("ROW", [_, _, ..]) => {
                let args = args.iter().map(|a| self.expr(a)).collect::<Result<Vec<_>>>()?;
                Ok(Expr::new(Op::Row, args, types::null()))
            }
            ("CHAR", [_, ..]) | ("DATABASE" | "SCHEMA" | "USER", []) => {
                let args = args.iter().map(|a| self.operand(a)).collect::<Result<Vec<_>>>()?;
                self.call_built(name, args)
            }
            (
                "IF" | "IFNULL" | "COALESCE" | "NULLIF" | "ISNULL" | "DATE_ADD" | "DATE_SUB" | "ADDDATE"
                | "SUBDATE" | "TIMESTAMPADD" | "TIMESTAMPDIFF" | "MOD" | "VALUES",
                _,
            ) => Err(wrong_count()),
            _ => {
                let args = args.iter().map(|a| self.operand(a)).collect::<Result<Vec<_>>>()?;
                self.call_built(name, args)
            }
        }
    }

    pub(super) fn date_arith(&mut self, date: &Ast, interval: &Interval, subtract: bool) -> Result<Expr> {
        let unit = unit_of(interval)?;
        let (date, amount) = (self.operand(date)?, self.operand(&interval.value)?);
        let built = time_arith::build_date_arith(date, amount, unit, subtract);
        self.finish(built)
    }

    fn aggregate(
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
                        let descending = matches!(item.options.sort, Some(ast::OrderBySort::Desc));
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
        AggregateCall::new(kind, distinct, built, order_by, separator, self.options)
    }
}

/// The unit of an interval. Composite units may come as `DAY TO HOUR` for DAY_HOUR.
fn unit_of(interval: &Interval) -> Result<Unit> {
    let leading = interval
        .leading_field
        .as_ref()
        .ok_or_else(|| Error::syntax("INTERVAL"))?;
    match &interval.last_field {
        Some(last) => Unit::from_name(&format!("{leading}_{last}")),
        None => Unit::from_ast(leading),
    }
}
