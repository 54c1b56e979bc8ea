//! The compiled expression: an operator chosen for its operands' types, and its operands.

use std::borrow::Cow;
use std::sync::Arc;

use ilmenite_types::{Datum, FieldType, TypeCode};

use super::arith::{self, ArithOp, BitOp, NumberKind};
use super::cast::CastTarget;
use super::compare::{CmpOp, Comparer, InSet};
use super::context::{EvalContext, SubqueryId};
use super::func::FuncDef;
use super::like::{LikePattern, RegexCell};
use super::time_unit::Unit;
use super::{cast, compare, func, like, subquery, time_arith, types, value};
use ilmenite_error::{Error, Result};
use ilmenite_types::Collation;

/// A compiled expression. Immutable; cheap to share, fairly cheap to clone.
#[derive(Debug, Clone)]
pub struct Expr {
    pub op: Op,
    pub args: Vec<Expr>,
    pub(crate) ty: FieldType,
    pub(crate) coercibility: Coercibility,
}

/// Whose collation wins when strings meet: the lower. The numbers are those `COERCIBILITY()` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Coercibility {
    Explicit = 0,
    Implicit = 2,
    SystemConstant = 3,
    Coercible = 4,
    Numeric = 5,
    Ignorable = 6,
}

/// What a subquery is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubqueryUse {
    /// `(SELECT …)`: one value or a row of them.
    Scalar,
    Exists {
        negated: bool,
    },
    /// `x IN (SELECT …)`.
    In {
        negated: bool,
    },
    Any(CmpOp),
    All(CmpOp),
}

#[derive(Debug, Clone)]
pub enum Op {
    Const {
        value: Datum,
        /// Written as `0x…`, `x'…'` or `b'…'`: a string, but a number where one is wanted.
        hex: bool,
    },
    Param(usize),
    Column {
        slot: usize,
        name: Arc<str>,
    },
    Outer {
        slot: usize,
        name: Arc<str>,
    },
    Aggregate {
        index: usize,
        name: Arc<str>,
    },
    UserVariable(Arc<str>),
    SystemVariable {
        name: Arc<str>,
        global: bool,
    },
    And,
    Or,
    Xor,
    Not,
    IsNull {
        negated: bool,
    },
    IsTruth {
        truth: bool,
        negated: bool,
    },
    /// Both sides are signed integers.
    CompareInt(CmpOp),
    Compare(CmpOp, Comparer),
    Between {
        negated: bool,
        low: Comparer,
        high: Comparer,
    },
    In {
        negated: bool,
        comparers: Arc<[Comparer]>,
        /// All of the list, when it is constant and of one plain kind.
        set: Option<Arc<InSet>>,
    },
    Like {
        negated: bool,
        escape: Option<char>,
        collation: Collation,
        /// The pattern, when it is constant.
        pattern: Option<Arc<LikePattern>>,
    },
    Regexp {
        negated: bool,
        case_insensitive: bool,
        cache: RegexCell,
    },
    /// Conditions and results in turns, and the ELSE last when the number is odd.
    Case,
    Coalesce,
    NullIf(Comparer),
    Cast {
        target: Arc<CastTarget>,
        /// Put in by us, not written: does not show.
        implicit: bool,
    },
    /// Both sides are signed integers.
    ArithInt(ArithOp),
    Arith(ArithOp, NumberKind),
    Negate(NumberKind),
    Bit(BitOp),
    BitNot,
    /// `a COLLATE c`: the value is the operand's.
    Collate,
    Row,
    Subquery {
        id: SubqueryId,
        usage: SubqueryUse,
        comparers: Arc<[Comparer]>,
        types: Arc<[FieldType]>,
    },
    DateArith {
        unit: Unit,
        subtract: bool,
    },
    Extract(Unit),
    TimestampDiff(Unit),
    Func(&'static FuncDef),
}

impl Op {
    /// Does it give another value at every call, or have an effect?
    pub fn is_volatile(&self) -> bool {
        matches!(self, Op::Func(def) if def.purity == func::Purity::Volatile)
    }
}

impl Expr {
    pub fn new(op: Op, args: Vec<Expr>, ty: FieldType) -> Expr {
        let coercibility = match types::eval_type(&ty) {
            types::EvalType::String | types::EvalType::Json => Coercibility::Coercible,
            _ => Coercibility::Numeric,
        };
        Expr {
            op,
            args,
            ty,
            coercibility,
        }
    }

