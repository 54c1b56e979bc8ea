//! Function calls: the table's functions, and those whose arguments are not all values.

use ilmenite_error::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr as Ast, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments,
};

use super::ExprBuilder;
use super::names::{column_name, object_name};
use crate::agg::call::AggregateKind;
use crate::func;
use crate::kernel::time_unit::Unit;
use crate::node::{Expr, Op};
use crate::types;
use crate::typing::{control, time};

impl ExprBuilder<'_> {
    pub(super) fn call(&mut self, name: &str, args: &[&Ast]) -> Result<Expr> {
        let args = self.operands(args)?;
        self.call_built(name, args)
    }

    fn operands(&mut self, args: &[&Ast]) -> Result<Vec<Expr>> {
        args.iter().map(|arg| self.operand(arg)).collect()
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
        let written = object_name(&function.name);
        let name = written.to_ascii_uppercase();
        if function.over.is_some() {
            return Err(Error::not_supported_yet("window functions"));
        }
        let (args, clauses, distinct) = match &function.args {
            FunctionArguments::None => (&[][..], &[][..], false),
            FunctionArguments::List(list) => {
                let distinct = matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
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
                let case = control::case(self.operands(&[condition, then, otherwise])?, "if")?;
                self.finish(case)
            }
            ("IFNULL", [_, _]) | ("COALESCE", [_, ..]) => {
                let coalesce = control::coalesce(self.operands(args)?, &name.to_lowercase())?;
                self.finish(coalesce)
            }
            ("NULLIF", [a, b]) => {
                let (a, b) = (self.operand(a)?, self.operand(b)?);
                let null_if = control::null_if(a, b)?;
                self.finish(null_if)
            }
            ("ISNULL", [x]) => self.is_null(x, false),
            ("DATE_ADD" | "ADDDATE", [date, Ast::Interval(interval)]) => {
                self.date_arith(date, interval, false)
            }
            ("DATE_SUB" | "SUBDATE", [date, Ast::Interval(interval)]) => {
                self.date_arith(date, interval, true)
            }
            ("ADDDATE" | "SUBDATE", [date, days]) => {
                let (date, days) = (self.operand(date)?, self.operand(days)?);
                let built = time::date_arith(date, days, Unit::Day, name == "SUBDATE");
                self.finish(built)
            }
            ("TIMESTAMPADD", [Ast::Identifier(unit), amount, date]) => {
                let unit = Unit::from_name(&unit.value)?;
                let (amount, date) = (self.operand(amount)?, self.operand(date)?);
                let built = time::date_arith(date, amount, unit, false);
                self.finish(built)
            }
            ("TIMESTAMPDIFF", [Ast::Identifier(unit), a, b]) => {
                let unit = Unit::from_name(&unit.value)?;
                let (a, b) = (self.operand(a)?, self.operand(b)?);
                self.finish(Expr::new(Op::TimestampDiff(unit), vec![a, b], types::int(21)))
            }
            ("MOD", [l, r]) => self.binary(l, l, &BinaryOperator::Modulo, r),
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
            ("ROW", [_, _, ..]) => self.row(args.iter().copied()),
            (
                "IF" | "IFNULL" | "COALESCE" | "NULLIF" | "ISNULL" | "DATE_ADD" | "DATE_SUB" | "ADDDATE"
                | "SUBDATE" | "TIMESTAMPADD" | "TIMESTAMPDIFF" | "MOD" | "VALUES",
                _,
            ) => Err(wrong_count()),
            _ => self.call(name, args),
        }
    }
}
