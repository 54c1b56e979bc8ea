//! Calls with a syntax of their own: CASE, CAST, EXTRACT, TRIM and the like.

use ilmenite_error::{Error, Result};
use sqlparser::ast::{
    self, CaseWhen, CeilFloorKind, DataType, DateTimeField, Expr as Ast, Interval, ObjectName, TrimWhereField,
};

use super::ExprBuilder;
use super::names::object_name;
use crate::kernel::compare::CmpOp;
use crate::kernel::time_unit::Unit;
use crate::node::{Expr, Op};
use crate::types;
use crate::typing::{cast, compare, control, time};

impl ExprBuilder<'_> {
    pub(super) fn form(&mut self, ast: &Ast) -> Result<Expr> {
        match ast {
            Ast::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(operand.as_deref(), conditions, else_result.as_deref()),
            Ast::Cast { expr, data_type, .. } => self.cast(expr, data_type),
            Ast::Convert {
                expr,
                data_type,
                charset,
                ..
            } => self.convert(expr, data_type.as_ref(), charset.as_ref()),
            Ast::Collate { expr, collation } => {
                let x = self.operand(expr)?;
                cast::collate(x, &object_name(collation))
            }
            Ast::Extract { field, expr, .. } => self.extract(field, expr),
            Ast::Ceil {
                expr,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
            } => self.call("CEIL", &[expr]),
            Ast::Floor {
                expr,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
            } => self.call("FLOOR", &[expr]),
            Ast::Position { expr, r#in } => self.call("LOCATE", &[expr, r#in]),
            Ast::Substring {
                expr,
                substring_from,
                substring_for,
                ..
            } => {
                let args: Vec<&Ast> = std::iter::once(expr.as_ref())
                    .chain(substring_from.as_deref())
                    .chain(substring_for.as_deref())
                    .collect();
                self.call("SUBSTRING", &args)
            }
            Ast::Trim {
                trim_where,
                trim_what,
                expr,
                trim_characters: None,
            } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "TRIM",
                    Some(TrimWhereField::Leading) => "LTRIM",
                    Some(TrimWhereField::Trailing) => "RTRIM",
                };
                let args: Vec<&Ast> = std::iter::once(expr.as_ref())
                    .chain(trim_what.as_deref())
                    .collect();
                self.call(name, &args)
            }
            Ast::Interval(_) => Err(Error::syntax("INTERVAL")),
            other => Err(Error::not_supported_yet(other)),
        }
    }

    fn case(
        &mut self,
        operand: Option<&Ast>,
        conditions: &[CaseWhen],
        otherwise: Option<&Ast>,
    ) -> Result<Expr> {
        let operand = operand.map(|x| self.operand(x)).transpose()?;
        let mut args = Vec::with_capacity(conditions.len() * 2 + 1);
        for when in conditions {
            let condition = self.operand(&when.condition)?;
            args.push(match &operand {
                Some(x) => compare::comparison(CmpOp::Eq, x.clone(), condition)?,
                None => condition,
            });
            args.push(self.operand(&when.result)?);
        }
        if let Some(otherwise) = otherwise {
            args.push(self.operand(otherwise)?);
        }
        let case = control::case(args, "CASE")?;
        self.finish(case)
    }

    fn cast(&mut self, x: &Ast, data_type: &DataType) -> Result<Expr> {
        // The parser reads `BINARY a = b` as BINARY (a = b); the operator binds tighter than any comparison.
        if *data_type == DataType::Binary(None)
            && let Some(rotated) = binary_to_the_left(x)
        {
            return self.expr(&rotated);
        }
        let x = self.operand(x)?;
        let cast = cast::cast(x, data_type)?;
        self.finish(cast)
    }

    fn convert(
        &mut self,
        x: &Ast,
        data_type: Option<&DataType>,
        charset: Option<&ObjectName>,
    ) -> Result<Expr> {
        let x = self.operand(x)?;
        let built = match (data_type, charset) {
            (_, Some(charset)) => cast::using(x, &object_name(charset))?,
            (Some(data_type), None) => cast::cast(x, data_type)?,
            (None, None) => return Err(Error::syntax("CONVERT")),
        };
        self.finish(built)
    }

    fn extract(&mut self, field: &DateTimeField, x: &Ast) -> Result<Expr> {
        let x = self.operand(x)?;
        let unit = Unit::from_ast(field)?;
        let ty = types::int(unit.extract_width());
        self.finish(Expr::new(Op::Extract(unit), vec![x], ty))
    }

    pub(super) fn date_arith(&mut self, date: &Ast, interval: &Interval, subtract: bool) -> Result<Expr> {
        let unit = unit_of(interval)?;
        let (date, amount) = (self.operand(date)?, self.operand(&interval.value)?);
        let built = time::date_arith(date, amount, unit, subtract);
        self.finish(built)
    }
}

/// `BINARY` moved from a comparison to its leftmost operand; `None` when it already stands on an operand.
fn binary_to_the_left(ast: &Ast) -> Option<Ast> {
    let cast = |inner: &Ast| {
        Box::new(Ast::Cast {
            kind: ast::CastKind::Cast,
            expr: Box::new(inner.clone()),
            data_type: DataType::Binary(None),
            format: None,
        })
    };
    let mut moved = ast.clone();
    match &mut moved {
        Ast::BinaryOp { left, .. } => *left = cast(left),
        Ast::Like { expr, .. }
        | Ast::RLike { expr, .. }
        | Ast::InList { expr, .. }
        | Ast::InSubquery { expr, .. }
        | Ast::Between { expr, .. } => *expr = cast(expr),
        Ast::IsNull(expr) | Ast::IsNotNull(expr) => *expr = cast(expr),
        _ => return None,
    }
    Some(moved)
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