    pub(crate) fn with_coercibility(mut self, coercibility: Coercibility) -> Expr {
        self.coercibility = coercibility;
        self
    }

    /// A constant of a type given.
    pub fn constant(value: Datum, ty: FieldType) -> Expr {
        let ignorable = value == Datum::Null;
        let expr = Expr::new(Op::Const { value, hex: false }, Vec::new(), ty);
        if ignorable {
            expr.with_coercibility(Coercibility::Ignorable)
        } else {
            expr
        }
    }

    /// Its value, when it is a constant.
    pub fn const_value(&self) -> Option<&Datum> {
        match &self.op {
            Op::Const { value, .. } => Some(value),
            _ => None,
        }
    }

    pub fn null() -> Expr {
        Expr::constant(Datum::Null, types::null())
    }

    /// The column in `slot` of the row; `name` is for EXPLAIN.
    pub fn column(slot: usize, ty: FieldType, name: &str) -> Expr {
        Expr::new(
            Op::Column {
                slot,
                name: name.into(),
            },
            Vec::new(),
            ty,
        )
        .with_column_coercibility()
    }

    /// The column in `slot` of the outer row of a correlated subquery.
    pub fn outer(slot: usize, ty: FieldType, name: &str) -> Expr {
        Expr::new(
            Op::Outer {
                slot,
                name: name.into(),
            },
            Vec::new(),
            ty,
        )
        .with_column_coercibility()
    }

    /// The result of aggregate `index`, which the planner replaces by a slot (`Expr::transform`).
    pub fn aggregate(index: usize, ty: FieldType, name: &str) -> Expr {
        Expr::new(
            Op::Aggregate {
                index,
                name: name.into(),
            },
            Vec::new(),
            ty,
        )
        .with_column_coercibility()
    }

    fn with_column_coercibility(self) -> Expr {
        match types::eval_type(&self.ty) {
            types::EvalType::String | types::EvalType::Json => self.with_coercibility(Coercibility::Implicit),
            _ => self,
        }
    }

    /// The type of the result, with all that a result set's column definition and CREATE … SELECT need.
    pub fn field_type(&self) -> &FieldType {
        &self.ty
    }

    /// The value for one row.
    pub fn eval(&self, row: &[Datum], ctx: &EvalContext) -> Result<Datum> {
        let value = self.eval_exact(row, ctx)?;
        // Decimals are computed with the digits they need, a quotient with more than it shows so that (1/3)*3 is 1.
        if let Datum::Decimal(d) = &value
            && i32::from(d.scale()) != self.ty.decimal
            && self.ty.tp == TypeCode::NewDecimal
        {
            return Ok(Datum::Decimal(value::round_decimal(d, self.ty.decimal)));
        }
        Ok(value)
    }

    /// The value as a condition: `None` is UNKNOWN.
    pub fn eval_bool(&self, row: &[Datum], ctx: &EvalContext) -> Result<Option<bool>> {
        match &self.op {
            Op::CompareInt(op) => {
                let (l, r) = (self.args[0].eval_ref(row, ctx)?, self.args[1].eval_ref(row, ctx)?);
                if let (Datum::Int(l), Datum::Int(r)) = (&*l, &*r) {
                    return Ok(Some(op.holds(l.cmp(r))));
                }
                compare::compare(*op, &Comparer::Int, &l, &r, ctx)
            }
            Op::Compare(op, comparer) => {
                let (l, r) = (self.args[0].eval_ref(row, ctx)?, self.args[1].eval_ref(row, ctx)?);
                compare::compare(*op, comparer, &l, &r, ctx)
            }
            Op::And => {
                let mut unknown = false;
                for arg in &self.args {
                    match arg.eval_bool(row, ctx)? {
                        Some(false) => return Ok(Some(false)),
                        None => unknown = true,
                        Some(true) => {}
                    }
                }
                Ok(if unknown { None } else { Some(true) })
            }
            Op::Or => {
                let mut unknown = false;
                for arg in &self.args {
                    match arg.eval_bool(row, ctx)? {
                        Some(true) => return Ok(Some(true)),
                        None => unknown = true,
                        Some(false) => {}
                    }
                }
                Ok(if unknown { None } else { Some(false) })
            }
            Op::Xor => {
                let (Some(l), Some(r)) = (
                    self.args[0].eval_bool(row, ctx)?,
                    self.args[1].eval_bool(row, ctx)?,
                ) else {
                    return Ok(None);
                };
                Ok(Some(l != r))
            }
            Op::Not => Ok(self.args[0].eval_bool(row, ctx)?.map(|b| !b)),
            Op::IsNull { negated } => {
                let null = *self.args[0].eval_ref(row, ctx)? == Datum::Null;
                Ok(Some(null != *negated))
            }
            Op::IsTruth { truth, negated } => {
                let is = self.args[0].eval_bool(row, ctx)? == Some(*truth);
                Ok(Some(is != *negated))
            }
            Op::Between { negated, low, high } => {
                let value = self.args[0].eval_ref(row, ctx)?;
                let at_least =
                    compare::compare(CmpOp::Ge, low, &value, &*self.args[1].eval_ref(row, ctx)?, ctx)?;
                let at_most = if at_least == Some(false) {
                    Some(false)
                } else {
                    compare::compare(CmpOp::Le, high, &value, &*self.args[2].eval_ref(row, ctx)?, ctx)?
                };
                let inside = match (at_least, at_most) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                };
                Ok(inside.map(|b| b != *negated))
            }
            Op::In {
                negated,
                comparers,
                set,
            } => {
                let value = self.args[0].eval_ref(row, ctx)?;
                if let Some(set) = set
                    && let Some(found) = set.contains(&value)
                {
                    return Ok(found.map(|b| b != *negated));
                }
                let mut unknown = false;
                for (arg, comparer) in self.args[1..].iter().zip(comparers.iter()) {
                    match compare::compare(CmpOp::Eq, comparer, &value, &*arg.eval_ref(row, ctx)?, ctx)? {
                        Some(true) => return Ok(Some(!negated)),
                        None => unknown = true,
                        Some(false) => {}
                    }
                }
                Ok(if unknown { None } else { Some(*negated) })
            }
            Op::Like {
                negated,
                escape,
                collation,
                pattern,
            } => {
                let found = like::eval_like(self, row, ctx, *escape, *collation, pattern.as_deref())?;
                Ok(found.map(|b| b != *negated))
            }
            Op::Regexp {
                negated,
                case_insensitive,
                cache,
            } => {
                let found = like::eval_regexp(self, row, ctx, *case_insensitive, cache)?;
                Ok(found.map(|b| b != *negated))
            }
            _ => value::truth(&*self.eval_ref(row, ctx)?, ctx),
        }
    }

    /// The value, borrowed where it stands in the row, among the parameters or in the expression. A decimal may have more
    /// digits than its type shows: what is shown or stored comes from `eval`.
    pub fn eval_ref<'a>(&'a self, row: &'a [Datum], ctx: &'a EvalContext) -> Result<Cow<'a, Datum>> {
        match &self.op {
            Op::Const { value, .. } => Ok(Cow::Borrowed(value)),
            Op::Column { slot, name } => slot_of(row, *slot, name).map(Cow::Borrowed),
            Op::Outer { slot, name } => slot_of(ctx.outer(), *slot, name).map(Cow::Borrowed),
            Op::Param(index) => ctx
                .params()
                .get(*index)
                .map(Cow::Borrowed)
                .ok_or_else(|| Error::wrong_arguments("EXECUTE")),
            _ => self.eval_exact(row, ctx).map(Cow::Owned),
        }
    }

    fn eval_exact(&self, row: &[Datum], ctx: &EvalContext) -> Result<Datum> {
        match &self.op {
            Op::Const { .. } | Op::Column { .. } | Op::Outer { .. } | Op::Param(_) => {
                self.eval_ref(row, ctx).map(Cow::into_owned)
            }
            Op::And
            | Op::Or
            | Op::Xor
            | Op::Not
            | Op::IsNull { .. }
            | Op::IsTruth { .. }
            | Op::CompareInt(_)
            | Op::Compare(..)
            | Op::Between { .. }
            | Op::In { .. }
            | Op::Like { .. }
            | Op::Regexp { .. } => Ok(match self.eval_bool(row, ctx)? {
                None => Datum::Null,
                Some(b) => Datum::Int(i64::from(b)),
            }),
            Op::Aggregate { name, .. } => {
                Err(Error::bug(format!("aggregate {name} was not replaced by a slot")))
            }
            Op::UserVariable(name) => match ctx.variables.get() {
                Some(variables) => Ok(variables.user_variable(name)),
                None => Ok(Datum::Null),
            },
            Op::SystemVariable { name, global } => match ctx.variables.get() {
                Some(variables) => variables.system_variable(name, *global),
                None => Err(Error::unknown_system_variable(name)),
            },
            Op::Case => {
                let mut args = self.args.chunks_exact(2);
                for pair in args.by_ref() {
                    if pair[0].eval_bool(row, ctx)? == Some(true) {
                        return pair[1].eval(row, ctx);
                    }
                }
                match args.remainder() {
                    [otherwise] => otherwise.eval(row, ctx),
                    _ => Ok(Datum::Null),
                }
            }
            Op::Coalesce => {
                for arg in &self.args {
                    let value = arg.eval(row, ctx)?;
                    if value != Datum::Null {
                        return Ok(value);
                    }
                }
                Ok(Datum::Null)
            }
            Op::NullIf(comparer) => {
                let value = self.args[0].eval(row, ctx)?;
                let other = self.args[1].eval_ref(row, ctx)?;
                match compare::compare(CmpOp::Eq, comparer, &value, &other, ctx)? {
                    Some(true) => Ok(Datum::Null),
                    _ => Ok(value),
                }
            }
            Op::Cast { target, .. } => {
                let value = self.args[0].eval_ref(row, ctx)?;
                cast::cast(&value, &self.args[0].ty, target, ctx)
            }
            Op::ArithInt(op) => {
                let (l, r) = (self.args[0].eval_ref(row, ctx)?, self.args[1].eval_ref(row, ctx)?);
                if let (Datum::Int(l), Datum::Int(r)) = (&*l, &*r)
                    && let Some(result) = op.on_ints(*l, *r)
                {
                    return Ok(Datum::Int(result));
                }
                arith::arith(self, *op, NumberKind::Int, &l, &r, ctx)
            }
            Op::Arith(op, kind) => {
                let (l, r) = (self.args[0].eval_ref(row, ctx)?, self.args[1].eval_ref(row, ctx)?);
                arith::arith(self, *op, *kind, &l, &r, ctx)
            }
            Op::Negate(kind) => arith::negate(self, *kind, &*self.args[0].eval_ref(row, ctx)?, ctx),
            Op::Bit(op) => {
                let (l, r) = (self.args[0].eval_ref(row, ctx)?, self.args[1].eval_ref(row, ctx)?);
                arith::bit(*op, &l, &r, ctx)
            }
            Op::BitNot => arith::bit_not(&*self.args[0].eval_ref(row, ctx)?, ctx),
            Op::Collate => self.args[0].eval(row, ctx),
            Op::Row => Err(Error::operand_columns(1)),
            Op::Subquery {
                id,
                usage,
                comparers,
                types,
            } => subquery::eval(self, row, ctx, *id, *usage, comparers, types),
            Op::DateArith { unit, subtract } => time_arith::eval_date_arith(self, row, ctx, *unit, *subtract),
            Op::Extract(unit) => time_arith::eval_extract(self, row, ctx, *unit),
            Op::TimestampDiff(unit) => time_arith::eval_timestamp_diff(self, row, ctx, *unit),
            Op::Func(def) => (def.eval)(&func::Args { expr: self, row, ctx }),
        }
    }
}

fn slot_of<'a>(row: &'a [Datum], slot: usize, name: &str) -> Result<&'a Datum> {
    row.get(slot).ok_or_else(|| {
        Error::bug(format!(
            "column {name} is read from slot {slot} of a row of {}",
            row.len()
        ))
    })
}
